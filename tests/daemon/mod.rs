//! The daemon as a program: how it starts and stops, what it is told, what it says of itself, and what it does when
//! files, rights or peers are not as they should be.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by a panic, with a stack that leads to the line that asked"
)]

mod support;

mod alerts;
mod budget;
mod configuration;
mod doctor;
mod exec_kill;
mod groups;
mod http;
mod itself;
mod lifecycle;
mod memory;
mod no_btf;
mod peers;
mod privileges;
mod recording;
mod reload;
mod rules;
mod scrape;
mod service;
mod sink;
mod storms;
mod tampering;
