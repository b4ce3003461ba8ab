//! `syscalls`.

use monitor_tests::{Daemon, Workload, shared};
use serde_json::Value;

/// What a process did between two waits, by the daemon's account: the difference of one number of its description.
fn difference(daemon: &Daemon, steps: &[&str], number: impl Fn(&Value) -> u64) -> u64 {
    let mut all = vec!["say", "ready", "+", "wait", "+"];
    all.extend(steps);
    all.extend(["+", "say", "done", "+", "wait"]);
    let mut workload = Workload::spawn(&all);
    assert_eq!(workload.line(), "ready");
    let before = number(&daemon.seen(workload.pid()));
    workload.go();
    assert_eq!(workload.line(), "done");
    let after = number(&daemon.seen(workload.pid()));
    workload.finish();
    after - before
}

fn calls(process: &Value, family: &str) -> u64 {
    process["syscalls"]["families"][family]["calls"].as_u64().unwrap_or(0)
}

#[test]
fn calls_are_counted_exactly() {
    let count = difference(&shared(), &["getppid", "10000"], |process| calls(process, "query"));
    assert_eq!(count, 10_000);
}
