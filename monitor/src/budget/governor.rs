//! The decision: what to give up next, and when to take it back.

use super::Step;

/// The cost is low when it is below this part of the budget: taking something back may double it.
const LOW: f64 = 0.5;
/// So many measurements in a row have to be low before something is taken back …
const PATIENCE: u32 = 3;
/// … and twice as many after each time that this was too early, up to so many.
const MOST_PATIENCE: u32 = 96;
/// Something taken back less than so many measurements ago was taken back too early.
const EARLY: u32 = 3;

/// What the daemon costs, as shares of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Its programs in the kernel; `None`: not known.
    pub kernel: Option<f64>,
    /// Its own threads.
    pub daemon: f64,
}

impl Cost {
    /// Both together.
    pub fn total(self) -> f64 {
        self.kernel.unwrap_or(0.0) + self.daemon
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Give it up.
    Shed(Step),
    /// Take it back.
    Restore(Step),
}

/// Decides from one measurement to the next.
#[derive(Debug)]
pub struct Governor {
    limit: f64,
    /// What may be given up here.
    steps: Vec<Step>,
    /// How many of those have been.
    shed: usize,
    /// Low measurements in a row.
    low: u32,
    patience: u32,
    /// Measurements since something was taken back.
    restored: Option<u32>,
    cost: Cost,
    sheds: u64,
    restores: u64,
}

impl Governor {
    /// Nothing given up yet. `limit` is a share of one CPU.
    pub fn new(limit: f64, steps: Vec<Step>) -> Self {
        let cost = Cost::default();
        Self { limit, steps, shed: 0, low: 0, patience: PATIENCE, restored: None, cost, sheds: 0, restores: 0 }
    }

    /// Takes a measurement into account.
    pub fn judge(&mut self, cost: Cost) -> Option<Change> {
        self.cost = cost;
        self.restored = self.restored.map(|measurements| measurements.saturating_add(1));
        if cost.total() > self.limit {
            self.low = 0;
            if self.restored.take().is_some_and(|measurements| measurements <= EARLY) {
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
            }
            let step = *self.steps.get(self.shed)?;
            self.shed += 1;
            self.sheds += 1;
            return Some(Change::Shed(step));
        }
        if self.restored.is_some_and(|measurements| measurements > EARLY) {
            self.patience = PATIENCE;
        }
        self.low = if cost.total() < self.limit * LOW { self.low + 1 } else { 0 };
        if self.low < self.patience {
            return None;
        }
        let step = *self.steps.get(self.shed.checked_sub(1)?)?;
        self.shed -= 1;
        self.low = 0;
        self.restored = Some(0);
        self.restores += 1;
        Some(Change::Restore(step))
    }

    /// Works by another budget from now on.
    pub fn set_limit(&mut self, limit: f64) {
        self.limit = limit;
        (self.low, self.patience, self.restored) = (0, PATIENCE, None);
    }

    /// The budget, as a share of one CPU.
    pub const fn limit(&self) -> f64 {
        self.limit
    }

    /// The last measurement.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// What has been given up, in the order in which it was.
    pub fn shed(&self) -> &[Step] {
        self.steps.get(..self.shed).unwrap_or_default()
    }

    /// What may be given up here.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How often something was given up, and taken back.
    pub const fn changes(&self) -> (u64, u64) {
        (self.sheds, self.restores)
    }
}
