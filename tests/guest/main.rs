//! Tests that need a machine of their own: they change what every process of it shares. `cargo xtask test --kernel` runs
//! them in virtual machines, after the kernel tests.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by a panic, with a stack that leads to the line that asked"
)]

mod callers;
