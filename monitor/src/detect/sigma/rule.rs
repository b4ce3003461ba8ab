//! What a Sigma rule says beside its detection.

use rsigma_parser::{Level, SigmaRule, Status};

use super::Teller;
use super::document::Document;
use super::logsource::{Category, Refused};
use super::selection;
use crate::detect::lang::ast::{Expr, More, Priority, Rule};
use crate::detect::lang::expand::and;
use crate::detect::lang::more::is_technique;

/// The rule as one of ours; nothing when something was told.
pub(super) fn translate(rule: &SigmaRule, document: &Document<'_>, teller: &mut Teller<'_>) -> Option<Rule> {
    let category = match Category::of(&rule.logsource) {
        Ok(category) => category,
        Err(Refused::Elsewhere(message)) => {
            teller.warning(document.key("logsource").mark(), message);
            return None;
        }
        Err(Refused::Misspelt(message)) => {
            teller.error(document.key("logsource").mark(), message);
            return None;
        }
    };
    let detection = document.key("detection");
    if let Some(timeframe) = &rule.detection.timeframe {
        let message = format!("counts within {timeframe}, which Sigma has given up: left out; write a `count` rule");
        teller.warning(detection.key("timeframe").mark(), message);
        return None;
    }
    let expr = selection::translate(&rule.detection, category, detection, teller)?;
    let events = events(category, detection, teller)?;
    let place = teller.place(document.mark());
    let description = rule.description.as_deref().unwrap_or(&rule.title);
    Some(Rule {
        name: rule.title.clone(),
        description: described(description, rule),
        condition: and(vec![events, expr]),
        // A `%` would begin the name of a field.
        output: format!("{} | {}", rule.title.replace('%', " percent"), category.output()),
        output_place: place.clone(),
        priority: priority(rule.level),
        tags: rule.tags.clone(),
        enabled: !matches!(rule.status, Some(Status::Deprecated | Status::Unsupported)),
        source: "syscall".to_owned(),
        skip_if_unknown_filter: false,
        place,
        more: More {
            title: Some(rule.title.clone()),
            attack: techniques(&rule.tags),
            false_positives: false_positives(&rule.falsepositives),
            ..More::default()
        },
    })
}

/// The authors have to be named (Detection Rule License).
fn described(description: &str, rule: &SigmaRule) -> String {
    let mut text = description.trim().to_owned();
    if let Some(author) = &rule.author {
        text.push_str(&format!("\nAuthor: {author}"));
    }
    if let Some(id) = &rule.id {
        text.push_str(&format!("\nSigma: {id}"));
    }
    text
}

fn events(category: Category, at: Document<'_>, teller: &mut Teller<'_>) -> Option<Expr> {
    match crate::detect::lang::condition(category.condition()) {
        Ok(mut expr) => {
            let place = teller.place(at.mark());
            put_at(&mut expr, &place);
            Some(expr)
        }
        Err(mistake) => {
            teller.error(at.mark(), mistake.message);
            None
        }
    }
}

/// What nobody has written stands where it comes from.
fn put_at(expr: &mut Expr, place: &crate::detect::lang::ast::Place) {
    use crate::detect::lang::ast::Operand;
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter_mut().for_each(|part| put_at(part, place)),
        Expr::Not(inner) => put_at(inner, place),
        Expr::Check(check) => {
            check.place = place.clone();
            check.field.place = place.clone();
            for value in &mut check.values {
                match value {
                    Operand::Text(_, at) => *at = place.clone(),
                    Operand::Field(field) => field.place = place.clone(),
                }
            }
        }
    }
}

fn priority(level: Option<Level>) -> Priority {
    match level {
        Some(Level::Critical) => Priority::Critical,
        Some(Level::High) => Priority::Error,
        Some(Level::Medium) | None => Priority::Warning,
        Some(Level::Low) => Priority::Notice,
        Some(Level::Informational) => Priority::Informational,
    }
}

/// `attack.t1059.004` is `T1059.004`.
fn techniques(tags: &[String]) -> Vec<String> {
    let technique = |tag: &String| tag.to_ascii_lowercase().strip_prefix("attack.").map(str::to_ascii_uppercase);
    tags.iter().filter_map(technique).filter(|id| is_technique(id)).collect()
}

fn false_positives(texts: &[String]) -> Option<String> {
    let texts: Vec<_> = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}
