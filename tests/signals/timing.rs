//! `syscalls.timing`: whatever is timed, calls and errors are exact; and what is timed speaks for what is not.

use monitor_tests::{Daemon, Workload, shared};
use serde_json::Value;

/// A daemon that times in one of the ways.
fn timing(mode: &str) -> Daemon {
    Daemon::start(&format!("[syscalls]\ntiming = \"{mode}\"\n"))
}

fn family<'a>(process: &'a Value, family: &str) -> &'a Value {
    &process["syscalls"]["families"][family]
}

fn count(process: &Value, name: &str, what: &str) -> u64 {
    family(process, name)[what].as_u64().unwrap_or(0)
}

fn buckets(process: &Value, name: &str) -> Vec<u64> {
    let buckets = family(process, name)["buckets"].as_array().cloned().unwrap_or_default();
    buckets.iter().map(|count| count.as_u64().unwrap()).collect()
}

/// What every daemon knows of one process that does `steps`, when it has done them.
fn seen_by<const N: usize>(daemons: [&Daemon; N], steps: &[&str]) -> [Value; N] {
    let mut all = steps.to_vec();
    all.extend(["+", "say", "done", "+", "wait"]);
    let mut workload = Workload::spawn(&all);
    assert_eq!(workload.line(), "done");
    let seen = daemons.map(|daemon| daemon.seen(workload.pid()));
    workload.finish();
    seen
}

/// Threads, children, programs executed, errors, callers of 32 bits; all more than any window has room for.
const MANY: &[&str] = &[
    "threads",
    "4",
    "20000",
    "+",
    "stat-missing",
    "3000",
    "+",
    "fsync-nothing",
    "700",
    "+",
    "exec",
    "+",
    "getppid",
    "5000",
    "+",
    "exec-from-thread",
    "+",
    "getppid",
    "600",
];

#[test]
fn every_call_counts_in_every_mode() {
    let daemons = [&*shared(), &timing("adaptive"), &timing("counts")];
    let [full, adaptive, counts] = seen_by(daemons, MANY);
    // Where programs can be preempted (Linux 7) each daemon misses calls of its own, and tells how many.
    let missed: u64 = daemons.iter().map(|daemon| daemon.missed(&["sys_exit"])).sum();
    for name in ["query", "fs", "fsync", "read", "open", "memory", "lock"] {
        let calls = [&full, &adaptive, &counts].map(|process| count(process, name, "calls"));
        assert!(
            calls.iter().max().unwrap() - calls.iter().min().unwrap() <= missed,
            "{name}: {calls:?}, {missed} missed"
        );
        if missed > 0 {
            continue;
        }
        assert_eq!(family(&adaptive, name)["errors"], family(&full, name)["errors"], "{name}, adaptive");
        assert_eq!(family(&counts, name)["errors"], family(&full, name)["errors"], "{name}, counts");
        // Every call is in exactly one place.
        let sum = buckets(&adaptive, name).iter().sum::<u64>() + count(&adaptive, name, "untimed");
        assert_eq!(sum + count(&adaptive, name, "skipped"), count(&adaptive, name, "calls"), "{adaptive}");
        assert_eq!(count(&counts, name, "untimed"), count(&counts, name, "calls"), "{counts}");
        assert_eq!(count(&full, name, "skipped"), 0, "{full}");
    }
    assert!(count(&full, "query", "calls") + missed >= 85_600, "{full}, {missed} missed");
    // What was left out and not yet made good for: at most 31 calls by each of the seven threads.
    assert!(count(&adaptive, "query", "skipped") <= 7 * 31, "{adaptive}");
    if missed == 0 {
        // Four threads end by `exit`, which never returns: where no call is timed nobody knows that they were in one.
        assert_eq!(count(&adaptive, "process", "calls"), count(&full, "process", "calls"));
        assert_eq!(count(&counts, "process", "calls"), count(&full, "process", "calls") - 4);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_32_bit_callers_count_in_every_mode() {
    for daemon in [timing("adaptive"), timing("counts")] {
        let [process] = seen_by([&daemon], &["getppid32", "1000"]);
        assert_eq!(count(&process, "ipc", "calls"), 0, "{process}");
        // The C library asks for little of its own.
        let calls = count(&process, "query", "calls");
        assert!(calls < 1_010, "{process}");
        daemon.counted(calls.min(1_000), 1_000);
    }
}

#[test]
fn a_child_does_not_count_the_call_that_made_it() {
    for daemon in [timing("adaptive"), timing("counts")] {
        let mut workload = Workload::spawn(&["fork-and-call", "700", "900", "+", "wait"]);
        let child = workload.line().parse().unwrap();
        let child = daemon.ended(child);
        daemon.counted(count(&child, "query", "calls"), 700);
        // It makes no other call of this family before it ends.
        assert!(count(&child, "process", "calls") <= 1, "{child}");
        workload.finish();
    }
}

#[test]
fn the_calls_that_are_timed_speak_for_the_others() {
    const CALLS: u32 = 60_000;
    let calls = CALLS.to_string();
    let daemons = [&*shared(), &timing("adaptive")];
    let [full, adaptive] = seen_by(daemons, &["read-zeroes", &calls]);
    let programs = ["sys_enter", "sys_enter_adaptive", "sys_exit"];
    let missed = u32::try_from(daemons.map(|daemon| daemon.missed(&programs)).iter().sum::<u64>()).unwrap();
    let (exact, estimate) = (buckets(&full, "read"), buckets(&adaptive, "read"));
    let shares = |buckets: &[u64]| -> Vec<f64> {
        let total: u64 = buckets.iter().sum();
        assert!(total + 31 + u64::from(missed) >= u64::from(CALLS), "{buckets:?}, {missed} missed");
        let mut sum = 0;
        let mut share = |count: &u64| {
            sum += count;
            sum as f64 / total as f64
        };
        buckets.iter().map(&mut share).collect()
    };
    // One call in 16.5 is timed, and stands for 1 to 32: the weights' relative variance adds 0.313 to that of as many calls
    // of equal weight. Five standard deviations, which one test in a million exceeds by chance; and what lies so close to
    // a bound that the other daemon's programs, which are part of what is timed, move it over.
    let timed = f64::from(CALLS) / 16.5;
    let mut wide = 0;
    for (exact, estimate) in shares(&exact).into_iter().zip(shares(&estimate)) {
        let bound = 5.0 * (1.313 * exact * (1.0 - exact) / timed).sqrt() + 0.03;
        assert!((exact - estimate).abs() <= bound, "{exact} and {estimate}, allowed {bound}: {full} {adaptive}");
        wide += u32::from((0.02..0.98).contains(&exact));
    }
    assert!(wide > 0, "all calls in one bucket prove nothing: {exact:?}");
    // The same for the sum, whose error grows with how unlike each other the durations are: one read that was preempted
    // takes as long as a thousand others. No duration is above the bound of its bucket, 2^(8 + 2 i) ns.
    let seconds = |process: &Value| family(process, "read")["seconds"].as_f64().unwrap();
    let mean = seconds(&full) / f64::from(CALLS);
    let squares: f64 =
        exact.iter().zip(0..).map(|(count, index)| *count as f64 * (1e-9 * 2_f64.powi(8 + 2 * index)).powi(2)).sum();
    let bound = 5.0 * (1.313 * squares / f64::from(CALLS) / mean.powi(2) / timed).sqrt() + 0.05;
    let ratio = seconds(&adaptive) / seconds(&full);
    assert!((ratio - 1.0).abs() <= bound, "{ratio}, allowed 1 ± {bound}: {full} {adaptive}");
}

#[test]
fn the_mode_is_told() {
    for mode in ["adaptive", "counts"] {
        let metrics = timing(mode).fresh_metrics();
        for name in ["full", "adaptive", "counts"] {
            let value = metrics.find("monitor_syscall_timing", &[("mode", name)]);
            assert_eq!(value, Some(f64::from(u8::from(name == mode))), "{name} where {mode} was asked for");
        }
        assert_eq!(metrics.find("monitor_signal_up", &[("signal", "syscalls"), ("state", "full")]), Some(1.0));
    }
}
