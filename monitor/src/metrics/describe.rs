//! What can be made of descriptions alone: documentation, and a check of names.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Kind, Metric};

/// A table of `metrics` for the documentation, sorted by name.
pub fn markdown(metrics: &[&Metric]) -> String {
    let mut sorted = metrics.to_vec();
    sorted.sort_by_key(|metric| metric.name);
    let mut out = String::from("| Name | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for metric in sorted {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let help = metric.help.replace('|', "\\|").replace('\n', " ");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{}` | {} | {} | {help} |", metric.name, metric.kind.name(), labels.join(", "));
    }
    out
}

/// What Prometheus' conventions have against `metrics`, one sentence each: nothing, if the tests of this workspace pass.
pub fn lint(metrics: &[&Metric]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut names = BTreeSet::new();
    for metric in metrics {
        let mut complain = |what: &str| complaints.push(format!("{}: {what}", metric.name));
        if !names.insert(metric.name) {
            complain("the name is described twice");
        }
        if !is_identifier(metric.name) {
            complain("the name is not lower_snake_case");
        }
        if metric.help.trim().is_empty() || metric.help.trim() != metric.help {
            complain("the help is missing or has spaces around it");
        }
        if metric.name.ends_with("_total") != (metric.kind == Kind::Counter) {
            complain("a counter ends in _total, and nothing else does");
        }
        if ["_bucket", "_count", "_sum"].iter().any(|suffix| metric.name.ends_with(suffix)) {
            complain("the end of the name belongs to the samples of histograms");
        }
        let base = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        if FOREIGN_UNITS.iter().any(|unit| base.ends_with(unit)) {
            complain("the unit is not a base unit (seconds, bytes, ratio)");
        }
        let labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
        if labels.len() != metric.labels.len() {
            complain("a label is there twice");
        }
        if labels.iter().any(|label| !is_identifier(label) || label.starts_with("__") || RESERVED.contains(label)) {
            complain("a label's name is reserved or not lower_snake_case");
        }
    }
    complaints
}

const RESERVED: [&str; 4] = ["le", "quantile", "job", "instance"];
const FOREIGN_UNITS: [&str; 8] =
    ["_milliseconds", "_microseconds", "_nanoseconds", "_minutes", "_kilobytes", "_megabytes", "_percent", "_ms"];

fn is_identifier(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(legal) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Metric = Metric {
        name: "monitor_things_total",
        help: "Things | stuff.",
        kind: Kind::Counter,
        labels: &["group", "code"],
    };
    const GAUGE: Metric = Metric { name: "monitor_now", help: "Now.", kind: Kind::Gauge, labels: &[] };

    #[test]
    fn a_table_is_sorted_and_keeps_its_columns() {
        assert_eq!(
            markdown(&[&GOOD, &GAUGE]),
            "| Name | Type | Labels | Meaning |\n|---|---|---|---|\n\
             | `monitor_now` | gauge |  | Now. |\n\
             | `monitor_things_total` | counter | `group`, `code` | Things \\| stuff. |\n"
        );
    }

    #[test]
    fn each_broken_convention_is_found() {
        assert_eq!(lint(&[&GOOD, &GAUGE]), Vec::<String>::new());
        let bad = [
            Metric { name: "monitor_things", ..GOOD },
            Metric { name: "monitor_now_total", ..GAUGE },
            Metric { help: "", ..GOOD },
            Metric { name: "monitorNow", ..GAUGE },
            Metric { name: "monitor_wait_ms", ..GAUGE },
            Metric { name: "monitor_wait_count", ..GAUGE },
            Metric { labels: &["le"], ..GAUGE },
            Metric { labels: &["group", "group"], ..GAUGE },
        ];
        for metric in &bad {
            assert_eq!(lint(&[metric]).len(), 1, "{metric:?}");
        }
        assert_eq!(lint(&[&GOOD, &GOOD]).len(), 1);
    }
}
