//! The HTTP interface's own metrics.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, proto};

use super::HttpError;
use crate::metrics::{self, Families, Kind, Metric, Snapshot};

static REQUESTS: Metric = Metric {
    name: "monitor_http_requests_total",
    help: "HTTP requests answered.",
    kind: Kind::Counter,
    labels: &["code", "handler"],
};
static DURATION: Metric = Metric {
    name: "monitor_http_request_duration_seconds",
    help: "Time from the end of a request's header to the start of its answer.",
    kind: Kind::Histogram,
    labels: &["handler"],
};
static CONNECTIONS: Metric =
    Metric { name: "monitor_http_connections", help: "Open HTTP connections.", kind: Kind::Gauge, labels: &[] };
static STREAMS: Metric = Metric {
    name: "monitor_http_event_streams",
    help: "Open streams of security events.",
    kind: Kind::Gauge,
    labels: &[],
};
static REJECTED: Metric = Metric {
    name: "monitor_http_rejected_total",
    help: "Connections, streams and requests refused or cut off.",
    kind: Kind::Counter,
    labels: &["reason"],
};
static MISSED: Metric = Metric {
    name: "monitor_http_missed_events_total",
    help: "Events that readers of the event stream were told to have missed.",
    kind: Kind::Counter,
    labels: &[],
};
static STALE: Metric = Metric {
    name: "monitor_http_stale_scrapes_total",
    help: "Scrapes answered with earlier numbers because new ones came too late.",
    kind: Kind::Counter,
    labels: &[],
};
static SKIPPED: Metric = Metric {
    name: "monitor_metrics_skipped_samples_total",
    help: "Samples left out of scrapes because they did not fit their metric or were there twice.",
    kind: Kind::Counter,
    labels: &["reason"],
};

/// Metrics of the HTTP interface.
pub const METRICS: &[&Metric] = &[&REQUESTS, &DURATION, &CONNECTIONS, &STREAMS, &REJECTED, &MISSED, &STALE, &SKIPPED];

/// Upper bounds of the durations, in seconds: a health check takes microseconds, a saturated machine a second.
static DURATION_BOUNDS: [f64; 7] = [0.000_25, 0.001, 0.004, 0.016, 0.064, 0.256, 1.024];

/// Why a peer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// More connections than configured.
    Connections,
    /// More event streams than we serve.
    Streams,
    /// More large answers in flight than we hold.
    Answers,
    /// No complete request in time.
    Silent,
    /// Something that is not HTTP.
    Malformed,
    /// Takes no answer.
    Stalled,
}

impl Rejected {
    const ALL: [Self; 6] =
        [Self::Connections, Self::Streams, Self::Answers, Self::Silent, Self::Malformed, Self::Stalled];

    const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Streams => "streams",
            Self::Answers => "answers",
            Self::Silent => "silent",
            Self::Malformed => "malformed",
            Self::Stalled => "stalled",
        }
    }
}

/// The live counters.
pub(super) struct Telemetry {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    pub(super) connections: IntGauge,
    pub(super) streams: IntGauge,
    rejected: IntCounterVec,
    pub(super) missed: IntCounter,
    pub(super) stale: IntCounter,
}

impl Telemetry {
    pub(super) fn new() -> Result<Self, HttpError> {
        let opts = |metric: &Metric| Opts::new(metric.name, metric.help);
        let bounds = HistogramOpts::new(DURATION.name, DURATION.help).buckets(DURATION_BOUNDS.to_vec());
        let telemetry = Self {
            registry: Registry::new(),
            requests: IntCounterVec::new(opts(&REQUESTS), REQUESTS.labels)?,
            duration: HistogramVec::new(bounds, DURATION.labels)?,
            connections: IntGauge::with_opts(opts(&CONNECTIONS))?,
            streams: IntGauge::with_opts(opts(&STREAMS))?,
            rejected: IntCounterVec::new(opts(&REJECTED), REJECTED.labels)?,
            missed: IntCounter::with_opts(opts(&MISSED))?,
            stale: IntCounter::with_opts(opts(&STALE))?,
        };
        telemetry.register()?;
        // A series that starts with its first increment hides that increment from rate().
        for reason in Rejected::ALL {
            telemetry.rejected.with_label_values(&[reason.name()]);
        }
        Ok(telemetry)
    }

    fn register(&self) -> Result<(), HttpError> {
        self.registry.register(Box::new(self.requests.clone()))?;
        self.registry.register(Box::new(self.duration.clone()))?;
        self.registry.register(Box::new(self.connections.clone()))?;
        self.registry.register(Box::new(self.streams.clone()))?;
        self.registry.register(Box::new(self.rejected.clone()))?;
        self.registry.register(Box::new(self.missed.clone()))?;
        self.registry.register(Box::new(self.stale.clone()))?;
        Ok(())
    }

    /// Counts an answer. `handler` is a path of ours, so that the peer cannot make series.
    pub(super) fn answered(&self, handler: &str, code: u16, seconds: f64) {
        self.requests.with_label_values(&[&code.to_string(), handler]).inc();
        self.duration.with_label_values(&[handler]).observe(seconds);
    }

    pub(super) fn reject(&self, reason: Rejected) {
        self.rejected.with_label_values(&[reason.name()]).inc();
    }

    pub(super) fn gather(&self) -> Snapshot {
        let mut families = Families::new();
        for (reason, count) in metrics::skipped() {
            families.counter(&SKIPPED, &[reason.name()], count as f64);
        }
        for family in &self.registry.gather() {
            if let Some(metric) = METRICS.iter().find(|metric| metric.name == family.name()) {
                family.get_metric().iter().for_each(|sample| adopt(&mut families, metric, sample));
            }
        }
        families.finish()
    }
}

/// Takes over a sample of the `prometheus` crate's registry, which sorts labels by name, as our descriptions do here.
fn adopt(families: &mut Families, metric: &'static Metric, sample: &proto::Metric) {
    let labels: Vec<&str> = sample.get_label().iter().map(|pair| pair.value()).collect();
    match metric.kind {
        Kind::Counter => families.counter(metric, &labels, sample.get_counter().get_value()),
        Kind::Gauge => families.gauge(metric, &labels, sample.get_gauge().get_value()),
        Kind::Histogram => {
            let histogram = sample.get_histogram();
            let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
            let mut below = 0;
            let counts: Vec<u64> = finite
                .map(|bucket| bucket.cumulative_count())
                .chain([histogram.get_sample_count()])
                .map(|count| count.saturating_sub(std::mem::replace(&mut below, count)))
                .collect();
            families.histogram(metric, &labels, &DURATION_BOUNDS, &counts, histogram.get_sample_sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_the_conventions_and_are_all_listed() {
        assert_eq!(metrics::lint(METRICS), Vec::<String>::new());
        let telemetry = Telemetry::new().unwrap();
        telemetry.answered("/metrics", 200, 0.001);
        let mut listed: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        listed.sort_unstable();
        let snapshot = telemetry.gather();
        assert_eq!(snapshot.families().map(|family| family.name()).collect::<Vec<_>>(), listed);
    }

    #[test]
    fn what_the_registry_holds_is_told_as_it_is() {
        let telemetry = Telemetry::new().unwrap();
        telemetry.answered("/metrics", 200, 0.002);
        telemetry.answered("/metrics", 503, 0.002);
        telemetry.answered("/metrics", 503, 99.0);
        telemetry.connections.set(3);
        let page = metrics::encode(metrics::Format::Text, &[&telemetry.gather()]);
        let page = std::str::from_utf8(&page).unwrap();
        // The crate's own writing of its registry is the judge; the samples skipped are in no registry.
        let theirs = prometheus::TextEncoder::new().encode_to_string(&telemetry.registry.gather()).unwrap();
        assert!(theirs.contains("monitor_http_requests_total{code=\"503\",handler=\"/metrics\"} 2\n"), "{theirs}");
        let ours: String = page.split_inclusive('\n').filter(|line| !line.contains(SKIPPED.name)).collect();
        assert_eq!(ours, theirs);
    }
}
