//! Decides and does, in a thread of its own: a signal costs nothing, but a control group or a program may.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use rustix::process::Signal;
use serde_json::json;

use super::program::Programs;
use super::rate::Purse;
use super::{Action, Deed, Guard, Options, Outcome, Refusal, Target, act};
use crate::audit::{Kind as Record, Trail};
use crate::events::{Alert, Published};
use crate::metrics::{Families, Kind, Metric};
use crate::signals::exec_kill::Tokens;

/// Most alerts that wait to be answered.
const QUEUE: usize = 256;

static RESPONSES: Metric = Metric {
    name: "monitor_responses_total",
    help: "What was decided about alerts, by action and outcome: done, dry_run (it would have been done), refused, failed.",
    kind: Kind::Counter,
    labels: &["action", "outcome"],
};

/// Metrics of responses.
pub const METRICS: &[&Metric] = &[&RESPONSES];

/// An alert to be answered.
#[derive(Clone)]
struct Request {
    deeds: Vec<Deed>,
    subject: Subject,
    alert: Bytes,
}

/// What something is done about.
#[derive(Clone)]
struct Subject {
    rule: String,
    /// Number of the alert; none: the kernel did it, at which time there is no alert yet.
    seq: Option<u64>,
    target: Target,
    /// How often; the target is the last one.
    times: u64,
}

/// What the pipeline and the thread share.
struct Shared {
    options: Mutex<Arc<Options>>,
    counts: Mutex<BTreeMap<(Action, &'static str), u64>>,
    purse: Mutex<Purse>,
    guard: Guard,
    trail: Arc<Trail>,
    programs: Programs,
}

/// Does something about alerts.
pub struct Responder {
    shared: Arc<Shared>,
    queue: SyncSender<Request>,
}

impl Responder {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(options: Options, guard: Guard, trail: Arc<Trail>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            options: Mutex::new(Arc::new(options)),
            counts: Mutex::default(),
            purse: Mutex::default(),
            guard,
            trail,
            programs: Programs::default(),
        });
        let (queue, requests) = sync_channel(QUEUE);
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("monitor-respond".to_owned()).spawn(move || run(&of_thread, &requests))?;
        Ok(Self { shared, queue })
    }

    /// Works by other options from now on.
    pub fn set_options(&self, options: Options) {
        *self.shared.options.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }

    /// The kernel program kills, too, with these tokens.
    pub fn set_tokens(&self, tokens: Tokens) {
        self.shared.purse.lock().unwrap_or_else(PoisonError::into_inner).tokens = Some(tokens);
    }

    /// Grants the kernel program what may be done, or with `false` takes it back. To be called from time to time.
    pub fn lend(&self, employed: bool) {
        let rate = if employed { self.shared.options().rate } else { 0 };
        self.shared.purse.lock().unwrap_or_else(PoisonError::into_inner).lend(rate, Instant::now());
    }

    /// Whom nothing is done to.
    pub fn guard(&self) -> &Guard {
        &self.shared.guard
    }

    /// Tells what the kernel program decided about a process, and about others before it, so many `times` in all.
    pub fn in_kernel(&self, rule: &str, target: Target, outcome: &Outcome, times: u64) {
        let subject = Subject { rule: rule.to_owned(), seq: None, target, times };
        self.shared.told(&subject, Action::Kill, outcome);
    }

    /// Does what the configuration, or the rule itself (`asked`), says about an alert; never waits. `killed`: whether to kill
    /// has been decided already, in the kernel.
    pub fn respond(&self, alert: &Alert, published: &Published, asked: &[Deed], killed: bool) {
        let mut deeds = self.shared.options().deeds(&alert.rule, asked);
        deeds.retain(|deed| !killed || deed.action != Action::Kill);
        if deeds.is_empty() {
            return;
        }
        let process = &alert.process;
        let target = Target { pid: process.pid, start_ticks: process.start_ticks, exe: process.exe.clone() };
        let subject = Subject { rule: alert.rule.clone().into_owned(), seq: Some(published.seq), target, times: 1 };
        let request = Request { deeds, subject, alert: published.json.clone() };
        if let Err(error) = self.queue.try_send(request) {
            let (std::sync::mpsc::TrySendError::Full(request) | std::sync::mpsc::TrySendError::Disconnected(request)) =
                error;
            for deed in &request.deeds {
                self.shared.told(&request.subject, deed.action, &Outcome::Refused(Refusal::Queue));
            }
        }
    }

    /// Adds the metrics to a scrape.
    pub fn collect(&self, families: &mut Families) {
        let counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for action in Action::ALL {
            for outcome in ["done", "dry_run", "refused", "failed"] {
                let count = counts.get(&(action, outcome)).copied().unwrap_or(0);
                families.counter(&RESPONSES, &[action.name(), outcome], count as f64);
            }
        }
    }
}

fn run(shared: &Arc<Shared>, requests: &Receiver<Request>) {
    while let Ok(request) = requests.recv() {
        let options = shared.options();
        for deed in &request.deeds {
            if let Some(outcome) = shared.answer(&request, deed, &options) {
                shared.told(&request.subject, deed.action, &outcome);
            }
        }
    }
}

impl Shared {
    fn options(&self) -> Arc<Options> {
        Arc::clone(&self.options.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What comes of an action. None: that is told later, by the program's end.
    fn answer(self: &Arc<Self>, request: &Request, deed: &Deed, options: &Options) -> Option<Outcome> {
        let (target, action, dry_run) = (&request.subject.target, deed.action, options.dry_run || deed.dry_run);
        // A program is told of everything: it does nothing to the process by itself.
        let held = if action == Action::Run {
            None
        } else {
            if let Some(refusal) = self.guard.of_name(target, options) {
                return Some(Outcome::Refused(refusal));
            }
            match act::hold(target, &self.guard) {
                Ok(held) => Some(held),
                Err(outcome) => return Some(outcome),
            }
        };
        let admitted = self.purse.lock().unwrap_or_else(PoisonError::into_inner).admit(options.rate, Instant::now());
        if !admitted {
            return Some(Outcome::Refused(Refusal::Rate));
        }
        match (action, held) {
            (Action::Freeze, Some(held)) if dry_run => Some(held.may_freeze(&self.guard).unwrap_or(Outcome::Rehearsed)),
            (_, _) if dry_run => Some(Outcome::Rehearsed),
            (Action::Kill, Some(held)) => Some(held.signal(Signal::KILL)),
            (Action::Stop, Some(held)) => Some(held.signal(Signal::STOP)),
            (Action::Freeze, Some(held)) => Some(held.freeze(&self.guard)),
            (_, _) => self.run_program(request, deed, options),
        }
    }

    fn run_program(self: &Arc<Self>, request: &Request, deed: &Deed, options: &Options) -> Option<Outcome> {
        let (program, arguments) = match (deed.command.split_first(), &options.program) {
            (Some((program, arguments)), _) => (Path::new(program), arguments),
            (None, Some(program)) => (program.as_path(), &[][..]),
            (None, None) => return Some(Outcome::Failed("respond.program names none".to_owned())),
        };
        let (shared, told) = (Arc::clone(self), request.subject.clone());
        let ended = move |result: Result<(), String>| {
            let outcome = result.map_or_else(Outcome::Failed, |()| Outcome::Done);
            shared.told(&told, Action::Run, &outcome);
        };
        self.programs
            .start(program, arguments, request.alert.clone(), options.timeout, ended)
            .err()
            .map(Outcome::Failed)
    }

    /// Every decision is counted, and goes to the audit trail and the log.
    fn told(&self, subject: &Subject, action: Action, outcome: &Outcome) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((action, outcome.name())).or_default() += subject.times;
        drop(counts);
        let why = match outcome {
            Outcome::Done | Outcome::Rehearsed => None,
            Outcome::Refused(refusal) => Some(refusal.to_string()),
            Outcome::Failed(why) => Some(why.clone()),
        };
        let Target { pid, start_ticks, exe } = &subject.target;
        let (rule, name, end) = (&subject.rule, action.name(), outcome.name());
        let (in_kernel, times) = (subject.seq.is_none(), subject.times);
        tracing::warn!(rule, pid, exe, action = name, outcome = end, why, in_kernel, times, "response");
        self.trail.urgent(
            Record::Response,
            &json!({
                "rule": rule,
                "seq": subject.seq,
                "action": name,
                "in_kernel": in_kernel,
                "times": times,
                "outcome": end,
                "why": why,
                "process": { "pid": pid, "start_ticks": start_ticks, "exe": exe },
            }),
        );
    }
}
