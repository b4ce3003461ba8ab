//! The daemon as a library, so that its parts can be tested.

pub mod bpf;
pub mod cli;
pub mod config;
pub mod detect;
pub mod doctor;
pub mod events;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod processes;
pub mod signals;
pub mod sys;
