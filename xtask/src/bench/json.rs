//! Numbers as JSON.

pub(super) use crate::json::{array, object, string};

use super::statistics::Quartiles;

/// A number; `null` for what JSON has no number for.
pub(super) fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() }
}

pub(super) fn quartiles(value: Option<Quartiles>) -> String {
    value.map_or("null".to_owned(), |Quartiles { low, median, high }| {
        object([("low", number(low)), ("median", number(median)), ("high", number(high))])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_numbers() {
        assert_eq!((number(1.5), number(f64::NAN)), ("1.5000".to_owned(), "null".to_owned()));
        let text = object([("a", number(1.0)), ("b", array([string("c"), quartiles(None)]))]);
        assert_eq!(text, r#"{"a":1.0000,"b":["c",null]}"#);
    }
}
