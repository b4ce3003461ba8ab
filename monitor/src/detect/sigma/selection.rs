//! The `detection` part of a Sigma rule: selections, and the condition that combines them.

use std::collections::BTreeMap;

use rsigma_parser::{ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SigmaValue};

use super::Teller;
use super::document::Document;
use super::fields::{self, Known, Type};
use super::logsource::Category;
use super::value::{Asked, joined};
use crate::detect::lang::ast::Expr;
use crate::detect::lang::expand::{and, or};
use crate::detect::lang::nearest::nearest;

/// Most combinations that `2 of selection_*` may stand for.
const MAX_COMBINATIONS: usize = 200;

/// Most comparisons of a rule.
const MAX_CHECKS: usize = 50_000;

/// Translates a rule's selections and conditions; nothing when something was told.
pub(super) fn translate(
    detections: &Detections,
    category: Category,
    document: Document<'_>,
    teller: &mut Teller<'_>,
) -> Option<Expr> {
    let mut translator = Translator { category, teller, left: MAX_CHECKS };
    let mut named = BTreeMap::new();
    let mut good = true;
    let sorted: BTreeMap<_, _> = detections.named.iter().collect();
    for (name, detection) in sorted {
        match translator.detection(detection, document.key(name)) {
            Some(expr) => {
                named.insert(name.as_str(), expr);
            }
            None => good = false,
        }
    }
    if !good {
        return None;
    }
    let at = document.key("condition");
    let conditions: Vec<_> = detections
        .conditions
        .iter()
        .enumerate()
        .map(|(index, condition)| translator.condition(condition, &named, at.item(index)))
        .collect();
    Some(or(conditions.into_iter().collect::<Option<_>>()?))
}

struct Translator<'a, 't> {
    category: Category,
    teller: &'a mut Teller<'t>,
    left: usize,
}

impl Translator<'_, '_> {
    fn refuse<T>(&mut self, at: Document<'_>, message: impl Into<String>) -> Option<T> {
        self.teller.error(at.mark(), message);
        None
    }

    fn count(&mut self, by: usize, at: Document<'_>) -> Option<()> {
        match self.left.checked_sub(by) {
            Some(left) => {
                self.left = left;
                Some(())
            }
            None => self.refuse(at, format!("has more than {MAX_CHECKS} comparisons")),
        }
    }

    fn detection(&mut self, detection: &Detection, at: Document<'_>) -> Option<Expr> {
        match detection {
            Detection::AllOf(items) => {
                if items.is_empty() {
                    return self.refuse(at, "is empty");
                }
                let parts: Vec<_> =
                    items.iter().enumerate().map(|(index, item)| self.entry(item, at.pair(index))).collect();
                Some(and(parts.into_iter().collect::<Option<_>>()?))
            }
            Detection::AnyOf(several) => {
                let parts: Vec<_> =
                    several.iter().enumerate().map(|(index, one)| self.detection(one, at.item(index))).collect();
                Some(or(parts.into_iter().collect::<Option<_>>()?))
            }
            Detection::And(several) => {
                let parts: Vec<_> = several.iter().map(|one| self.detection(one, at)).collect();
                Some(and(parts.into_iter().collect::<Option<_>>()?))
            }
            Detection::Keywords(values) => self.keywords(values, &[], at, at),
            Detection::ArrayMatch { field, .. } => {
                self.refuse(at, format!("`{field}` is no array: no field of these events is one"))
            }
            Detection::Conditional { .. } => self.refuse(at, "conditions inside of selections are not supported"),
        }
    }

    /// `Field|modifier: values`.
    fn entry(&mut self, item: &DetectionItem, (key, at): (Document<'_>, Document<'_>)) -> Option<Expr> {
        let modifiers = &item.field.modifiers;
        let Some(name) = &item.field.name else { return self.keywords(&item.values, modifiers, key, at) };
        match fields::find(self.category, name) {
            Ok(field) => self.values(field, &item.values, modifiers, key, at),
            Err(message) => self.refuse(key, message),
        }
    }

    fn values(
        &mut self,
        field: &Known,
        values: &[SigmaValue],
        modifiers: &[Modifier],
        key: Document<'_>,
        at: Document<'_>,
    ) -> Option<Expr> {
        if values.is_empty() {
            return self.refuse(key, "has no values");
        }
        let place = self.teller.place(key.mark());
        let asked = Asked { category: self.category, field, modifiers, place };
        let mut parts = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            self.count(1, key)?;
            let at = at.item(index);
            match asked.compare(value, &self.teller.place(at.mark())) {
                Ok(expr) => parts.push(expr),
                Err(message) => self.refuse::<()>(at, message).unwrap_or_default(),
            }
        }
        (parts.len() == values.len()).then(|| joined(modifiers.contains(&Modifier::All), parts))
    }

    /// Words that may be anywhere in the event.
    fn keywords(
        &mut self,
        values: &[SigmaValue],
        modifiers: &[Modifier],
        key: Document<'_>,
        at: Document<'_>,
    ) -> Option<Expr> {
        let shaped = modifiers.iter().any(|modifier| matches!(modifier, Modifier::Re | Modifier::Contains));
        let with_contains: Vec<_> = modifiers.iter().copied().chain((!shaped).then_some(Modifier::Contains)).collect();
        let mut words = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let mut fields = Vec::new();
            for name in self.category.keywords() {
                let known = Known { sigma: "a word", name, kind: Type::Text };
                fields.push(self.values(&known, std::slice::from_ref(value), &with_contains, key, at.item(index))?);
            }
            words.push(or(fields));
        }
        if words.is_empty() {
            return self.refuse(key, "has no words");
        }
        Some(if modifiers.contains(&Modifier::All) { and(words) } else { or(words) })
    }

    fn condition(&mut self, condition: &ConditionExpr, named: &BTreeMap<&str, Expr>, at: Document<'_>) -> Option<Expr> {
        match condition {
            ConditionExpr::And(parts) => Some(and(self.conditions(parts, named, at)?)),
            ConditionExpr::Or(parts) => Some(or(self.conditions(parts, named, at)?)),
            ConditionExpr::Not(inner) => Some(Expr::Not(Box::new(self.condition(inner, named, at)?))),
            ConditionExpr::Identifier(name) => match named.get(name.as_str()) {
                Some(expr) => {
                    self.count(checks(expr), at)?;
                    Some(expr.clone())
                }
                None => {
                    let remedy = match nearest(name, named.keys().copied()) {
                        Some(near) => format!(": did you mean `{near}`?"),
                        None => String::new(),
                    };
                    self.refuse(at, format!("there is no selection `{name}`{remedy}"))
                }
            },
            ConditionExpr::Selector { quantifier, pattern } => {
                let chosen: Vec<_> = named.iter().filter(|(name, _)| pattern.matches_detection_name(name)).collect();
                if chosen.is_empty() {
                    return self.refuse(at, format!("no selection is called `{pattern}`"));
                }
                let chosen: Vec<_> = chosen.into_iter().map(|(_, expr)| expr.clone()).collect();
                self.count(chosen.iter().map(checks).sum(), at)?;
                self.quantified(quantifier, chosen, at)
            }
        }
    }

    fn conditions(
        &mut self,
        parts: &[ConditionExpr],
        named: &BTreeMap<&str, Expr>,
        at: Document<'_>,
    ) -> Option<Vec<Expr>> {
        let parts: Vec<_> = parts.iter().map(|part| self.condition(part, named, at)).collect();
        parts.into_iter().collect()
    }

    fn quantified(&mut self, quantifier: &Quantifier, chosen: Vec<Expr>, at: Document<'_>) -> Option<Expr> {
        let wanted = match quantifier {
            Quantifier::All => chosen.len(),
            Quantifier::Any => 1,
            Quantifier::Count(number) => usize::try_from(*number).unwrap_or(usize::MAX),
        };
        if wanted == 0 || wanted > chosen.len() {
            return self.refuse(at, format!("asks for {wanted} of {} selections", chosen.len()));
        }
        if wanted == 1 {
            return Some(or(chosen));
        }
        if wanted == chosen.len() {
            return Some(and(chosen));
        }
        let mut combinations = Vec::new();
        if !combine(chosen.len(), wanted, &mut Vec::new(), &mut combinations) {
            return self.refuse(at, format!("stands for more than {MAX_COMBINATIONS} combinations"));
        }
        self.count(combinations.len().saturating_mul(chosen.iter().map(checks).sum()), at)?;
        let pick = |indices: &Vec<usize>| and(indices.iter().filter_map(|index| chosen.get(*index).cloned()).collect());
        Some(or(combinations.iter().map(pick).collect()))
    }
}

/// All choices of `wanted` out of `of`; false when there are too many.
fn combine(of: usize, wanted: usize, chosen: &mut Vec<usize>, into: &mut Vec<Vec<usize>>) -> bool {
    if chosen.len() == wanted {
        into.push(chosen.clone());
        return into.len() <= MAX_COMBINATIONS;
    }
    let first = chosen.last().map_or(0, |last| last + 1);
    for next in first..of {
        // Not enough left to choose from.
        if of - next < wanted - chosen.len() {
            break;
        }
        chosen.push(next);
        let few = combine(of, wanted, chosen, into);
        chosen.pop();
        if !few {
            return false;
        }
    }
    true
}

fn checks(expr: &Expr) -> usize {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(checks).sum(),
        Expr::Not(inner) => checks(inner),
        Expr::Check(check) => check.values.len().max(1),
    }
}
