//! The flight recorder: the last things that each process did, in a few words each, so that an alert shows what came before
//! it. Bounded per process and in total; what is forgotten for want of room is counted.

use std::collections::{HashMap, VecDeque};

use monitor_common::record::ProcessKey;

use super::{Event, What};
use crate::events::{Recent, redact, text::lossy};
use crate::metrics::{Families, Kind, Metric};
use crate::processes::ProcessId;
use crate::signals::activity::Activity;
use crate::signals::exec::Exec;

/// Events kept of one process.
const PER_PROCESS: usize = 16;
/// Processes of which something is kept, in each of two generations: at most 16 MiB with events of usual length.
const PROCESSES: usize = 4_096;
/// Events shown in one alert.
const SHOWN: usize = 32;
/// Longest summary, bytes.
const LENGTH: usize = 160;

static EVICTED: Metric = Metric {
    name: "monitor_recent_evicted_total",
    help: "What the flight recorder forgot for want of room: events of processes that did more than it keeps of one \
           (cause event), processes when there were more than it keeps (cause process).",
    kind: Kind::Counter,
    labels: &["cause"],
};

/// Metrics of the recorder.
pub(super) const METRICS: &[&Metric] = &[&EVICTED];

/// Something that a process did.
#[derive(Clone, Debug)]
struct Note {
    time_ns: u64,
    what: Box<str>,
}

/// What processes did last. Two generations of processes: when the young one is full it becomes the old one, and whoever
/// did nothing since is forgotten with the next change.
#[derive(Debug, Default)]
pub struct Recorder {
    young: HashMap<ProcessId, VecDeque<Note>>,
    old: HashMap<ProcessId, VecDeque<Note>>,
    evicted_events: u64,
    evicted_processes: u64,
}

impl Recorder {
    /// Notes an event.
    pub fn note(&mut self, event: &Event) {
        let id = ProcessId::from_key(event.process);
        match &event.what {
            What::Exec(exec) => self.exec(exec),
            What::Fork { child } => self.fork(event.process, *child, event.time_ns),
            What::Exit { status } => self.exit(id, *status, event.time_ns),
            What::Activity(activity) => self.activity(activity),
        }
    }

    /// A process runs another program.
    pub fn exec(&mut self, exec: &Exec) {
        let args: Vec<_> = exec.args.iter().take(8).map(|arg| lossy(arg)).collect();
        let args = redact::arguments(args).join(" ");
        self.add(ProcessId::from_key(exec.process), exec.time_ns, format!("execve {} [{args}]", lossy(&exec.exe)));
    }

    /// A process was created.
    pub fn fork(&mut self, parent: ProcessKey, child: ProcessKey, time_ns: u64) {
        self.add(ProcessId::from_key(parent), time_ns, format!("clone -> {}", child.tgid));
    }

    /// A process ended.
    pub fn exit(&mut self, id: ProcessId, status: Option<u32>, time_ns: u64) {
        let how = match status {
            None => "exit".to_owned(),
            Some(status) if status & 0x7f != 0 => format!("exit by signal {}", status & 0x7f),
            Some(status) => format!("exit {}", (status >> 8) & 0xff),
        };
        self.add(id, time_ns, how);
    }

    /// A process asked something of the kernel.
    pub fn activity(&mut self, activity: &Activity) {
        let mut what = activity.call.to_owned();
        let name = activity.name.as_ref().map(|name| name.raw.as_slice());
        for part in [Some(activity.path.as_slice()), name.filter(|name| *name != activity.path.as_slice())] {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                what.push(' ');
                what.push_str(&lossy(part));
            }
        }
        if let Some(target) = activity.target {
            what.push_str(&format!(" on {}", target.tgid));
        }
        if activity.result < 0 {
            what.push_str(&format!(" failed ({})", -activity.result));
        }
        self.add(ProcessId::from_key(activity.process), activity.time_ns, what);
    }

    fn add(&mut self, id: ProcessId, time_ns: u64, mut what: String) {
        what.truncate(what.floor_char_boundary(LENGTH));
        if !self.young.contains_key(&id) && self.young.len() >= PROCESSES {
            self.evicted_processes += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        let earlier = self.old.remove(&id);
        let notes = self.young.entry(id).or_insert_with(|| earlier.unwrap_or_default());
        if notes.len() >= PER_PROCESS {
            notes.pop_front();
            self.evicted_events += 1;
        }
        notes.push_back(Note { time_ns, what: what.into() });
    }

    /// The last things that these processes did up to a time, oldest first; the latest when there are too many.
    pub fn recent(&self, processes: impl IntoIterator<Item = ProcessId>, until_ns: u64) -> Vec<Recent> {
        let mut recent = Vec::new();
        for id in processes {
            let notes = self.young.get(&id).or_else(|| self.old.get(&id));
            let notes = notes.into_iter().flatten().filter(|note| note.time_ns <= until_ns);
            recent.extend(notes.map(|note| Recent {
                kernel_ns: note.time_ns,
                pid: id.pid,
                what: note.what.to_string(),
            }));
        }
        recent.sort_by_key(|note| note.kernel_ns);
        recent.split_off(recent.len().saturating_sub(SHOWN))
    }

    /// Adds the recorder's metrics to a scrape.
    pub fn collect(&self, families: &mut Families) {
        families.counter(&EVICTED, &["event"], self.evicted_events as f64);
        families.counter(&EVICTED, &["process"], self.evicted_processes as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: u32) -> ProcessId {
        ProcessId { pid, start_ticks: 1 }
    }

    fn texts(recent: &[Recent]) -> Vec<&str> {
        recent.iter().map(|note| note.what.as_str()).collect()
    }

    #[test]
    fn a_process_and_its_ancestors_are_shown_in_the_order_of_time() {
        let mut recorder = Recorder::default();
        let key = |tgid| ProcessKey { start_ns: 10_000_000, tgid, reserved: 0 };
        recorder.fork(key(1), key(2), 5);
        let args = vec![b"curl".to_vec(), b"-u".to_vec(), b"me:secret".to_vec()];
        recorder.exec(&Exec { time_ns: 6, process: key(2), exe: b"/usr/bin/curl".to_vec(), args, ..Exec::default() });
        recorder.exit(id(3), Some(9), 7);
        recorder.exit(id(1), Some(256), 8);
        assert_eq!(
            texts(&recorder.recent([id(2), id(1)], 7)),
            ["clone -> 2", "execve /usr/bin/curl [curl -u me:[redacted]]"]
        );
        assert_eq!(texts(&recorder.recent([id(3), id(1)], 9)), ["clone -> 2", "exit by signal 9", "exit 1"]);
    }

    #[test]
    fn neither_a_busy_process_nor_many_fill_the_memory() {
        let mut recorder = Recorder::default();
        for time in 0..100 {
            recorder.add(id(7), time, "ä".repeat(200));
        }
        let kept = recorder.recent([id(7)], 1_000);
        assert_eq!((kept.len(), kept[0].kernel_ns, kept[0].what.len()), (PER_PROCESS, 84, LENGTH));
        assert_eq!(recorder.evicted_events, 84);
        for pid in 0..20_000 {
            recorder.add(id(100_000 + pid), 1, String::new());
        }
        assert!(recorder.young.len() + recorder.old.len() <= 2 * PROCESSES);
        assert_eq!(recorder.young.len() as u64 + recorder.old.len() as u64 + recorder.evicted_processes, 20_001);
        assert!(recorder.recent([id(7)], 1_000).is_empty());
    }
}
