//! The default rules under the real daemon: attacks and what looks like them, each rule once with what makes it fire and
//! once with what is nearly that, and the ways to get past rules that are written less carefully.
//!
//! Everything that is done is a line of shell, in a table: what a person would type to try the same. Lines clean up what
//! they make, and [`scene::Sweep`] does it again when one of them could not.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by a panic, with a stack that leads to the line that asked"
)]

mod evasions;
mod falco;
mod foreign;
mod rules;
mod scene;
mod sigma;
mod tables;
