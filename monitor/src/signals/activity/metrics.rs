//! What this signal publishes about itself.

use monitor_common::signals::activity::{Act, THROTTLE_BEGINS};

use super::{Activity, Selector};
use crate::{
    bpf::{BpfError, loader::Loaded},
    metrics::{Families, Kind, Metric},
};

static RECORDS: Metric = Metric {
    name: "monitor_activity_records_total",
    help: "Activities that came from the kernel, by kind: what rules or the configuration selected, not all there were.",
    kind: Kind::Counter,
    labels: &["kind"],
};
static THROTTLED: Metric = Metric {
    name: "monitor_activity_throttles_total",
    help: "Times that a control group was kept from sending more activities of bulk kinds. How many were not sent is \
           monitor_lost_total with cause throttled.",
    kind: Kind::Counter,
    labels: &[],
};
static WATCHED: Metric = Metric {
    name: "monitor_activity_watched",
    help: "Files, names and directories that the kernel programs watch; those without room are refused.",
    kind: Kind::Gauge,
    labels: &["by"],
};

/// What this signal publishes.
pub const METRICS: &[&Metric] = &[&RECORDS, &THROTTLED, &WATCHED];

/// Kinds have numbers below this.
const KINDS: usize = 64;

/// The signal's kernel maps and what has come from them.
pub struct Activities {
    /// What leaves the kernel.
    pub selector: Selector,
    records: [u64; KINDS],
    throttled: u64,
}

impl Activities {
    /// Takes the signal's maps.
    ///
    /// # Errors
    /// When one is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, BpfError> {
        Ok(Self { selector: Selector::new(loaded)?, records: [0; KINDS], throttled: 0 })
    }

    /// Counts an activity.
    pub fn note(&mut self, activity: &Activity) {
        self.records[activity.act as usize] += 1;
        if activity.act == Act::Throttle && activity.result == THROTTLE_BEGINS {
            self.throttled += 1;
        }
    }

    /// Publishes.
    pub fn collect(&self, families: &mut Families) {
        for act in Act::ALL {
            families.counter(&RECORDS, &[act.name()], self.records[*act as usize] as f64);
        }
        families.counter(&THROTTLED, &[], self.throttled as f64);
        for (by, count) in self.selector.watched() {
            families.gauge(&WATCHED, &[by], count as f64);
        }
        families.gauge(&WATCHED, &["refused"], self.selector.refused() as f64);
    }
}
