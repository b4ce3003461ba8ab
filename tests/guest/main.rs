//! Tests that need a machine of their own: they change what every process of it shares. `cargo xtask test --kernel` runs
//! them in virtual machines, after the kernel tests; one at a time, because each has the machine to itself.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by a panic, with a stack that leads to the line that asked"
)]

mod callers;
mod cgroups;
mod many_cpus;
mod namespaces;
mod no_btf;
mod processors;
mod protect;
mod tiers;

use std::process::Command;

use monitor_tests::binary;
use serde_json::Value;

/// How many calls of a family a process made.
fn calls(process: &Value, family: &str) -> u64 {
    process["syscalls"]["families"][family]["calls"].as_u64().unwrap_or(0)
}

/// A check of the doctor's, by name.
fn check(doctor: &mut Command, name: &str) -> Value {
    let output = doctor.output().unwrap();
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = diagnosis["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name} in {diagnosis}")).clone()
}

/// `monitor doctor --json`
fn doctor() -> Command {
    let mut command = Command::new(binary());
    command.args(["doctor", "--json"]).env_clear();
    command
}
