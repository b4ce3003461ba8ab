//! `monitor replay`: goes through a recording as the pipeline went through the records. No clock, no `/proc`, no kernel.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::container::{Ending, Reader};
use super::{CaptureError, Meta};
use crate::detect::eval::{Damage, Engine};
use crate::events::{Alert, BootClock};
use crate::observer::{HostNames, HostSide, Judge, Judged, Order};
use crate::processes::{GroupOptions, GroupRule, Groups, Options, ProcessTable};
use crate::ruleset::RuleSet;
use crate::signals::activity::WatchedPaths;

/// How to replay.
#[derive(Clone, Debug, Default)]
pub struct ReplayOptions {
    /// Directory of rule files; none: the rules as they are.
    pub rules: Option<PathBuf>,
    /// Ids of rules that are off.
    pub disable: Vec<String>,
}

impl ReplayOptions {
    /// The engine with these rules.
    ///
    /// # Errors
    /// What is wrong with the rules, all of it.
    pub fn engine(&self) -> Result<Engine, CaptureError> {
        let mut set = RuleSet::of_paths(self.rules.as_slice(), self.rules.is_none());
        set.disable(&self.disable);
        let (engine, more) = Engine::new(set.rules);
        let wrong: Vec<String> =
            set.diagnostics.iter().chain(&more).filter(|one| one.error).map(ToString::to_string).collect();
        if wrong.is_empty() { Ok(engine) } else { Err(CaptureError::Rules(wrong.join("\n"))) }
    }
}

/// What was gone through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The host.
    pub meta: Meta,
    /// Rounds.
    pub rounds: u64,
    /// Records.
    pub records: u64,
    /// Alerts.
    pub alerts: u64,
    /// How the file ends; none: as it was ended.
    pub cut: Option<Ending>,
}

/// The table that a recording is gone through with; the recorder's own has the same bounds.
pub(super) fn table(named: &[(String, Vec<String>)], recorder: u32, offline: bool) -> ProcessTable {
    let rules = named.iter().map(|(name, exe)| GroupRule { name: name.clone(), exe: exe.clone() }).collect();
    let options = Options { exclude: Some(recorder), offline, ..Options::default() };
    let groups = GroupOptions { limit: 10_000, idle: Duration::from_secs(3_600), rules };
    ProcessTable::new(options, Groups::new(groups))
}

/// Goes through the recording; every alert goes to `publish`.
///
/// # Errors
/// See [`CaptureError`]. A file that was cut off is none: [`Replayed::cut`] tells of it.
pub fn replay(
    path: &Path,
    options: &ReplayOptions,
    mut publish: impl FnMut(&Meta, &Alert),
) -> Result<Replayed, CaptureError> {
    let mut judge = Judge::new(options.engine()?);
    let mut reader = Reader::open(path)?;
    let meta = reader.meta()?;
    judge.engine.set_limits(meta.limits());
    let mut table = table(&meta.named, meta.recorder, true);
    let host = HostNames { accounts: meta.accounts(), hostname: meta.host.clone() };
    let mut order = Order::default();
    let mut watched = WatchedPaths::default();
    let mut replayed = Replayed { meta, rounds: 0, records: 0, alerts: 0, cut: None };
    loop {
        let mut round = match reader.round()? {
            Ok(round) => round,
            Err(true) => return Ok(replayed),
            Err(false) => {
                // Without its last entry also a file that ends with a whole frame was cut off.
                replayed.cut = Some(reader.ending().cloned().unwrap_or(Ending::Whole));
                return Ok(replayed);
            }
        };
        if let Some(seen) = &round.seen {
            let odd = |damage: Damage| CaptureError::Content {
                path: path.to_owned(),
                reason: format!("what rules had seen {damage}"),
            };
            judge.engine.remember(seen).map_err(odd)?;
        }
        if let Some(now) = round.watched.take() {
            watched = now;
        }
        table.recall(&round.facts, round.end.now_ns);
        let batch = order.look(replayed.meta.limit, &mut round);
        replayed.rounds += 1;
        replayed.records += batch.taken as u64;
        let now = || (BootClock::new(round.end.boot_ns), round.end.lost());
        let observer = replayed.meta.recorder;
        let world = HostSide { host: &host, watched: Some(&watched), boot_time_ns: round.end.boot_ns, observer };
        let mut tell = |judged: Vec<Judged>| {
            for Judged { alert, .. } in judged {
                replayed.alerts += 1;
                publish(&replayed.meta, &alert);
            }
        };
        for happened in batch.happened {
            happened.apply(&mut table);
            tell(judge.judge(&world.with(&table), happened, now));
        }
        table.settle();
        if round.end.expired {
            tell(judge.advance(&world.with(&table), round.end.now_ns, now));
            table.expire(round.end.now_ns);
        }
    }
}
