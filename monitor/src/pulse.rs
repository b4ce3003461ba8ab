//! Whether the kernel programs are heard, for whoever asks.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

/// The heartbeat, as `/api/v1/status` tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PulseStatus {
    /// When the kernel programs wrote the last one that came back.
    pub last: Option<Timestamp>,
    /// How long that took.
    pub round_trip_seconds: Option<f64>,
    /// How many had not come back when the next one was due.
    pub missed: u64,
    /// Why the daemon does not see what it should; absent when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blind: Option<String>,
}

/// Where the pipeline writes it and the HTTP server reads it.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Option<PulseStatus>>);

impl Pulse {
    /// The latest; `None` where there is no heartbeat.
    pub fn read(&self) -> Option<PulseStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it.
    pub fn write(&self, status: Option<PulseStatus>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
