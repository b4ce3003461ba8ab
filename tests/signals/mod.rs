//! One module a signal, as everywhere.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, in its helpers too"
)]

mod activity;
mod activity_calls;
mod activity_changes;
mod activity_files;
mod activity_flood;
mod activity_twins;
mod block_io;
mod hooks;
mod l7;
mod loss;
mod process;
mod security;
mod syscalls;
mod tcp;
mod timing;
