//! `syscalls`: counts and errors are exact, durations are in the right bucket, whatever else the process does meanwhile.

use monitor_tests::{DEADLINE, Daemon, Workload, again_if_missed, shared, slowness, until};
use serde_json::Value;

/// Starts a process that does `steps` between two waits; what the daemon knows of it before and after, and the process.
fn around(daemon: &Daemon, steps: &[&str]) -> (Value, Value, Workload) {
    let mut all = vec!["say", "ready", "+", "wait", "+"];
    all.extend(steps);
    all.extend(["+", "say", "done", "+", "wait"]);
    let mut workload = Workload::spawn(&all);
    assert_eq!(workload.line(), "ready");
    let before = daemon.seen(workload.pid());
    workload.go();
    assert_eq!(workload.line(), "done");
    let after = daemon.seen(workload.pid());
    (before, after, workload)
}

fn family<'a>(process: &'a Value, family: &str) -> &'a Value {
    &process["syscalls"]["families"][family]
}

fn calls(process: &Value, name: &str) -> u64 {
    family(process, name)["calls"].as_u64().unwrap_or(0)
}

fn errors(process: &Value, name: &str, errno: &str) -> u64 {
    family(process, name)["errors"][errno].as_u64().unwrap_or(0)
}

/// How many more calls of a family `after` has.
fn more(before: &Value, after: &Value, name: &str) -> u64 {
    calls(after, name) - calls(before, name)
}

#[test]
fn calls_are_counted_exactly() {
    let daemon = shared();
    let (before, after, workload) = around(&daemon, &["getppid", "10000"]);
    daemon.counted(more(&before, &after, "query"), 10_000);

    // The group has no other process, so its series says what the process says; also after the process has ended.
    let name = workload.name.clone();
    let pid = workload.finish().pid;
    let last = daemon.ended(pid);
    assert_eq!(last["group"], name.as_str());
    let labels = [("group", name.as_str()), ("family", "query")];
    let of_group = daemon.fresh_metrics().find("monitor_syscalls_total", &labels);
    assert_eq!(of_group, Some(calls(&last, "query") as f64));
}

#[test]
fn the_host_counts_at_least_what_its_groups_do() {
    let daemon = shared();
    let of_host = || {
        let metrics = daemon.fresh_metrics();
        let labels = [("family", "query")];
        let host = metrics.find("monitor_syscall_duration_seconds_count", &labels).unwrap_or(0.0)
            + metrics.find("monitor_syscalls_untimed_total", &labels).unwrap_or(0.0);
        (host, metrics.sum("monitor_syscalls_total", &labels))
    };
    let (host_before, _) = of_host();
    Workload::spawn(&["getppid", "5000"]).finish();
    let (host, groups) = of_host();
    assert!(host - host_before >= 5_000.0, "{host_before} {host}");
    assert!(host >= groups, "{host} on the host, {groups} in its groups");
}

#[test]
fn errors_are_counted_by_their_number() {
    let daemon = shared();
    let (before, after, workload) =
        around(&daemon, &["stat-missing", "300", "+", "fsync-nothing", "70", "+", "getppid", "5"]);
    let name = workload.name.clone();
    let last = daemon.ended(workload.finish().pid);
    assert_eq!(more(&before, &after, "fs"), 300);
    assert_eq!(errors(&after, "fs", "ENOENT") - errors(&before, "fs", "ENOENT"), 300);
    assert_eq!(more(&before, &after, "fsync"), 70);
    assert_eq!(errors(&after, "fsync", "EBADF"), 70);
    assert_eq!(family(&after, "query")["errors"], family(&before, "query")["errors"], "getppid never fails");
    let metrics = daemon.fresh_metrics();
    let of_group = |family, errno| {
        let labels = [("group", name.as_str()), ("family", family), ("errno", errno)];
        metrics.find("monitor_syscall_errors_total", &labels)
    };
    assert_eq!(of_group("fsync", "EBADF"), Some(70.0));
    assert_eq!(of_group("fs", "ENOENT"), Some(errors(&last, "fs", "ENOENT") as f64));
}

#[test]
fn a_sleep_lands_in_the_bucket_of_its_length() {
    let daemon = shared();
    // Where the kernel leaves programs out, this very call may be one of them, and says so: but not twenty times.
    let slept = (0..20).find_map(|_| {
        let (before, after, workload) = around(&daemon, &["sleep", "50"]);
        workload.finish();
        let missed = daemon.missed(&["sys_enter", "sys_exit"]) > 0;
        let (counted, sleep) = (more(&before, &after, "sleep"), family(&after, "sleep").clone());
        (!missed || (counted == 1 && sleep["untimed"] == 0)).then_some((counted, sleep))
    });
    let (counted, sleep) = slept.expect("a sleep that is counted whole");
    assert_eq!(counted, 1);
    let buckets: Vec<u64> = sleep["buckets"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
    // Bounds are 2^(8 + 2 i) nanoseconds: 50 ms are above 2^24 (16.8 ms) and below 2^26 (67.1 ms). On a busy machine it
    // may wake up late, but never early.
    let earlier: u64 = buckets[..9].iter().sum();
    let late = if slowness() > 1 { buckets.len() } else { 11 };
    assert_eq!((earlier, buckets[9..late].iter().sum::<u64>()), (0, 1), "{buckets:?}");
    let seconds = sleep["seconds"].as_f64().unwrap();
    assert!((0.05..0.3 * f64::from(slowness())).contains(&seconds), "{seconds}");
    assert_eq!(sleep["untimed"], 0);
}

#[test]
fn the_threads_of_a_process_count_for_it() {
    let daemon = shared();
    let (before, after, workload) = around(&daemon, &["threads", "4", "20000"]);
    workload.finish();
    // The C library asks for some things of its own (sched_getaffinity) for each thread that it starts.
    let counted = more(&before, &after, "query");
    assert!(counted <= 80_008, "{counted} counted of four times 20000");
    daemon.counted(counted.min(80_000), 80_000);
    let untimed = family(&after, "query")["untimed"].as_u64().unwrap();
    assert!(untimed <= daemon.missed(&["sys_enter", "sys_exit"]), "{untimed} without a duration");
}

#[test]
fn parent_and_child_count_apart() {
    let daemon = shared();
    let mut workload = Workload::spawn(&["say", "ready", "+", "wait", "+", "fork-and-call", "700", "900", "+", "wait"]);
    assert_eq!(workload.line(), "ready");
    let before = daemon.seen(workload.pid());
    workload.go();
    let child = workload.line().parse().unwrap();
    let after = daemon.seen(workload.pid());
    assert_eq!(more(&before, &after, "query"), 900);
    let child = daemon.ended(child);
    assert_eq!(calls(&child, "query"), 700);
    assert_eq!(child["ppid"], workload.pid());
    workload.finish();
}

#[test]
fn a_process_keeps_its_counts_over_exec() {
    let daemon = shared();
    let (before, after, workload) = around(&daemon, &["getppid", "400", "+", "exec", "+", "getppid", "600"]);
    workload.finish();
    let runtime = startup_calls(&daemon, "query");
    daemon.equal(more(&before, &after, "query"), 400 + runtime + 600);
    assert_eq!((after["execs"].as_u64(), before["execs"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn exec_by_a_thread_that_is_not_the_first_is_timed_like_any_other() {
    let daemon = shared();
    let (before, after, workload) = around(&daemon, &["exec-from-thread", "+", "getppid", "600"]);
    let pid = workload.pid();
    workload.finish();
    assert_eq!(daemon.ended(pid)["exit"]["code"], 0);
    let runtime = startup_calls(&daemon, "query");
    let count = more(&before, &after, "query");
    // The thread that executes asks for its affinity once, as every thread does.
    assert!((600 + runtime..=600 + runtime + 2).contains(&count), "{count}, of which {runtime} by the start");
    // One execve per exec, and no call without a duration: nor one that lasted since the machine was started.
    let process = family(&after, "process");
    assert_eq!(process["untimed"], family(&before, "process")["untimed"], "the execve was in progress all the time");
    let seconds = process["seconds"].as_f64().unwrap() - family(&before, "process")["seconds"].as_f64().unwrap();
    assert!(seconds < 5.0 * f64::from(slowness()), "{seconds} s in {process}");
}

/// Calls of a family that the runtime of the workload makes before the first step.
fn startup_calls(daemon: &Daemon, name: &str) -> u64 {
    calls(&daemon.ended(Workload::spawn(&["exit", "0"]).finish().pid), name)
}

#[test]
fn a_call_that_a_deadly_signal_ends_counts_as_interrupted() {
    let daemon = shared();
    let mut workload = Workload::spawn(&["say", "ready", "+", "wait"]);
    assert_eq!(workload.line(), "ready");
    let pid = workload.pid();
    until(DEADLINE, || match std::fs::read_to_string(format!("/proc/{pid}/syscall")) {
        // It reads from descriptor 0.
        Ok(text) if text.starts_with(&format!("{} 0x0 ", libc::SYS_read)) => Ok(()),
        other => Err(format!("it does not read yet: {other:?}")),
    });
    let before = daemon.seen(pid);
    workload.kill(libc::SIGKILL);
    // Its stdin must not be closed before: then the call could succeed.
    until(DEADLINE, || if alive(pid) { Err("it lives") } else { Ok(()) });
    workload.end();
    let after = daemon.ended(pid);
    assert_eq!(more(&before, &after, "read"), 1);
    // The kernel tells the end of a call before it lets the signal kill.
    assert_eq!((errors(&before, "read", "ERESTART"), errors(&after, "read", "ERESTART")), (0, 1));
    assert_eq!(family(&after, "read")["untimed"], 0);
    assert_eq!(family(&after, "process")["untimed"], 0, "it did not end by itself");
}

#[test]
fn a_call_that_ends_its_thread_counts_without_a_duration() {
    let daemon = shared();
    // Each thread ends by `exit`, the process by `exit_group`: calls that never return.
    for (steps, dead) in [(["threads", "0", "0"], 1), (["threads", "3", "10"], 4)] {
        let process = daemon.ended(Workload::spawn(&steps).finish().pid);
        assert_eq!(family(&process, "process")["untimed"], dead, "{process}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_32_bit_callers_are_known_by_their_own_numbers() {
    let (before, after, workload) = around(&shared(), &["getppid32", "1000"]);
    workload.finish();
    // 64 is getppid for them, and semget for everybody else.
    assert_eq!((more(&before, &after, "query"), more(&before, &after, "ipc")), (1_000, 0));
}

#[test]
fn a_process_older_than_the_daemon_is_counted_from_then_on() {
    let mut workload = Workload::spawn(&[
        "getppid", "3000", "+", "say", "ready", "+", "wait", "+", "getppid", "2000", "+", "say", "done", "+", "wait",
    ]);
    assert_eq!(workload.line(), "ready");
    let daemon = Daemon::start("");
    workload.go();
    assert_eq!(workload.line(), "done");
    let process = daemon.seen(workload.pid());
    assert_eq!(calls(&process, "query"), 2_000);
    // The `wait` that was in progress when the daemon came: counted, but who knows how long it took.
    assert_eq!((calls(&process, "read"), family(&process, "read")["untimed"].as_u64()), (1, Some(1)));
    assert_eq!(process["group"], workload.name.as_str());
    workload.finish();
}

#[test]
fn a_later_process_with_the_same_id_starts_from_zero() {
    again_if_missed(|| reuse_an_id(&shared()));
    // Without this hook nobody says that the id is free again.
    again_if_missed(|| reuse_an_id(&Daemon::start("[kernel]\ndisable_hooks = [\"sched_process_free\"]\n")));
}

fn reuse_an_id(daemon: &Daemon) {
    let mut first = Workload::spawn(&["say", "ready", "+", "wait", "+", "fork-and-call", "1000", "0", "+", "wait"]);
    assert_eq!(first.line(), "ready");
    first.go();
    let pid = first.line();
    // The id is free again: another process takes it, so soon that the slot of the first one is still there, but not in
    // the same clock tick: the time of the start, which tells the two apart, is counted in ticks as /proc has it.
    Workload::spawn(&["sleep", "20", "+", "again-as", &pid, "250"]).finish();
    daemon.awaited(|| {
        let answer = daemon.json(&format!("/api/v1/processes?pid={pid}"));
        let processes = answer["processes"].as_array().unwrap();
        let mut counts: Vec<_> = processes.iter().map(|one| calls(one, "query")).collect();
        counts.sort_unstable();
        if counts == [250, 1_000] { Ok(()) } else { Err(format!("{counts:?} in {answer}")) }
    });
    first.finish();
}

#[test]
fn short_lives_count_for_their_group_however_often_the_daemon_is_asked() {
    let daemon = shared();
    // Two hundred processes of a few milliseconds each: some of them are born and die while the daemon adds up. Where
    // they are slower, fewer are enough.
    let children = 200 / u64::from(slowness().min(4));
    let workload = Workload::spawn(&["spawn", &children.to_string(), "+", "getppid", "50"]);
    let name = workload.name.clone();
    let pid = workload.pid();
    while !std::path::Path::new(&format!("/proc/{pid}/stat")).exists() || alive(pid) {
        daemon.fresh_metrics();
    }
    workload.finish();
    daemon.ended(pid);
    let runtime = startup_calls(&daemon, "query");
    let labels = [("group", name.as_str()), ("family", "query")];
    let count = daemon.fresh_metrics().find("monitor_syscalls_total", &labels);
    daemon.equal(count.unwrap_or(0.0) as u64, children * (50 + runtime) + runtime);
}

/// Has the process not ended yet? It stays a zombie until it is waited for.
fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
