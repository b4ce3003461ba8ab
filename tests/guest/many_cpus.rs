//! More processors than there are copies of the hot counters: they share them, and add to them atomically. The harness
//! makes a machine for these tests alone.

use std::thread;

use monitor_tests::{Daemon, Workload};
use serde_json::Value;

use super::{calls, check, doctor};

#[test]
fn processors_that_share_counters_lose_no_count() {
    const CALLS: u64 = 4_000;
    let processors = thread::available_parallelism().unwrap().get();
    assert!(processors > 8, "this machine has {processors} processors");
    let found = check(&mut doctor(), "processors")["found"].clone();
    assert_eq!(found, format!("{processors}: they share 8 copies of the hot counters, atomically"));

    let daemon = Daemon::start("");
    // Twice as many threads as processors: they are preempted, and by each other.
    let threads = 2 * processors as u64;
    let steps = ["say", "ready", "+", "wait", "+", "threads", &threads.to_string(), &CALLS.to_string()];
    let mut workload = Workload::spawn(&[steps.as_slice(), &["+", "say", "done", "+", "wait"]].concat());
    assert_eq!(workload.line(), "ready");
    let before = daemon.seen(workload.pid());
    workload.go();
    assert_eq!(workload.line(), "done");
    let after = daemon.seen(workload.pid());
    let counted = calls(&after, "query") - calls(&before, "query");
    let made = threads * CALLS;
    // The C library asks for some things of its own for each thread that it starts.
    assert!(counted <= made + 2 * threads, "{counted} of {made}");
    daemon.counted(counted.min(made), made);
    // What has a duration, and what has none.
    let family = |process: &Value| process["syscalls"]["families"]["query"].clone();
    let buckets = |process: &Value| -> u64 {
        family(process)["buckets"].as_array().into_iter().flatten().filter_map(Value::as_u64).sum()
    };
    let untimed = |process: &Value| family(process)["untimed"].as_u64().unwrap_or(0);
    assert_eq!(buckets(&after) + untimed(&after), calls(&after, "query"));
    workload.finish();
}
