//! From snapshots to the bytes of an answer.
//!
//! Ten thousand series have to be written in a millisecond, so labels are written once a sample (a histogram has one
//! sample and up to twenty lines), and numbers without the machinery of `std::fmt`. What comes out in the text format is
//! what the encoder of the `prometheus` crate writes; the tests compare the two.

use std::collections::HashSet;

use bytes::Bytes;

use super::families::skip;
use super::snapshot::{Family, Sample, Snapshot};
use super::{Format, Kind, Skipped, openmetrics};

/// Bytes of a line, about; a page that is made at its full size at once is not copied while it grows.
const LINE: usize = 96;

/// Writes what is in all `snapshots` in `format`, sorted by name. No parser takes two families with one name: the first
/// stays.
pub fn encode(format: Format, snapshots: &[&Snapshot]) -> Bytes {
    let families = merge(snapshots);
    let series: usize = snapshots.iter().map(|snapshot| snapshot.series()).sum();
    let mut page = Page { text: String::with_capacity(series * LINE), ..Page::default() };
    match format {
        Format::Text => {
            for family in families {
                page.comment("HELP", family.name());
                escape(&mut page.text, family.metric.help, |byte| matches!(byte, b'\\' | b'\n'));
                page.text.push('\n');
                page.comment("TYPE", family.name());
                page.text.push_str(family.metric.kind.name());
                page.text.push('\n');
                page.samples(format, family, family.name());
            }
        }
        Format::OpenMetrics => {
            let names: HashSet<&str> = families.iter().map(|family| family.name()).collect();
            for family in families {
                let heading = openmetrics::Heading::of(family.metric, &names);
                heading.write(&mut page);
                page.samples(format, family, heading.name);
            }
            page.text.push_str("# EOF\n");
        }
    }
    page.text.into()
}

fn merge<'a>(snapshots: &[&'a Snapshot]) -> Vec<&'a Family> {
    let mut families: Vec<&Family> = snapshots.iter().flat_map(|snapshot| snapshot.families()).collect();
    families.sort_by_key(|family| family.name());
    families.dedup_by(|later, earlier| {
        let same = later.name() == earlier.name();
        if same {
            skip(later.name(), Skipped::Duplicate);
        }
        same
    });
    families
}

/// A page that is being written.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
    numbers: Numbers,
    /// The bounds that `bounds` are the text of.
    bounds_of: Option<(Format, &'static [f64])>,
    bounds: Vec<String>,
}

#[derive(Default)]
struct Numbers {
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl Page {
    /// `# what name `.
    pub(super) fn comment(&mut self, what: &str, name: &str) {
        for part in ["# ", what, " ", name, " "] {
            self.text.push_str(part);
        }
    }

    /// `name` is what a histogram's lines begin with.
    fn samples(&mut self, format: Format, family: &Family, name: &str) {
        // Everything of a line up to the bound of a bucket, or to the value: the same for all lines of a sample.
        let mut labels = String::new();
        for sample in family.samples() {
            labels.clear();
            write_labels(&mut labels, family, sample);
            match family.metric.kind {
                Kind::Counter | Kind::Gauge => self.line(family.name(), "", &labels, Value::Float(sample.value())),
                Kind::Histogram => self.histogram(format, name, &labels, sample),
            }
        }
    }

    fn histogram(&mut self, format: Format, name: &str, labels: &str, sample: Sample<'_>) {
        self.write_bounds(format, sample.bounds());
        // Moved out, so that the buffers for numbers can be written to meanwhile.
        let bounds = std::mem::take(&mut self.bounds);
        let (opening, open) = if labels.is_empty() { ("{", "") } else { (",", labels) };
        let mut all = 0;
        for (bound, count) in bounds.iter().map(String::as_str).chain(["+Inf"]).zip(sample.cumulative()) {
            for part in [name, "_bucket", open, opening, "le=\"", bound, "\"} "] {
                self.text.push_str(part);
            }
            self.value(Value::Integer(count));
            self.text.push('\n');
            all = count;
        }
        self.bounds = bounds;
        let (sum, count) = (Value::Float(sample.value()), Value::Integer(all));
        match format {
            Format::Text => {
                self.line(name, "_sum", labels, sum);
                self.line(name, "_count", labels, count);
            }
            Format::OpenMetrics => {
                self.line(name, "_count", labels, count);
                self.line(name, "_sum", labels, sum);
            }
        }
    }

    /// The text of bounds, which most samples of a family share.
    fn write_bounds(&mut self, format: Format, bounds: &'static [f64]) {
        if self.bounds_of.is_some_and(|(of, known)| of == format && std::ptr::eq(known, bounds)) {
            return;
        }
        // OpenMetrics wants a point in every one, so that `1` and `1.0` are no two series.
        let whole = |bound: f64| format == Format::OpenMetrics && bound.fract() == 0.0;
        let text = |bound: &f64| if whole(*bound) { format!("{bound:.1}") } else { bound.to_string() };
        self.bounds = bounds.iter().map(text).collect();
        self.bounds_of = Some((format, bounds));
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &str, value: Value) {
        for part in [name, suffix, labels, if labels.is_empty() { " " } else { "} " }] {
            self.text.push_str(part);
        }
        self.value(value);
        self.text.push('\n');
    }

    fn value(&mut self, value: Value) {
        let integer = match value {
            Value::Integer(integer) => integer,
            Value::Float(float) if float.is_sign_positive() && float < EXACT && float.fract() == 0.0 => float as u64,
            Value::Float(float) => return self.float(float),
        };
        self.text.push_str(self.numbers.integer.format(integer));
    }

    fn float(&mut self, float: f64) {
        match float {
            f64::INFINITY => self.text.push_str("+Inf"),
            f64::NEG_INFINITY => self.text.push_str("-Inf"),
            // Where both write no exponent.
            float if (PLAIN..EXACT).contains(&float.abs()) && float.fract() != 0.0 => {
                self.text.push_str(self.numbers.float.format_finite(float));
            }
            float => self.text.push_str(&float.to_string()),
        }
    }
}

/// Below it all whole numbers are exact, and printed without an exponent by everybody.
const EXACT: f64 = 1e15;
/// From here on `zmij` writes a fraction without an exponent, as `std` always does.
const PLAIN: f64 = 1e-3;

enum Value {
    Integer(u64),
    Float(f64),
}

/// `{name="value",name="value"`, without the end; nothing if there are no labels.
fn write_labels(out: &mut String, family: &Family, sample: Sample<'_>) {
    let mut before = "{";
    for (name, value) in family.metric.labels.iter().zip(sample.labels()) {
        out.push_str(before);
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value, |byte| matches!(byte, b'\\' | b'"' | b'\n'));
        out.push('"');
        before = ",";
    }
}

/// What the formats escape; every other character, control characters too, stands for itself.
pub(super) fn escape(out: &mut String, text: &str, special: impl Fn(u8) -> bool) {
    if !text.bytes().any(&special) {
        return out.push_str(text);
    }
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(b'\n') => out.push_str("\\n"),
            Ok(byte) if special(byte) => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests;
