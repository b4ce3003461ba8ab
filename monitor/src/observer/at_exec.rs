//! Killing in the kernel at exec: what the kernel program is told, and what becomes of what it tells.
//!
//! Its record comes just behind that of the exec, and may come out of the ring a round later. So about an alert of a rule
//! that it judges, nothing is done until the round after: by then it is known whether the kernel did it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_common::signals::exec_kill::{ExecKillRecord, Outcome as Told};
use tracing::{error, info, warn};

use super::{KernelSide, Observer, respond};
use crate::{
    bpf::{loader::chain, programs},
    events::{Alert, Published, text::lossy},
    processes::ProcessId,
    respond::{Deed, Outcome, Refusal, Target, plan},
    signals::exec_kill::{Plan, WHEN},
};

/// Tables whose rules are known: a record tells by number which table it followed.
const TABLES: usize = 8;
/// Decisions of the kernel program that are known.
const TOLD: usize = 4_096;
/// Most alerts that wait for its word.
const HELD: usize = 1_024;
/// Processes that were not killed for the rate and are told one by one, in a second. The others are told as a number: who
/// runs such a program by the thousand must not fill the audit trail.
const REFUSALS: u32 = 32;
/// They wait no shorter than this, also when rounds come fast: the program may be on its way to tell.
const WAIT: Duration = Duration::from_millis(10);

/// What the pipeline knows of it.
#[derive(Default)]
pub(super) struct AtExec {
    /// The tables that were, with their rules; the last one is in force.
    tables: VecDeque<(u64, Vec<String>)>,
    employed: bool,
    /// What the kernel decided: about which process, by which rule.
    told: VecDeque<(ProcessId, String)>,
    held: Vec<Held>,
    /// How many refusals were told in this second, and how many there were beyond that, by rule, with the last process.
    refusals: u32,
    untold: BTreeMap<String, (Target, u64)>,
}

/// An alert about which nothing was done yet.
pub(super) struct Held {
    since: Instant,
    alert: Alert,
    published: Arc<Published>,
    deeds: Vec<Deed>,
}

impl AtExec {
    /// Does the kernel program judge by this rule?
    fn knows(&self, rule: &str) -> bool {
        self.employed && self.tables.back().is_some_and(|(_, rules)| rules.iter().any(|known| known == rule))
    }

    fn rule(&self, table: u64, rule: u32) -> Option<&str> {
        let (_, rules) = self.tables.iter().find(|(number, _)| *number == table)?;
        rules.get(rule as usize).map(String::as_str)
    }

    fn note(&mut self, table: u64, rules: Vec<String>) {
        self.tables.push_back((table, rules));
        if self.tables.len() > TABLES {
            self.tables.pop_front();
        }
    }
}

impl KernelSide {
    /// Lets the kernel program work by this plan, or with an empty one not at all. Returns the number of the table and its
    /// rules.
    fn employ(&mut self, plan: &Plan) -> Result<(u64, Vec<String>), String> {
        let Some(exec_kill) = self.exec_kill.as_mut() else {
            return Err("its kernel program is not there: `monitor doctor` says why".to_owned());
        };
        let there = !plan.rules.is_empty();
        if !there {
            // First of all: what is told afterwards need not be complete.
            self.loaded.employ(programs::EXEC_KILL, false, WHEN).map_err(|error| chain(&error))?;
        }
        let (number, compiled) = exec_kill.put(plan).map_err(|error| chain(&error))?;
        for rule in &compiled.left_out {
            warn!(rule, "there is no more room for rules that the kernel judges: it is killed from user space");
        }
        if there {
            self.loaded.employ(programs::EXEC_KILL, true, WHEN).map_err(|error| chain(&error))?;
        }
        Ok((number, compiled.rules))
    }
}

impl Observer {
    /// Tells the kernel program what the configuration and the rules say now.
    pub(super) fn set_at_exec(&mut self) {
        let (Some(kernel), Some(responder)) = (&mut self.kernel, &self.responder) else { return };
        let options = respond::options(&self.config);
        let plan = plan(&options, &self.judge.engine, responder.guard()).unwrap_or_else(|why| {
            warn!(why, "nobody is killed in the kernel at exec: user space kills");
            Plan::default()
        });
        if plan.rules.is_empty() && !self.at_exec.employed {
            return;
        }
        if let Some(tokens) = kernel.exec_kill.as_mut().and_then(|exec_kill| exec_kill.tokens()) {
            responder.set_tokens(tokens);
        }
        let mut employed = !plan.rules.is_empty();
        if employed {
            responder.lend(true);
        }
        match kernel.employ(&plan) {
            Ok((number, rules)) => {
                info!(rules = rules.len(), "rules whose processes are killed in the kernel at exec");
                self.at_exec.note(number, rules);
            }
            Err(why) => {
                warn!(why, "nobody is killed in the kernel at exec: user space kills");
                employed = false;
                // It would work by what it was told before.
                if let Err(error) = kernel.loaded.employ(programs::EXEC_KILL, false, WHEN) {
                    error!(error = %chain(&error), "the kernel program that kills at exec cannot be taken off its hook");
                }
            }
        }
        if !employed {
            responder.lend(false);
        }
        self.at_exec.employed = employed;
    }

    /// Grants the kernel program what it may do, and tells what was not told singly. Once a second.
    pub(super) fn lend(&mut self) {
        let Some(responder) = &self.responder else { return };
        if self.at_exec.employed {
            responder.lend(true);
        }
        self.at_exec.refusals = 0;
        for (rule, (target, times)) in std::mem::take(&mut self.at_exec.untold) {
            responder.in_kernel(&rule, target, &Outcome::Refused(Refusal::Rate), times);
        }
    }

    /// The kernel program decided something.
    pub(super) fn killed(&mut self, record: &ExecKillRecord) {
        let Some(responder) = &self.responder else { return };
        let id = ProcessId::from_key(record.process);
        let path = record.path.split(|byte| *byte == 0).next().unwrap_or_default();
        let target = Target { pid: id.pid, start_ticks: id.start_ticks, exe: lossy(path).into_owned() };
        let outcome = outcome(record);
        let rule =
            self.at_exec.rule(record.table, record.rule).unwrap_or("(a rule that is not loaded any more)").to_owned();
        let refused = matches!(outcome, Outcome::Refused(_));
        self.at_exec.refusals += u32::from(refused);
        if refused && self.at_exec.refusals > REFUSALS {
            let (last, times) = self.at_exec.untold.entry(rule.clone()).or_default();
            (*last, *times) = (target, *times + 1);
        } else {
            responder.in_kernel(&rule, target, &outcome, 1);
        }
        // What it could not do user space tries.
        if !matches!(outcome, Outcome::Failed(_)) {
            self.at_exec.told.push_back((id, rule));
            if self.at_exec.told.len() > TOLD {
                self.at_exec.told.pop_front();
            }
        }
    }

    /// Does something about an alert, at once or when the kernel program has had its say.
    pub(super) fn respond(&mut self, alert: Alert, published: Arc<Published>, deeds: Vec<Deed>) {
        let held = Held { since: Instant::now(), alert, published, deeds };
        if self.at_exec.knows(&held.alert.rule) && self.at_exec.held.len() < HELD {
            self.at_exec.held.push(held);
        } else {
            self.release(held);
        }
    }

    fn release(&self, held: Held) {
        let Some(responder) = &self.responder else { return };
        let process = &held.alert.process;
        let of = |(id, rule): &(ProcessId, String)| {
            (id.pid, id.start_ticks) == (process.pid, process.start_ticks) && *rule == held.alert.rule
        };
        let killed = self.at_exec.told.iter().any(of);
        responder.respond(&held.alert, &held.published, &held.deeds, killed);
    }

    /// The alerts that were held before this round.
    pub(super) fn held(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.at_exec.held)
    }

    /// The round is over, in which the kernel's word on these should have come. At the end nothing waits any more.
    pub(super) fn release_held(&mut self, held: Vec<Held>, end: bool) {
        let (young, old): (Vec<Held>, Vec<Held>) =
            held.into_iter().partition(|held| !end && held.since.elapsed() < WAIT);
        old.into_iter().for_each(|held| self.release(held));
        self.at_exec.held.extend(young);
    }
}

fn outcome(record: &ExecKillRecord) -> Outcome {
    const RATE: u32 = Told::Rate as u32;
    match (record.outcome, i32::try_from(record.result)) {
        (RATE, _) => Outcome::Refused(Refusal::Rate),
        (_, Ok(0)) => Outcome::Done,
        (_, Ok(error)) => {
            Outcome::Failed(format!("bpf_send_signal: {}", std::io::Error::from_raw_os_error(error.saturating_neg())))
        }
        (_, Err(_)) => Outcome::Failed(format!("bpf_send_signal: {}", record.result)),
    }
}
