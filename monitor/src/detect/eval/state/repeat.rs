//! The same finding again, and too many findings of one rule. What is held back is told when its time is over, also when
//! nothing more comes.

use super::{KEYS, Table};
use crate::detect::eval::finding::{Finding, Repeated};

const SECOND: u64 = 1_000_000_000;

/// Equal findings that are published at once before they are slowed down, unless the rule says what is equal …
const BURST: u64 = 10;
/// … after that one in this time.
const INTERVAL_NS: u64 = 10 * SECOND;
/// Most findings of a rule that are kept to tell how often they were held back. What finds no room is told with the next
/// equal one that is published.
const SUMMARIES: usize = 256;

/// Findings of one rule that are equal.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// The rule's own time within which equal ones are one.
    window_ns: Option<u64>,
    keys: Table<Repeat>,
    /// The first of those that were held back, of each key.
    waiting: Table<Box<Finding>>,
}

#[derive(Clone, Copy, Debug)]
struct Repeat {
    /// With a window when it began, else nanoseconds of credit …
    mark: u64,
    /// … and when they were last counted.
    updated_ns: u64,
    /// Held back since the last one that was published.
    held: Option<Repeated>,
}

/// What becomes of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is published, with what was held back before it.
    Publish(Option<Repeated>),
    /// It is held back …
    Hold {
        /// … as the first of its key: [`Repeats::keep`] wants it.
        first: bool,
    },
}

impl Repeat {
    fn hold(&mut self, now_ns: u64) -> Admission {
        let first = self.held.is_none();
        let held = self.held.get_or_insert(Repeated { count: 0, since_ns: now_ns, last_ns: now_ns });
        held.count += 1;
        held.last_ns = held.last_ns.max(now_ns);
        Admission::Hold { first }
    }
}

impl Repeats {
    /// None yet.
    pub(crate) fn new(window_ns: Option<u64>) -> Self {
        Self { window_ns, keys: Table::new(KEYS), waiting: Table::new(SUMMARIES) }
    }

    /// What becomes of one more.
    pub(crate) fn admit(&mut self, key: &[u8], now_ns: u64) -> Admission {
        let admission = match self.window_ns {
            Some(window_ns) => self.in_window(key, window_ns, now_ns),
            None => self.slow_down(key, now_ns),
        };
        if let Admission::Publish(Some(_)) = admission {
            // It is told with this one.
            self.waiting.remove(key);
        }
        admission
    }

    fn in_window(&mut self, key: &[u8], window_ns: u64, now_ns: u64) -> Admission {
        let mut new = false;
        let repeat = self.keys.entry(key, || {
            new = true;
            Repeat { mark: now_ns, updated_ns: now_ns, held: None }
        });
        if !new && now_ns.saturating_sub(repeat.mark) < window_ns {
            return repeat.hold(now_ns);
        }
        repeat.mark = now_ns;
        Admission::Publish(repeat.held.take())
    }

    fn slow_down(&mut self, key: &[u8], now_ns: u64) -> Admission {
        let full = Repeat { mark: BURST * INTERVAL_NS, updated_ns: now_ns, held: None };
        let repeat = self.keys.entry(key, || full);
        let earned = now_ns.saturating_sub(repeat.updated_ns);
        repeat.mark = repeat.mark.saturating_add(earned).min(full.mark);
        repeat.updated_ns = repeat.updated_ns.max(now_ns);
        if repeat.mark < INTERVAL_NS {
            return repeat.hold(now_ns);
        }
        repeat.mark -= INTERVAL_NS;
        Admission::Publish(repeat.held.take())
    }

    /// Keeps the first finding of its key that was held back, to tell of it when the time is over.
    pub(crate) fn keep(&mut self, key: &[u8], finding: Finding) {
        // One of a key that had to go may still be there.
        self.waiting.remove(key);
        self.waiting.entry(key, || Box::new(finding));
    }

    /// What was held back and whose time is over: the first of them, and how many there were.
    pub(crate) fn due(&mut self, now_ns: u64) -> Vec<(Finding, Repeated)> {
        let (window_ns, keys) = (self.window_ns, &self.keys);
        let over = |key: &[u8]| {
            // A key that had to go took its number with it: nothing is left to tell.
            let Some(Repeat { mark, held: Some(held), .. }) = keys.peek(key) else { return true };
            match window_ns {
                Some(window_ns) => now_ns.saturating_sub(*mark) >= window_ns,
                None => now_ns.saturating_sub(held.since_ns) >= INTERVAL_NS,
            }
        };
        let due: Vec<Vec<u8>> =
            self.waiting.iter().map(|(key, _)| key).filter(|key| over(key)).map(<[u8]>::to_vec).collect();
        let told = due.iter().filter_map(|key| {
            let finding = self.waiting.remove(key)?;
            let held = self.keys.get(key)?.held.take()?;
            Some((*finding, held))
        });
        told.collect()
    }

    /// Forgets keys that mean nothing any more.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        let (window_ns, full) = (self.window_ns, BURST * INTERVAL_NS);
        self.keys.expire(|repeat| {
            let over = match window_ns {
                Some(window_ns) => now_ns.saturating_sub(repeat.mark) >= window_ns,
                None => repeat.mark.saturating_add(now_ns.saturating_sub(repeat.updated_ns)) >= full,
            };
            over && repeat.held.is_none()
        });
    }

    /// Keys that are known, and those that were forgotten for lack of room.
    pub(crate) fn sizes(&self) -> (usize, u64) {
        (self.keys.len(), self.keys.evictions())
    }

    /// Findings that wait to be told, and those that will be told later for lack of room.
    pub(crate) fn waiting(&self) -> (usize, u64) {
        (self.waiting.len(), self.waiting.evictions())
    }
}

/// How many findings of one rule are published, whatever they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At once …
    pub burst: u32,
    /// … and after that in a second.
    pub per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { burst: 50, per_second: 5 }
    }
}

/// A storm is told again in this time.
const SUMMARY_NS: u64 = 10 * SECOND;

/// How fast a rule finds things.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// What was published, in time that it takes to earn it back.
    debt_ns: u64,
    updated_ns: u64,
    /// When the first that no summary has told of was held back, and how many since.
    held: Option<(u64, u64)>,
}

impl Rate {
    /// Whether to publish one more. If not, it stands for so many that will be told of together.
    pub(crate) fn admit(&mut self, now_ns: u64, limits: Limits, stands_for: u64) -> bool {
        let cost = SECOND / u64::from(limits.per_second.max(1));
        self.debt_ns = self.debt_ns.saturating_sub(now_ns.saturating_sub(self.updated_ns));
        self.updated_ns = self.updated_ns.max(now_ns);
        if self.debt_ns + cost > cost * u64::from(limits.burst.max(1)) {
            let (since, count) = self.held.unwrap_or((now_ns, 0));
            self.held = Some((since, count + stands_for));
            return false;
        }
        self.debt_ns += cost;
        true
    }

    /// What was held back, when it is time to tell: since when, and how many.
    pub(crate) fn summary(&mut self, now_ns: u64) -> Option<(u64, u64)> {
        self.held.take_if(|(since, _)| now_ns.saturating_sub(*since) >= SUMMARY_NS)
    }
}
