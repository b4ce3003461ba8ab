//! The same finding again, and too many findings of one rule.

use super::{KEYS, Table};

const SECOND: u64 = 1_000_000_000;

/// Equal findings that are published at once before they are slowed down, unless the rule says what is equal …
const BURST: u64 = 10;
/// … after that one in this time.
const INTERVAL_NS: u64 = 10 * SECOND;

/// Findings of one rule that are equal.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// The rule's own time within which equal ones are one.
    window_ns: Option<u64>,
    keys: Table<Repeat>,
}

#[derive(Clone, Copy, Debug)]
struct Repeat {
    /// With a window when it began, else nanoseconds of credit …
    mark: u64,
    /// … and when they were last counted.
    updated_ns: u64,
    /// Held back since the last one that was published.
    held: u64,
}

impl Repeats {
    /// None yet.
    pub(crate) fn new(window_ns: Option<u64>) -> Self {
        Self { window_ns, keys: Table::new(KEYS) }
    }

    /// Whether to publish one more: then with the number that were held back before it.
    pub(crate) fn admit(&mut self, key: &[u8], now_ns: u64) -> Option<u64> {
        let Some(window_ns) = self.window_ns else { return self.slow_down(key, now_ns) };
        let mut new = false;
        let repeat = self.keys.entry(key, || {
            new = true;
            Repeat { mark: now_ns, updated_ns: now_ns, held: 0 }
        });
        if !new && now_ns.saturating_sub(repeat.mark) < window_ns {
            repeat.held += 1;
            return None;
        }
        repeat.mark = now_ns;
        Some(std::mem::take(&mut repeat.held))
    }

    fn slow_down(&mut self, key: &[u8], now_ns: u64) -> Option<u64> {
        let full = Repeat { mark: BURST * INTERVAL_NS, updated_ns: now_ns, held: 0 };
        let repeat = self.keys.entry(key, || full);
        let earned = now_ns.saturating_sub(repeat.updated_ns);
        repeat.mark = repeat.mark.saturating_add(earned).min(full.mark);
        repeat.updated_ns = repeat.updated_ns.max(now_ns);
        if repeat.mark < INTERVAL_NS {
            repeat.held += 1;
            return None;
        }
        repeat.mark -= INTERVAL_NS;
        Some(std::mem::take(&mut repeat.held))
    }

    /// Keys that are known, and those that were forgotten for lack of room.
    pub(crate) fn sizes(&self) -> (usize, u64) {
        (self.keys.len(), self.keys.evictions())
    }
}

/// Findings of one rule that are published at once, whatever they are about …
const RATE_BURST: u64 = 50;
/// … and one more in this time.
const RATE_NS: u64 = SECOND / 5;
/// A storm is told again in this time.
pub(crate) const SUMMARY_NS: u64 = 10 * SECOND;

/// How fast a rule finds things.
#[derive(Debug)]
pub(crate) struct Rate {
    credit_ns: u64,
    updated_ns: u64,
    /// When the first that no summary has told of was held back, and how many since.
    held: Option<(u64, u64)>,
}

impl Default for Rate {
    fn default() -> Self {
        Self { credit_ns: RATE_BURST * RATE_NS, updated_ns: 0, held: None }
    }
}

impl Rate {
    /// Whether to publish one more.
    pub(crate) fn admit(&mut self, now_ns: u64) -> bool {
        let earned = now_ns.saturating_sub(self.updated_ns);
        self.credit_ns = self.credit_ns.saturating_add(earned).min(RATE_BURST * RATE_NS);
        self.updated_ns = self.updated_ns.max(now_ns);
        if self.credit_ns < RATE_NS {
            let (since, count) = self.held.unwrap_or((now_ns, 0));
            self.held = Some((since, count + 1));
            return false;
        }
        self.credit_ns -= RATE_NS;
        true
    }

    /// What was held back, when it is time to tell: since when, and how many.
    pub(crate) fn summary(&mut self, now_ns: u64) -> Option<(u64, u64)> {
        self.held.take_if(|(since, _)| now_ns.saturating_sub(*since) >= SUMMARY_NS)
    }
}
