//! The HTTP interface's own metrics.

use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::HttpError;
use crate::metrics::{self, Families, Kind, Metric};

static REQUESTS: Metric = Metric {
    name: "monitor_http_requests_total",
    help: "HTTP requests answered.",
    kind: Kind::Counter,
    labels: &["handler", "code"],
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
const DURATION_BOUNDS: [f64; 7] = [0.000_25, 0.001, 0.004, 0.016, 0.064, 0.256, 1.024];

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
        self.requests.with_label_values(&[handler, &code.to_string()]).inc();
        self.duration.with_label_values(&[handler]).observe(seconds);
    }

    pub(super) fn reject(&self, reason: Rejected) {
        self.rejected.with_label_values(&[reason.name()]).inc();
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let mut families = Families::new();
        for (reason, count) in metrics::skipped() {
            families.counter(&SKIPPED, &[reason.name()], count as f64);
        }
        let mut all = self.registry.gather();
        all.append(&mut families.finish());
        all
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
        let families = telemetry.gather();
        let families = metrics::merge(&families);
        assert_eq!(families.iter().map(|family| family.name()).collect::<Vec<_>>(), listed);
    }
}
