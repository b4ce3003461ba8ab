//! Tests of the language.

use std::path::PathBuf;

use super::{Loaded, Source, load};

mod bounds;
mod conditions;
mod exceptions;
mod falco;
mod items;
mod more;
mod places;
mod random;
mod reading;

/// Loads one file.
fn one(text: &str) -> Loaded {
    load(&[Source { path: PathBuf::from("rules.yaml"), text: text.to_owned() }])
}

/// Loads files in this order: `0.yaml`, `1.yaml` …
fn several(texts: &[&str]) -> Loaded {
    let source = |(index, text): (usize, &&str)| Source {
        path: PathBuf::from(format!("{index}.yaml")),
        text: (*text).to_owned(),
    };
    load(&texts.iter().enumerate().map(source).collect::<Vec<_>>())
}

/// A rule with this condition, after other items.
fn rule(items: &str, condition: &str) -> String {
    let condition = condition.replace('\'', "''");
    format!("{items}\n- rule: R\n  desc: d\n  condition: '{condition}'\n  output: o\n  priority: INFO\n")
}

/// The messages with their places.
fn told(loaded: &Loaded) -> Vec<String> {
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}

/// The rule's condition as text; there may be no message.
#[track_caller]
fn condition_of(loaded: &Loaded, name: &str) -> String {
    assert_eq!(told(loaded), Vec::<String>::new());
    let rule = loaded.rules.iter().find(|rule| rule.name == name);
    rule.expect("the rule is there").condition.to_string()
}

/// The one message there is, without its file.
#[track_caller]
fn only_message(loaded: &Loaded) -> String {
    let told = told(loaded);
    assert_eq!(told.len(), 1, "{told:#?}");
    told[0].strip_prefix("rules.yaml:").unwrap_or(&told[0]).to_owned()
}
