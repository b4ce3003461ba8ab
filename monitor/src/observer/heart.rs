//! The heartbeat: proof that the way from the kernel's hooks to this thread is whole.
//!
//! Every two seconds the pipeline makes a system call of its own that does nothing ([`sys::beat`]). The program on
//! `sys_exit` sees it, looks at what is selected, goes on in the program of the call's class, which writes a record into the
//! security ring; the pipeline takes it out like all others. So a beat that comes back shows that the program is attached,
//! the selection is there, tail calls work, and the ring is read. Beside that the pipeline looks whether what is selected is
//! still what it selected, and whether its links are open.

use std::time::Duration;

use monitor_common::signals::activity::Act;
use tracing::{error, info, warn};

use super::{Happened, KernelSide, Observer};
use crate::{
    bpf::{owned::Owned, wall::since_boot},
    detect::{self, AGENT_BLIND},
    events::{Alert, BootClock},
    metrics::{Families, Kind, Metric},
    pulse::PulseStatus,
    sys,
};

static TIMESTAMP: Metric = Metric {
    name: "monitor_heartbeat_timestamp_seconds",
    help: "When the kernel programs last wrote a heartbeat that came out of the security ring, Unix time. Absent where \
           activities are off, and until the first one.",
    kind: Kind::Gauge,
    labels: &[],
};
static ROUND_TRIP: Metric = Metric {
    name: "monitor_heartbeat_round_trip_seconds",
    help: "How long the last heartbeat took from its hook in the kernel through the ring to the observing thread.",
    kind: Kind::Gauge,
    labels: &[],
};
static MISSED: Metric = Metric {
    name: "monitor_heartbeats_missed_total",
    help: "Heartbeats that had not come back when the next one was due.",
    kind: Kind::Counter,
    labels: &[],
};
static BLIND: Metric = Metric {
    name: "monitor_agent_blind",
    help: "1 for what keeps the daemon from seeing: no heartbeat comes back (silent), links were closed (links), what is \
           selected in the kernel was changed by somebody else (selection; it is put right at once).",
    kind: Kind::Gauge,
    labels: &["cause"],
};

/// What this module publishes.
pub(super) const METRICS: &[&Metric] = &[&TIMESTAMP, &ROUND_TRIP, &MISSED, &BLIND];

/// Between two beats.
pub(super) const PERIOD: Duration = Duration::from_secs(2);
/// So many beats in a row have to be missing: one may wait behind a flood of records, and Linux 7 leaves a program out now and
/// then.
const SILENT: u32 = 4;

/// Why the daemon does not see what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No heartbeat comes back.
    Silent,
    /// Links were closed.
    Links,
    /// What is selected is not what the daemon selected.
    Selection,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Silent, Self::Links, Self::Selection];

    /// The name in metrics and events.
    const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Links => "links",
            Self::Selection => "selection",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Silent => "no heartbeat comes back from the kernel programs",
            Self::Links => "links of kernel programs were closed",
            Self::Selection => "what leaves the kernel was changed by somebody else, and has been put right",
        }
    }
}

/// The state of the heartbeat. Time and what was found are arguments.
#[derive(Debug, Default)]
pub(super) struct Heart {
    /// Number of the last beat.
    sent: u64,
    /// Beats since one came back.
    waiting: u32,
    /// When the last one that came back was written, nanoseconds since boot, and how long it took.
    arrived: Option<(u64, u64)>,
    missed: u64,
    faults: Vec<Fault>,
}

impl Heart {
    /// The number of the next beat, which is made now.
    fn beat(&mut self) -> u64 {
        self.sent += 1;
        self.waiting += 1;
        self.sent
    }

    /// A beat came back. Only those that are on their way count.
    fn arrived(&mut self, number: u64, written_ns: u64, now_ns: u64) {
        if number <= self.sent && self.sent - number < u64::from(self.waiting) {
            self.waiting = u32::try_from(self.sent - number).unwrap_or(u32::MAX);
            self.arrived = Some((written_ns, now_ns.saturating_sub(written_ns)));
        }
    }

    /// Is the next beat due with the last one still on its way? For so many that it cannot be chance?
    fn silent(&mut self) -> bool {
        self.missed += u64::from(self.waiting > 0);
        self.waiting >= SILENT
    }

    /// Takes note of what is wrong now. Returns what was not a moment ago.
    fn note(&mut self, faults: Vec<Fault>) -> Vec<Fault> {
        let new = faults.iter().filter(|fault| !self.faults.contains(fault)).copied().collect();
        if !self.faults.is_empty() && faults.is_empty() {
            info!("the kernel programs are heard again");
        }
        self.faults = faults;
        new
    }

    fn reason(&self) -> Option<String> {
        (!self.faults.is_empty()).then(|| texts(&self.faults))
    }

    /// Publishes.
    pub(super) fn collect(&self, clock: BootClock, families: &mut Families) {
        if let Some((written_ns, took_ns)) = self.arrived {
            families.gauge(&TIMESTAMP, &[], clock.time(written_ns).as_millisecond() as f64 / 1e3);
            families.gauge(&ROUND_TRIP, &[], took_ns as f64 / 1e9);
        }
        families.counter(&MISSED, &[], self.missed as f64);
        for fault in Fault::ALL {
            families.gauge(&BLIND, &[fault.name()], f64::from(u8::from(self.faults.contains(&fault))));
        }
    }
}

fn texts(faults: &[Fault]) -> String {
    faults.iter().map(|fault| fault.text()).collect::<Vec<_>>().join("; ")
}

/// What `/api/v1/status` and `/-/ready` tell of it.
impl From<(&Heart, BootClock)> for PulseStatus {
    fn from((heart, clock): (&Heart, BootClock)) -> Self {
        Self {
            last: heart.arrived.map(|(written_ns, _)| clock.time(written_ns)),
            round_trip_seconds: heart.arrived.map(|(_, took_ns)| took_ns as f64 / 1e9),
            missed: heart.missed,
            blind: heart.reason(),
        }
    }
}

impl Observer {
    /// Is this a heartbeat? Then it is nobody else's business.
    pub(super) fn hears(&mut self, record: &Happened) -> bool {
        let Happened::Activity(activity) = record else { return false };
        if activity.act != Act::Heartbeat {
            return false;
        }
        self.heart.arrived(activity.args[1], activity.time_ns, since_boot());
        true
    }

    /// Looks whether the last beat came back, and makes the next one.
    pub(super) fn keep_heart(&mut self) {
        let Some(kernel) = self.kernel.as_mut().filter(|kernel| kernel.beats()) else { return };
        let mut faults = Vec::new();
        if self.heart.silent() {
            faults.push(Fault::Silent);
            // Where that is why, the next beat comes back.
            kernel.loaded.restore_tail_calls();
        }
        if links_closed(kernel) {
            faults.push(Fault::Links);
        }
        if kernel.selection_changed() {
            faults.push(Fault::Selection);
        }
        let new = self.heart.note(faults);
        if !new.is_empty() {
            self.report_blindness(&new);
        }
        self.pulse.write(Some(PulseStatus::from((&self.heart, BootClock::read()))));
        sys::beat(self.heart.beat());
    }

    /// Says in the stream of events and in the audit trail that something is not seen any more.
    fn report_blindness(&mut self, faults: &[Fault]) {
        let text = texts(faults);
        error!(reason = text, "the daemon does not see all that it should");
        let rules = &self.judge.engine.rules().list;
        let Some(rule) = rules.iter().find(|rule| rule.ast.name == AGENT_BLIND) else { return };
        let (clock, now_ns) = (BootClock::read(), since_boot());
        let causes: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
        let alert = Alert {
            output: Some(format!("The observer does not see all that it should | {text}")),
            evidence: vec![
                ("cause".into(), causes.into()),
                ("heartbeats_missing".into(), self.heart.waiting.into()),
                ("last_heartbeat".into(), self.heart.arrived.map(|(ns, _)| clock.time(ns).to_string()).into()),
            ],
            lost: self.lost(),
            ..detect::alert_of_itself(&rule.ast, self.health.subject(clock), now_ns, clock)
        };
        let published = self.store.publish(&alert);
        self.sink.write(&published);
        self.trail.loss(&published);
    }
}

/// Is a link that attaches a program not open any more?
fn links_closed(kernel: &KernelSide) -> bool {
    match Owned::here() {
        Ok(owned) => owned.links.len() < kernel.loaded.links(),
        Err(error) => {
            warn!(%error, "the daemon cannot see what it has open");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn four_beats_that_do_not_come_back_are_silence_and_one_that_does_ends_it() {
        let mut heart = Heart::default();
        assert!(!heart.silent(), "nothing has been sent yet");
        let first = heart.beat();
        heart.arrived(first, 10 * MS, 11 * MS);
        assert_eq!((heart.silent(), heart.arrived, heart.missed), (false, Some((10 * MS, MS)), 0));
        for silent in [false, false, false, true, true] {
            heart.beat();
            assert_eq!(heart.silent(), silent);
        }
        assert_eq!(heart.missed, 5);
        let late = heart.beat();
        heart.arrived(late, 20 * MS, 25 * MS);
        assert_eq!((heart.silent(), heart.arrived), (false, Some((20 * MS, 5 * MS))));
    }

    #[test]
    fn a_beat_that_was_never_made_or_has_come_back_already_does_not_count() {
        let mut heart = Heart::default();
        let (first, second) = (heart.beat(), heart.beat());
        heart.arrived(first, MS, 2 * MS);
        heart.arrived(first, 5 * MS, 6 * MS);
        heart.arrived(second + 1, 7 * MS, 8 * MS);
        assert_eq!((heart.arrived, heart.waiting), (Some((MS, MS)), 1));
    }

    #[test]
    fn each_fault_is_told_when_it_begins() {
        let mut heart = Heart::default();
        assert_eq!(heart.note(vec![Fault::Selection]), [Fault::Selection]);
        assert_eq!(heart.note(vec![Fault::Silent, Fault::Selection]), [Fault::Silent]);
        assert!(heart.reason().is_some_and(|reason| reason.contains("heartbeat") && reason.contains("changed")));
        assert_eq!(heart.note(Vec::new()), []);
        assert_eq!((heart.reason(), heart.note(vec![Fault::Silent])), (None, vec![Fault::Silent]));
    }
}
