//! What the commands that ask the daemon have in common: the question, and values made safe to print.

use serde_json::Value;

use crate::config::mistake::printable;

/// Most characters of arguments on a line.
const ARGUMENTS: usize = 200;

/// `path` with those parameters that have a value.
pub(super) fn query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let query = query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty())).finish();
    format!("{path}?{query}")
}

/// A member of a JSON object as text; `-` where there is none.
pub(super) fn field(object: &Value, name: &str) -> String {
    match object.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => printable(&other.to_string()),
    }
}

/// The arguments of a process, those in quotes that have spaces, cut when they are long.
pub(super) fn arguments(process: &Value) -> String {
    let list = process.get("argv").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let shown = |argument: &Value| {
        let text = argument.as_str().unwrap_or_default();
        let quote = if text.is_empty() || text.contains(char::is_whitespace) { "'" } else { "" };
        format!("{quote}{}{quote}", printable(text))
    };
    let line = list.iter().map(shown).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(ARGUMENTS) {
        None => line,
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        assert_eq!(query("/x", &[("a", "1"), ("b", ""), ("c", "ü &,=")]), "/x?a=1&c=%C3%BC+%26%2C%3D");
    }

    #[test]
    fn long_arguments_are_cut() {
        let process = serde_json::json!({"argv": ["ä".repeat(300), ""]});
        assert_eq!(arguments(&process).chars().count(), ARGUMENTS + 1);
        assert_eq!(arguments(&serde_json::json!({"argv": ["a", ""]})), "a ''");
    }
}
