//! From an exec to a published event.

use monitor_common::{loss::Loss, record::Ring};
use tracing::debug;

use super::{Happened, KernelSide, Observer};
use crate::{
    bpf::{Program, programs, wall::since_boot},
    detect::{Ancestor, Context, Engine, Finding, LossCount, Recorder, alert_of_exec, alert_of_observer, blinds},
    events::{Alert, BootClock, Lost},
    processes::{Process, ProcessId, ProcessTable},
    signals::exec::Exec,
};

/// What the process table knows around an exec.
struct Known<'a> {
    table: &'a ProcessTable,
    id: ProcessId,
}

impl Known<'_> {
    fn process(&self) -> Option<&Process> {
        self.table.get(self.id)
    }

    /// The group that metrics have: whoever runs a thousand programs of different names must not make as many series.
    fn label(&self) -> &str {
        let groups = self.table.groups();
        let group = self.process().map(|process| groups.visible(process.group));
        group.and_then(|group| groups.name_of(group)).unwrap_or("_unknown")
    }
}

impl Context for Known<'_> {
    fn ancestors(&self) -> Vec<Ancestor> {
        let ancestor = |process: &Process| Ancestor {
            pid: process.id.pid,
            start_ticks: process.id.start_ticks,
            exe: process.image.exe.to_vec(),
            args: process.image.argv().map(<[u8]>::to_vec).collect(),
            uid: Some(process.credentials.uid),
        };
        self.table.ancestors(self.id).map(ancestor).collect()
    }

    fn cgroup(&self) -> Option<&[u8]> {
        self.process().map(|process| process.cgroup.path.as_bytes()).filter(|path| !path.is_empty())
    }

    fn unit(&self) -> Option<&str> {
        self.process()?.cgroup.unit.as_deref()
    }

    fn container(&self) -> Option<&str> {
        self.process()?.cgroup.container.as_ref().map(|container| &*container.id)
    }

    fn group(&self) -> &str {
        let group = self.process().map(|process| process.group);
        group.and_then(|group| self.table.groups().name_of(group)).unwrap_or("_unknown")
    }
}

/// The rules with the flight recorder.
#[derive(Debug)]
pub struct Judge {
    /// The rules.
    pub engine: Engine,
    /// What processes did last.
    pub recorder: Recorder,
}

impl Judge {
    /// With an empty recorder.
    pub fn new(engine: Engine) -> Self {
        Self { engine, recorder: Recorder::default() }
    }

    /// Runs the rules over what happened, which the table knows already: the alerts, each with the group that it counts
    /// for. `now` is asked only when there is one.
    pub fn judge(
        &mut self,
        table: &ProcessTable,
        happened: &Happened,
        now: impl FnOnce() -> (BootClock, Lost),
    ) -> Vec<(Alert, String)> {
        match happened {
            Happened::Fork(fork) => self.recorder.fork(fork.parent, fork.child, fork.header.time_ns),
            Happened::Exit(exit) => {
                let id = ProcessId::from_key(exit.process);
                self.recorder.exit(id, Some(exit.status), exit.header.time_ns);
            }
            Happened::Activity(activity) => self.recorder.activity(activity),
            Happened::Exec(exec) => return self.exec(table, exec, now),
        }
        Vec::new()
    }

    fn exec(
        &mut self,
        table: &ProcessTable,
        exec: &Exec,
        now: impl FnOnce() -> (BootClock, Lost),
    ) -> Vec<(Alert, String)> {
        let known = Known { table, id: ProcessId::from_key(exec.process) };
        let mut findings = Vec::new();
        self.engine.on_exec(exec, &known, &mut findings);
        let alerts = if findings.is_empty() {
            Vec::new()
        } else {
            let (clock, lost) = now();
            let whose = [known.id].into_iter().chain(table.ancestors(known.id).map(|process| process.id));
            // The exec itself is the alert: it is noted afterwards.
            let recent = self.recorder.recent(whose, exec.time_ns);
            let alert = |finding| {
                let alert = alert_of_exec(finding, exec, &known, clock, lost);
                (Alert { recent: recent.clone(), ..alert }, known.label().to_owned())
            };
            findings.into_iter().map(alert).collect()
        };
        self.recorder.exec(exec);
        alerts
    }
}

/// Records lost since the start, by ring. The gaps in the numbers prove it; the kernel's own count knows the latest.
pub fn lost(kernel: Option<&KernelSide>) -> Lost {
    let Some(kernel) = kernel else { return Lost::default() };
    Lost {
        security_ring: kernel
            .account(Ring::Security)
            .missing
            .max(kernel.lost(Loss::ExecRing) + kernel.lost(Loss::ActivityRing)),
        telemetry_ring: kernel
            .account(Ring::Telemetry)
            .missing
            .max(kernel.lost(Loss::ForkRing) + kernel.lost(Loss::ExitRing)),
    }
}

impl Observer {
    /// Runs the rules over what happened, and publishes what they find.
    pub(super) fn publish(&mut self, happened: &Happened) {
        if let Happened::Activity(activity) = happened {
            debug!(target: "monitor::activity", "{}", activity.to_json());
        }
        let now = || (BootClock::read(), lost(self.kernel.as_ref()));
        for (alert, label) in self.judge.judge(&self.table, happened, now) {
            let published = self.store.publish_counted(&alert, &label);
            self.sink.write(&published);
            self.trail.alert(&published);
            if let Some(responder) = &self.responder {
                responder.respond(&alert, &published, &[]);
            }
        }
    }

    /// Records lost since the start.
    fn lost(&self) -> Lost {
        lost(self.kernel.as_ref())
    }
    /// Says in the stream of events when records were lost: whoever reads it must know that it is not complete.
    pub(super) fn report_losses(&mut self) {
        let Some(kernel) = &self.kernel else { return };
        let lost = self.lost();
        let of_kernel = Loss::ALL.iter().filter(|loss| blinds(**loss)).map(|loss| LossCount {
            signal: loss.signal(),
            cause: loss.cause(),
            total: kernel.lost(*loss),
        });
        let of_rings = Ring::ALL.iter().flat_map(|ring| {
            let account = kernel.account(*ring);
            let count = |cause, total| LossCount { signal: ring.name(), cause, total };
            [
                count("ring_missing", account.missing),
                count("ring_malformed", account.malformed + kernel.order.undecodable[*ring as usize]),
            ]
        });
        let missed = |signal, program: Program| {
            let total = kernel.loaded.misses(program.name).unwrap_or(0);
            LossCount { signal, cause: "program_missed", total }
        };
        let of_programs = [missed("exec", programs::EXEC), missed("activity", programs::SYS_EXIT)];
        let counts: Vec<LossCount> = of_kernel.chain(of_rings).chain(of_programs).collect();
        let mut findings: Vec<Finding> = Vec::new();
        self.judge.engine.on_losses(&counts, since_boot(), &mut findings);
        for finding in findings {
            let clock = BootClock::read();
            let alert = alert_of_observer(finding, self.health.subject(clock), clock, lost);
            let published = self.store.publish(&alert);
            self.sink.write(&published);
            self.trail.loss(&published);
        }
    }
}
