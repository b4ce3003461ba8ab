//! Steps in order: how far each entity has come.

use super::{KEYS, Table};

/// How far the entities of one rule have come.
#[derive(Debug)]
pub(crate) struct Sequence {
    within_ns: u64,
    steps: usize,
    /// For each entity and step when the youngest chain that has come so far began. The youngest is all that matters: it
    /// is the last to expire.
    begun: Table<Vec<Option<u64>>>,
}

impl Sequence {
    /// Nobody has begun.
    pub(crate) fn new(steps: usize, within_ns: u64) -> Self {
        Self { within_ns, steps, begun: Table::new(KEYS) }
    }

    /// The entity has done what a step says.
    pub(crate) fn step(&mut self, step: usize, key: &[u8], now_ns: u64) {
        let begun = match step.checked_sub(1) {
            None => Some(now_ns),
            Some(before) => self.chain(before, key, now_ns),
        };
        let Some(begun) = begun else { return };
        let steps = self.steps;
        if let Some(slot) = self.begun.entry(key, || vec![None; steps]).get_mut(step) {
            *slot = Some(slot.map_or(begun, |known| known.max(begun)));
        }
    }

    /// The entity has done the last thing. Returns when the chain began, if all steps came before; it ends with this.
    pub(crate) fn last(&mut self, key: &[u8], now_ns: u64) -> Option<u64> {
        let begun = match self.steps.checked_sub(1) {
            None => Some(now_ns),
            Some(before) => self.chain(before, key, now_ns),
        }?;
        self.begun.remove(key);
        Some(begun)
    }

    fn chain(&mut self, step: usize, key: &[u8], now_ns: u64) -> Option<u64> {
        let begun = (*self.begun.get(key)?.get(step)?)?;
        // Events of different processors may be told a little out of order.
        (now_ns.saturating_sub(begun) <= self.within_ns).then_some(begun)
    }

    /// Forgets chains that cannot be ended in time any more.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        let within_ns = self.within_ns;
        self.begun.expire(|begun| begun.iter().flatten().all(|begun| now_ns.saturating_sub(*begun) > within_ns));
    }

    /// Entities that have begun, and those that were forgotten for lack of room.
    pub(crate) fn sizes(&self) -> (usize, u64) {
        (self.begun.len(), self.begun.evictions())
    }
}
