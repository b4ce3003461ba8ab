//! What a metric is, how a scrape is built from metrics, and how it is written for Prometheus.
//!
//! A module that measures something has a `static` [`Metric`] for each name and lists them in its `METRICS`; the
//! documentation and the checks of names are made from those lists, so that neither can differ from what is exported.

mod bounds;
mod describe;
mod families;
mod negotiate;
mod openmetrics;
mod page;
mod snapshot;
#[cfg(test)]
pub(crate) mod testing;

pub use bounds::{histogram_bounds_bytes, histogram_bounds_seconds, lifetime_bounds_seconds};
pub use describe::{lint, markdown};
pub use families::{Families, Skipped, skipped};
pub use negotiate::Format;
pub use page::encode;
pub use snapshot::{Family, Sample, Snapshot};

/// What a series does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows, and starts at zero with the daemon (or with the host, for host metrics).
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations by size.
    Histogram,
}

impl Kind {
    /// The word that Prometheus has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The description of a metric: everything about it that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The complete name, such as `monitor_syscalls_total` or `node_load1`.
    pub name: &'static str,
    /// One sentence for the reader of a dashboard.
    pub help: &'static str,
    /// What its series do over time.
    pub kind: Kind,
    /// Names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
}
