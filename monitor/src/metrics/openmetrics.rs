//! The OpenMetrics 1.0.0 text format, which the `prometheus` crate does not write
//! (<https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>).

use std::collections::HashSet;
use std::fmt::Write as _;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// Base units that names of ours end in.
const UNITS: [&str; 4] = ["seconds", "bytes", "ratio", "celsius"];

/// Writes `families`, which must be of types that we make.
pub(super) fn encode(families: &[&MetricFamily]) -> String {
    let names: HashSet<&str> = families.iter().map(|family| family.name()).collect();
    let mut out = String::new();
    for family in families {
        let heading = Heading::of(family, &names);
        heading.write(&mut out, family.help());
        for metric in family.get_metric() {
            match family.get_field_type() {
                MetricType::HISTOGRAM => write_histogram(&mut out, heading.name, metric),
                MetricType::COUNTER => {
                    write_sample(&mut out, family.name(), "", metric.get_label(), metric.get_counter().get_value());
                }
                _ => write_sample(&mut out, family.name(), "", metric.get_label(), metric.get_gauge().get_value()),
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

/// What OpenMetrics calls a family: it names a counter and an info without the suffix of their samples.
struct Heading<'a> {
    name: &'a str,
    kind: &'static str,
}

impl<'a> Heading<'a> {
    fn of(family: &'a MetricFamily, names: &HashSet<&str>) -> Self {
        let name = family.name();
        let shortened = |suffix: &str, kind| {
            // `x` may be the name of another family; two headings with one name would fail the whole scrape.
            let short = name.strip_suffix(suffix).filter(|short| !names.contains(short));
            short.map(|name| Heading { name, kind })
        };
        match family.get_field_type() {
            MetricType::COUNTER => shortened("_total", "counter").unwrap_or(Heading { name, kind: "unknown" }),
            MetricType::HISTOGRAM => Heading { name, kind: "histogram" },
            _ => shortened("_info", "info").unwrap_or(Heading { name, kind: "gauge" }),
        }
    }

    fn write(&self, out: &mut String, help: &str) {
        let Self { name, kind } = self;
        put(out, format_args!("# TYPE {name} {kind}\n"));
        let unit = UNITS.iter().find(|unit| name.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_')));
        if let Some(unit) = unit.filter(|_| *kind != "info") {
            put(out, format_args!("# UNIT {name} {unit}\n"));
        }
        if !help.is_empty() {
            put(out, format_args!("# HELP {name} "));
            escape(out, help);
            out.push('\n');
        }
    }
}

fn write_histogram(out: &mut String, name: &str, metric: &Metric) {
    let (labels, histogram) = (metric.get_label(), metric.get_histogram());
    for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
        let bound = Bound(bucket.upper_bound()).to_string();
        write_name(out, name, "_bucket", labels, Some(&bound));
        put(out, format_args!(" {}\n", bucket.cumulative_count()));
    }
    write_name(out, name, "_bucket", labels, Some("+Inf"));
    put(out, format_args!(" {}\n", histogram.get_sample_count()));
    write_name(out, name, "_count", labels, None);
    put(out, format_args!(" {}\n", histogram.get_sample_count()));
    write_sample(out, name, "_sum", labels, histogram.get_sample_sum());
}

fn write_sample(out: &mut String, name: &str, suffix: &str, labels: &[LabelPair], value: f64) {
    write_name(out, name, suffix, labels, None);
    out.push(' ');
    match value {
        f64::INFINITY => out.push_str("+Inf"),
        f64::NEG_INFINITY => out.push_str("-Inf"),
        value => put(out, format_args!("{value}")),
    }
    out.push('\n');
}

fn write_name(out: &mut String, name: &str, suffix: &str, labels: &[LabelPair], bound: Option<&str>) {
    out.push_str(name);
    out.push_str(suffix);
    let pairs = labels.iter().map(|pair| (pair.name(), pair.value())).chain(bound.map(|bound| ("le", bound)));
    let mut before = '{';
    for (name, value) in pairs {
        out.push(before);
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value);
        out.push('"');
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
}

/// A bucket bound as OpenMetrics wants numbers in labels: always with a point, so that `1` and `1.0` are no two series.
struct Bound(f64);

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.fract() == 0.0 { write!(f, "{:.1}", self.0) } else { write!(f, "{}", self.0) }
    }
}

/// The three characters that the format escapes; every other one, control characters too, stands for itself.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            character => out.push(character),
        }
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}
