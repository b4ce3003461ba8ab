//! The environment: `MONITOR_HTTP_LISTEN` sets `http.listen`.

use std::ffi::OsString;

use super::field::Raw;
use super::keys::KEYS;
use super::load::Draft;
use super::mistake::{nearest, suggestion};
use super::origin::Origin;

const PREFIX: &str = "MONITOR_";

/// Variables of this prefix that set no key: the name of the file, and what builds and tests use.
const OTHERS: [&str; 3] = ["MONITOR_CONFIG", "MONITOR_BIN", "MONITOR_REVISION"];

/// Takes over what the environment sets.
pub(super) fn apply(draft: &mut Draft, environment: &[(OsString, OsString)]) {
    for (name, value) in environment {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || OTHERS.contains(&name.as_ref()) {
            continue;
        }
        let origin = Origin::Environment(name.to_string());
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            draft.mistake(origin, format!("it sets no key{}", suggestion(nearest_variable(&name).as_deref())));
            continue;
        };
        match value.to_str() {
            Some(text) => draft.set(key, Raw::Text(text), origin, |_| None),
            None => draft.mistake(origin, format!("{} is no UTF-8 text", key.name)),
        }
    }
}

/// The prefix is left out: it would make all names alike.
fn nearest_variable(name: &str) -> Option<String> {
    let variables: Vec<String> = KEYS.iter().map(|key| key.variable()).chain([OTHERS[0].to_owned()]).collect();
    let short = |variable| str::strip_prefix(variable, PREFIX).unwrap_or(variable);
    nearest(short(name), variables.iter().map(|variable| short(variable))).map(|near| format!("{PREFIX}{near}"))
}
