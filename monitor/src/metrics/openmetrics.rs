//! What the OpenMetrics 1.0.0 text format, which the `prometheus` crate does not write, wants otherwise
//! (<https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>).

use std::collections::HashSet;

use super::page::{Page, escape};
use super::{Kind, Metric};

/// Base units that names of ours end in.
const UNITS: [&str; 4] = ["seconds", "bytes", "ratio", "celsius"];

/// What OpenMetrics calls a family: it names a counter and an info without the suffix of their samples.
pub(super) struct Heading<'a> {
    pub(super) name: &'a str,
    kind: &'static str,
    help: &'a str,
}

impl<'a> Heading<'a> {
    /// `names` are those of all families.
    pub(super) fn of(metric: &'a Metric, names: &HashSet<&str>) -> Self {
        let (name, help) = (metric.name, metric.help);
        let shortened = |suffix: &str, kind| {
            // `x` may be the name of another family; two headings with one name would fail the whole scrape.
            let short = name.strip_suffix(suffix).filter(|short| !names.contains(short));
            short.map(|name| Heading { name, kind, help })
        };
        match metric.kind {
            Kind::Counter => shortened("_total", "counter").unwrap_or(Heading { name, kind: "unknown", help }),
            Kind::Histogram => Heading { name, kind: "histogram", help },
            Kind::Gauge => shortened("_info", "info").unwrap_or(Heading { name, kind: "gauge", help }),
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        page.comment("TYPE", self.name);
        page.text.push_str(self.kind);
        page.text.push('\n');
        let unit = UNITS.iter().find(|unit| self.name.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_')));
        if let Some(unit) = unit.filter(|_| self.kind != "info") {
            page.comment("UNIT", self.name);
            page.text.push_str(unit);
            page.text.push('\n');
        }
        page.comment("HELP", self.name);
        escape(&mut page.text, self.help, |byte| matches!(byte, b'\\' | b'"' | b'\n'));
        page.text.push('\n');
    }
}
