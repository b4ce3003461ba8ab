//! The daemon as a library, so that its parts can be tested.

pub mod app;
pub mod audit;
pub mod bpf;
pub mod budget;
pub mod capture;
pub mod cli;
pub mod config;
pub mod detect;
pub mod doctor;
pub mod events;
pub mod health;
pub mod http;
pub mod l7;
pub mod logging;
pub mod metrics;
pub mod observer;
pub mod processes;
pub mod pulse;
pub mod respond;
pub mod ruleset;
pub mod signals;
pub mod slots;
pub mod sys;
