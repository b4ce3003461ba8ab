//! From families to the bytes of an answer.

use std::borrow::Borrow;

use bytes::Bytes;
use prometheus::TextEncoder;
use prometheus::proto::{MetricFamily, MetricType};

use super::{Format, openmetrics};

/// Writes `families` in `format`. Families without samples, and of types that we do not make, are left out.
pub fn encode<F: Borrow<MetricFamily>>(format: Format, families: &[F]) -> Result<Bytes, prometheus::Error> {
    match format {
        Format::Text => encode_text(families),
        Format::OpenMetrics => Ok(encode_openmetrics(families)),
    }
}

/// Prometheus' text format 0.0.4. The errors of the `prometheus` crate are about families that this leaves out.
pub fn encode_text<F: Borrow<MetricFamily>>(families: &[F]) -> Result<Bytes, prometheus::Error> {
    let (encoder, mut out) = (TextEncoder::new(), String::new());
    for family in encodable(families) {
        encoder.encode_utf8(std::slice::from_ref(family), &mut out)?;
    }
    Ok(out.into())
}

/// OpenMetrics 1.0.0.
pub fn encode_openmetrics<F: Borrow<MetricFamily>>(families: &[F]) -> Bytes {
    openmetrics::encode(&encodable(families).collect::<Vec<_>>()).into()
}

/// The `prometheus` crate refuses families without samples and panics for an untyped one.
fn encodable<F: Borrow<MetricFamily>>(families: &[F]) -> impl Iterator<Item = &MetricFamily> {
    let known = |kind| matches!(kind, MetricType::COUNTER | MetricType::GAUGE | MetricType::HISTOGRAM);
    let families = families.iter().map(Borrow::borrow);
    families.filter(move |family: &&MetricFamily| {
        known(family.get_field_type()) && !family.get_metric().is_empty() && !family.name().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use prometheus::proto;

    use super::*;
    use crate::metrics::{Families, Kind, Metric, histogram_bounds_bytes, testing};

    static REQUESTS: Metric = Metric {
        name: "monitor_test_requests_total",
        help: "Requests with \\ and \"quotes\".",
        kind: Kind::Counter,
        labels: &["group"],
    };
    static WAIT: Metric = Metric {
        name: "monitor_test_wait_seconds",
        help: "Time waited.",
        kind: Kind::Histogram,
        labels: &["group", "family"],
    };
    static SIZE: Metric = Metric { name: "monitor_test_size_bytes", help: "Size.", kind: Kind::Histogram, labels: &[] };
    static INFO: Metric =
        Metric { name: "monitor_test_build_info", help: "The build.", kind: Kind::Gauge, labels: &["version"] };
    static LOAD: Metric = Metric { name: "node_load1", help: "Load.", kind: Kind::Gauge, labels: &[] };
    static SECONDS: Metric =
        Metric { name: "monitor_test_cpu_seconds_total", help: "CPU time.", kind: Kind::Counter, labels: &[] };
    static TESTS: Metric = Metric { name: "monitor_tests", help: "Tests now.", kind: Kind::Gauge, labels: &[] };
    static TESTS_TOTAL: Metric =
        Metric { name: "monitor_tests_total", help: "Tests ever.", kind: Kind::Counter, labels: &[] };

    fn families() -> Vec<MetricFamily> {
        let mut families = Families::new();
        families.counter(&REQUESTS, &["plain"], 3.0);
        families.counter(&REQUESTS, &["a \"b\" c\\d\ne"], 1e15);
        families.histogram(&WAIT, &["g", "read"], &[0.000_000_256, 0.5, 1.0], &[1, 0, 2, 4], 12.25);
        families.histogram(&SIZE, &[], histogram_bounds_bytes(), &[1; 9], 9.0);
        families.gauge(&INFO, &["1.0"], 1.0);
        families.gauge(&LOAD, &[], -0.5);
        families.counter(&SECONDS, &[], 0.25);
        families.gauge(&TESTS, &[], f64::INFINITY);
        families.counter(&TESTS_TOTAL, &[], 7.0);
        families.finish()
    }

    #[test]
    fn openmetrics_golden() {
        let text = String::from_utf8(encode_openmetrics(&families()).to_vec()).unwrap();
        assert_eq!(text, include_str!("golden.openmetrics"));
    }

    #[test]
    fn promtool_finds_nothing_to_say_about_the_text_format() {
        testing::promtool_check(&encode_text(&families()).unwrap());
    }

    #[test]
    fn prometheus_reads_openmetrics() {
        let series = testing::promtool_read_openmetrics(&encode_openmetrics(&families()));
        for line in [
            r#"{__name__="monitor_test_requests_total", group="plain"} 3"#,
            r#"{__name__="monitor_test_requests_total", group="a \"b\" c\\d\ne"} 1e+15"#,
            r#"{__name__="monitor_test_wait_seconds_bucket", family="read", group="g", le="1.0"} 3"#,
            r#"{__name__="monitor_test_wait_seconds_bucket", family="read", group="g", le="+Inf"} 7"#,
            r#"{__name__="monitor_tests"} +Inf"#,
            r#"{__name__="monitor_tests_total"} 7"#,
            r#"{__name__="node_load1"} -0.5"#,
        ] {
            assert!(series.iter().any(|found| found == line), "{line} is not among {series:#?}");
        }
    }

    /// Every character that a process can put into its name, in both formats.
    #[test]
    fn prometheus_reads_hostile_label_values() {
        let mut families = Families::new();
        let mut values: Vec<String> = (1..=0x9f).map(|code| format!("{}", char::from(code as u8))).collect();
        values
            .extend(["", "\\n", "\"}", "} 1\n# EOF\n", "\u{feff}", "\u{fffd}\u{202e}", "é\u{10ffff}"].map(Into::into));
        for value in &values {
            families.counter(&REQUESTS, &[value], 1.0);
        }
        let families = families.finish();
        assert_eq!(families[0].get_metric().len(), values.len());
        testing::promtool_check(&encode_text(&families).unwrap());
        let series = testing::promtool_read_openmetrics(&encode_openmetrics(&families));
        assert_eq!(series.len(), values.len(), "{series:#?}");
    }

    #[test]
    fn families_that_the_crate_would_stumble_over_are_left_out() {
        let mut untyped = MetricFamily::default();
        untyped.set_name("untyped".into());
        untyped.set_field_type(MetricType::UNTYPED);
        untyped.set_metric(vec![proto::Metric::default()]);
        let mut empty = MetricFamily::default();
        empty.set_name("empty".into());
        assert_eq!(encode_text(&[untyped.clone(), empty.clone()]).unwrap(), "");
        assert_eq!(encode_openmetrics(&[&untyped, &empty]), "# EOF\n");
    }
}
