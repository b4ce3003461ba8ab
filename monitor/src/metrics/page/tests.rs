use prometheus::{TextEncoder, proto};

use super::*;
use crate::metrics::{Families, Metric, histogram_bounds_bytes, histogram_bounds_seconds, testing};

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
static LEVEL: Metric =
    Metric { name: "monitor_test_level", help: "A level.", kind: Kind::Gauge, labels: &["group", "pid"] };

fn snapshot() -> Snapshot {
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

fn text(snapshot: &Snapshot) -> String {
    String::from_utf8(encode(Format::Text, &[snapshot]).to_vec()).unwrap()
}

fn openmetrics(snapshot: &Snapshot) -> String {
    String::from_utf8(encode(Format::OpenMetrics, &[snapshot]).to_vec()).unwrap()
}

/// The same in the data model of the `prometheus` crate.
fn proto(snapshot: &Snapshot) -> Vec<proto::MetricFamily> {
    let of_family = |family: &Family| {
        let mut proto = proto::MetricFamily::default();
        proto.set_name(family.name().to_owned());
        proto.set_help(family.metric.help.to_owned());
        proto.set_field_type(match family.metric.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
            Kind::Histogram => proto::MetricType::HISTOGRAM,
        });
        proto.set_metric(family.samples().map(|sample| of_sample(family.metric, sample)).collect());
        proto
    };
    snapshot.families().map(of_family).collect()
}

fn of_sample(metric: &Metric, sample: Sample<'_>) -> proto::Metric {
    let pair = |(name, value): (&&str, &str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    let mut proto = proto::Metric::from_label(metric.labels.iter().zip(sample.labels()).map(pair).collect());
    match metric.kind {
        Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(sample.value());
            proto.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(sample.value());
            proto.set_gauge(gauge);
        }
        Kind::Histogram => {
            let bucket = |(bound, count): (&f64, u64)| {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(count);
                bucket
            };
            let mut histogram = proto::Histogram::default();
            histogram.set_bucket(sample.bounds().iter().zip(sample.cumulative()).map(bucket).collect());
            histogram.set_sample_count(sample.cumulative().last().unwrap());
            histogram.set_sample_sum(sample.value());
            proto.set_histogram(histogram);
        }
    }
    proto
}

/// A generator of numbers that look random and are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Up to 2^53, as the numbers of a `f64` are exact to.
    fn count(&mut self) -> u64 {
        let bits = self.next() % 53;
        self.next() >> (63 - bits)
    }

    /// Every magnitude, whole and broken, the special ones too; not negative.
    fn amount(&mut self) -> f64 {
        match self.next() % 6 {
            0 => self.count() as f64,
            1 => self.count() as f64 / 1e9,
            2 => self.count() as f64 / 1024.0,
            3 => f64::from_bits(self.next() % f64::INFINITY.to_bits()),
            4 => [0.0, 1.0, EXACT, EXACT - 1.0, EXACT + 2.0, PLAIN, f64::MIN_POSITIVE, f64::MAX, 1e-3 - 1e-19]
                [self.next() as usize % 9],
            _ => 10_f64.powi(self.next() as i32 % 25),
        }
    }

    fn label(&mut self) -> String {
        const CHARACTERS: [char; 12] = ['a', 'Z', '0', ' ', '!', '"', '\\', '\n', '{', '\u{1}', 'é', '\u{10ffff}'];
        (0..self.next() % 6).map(|_| CHARACTERS[self.next() as usize % CHARACTERS.len()]).collect()
    }
}

/// Families of every kind with whatever labels and numbers there may be.
fn anything(seed: u64) -> Snapshot {
    let mut random = Random(seed);
    let mut families = Families::new();
    for _ in 0..random.next() % 40 {
        families.counter(&REQUESTS, &[&random.label()], random.amount());
        let sign = if random.next().is_multiple_of(2) { 1.0 } else { -1.0 };
        families.gauge(&LEVEL, &[&random.label(), &random.label()], sign * random.amount());
        let counts: Vec<u64> = histogram_bounds_seconds().iter().map(|_| random.count() >> 5).chain([1]).collect();
        let labels = [random.label(), random.label()];
        families.histogram(&WAIT, &[&labels[0], &labels[1]], histogram_bounds_seconds(), &counts, random.amount());
    }
    families.gauge(&LOAD, &[], if random.next().is_multiple_of(8) { f64::NAN } else { -random.amount() });
    families.histogram(&SIZE, &[], histogram_bounds_bytes(), &[random.count() >> 5; 9], random.amount());
    families.finish()
}

/// The same line, or one with the same number: `std` and `zmij` both write the fewest digits that give the number back,
/// and differ in the last one where two are equally near.
fn same(our: &str, their: &str) -> bool {
    let split = |line: &str| -> Option<(String, f64)> {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    let (ours, theirs) = (split(our), split(their));
    our == their || (ours.is_some() && ours == theirs && our.len() == their.len())
}

#[test]
fn the_text_format_is_what_the_prometheus_crate_writes() {
    for seed in 0..500 {
        let snapshot = anything(seed);
        let theirs = TextEncoder::new().encode_to_string(&proto(&snapshot)).unwrap();
        let ours = text(&snapshot);
        if let Some((our, their)) = ours.lines().zip(theirs.lines()).find(|(our, their)| !same(our, their)) {
            panic!("seed {seed}: we write {our:?}, they {their:?}");
        }
        assert_eq!(ours.len(), theirs.len(), "seed {seed}");
        let samples = ours.lines().filter(|line| !line.starts_with("# ")).count();
        assert_eq!(samples, snapshot.series(), "seed {seed}");
    }
}

#[test]
fn both_formats_have_the_same_numbers_in_the_same_order() {
    for seed in 0..50 {
        let snapshot = anything(seed);
        // But for the order of a histogram's sum and count, and the point in whole bounds.
        let numbers = |page: &str| {
            let mut lines: Vec<String> =
                page.lines().filter(|line| !line.starts_with("# ")).map(|line| line.replace(".0\"}", "\"}")).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(numbers(&text(&snapshot)), numbers(&openmetrics(&snapshot)), "seed {seed}");
    }
}

#[test]
fn infinity_is_written_as_the_formats_want_it() {
    let mut families = Families::new();
    families.gauge(&LEVEL, &["a", "1"], f64::INFINITY);
    families.gauge(&LEVEL, &["a", "2"], f64::NEG_INFINITY);
    let snapshot = families.finish();
    let lines = "monitor_test_level{group=\"a\",pid=\"1\"} +Inf\nmonitor_test_level{group=\"a\",pid=\"2\"} -Inf\n";
    assert!(text(&snapshot).ends_with(lines), "{}", text(&snapshot));
    assert!(openmetrics(&snapshot).ends_with(&format!("{lines}# EOF\n")), "{}", openmetrics(&snapshot));
}

#[test]
fn bounds_are_those_of_each_sample() {
    let mut families = Families::new();
    families.histogram(&WAIT, &["a", "x"], &[1.0, 2.0], &[1, 1, 1], 1.0);
    families.histogram(&WAIT, &["b", "x"], &[3.0], &[1, 1], 1.0);
    families.histogram(&WAIT, &["c", "x"], &[], &[5], 1.0);
    let page = text(&families.finish());
    let bounds: Vec<&str> = page.lines().filter_map(|line| line.split_once("le=\"")?.1.split('"').next()).collect();
    assert_eq!(bounds, ["1", "2", "+Inf", "3", "+Inf", "+Inf"]);
}

#[test]
fn of_two_families_with_one_name_the_first_stays() {
    let one = |metric, value| {
        let mut families = Families::new();
        families.gauge(metric, &[], value);
        families.finish()
    };
    let page = encode(Format::Text, &[&one(&TESTS, 1.0), &one(&LOAD, 5.0), &one(&TESTS, 2.0)]);
    let page = std::str::from_utf8(&page).unwrap();
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, ["monitor_tests 1", "node_load1 5"]);
}

#[test]
fn openmetrics_golden() {
    assert_eq!(openmetrics(&snapshot()), include_str!("../golden.openmetrics"));
}

#[test]
fn promtool_finds_nothing_to_say_about_the_text_format() {
    testing::promtool_check(&encode(Format::Text, &[&snapshot()]));
}

#[test]
fn prometheus_reads_openmetrics() {
    let series = testing::promtool_read_openmetrics(&encode(Format::OpenMetrics, &[&snapshot()]));
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
    values.extend(["", "\\n", "\"}", "} 1\n# EOF\n", "\u{feff}", "\u{fffd}\u{202e}", "é\u{10ffff}"].map(Into::into));
    for value in &values {
        families.counter(&REQUESTS, &[value], 1.0);
    }
    let snapshot = families.finish();
    assert_eq!(snapshot.series(), values.len());
    testing::promtool_check(&encode(Format::Text, &[&snapshot]));
    let series = testing::promtool_read_openmetrics(&encode(Format::OpenMetrics, &[&snapshot]));
    assert_eq!(series.len(), values.len(), "{series:#?}");
}
