//! From what happened to a published event.

use monitor_common::{loss::Loss, record::Ring};
use tracing::debug;

use super::{Happened, KernelSide, Observer, Surroundings};
use crate::{
    bpf::{Program, programs, wall::since_boot},
    detect::{
        self, EVENT_LOSS, Event, LossCount, LossWatch, Recorder, What, World as _, blinds,
        eval::{Engine, Finding},
    },
    events::{Alert, Ancestor, BootClock, Lost, Subject, text::lossy},
    processes::ProcessId,
    respond::{Deed, asked},
};

/// Most ancestors in an event: a chain of processes can be as long as somebody likes.
const ANCESTORS: usize = 20;

/// The rules with the flight recorder.
#[derive(Debug)]
pub struct Judge {
    /// The rules.
    pub engine: Engine,
    /// What processes did last.
    pub recorder: Recorder,
    losses: LossWatch,
    events: u64,
}

/// An alert with what it leads to.
#[derive(Debug)]
pub struct Judged {
    /// The alert.
    pub alert: Alert,
    /// The group that it counts for.
    pub label: String,
    /// What its rule asks to be done.
    pub deeds: Vec<Deed>,
    /// It tells how often something was: nothing is done about it.
    pub summary: bool,
}

impl Judge {
    /// With an empty recorder.
    pub fn new(engine: Engine) -> Self {
        Self { engine, recorder: Recorder::default(), losses: LossWatch::default(), events: 0 }
    }

    /// Runs the rules over what happened, which the world knows already. `now` is asked only when there is an alert.
    pub fn judge(
        &mut self,
        world: &Surroundings<'_>,
        happened: Happened,
        now: impl FnOnce() -> (BootClock, Lost),
    ) -> Vec<Judged> {
        let Some(event) = event(self.events + 1, happened) else { return Vec::new() };
        self.events += 1;
        let mut findings = Vec::new();
        self.engine.on_event(&event, world, &mut findings);
        let mut judged = Vec::new();
        if !findings.is_empty() {
            let (clock, lost) = now();
            let all = findings.into_iter().map(|finding| self.alert(finding, Some(&event), world, clock, lost));
            judged = all.collect();
        }
        // The event itself is the alert: it is noted afterwards.
        self.recorder.note(&event);
        judged
    }

    /// Tells what was held back and whose time is over, though nothing more happens. `now_ns` is the time since boot.
    pub fn advance(
        &mut self,
        world: &Surroundings<'_>,
        now_ns: u64,
        now: impl FnOnce() -> (BootClock, Lost),
    ) -> Vec<Judged> {
        let mut findings = Vec::new();
        self.engine.advance(now_ns, &mut findings);
        if findings.is_empty() {
            return Vec::new();
        }
        let (clock, lost) = now();
        findings.into_iter().map(|finding| self.alert(finding, None, world, clock, lost)).collect()
    }

    fn alert(
        &self,
        finding: Finding,
        event: Option<&Event>,
        world: &Surroundings<'_>,
        clock: BootClock,
        lost: Lost,
    ) -> Judged {
        let id = ProcessId::from_key(finding.process);
        let whose = [id].into_iter().chain(world.table.ancestors(id).map(|process| process.id));
        let recent = self.recorder.recent(whose, finding.time_ns);
        let summary = finding.summary;
        let deeds = finding.rule.more.respond.as_ref().filter(|_| !summary).map(asked).into_iter().collect();
        let subject = subject(world, id, event.filter(|_| !summary), clock);
        let groups = world.table.groups();
        let visible = world.table.get(id).map(|process| groups.visible(process.group));
        // The group that metrics have: whoever runs a thousand programs of different names must not make as many series.
        let label = visible.and_then(|group| groups.name_of(group)).unwrap_or("_unknown").to_owned();
        Judged { alert: detect::alert(finding, subject, recent, clock, lost), label, deeds, summary }
    }
}

/// What rules are asked about; none: what we did ourselves.
fn event(number: u64, happened: Happened) -> Option<Event> {
    let time_ns = happened.time_ns();
    let (cpu, process, tid, what) = match happened {
        Happened::Exec(exec) => (exec.cpu, exec.process, exec.process.tgid, What::Exec(exec)),
        Happened::Fork(fork) => (fork.header.cpu, fork.parent, fork.parent.tgid, What::Fork { child: fork.child }),
        Happened::Exit(exit) => {
            (exit.header.cpu, exit.process, exit.process.tgid, What::Exit { status: Some(exit.status) })
        }
        Happened::Activity(activity) => (activity.cpu, activity.process, activity.tid, What::Activity(activity)),
        Happened::ExecKill(_) => return None,
    };
    Some(Event { number, time_ns, cpu, process, tid, what })
}

/// The process of an event: of an exec as the exec tells it, which has all arguments, else as the table knows it.
fn subject(world: &Surroundings<'_>, id: ProcessId, event: Option<&Event>, clock: BootClock) -> Subject {
    let process = world.table.get(id);
    let subject = match (event.map(|event| &event.what), process) {
        (Some(What::Exec(exec)), _) if ProcessId::from_key(exec.process) == id => Subject::of_exec(exec, clock),
        (_, Some(process)) => Subject::of_process(process, clock),
        (_, None) => Subject { pid: id.pid, start_ticks: id.start_ticks, ..Subject::default() },
    };
    let ancestors = world.table.ancestors(id).take(ANCESTORS).map(|process| {
        let args: Vec<Vec<u8>> = process.image.argv().map(<[u8]>::to_vec).collect();
        let (pid, start_ticks) = (process.id.pid, process.id.start_ticks);
        Ancestor::new(pid, start_ticks, &process.image.exe, &args, Some(process.credentials.uid), clock)
    });
    let cgroup = process.map(|process| &process.cgroup);
    Subject {
        cgroup: cgroup
            .filter(|cgroup| !cgroup.path.is_empty())
            .map(|cgroup| lossy(cgroup.path.as_bytes()).into_owned()),
        unit: cgroup.and_then(|cgroup| cgroup.unit.as_deref().map(str::to_owned)),
        container: cgroup.and_then(|cgroup| cgroup.container.as_ref().map(|container| container.id.to_string())),
        group: world.group(id).to_owned(),
        ancestors: ancestors.collect(),
        ..subject
    }
}

/// Records lost since the start, by ring. The gaps in the numbers prove it; the kernel's own count knows the latest.
pub fn lost(kernel: Option<&KernelSide>) -> Lost {
    let Some(kernel) = kernel else { return Lost::default() };
    Lost {
        security_ring: kernel
            .account(Ring::Security)
            .missing
            .max(kernel.lost(Loss::ExecRing) + kernel.lost(Loss::ActivityRing) + kernel.lost(Loss::ExecKillRing)),
        telemetry_ring: kernel
            .account(Ring::Telemetry)
            .missing
            .max(kernel.lost(Loss::ForkRing) + kernel.lost(Loss::ExitRing)),
    }
}

/// The surroundings as the pipeline has them. A macro, because the judge is borrowed at the same time.
macro_rules! surroundings {
    ($observer:expr) => {
        Surroundings {
            table: &$observer.table,
            host: &$observer.names,
            watched: $observer.kernel.as_ref().and_then(KernelSide::watched),
            boot_time_ns: $observer.boot_ns,
            observer: std::process::id(),
        }
    };
}

impl Observer {
    /// Runs the rules over what happened, and publishes what they find.
    pub(super) fn publish(&mut self, happened: Happened) {
        if let Happened::Activity(activity) = &happened {
            debug!(target: "monitor::activity", "{}", activity.to_json());
        }
        let world = surroundings!(self);
        let now = || (BootClock::read(), lost(self.kernel.as_ref()));
        let judged = self.judge.judge(&world, happened, now);
        self.tell(judged);
    }

    /// Tells what rules held back and whose time is over.
    pub(super) fn advance(&mut self) {
        let world = surroundings!(self);
        let now = || (BootClock::read(), lost(self.kernel.as_ref()));
        let judged = self.judge.advance(&world, since_boot(), now);
        self.tell(judged);
    }

    fn tell(&mut self, judged: Vec<Judged>) {
        for Judged { alert, label, deeds, summary } in judged {
            let published = self.store.publish_counted(&alert, &label);
            self.sink.write(&published);
            self.trail.alert(&published);
            if !summary {
                self.respond(alert, published, deeds);
            }
        }
    }

    /// Records lost since the start.
    pub(super) fn lost(&self) -> Lost {
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
        let now_ns = since_boot();
        let grown = self.judge.losses.step(&counts, now_ns);
        let rules = &self.judge.engine.rules().list;
        let Some(rule) = rules.iter().find(|rule| rule.ast.name == EVENT_LOSS).filter(|_| !grown.is_empty()) else {
            return;
        };
        let clock = BootClock::read();
        let alert = detect::alert_of_losses(&rule.ast, &grown, self.health.subject(clock), now_ns, clock, lost);
        let published = self.store.publish(&alert);
        self.sink.write(&published);
        self.trail.loss(&published);
    }
}
