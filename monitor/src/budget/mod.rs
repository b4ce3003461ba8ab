//! The cost governor: keeps what the daemon costs, in the kernel and outside, below `budget.cpu`.
//!
//! Above the budget it gives up one thing after the other, detail first; what security rules need is never given up.
//! Below half of it, it takes one back after the other. [`Governor`] decides and touches nothing; the pipeline measures
//! ([`crate::health`]) and acts.

mod governor;
mod metrics;
mod step;
#[cfg(test)]
mod tests;

pub use governor::{Change, Cost, Governor};
pub use metrics::METRICS;
pub use step::Step;

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// How the budget is kept, for whoever asks: `/api/v1/status` and the landing page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetStatus {
    /// The budget, as a share of one CPU.
    pub cpu: f64,
    /// What the daemon cost when it was last measured, as a share of one CPU: kernel programs and its own threads.
    pub used: f64,
    /// What has been given up, in the order in which it was.
    pub shed: Vec<Step>,
}

/// Where the pipeline writes the state of the budget and the HTTP server reads it.
#[derive(Debug, Default)]
pub struct Board(Mutex<Option<BudgetStatus>>);

impl Board {
    /// The state; `None` without a budget.
    pub fn read(&self) -> Option<BudgetStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it.
    pub fn write(&self, status: Option<BudgetStatus>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
