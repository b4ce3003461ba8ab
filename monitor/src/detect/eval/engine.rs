//! Judges events, and remembers what rules want remembered.

use std::collections::BTreeMap;

use super::finding::{Finding, Storm};
use super::needs::Needs;
use super::rules::{Rule, Rules};
use super::session::{Memory, Session};
use super::state::count::Count;
use super::state::key;
use super::state::repeat::{Admission, Limits, Rate, Repeats};
use super::state::seen::{self, Damage, Seen};
use super::state::sequence::Sequence;
use crate::detect::lang::ast::{self, Diagnostic};
use crate::detect::{Event, World};

/// Rules, and what they remember.
#[derive(Debug, Default)]
pub struct Engine {
    pub(super) rules: Rules,
    /// One for each rule, in the same order.
    pub(super) states: Vec<State>,
    memory: Memory,
    /// What rules have seen that are not loaded now: they may come back.
    pub(super) absent: BTreeMap<String, Seen>,
    /// How many findings of a rule are published.
    limits: Limits,
    pub(super) events: u64,
    /// What rules that were replaced forgot for lack of room: the counters must not go back.
    pub(super) forgotten: [u64; 5],
    /// What rules have seen has changed since it was last asked for: nothing, when it was seen, or what.
    changed: Changed,
}

/// How much of a change there is to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// None.
    #[default]
    No,
    /// Something was seen again.
    Times,
    /// Something is new.
    Entries,
}

/// What one rule remembers.
#[derive(Debug)]
pub(super) struct State {
    /// What the rule is, places aside: with the same it keeps its memory when rules are loaded anew.
    identity: String,
    pub(super) sequence: Option<Sequence>,
    pub(super) count: Option<Count>,
    /// None: the rule does not ask, or no event has told the time yet.
    pub(super) seen: Option<Seen>,
    pub(super) repeats: Repeats,
    rate: Rate,
    /// How often its condition held.
    pub(super) matches: u64,
    /// How many findings there were …
    pub(super) findings: u64,
    /// … and how many were not published, as equal to others and as too many.
    pub(super) held: [u64; 2],
}

impl State {
    fn new(rule: &Rule) -> Self {
        let more = &rule.ast.more;
        let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            identity: identity(&rule.ast),
            sequence: more.sequence.as_ref().map(|one| Sequence::new(one.steps.len(), nanoseconds(one.within))),
            count: more
                .count
                .as_ref()
                .map(|one| Count::new(one.at_least, nanoseconds(one.within), one.distinct.is_some())),
            seen: None,
            repeats: Repeats::new(more.dedup.as_ref().map(|dedup| nanoseconds(dedup.window))),
            rate: Rate::default(),
            matches: 0,
            findings: 0,
            held: [0; 2],
        }
    }

    /// Entities that are remembered, and those that were forgotten for lack of room: of sequences, counts, what was
    /// seen, findings, and findings that wait to be told.
    pub(super) fn sizes(&self) -> [(usize, u64); 5] {
        let none = (0, 0);
        [
            self.sequence.as_ref().map_or(none, Sequence::sizes),
            self.count.as_ref().map_or(none, Count::sizes),
            self.seen.as_ref().map_or(none, Seen::sizes),
            self.repeats.sizes(),
            self.repeats.waiting(),
        ]
    }
}

/// Everything of a rule that what it remembers depends on.
fn identity(rule: &ast::Rule) -> String {
    use std::fmt::Write;
    let mut text = format!("{}\n{}", rule.name, rule.condition);
    let names = |fields: &[ast::Field]| fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    // Writing to a String does not fail.
    if let Some(one) = &rule.more.sequence {
        let _ = write!(text, "\nsequence {} {:?}", names(&one.by), one.within);
        one.steps.iter().for_each(|step| {
            let _ = write!(text, "\n{step}");
        });
    }
    if let Some(one) = &rule.more.count {
        let _ = write!(
            text,
            "\ncount {} {} {} {:?}",
            names(&one.by),
            names(one.distinct.as_slice()),
            one.at_least,
            one.within
        );
    }
    if let Some(one) = &rule.more.first_seen {
        let _ = write!(text, "\nfirst_seen {} {:?} {:?}", names(&one.of), one.remember, one.learn);
    }
    if let Some(one) = &rule.more.dedup {
        let _ = write!(text, "\ndedup {} {:?}", names(&one.key), one.window);
    }
    text
}

impl Engine {
    /// Compiles rules. Those with a mistake are left out and told.
    pub fn new(rules: Vec<ast::Rule>) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let mut engine = Self::default();
        engine.replace(Rules::new(rules, &mut diagnostics));
        (engine, diagnostics)
    }

    /// Takes other rules. Those that are the same keep what they remember.
    pub fn replace(&mut self, rules: Rules) {
        let mut known: BTreeMap<String, State> = BTreeMap::new();
        for (rule, mut state) in self.rules.list.iter().zip(std::mem::take(&mut self.states)) {
            // What a rule has seen stays with its name, also when the rest of it has changed.
            if let Some(seen) = state.seen.take() {
                self.absent.insert(rule.ast.name.clone(), seen);
            }
            known.insert(state.identity.clone(), state);
        }
        self.states = rules.list.iter().map(State::new).collect();
        for (state, rule) in self.states.iter_mut().zip(&rules.list) {
            if let Some(before) = known.remove(&state.identity) {
                *state = before;
            }
            if rule.ast.more.first_seen.is_some() {
                state.seen = self.absent.remove(&rule.ast.name);
            }
        }
        while self.absent.len() > seen::RULES
            && let Some((_, gone)) = self.absent.pop_last()
        {
            let (entries, evictions) = gone.sizes();
            self.forgotten[2] += entries as u64 + evictions;
        }
        for state in known.into_values() {
            for (total, (_, evictions)) in self.forgotten.iter_mut().zip(state.sizes()) {
                *total += evictions;
            }
        }
        self.rules = rules;
    }

    /// What has to be told to them.
    pub fn needs(&self) -> Needs {
        Needs::of(&self.rules)
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Judges an event. Findings are added to `out`.
    pub fn on_event(&mut self, event: &Event, world: &dyn World, out: &mut Vec<Finding>) {
        self.events += 1;
        let mut session = Session::new(&self.rules, &mut self.memory, event, world);
        for job in self.rules.jobs(event) {
            if !session.run(&job.program) {
                continue;
            }
            let (Some(rule), Some(state)) = (self.rules.list.get(job.rule), self.states.get_mut(job.rule)) else {
                continue;
            };
            match job.step {
                None => {
                    let context =
                        Context { object: &self.rules.object, limits: self.limits, changed: &mut self.changed };
                    out.extend(found(rule, context, state, &mut session));
                }
                Some(step) => {
                    let by = key(&mut session, &rule.keys.sequence, true);
                    if let (Some(sequence), Some(by)) = (&mut state.sequence, by) {
                        sequence.step(step, &by, event.time_ns);
                    }
                }
            }
        }
        session.end();
    }

    /// Tells what was held back and whose time is over, and forgets what is too long ago to matter, without waiting for an
    /// event. `now_ns` is the time since boot. Whoever judges events calls this about once a second: nothing else tells.
    pub fn advance(&mut self, now_ns: u64, out: &mut Vec<Finding>) {
        for (rule, state) in self.rules.list.iter().zip(&mut self.states) {
            for (finding, held) in state.repeats.due(now_ns) {
                if state.rate.admit(now_ns, self.limits, held.count) {
                    out.push(finding.of_repeats(held));
                }
            }
            if let Some((since_ns, count)) = state.rate.summary(now_ns) {
                out.push(Finding::of_storm(rule, Storm { count, since_ns }, now_ns));
            }
            state.repeats.expire(now_ns);
            if let Some(sequence) = &mut state.sequence {
                sequence.expire(now_ns);
            }
            if let Some(count) = &mut state.count {
                count.expire(now_ns);
            }
        }
    }

    /// How many findings of each rule are published from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How much has changed of what rules have seen since this was last asked.
    pub fn changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// What rules have seen, to be kept in a file.
    pub fn seen(&self) -> Vec<u8> {
        let loaded = self.rules.list.iter().zip(&self.states);
        let loaded = loaded.filter_map(|(rule, state)| Some((rule.ast.name.as_str(), state.seen.as_ref()?)));
        seen::encode(loaded.chain(self.absent.iter().map(|(name, seen)| (name.as_str(), seen))))
    }

    /// Takes what rules had seen, from such a file.
    ///
    /// # Errors
    /// What is wrong with it. Nothing has changed then.
    pub fn remember(&mut self, file: &[u8]) -> Result<(), Damage> {
        self.absent.extend(seen::decode(file)?);
        for (rule, state) in self.rules.list.iter().zip(&mut self.states) {
            if rule.ast.more.first_seen.is_some()
                && let Some(seen) = self.absent.remove(&rule.ast.name)
            {
                state.seen = Some(seen);
            }
        }
        Ok(())
    }
}

/// What a finding depends on beside its rule.
struct Context<'e> {
    /// Fields that tell findings apart where the rule does not say which.
    object: &'e [usize],
    limits: Limits,
    changed: &'e mut Changed,
}

/// The rule's condition holds. A finding, unless the rule asks for more or there have been enough of them.
fn found(rule: &Rule, context: Context<'_>, state: &mut State, session: &mut Session<'_, '_>) -> Option<Finding> {
    let now_ns = session.facts.event.time_ns;
    state.matches += 1;
    let (mut begun_ns, mut counted) = (None, None);
    if let Some(sequence) = &mut state.sequence {
        let by = key(session, &rule.keys.sequence, true)?;
        begun_ns = Some(sequence.last(&by, now_ns)?);
    }
    if let Some(count) = &mut state.count {
        let by = key(session, &rule.keys.count, false)?;
        let value = key(session, rule.keys.distinct.as_slice(), true)?;
        counted = Some(count.add(&by, &value, now_ns)?);
    }
    if let Some(first) = &rule.ast.more.first_seen {
        let now = session.facts.world.boot_time_ns() + i128::from(now_ns);
        let now = u64::try_from(now).unwrap_or(0);
        let of = key(session, &rule.keys.first_seen, true)?;
        let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let seen = state.seen.get_or_insert_with(|| Seen::new(now));
        let new = seen.note(&of, now, nanoseconds(first.remember));
        *context.changed = (*context.changed).max(if new { Changed::Entries } else { Changed::Times });
        let learning = now.saturating_sub(seen.since) < nanoseconds(first.learn);
        if !new || learning {
            return None;
        }
    }
    state.findings += 1;
    let same = key(session, rule.keys.dedup.as_deref().unwrap_or(context.object), false)?;
    let repeated = match state.repeats.admit(&same, now_ns) {
        Admission::Publish(repeated) => repeated,
        Admission::Hold { first } => {
            state.held[0] += 1;
            if first {
                let finding = Finding { begun_ns, counted, ..Finding::new(rule, session) };
                state.repeats.keep(&same, finding);
            }
            return None;
        }
    };
    let held_back = repeated.map_or(0, |repeated| repeated.count);
    if !state.rate.admit(now_ns, context.limits, 1 + held_back) {
        state.held[1] += 1;
        return None;
    }
    Some(Finding { held_back, repeated, begun_ns, counted, ..Finding::new(rule, session) })
}
