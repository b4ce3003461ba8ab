//! Whether every number is true: against what is known to have been done, against the kernel's own counters, in a flood,
//! after a crash.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic, in its helpers too")]

mod crash;
mod flood;
mod oracle;
mod tables;
