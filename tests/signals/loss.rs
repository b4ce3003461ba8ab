//! What does not fit is counted, and what matters most still fits.

use std::{
    fs,
    process::{Command, Stdio},
};

use monitor_tests::{DEADLINE, Daemon, Samples, Workload, alone, everywhere, slowness, until};
use rustix::process::Signal;

/// Births and deaths lost, as the kernel programs counted them.
fn lost(metrics: &Samples) -> f64 {
    ["fork_ring_full", "exit_ring_full"]
        .map(|cause| metrics.find("monitor_lost_total", &[("signal", "process"), ("cause", cause)]).unwrap())
        .iter()
        .sum()
}

#[test]
fn a_storm_that_the_daemon_sleeps_through_is_received_or_counted() {
    const CHILDREN: f64 = 2_000.0;
    let _turn = alone();
    // Other tests run beside it, and each program of theirs is a group: there is to be room for this one's.
    let daemon = Daemon::start("[kernel]\ntelemetry_ring = \"64KiB\"\n[metrics]\ngroups = 1000\n");
    let mut storm =
        Workload::spawn(&["say", "ready", "+", "wait", "+", "fork", "2000", "+", "say", "done", "+", "wait"]);
    assert_eq!(storm.line(), "ready");
    let group = storm.name.clone();
    // Known before the storm, so that its children are its children.
    until(DEADLINE, || match daemon.process(storm.pid()) {
        Some(process) if process["group"] == group.as_str() => Ok(()),
        other => Err(format!("not known: {other:?}")),
    });
    assert_eq!(lost(&daemon.fresh_metrics()), 0.0);

    daemon.signal(Signal::STOP);
    storm.go();
    assert_eq!(storm.line(), "done");
    // What a rule is for happens meanwhile.
    let directory = tempfile::Builder::new().prefix("kernel-tests-").tempdir_in("/dev/shm").unwrap();
    let program = directory.path().join("x");
    fs::copy("/bin/true", &program).unwrap();
    let mut child = until(DEADLINE, || Command::new(&program).stdin(Stdio::null()).spawn());
    child.wait().unwrap();
    daemon.signal(Signal::CONT);

    // The gaps in the numbers prove what the kernel programs counted.
    let metrics = until(DEADLINE, || {
        everywhere();
        let metrics = daemon.fresh_metrics();
        let missing = metrics.find("monitor_ring_missing_total", &[("ring", "telemetry")]).unwrap();
        let lost = lost(&metrics);
        if lost > 0.0 && missing == lost { Ok(metrics) } else { Err(format!("{missing} missing, {lost} lost")) }
    });
    // Everything was either received or counted. (Others fork, too, and may be among the lost.)
    let received = metrics.find("monitor_process_forks_total", &[("group", &group)]).unwrap_or(0.0);
    let forks_lost = metrics.find("monitor_lost_total", &[("signal", "process"), ("cause", "fork_ring_full")]).unwrap();
    let missed = daemon.missed(&["process_fork"]) as f64;
    assert!(
        received < CHILDREN && received + forks_lost + missed >= CHILDREN,
        "{received} received, {forks_lost} lost, {missed} missed; births by group: {:?}",
        metrics.all("monitor_process_forks_total", &[]).collect::<Vec<_>>()
    );
    // A ring of 64 KiB holds some hundred records: were more lost, room was not used.
    assert!(received >= 100.0, "{received}");
    assert_eq!(metrics.find("monitor_ring_malformed_total", &[("ring", "telemetry")]), Some(0.0));

    // Births and deaths have not pushed out what has a ring of its own.
    assert_eq!(metrics.find("monitor_lost_total", &[("signal", "exec"), ("cause", "ring_full")]), Some(0.0));
    assert_eq!(metrics.find("monitor_ring_missing_total", &[("ring", "security")]), Some(0.0));
    let events = daemon.events_of(child.id());
    assert!(events.iter().any(|event| event["rule"] == "exec_devshm"), "{events:?}");
    // And whoever reads events is told that something is missing. (So he is of what Linux 7 leaves out.)
    until(DEADLINE, || {
        let told = daemon.events("rule=event_loss");
        let tells = |event: &serde_json::Value| event["lost"]["telemetry_ring"].as_u64() > Some(0);
        if told.iter().any(tells) { Ok(()) } else { Err(format!("no event tells of the loss: {told:?}")) }
    });
    storm.finish();
}

#[test]
fn a_storm_of_execs_that_the_daemon_sleeps_through_is_received_in_full() {
    // With an environment of 400 bytes a record is about 1 KiB, depending on where the build is: there is room for 7,000.
    // Much of it is left for those who execute something else meanwhile; one call of a compiler may take 68 KiB. Where the
    // processor is emulated an exec takes a hundred times as long: fewer, and a smaller ring.
    let emulated = slowness() > 1;
    let (ring_size, execs_made) = if emulated { ("4MiB", 100) } else { ("8MiB", 3_000) };
    let _turn = alone();
    let daemon = Daemon::start(&format!("[kernel]\nsecurity_ring = \"{ring_size}\"\n"));
    let again = execs_made.to_string();
    let steps = ["say", "ready", "+", "wait", "+", "exec-again", &again, "+", "say", "done", "+", "wait"];
    let mut storm = Workload::spawn_with(&steps, |command| {
        command.env_clear().env("SOME", "e".repeat(395));
    });
    assert_eq!(storm.line(), "ready");
    let pid = storm.pid();
    let execs = || daemon.process(pid).and_then(|process| process["execs"].as_u64());
    until(DEADLINE, || if execs() == Some(1) { Ok(()) } else { Err("not known") });
    let ring = |name, metrics: &Samples| metrics.find(name, &[("ring", "security")]).unwrap();
    let before = daemon.fresh_metrics();

    daemon.signal(Signal::STOP);
    storm.go();
    assert_eq!(storm.line(), "done");
    daemon.signal(Signal::CONT);

    until(DEADLINE, || match execs() {
        Some(count) if count == execs_made + 1 => Ok(()),
        other => Err(format!("{other:?} of {execs_made} execs and the first")),
    });
    everywhere();
    let after = daemon.fresh_metrics();
    assert_eq!(after.find("monitor_lost_total", &[("signal", "exec"), ("cause", "ring_full")]), Some(0.0));
    assert_eq!(ring("monitor_ring_missing_total", &after), 0.0);
    let more = |name| ring(name, &after) - ring(name, &before);
    let (bytes, records) = (more("monitor_ring_received_bytes_total"), more("monitor_ring_records_total"));
    assert!(records >= execs_made as f64, "{bytes} bytes in {records} records");
    storm.finish();
}

#[test]
fn calls_are_counted_when_there_are_more_processes_than_slots() {
    // The fewest slots that can be configured: this machine has more processes.
    let daemon = Daemon::start("[processes]\nslots = 64\n");
    let mut crowd: Vec<Workload> = (0..80)
        .map(|_| {
            Workload::spawn(&[
                "getppid", "1", "+", "say", "here", "+", "wait", "+", "getppid", "300", "+", "say", "done", "+", "wait",
            ])
        })
        .collect();
    for one in &mut crowd {
        assert_eq!(one.line(), "here");
    }
    let labels = [("family", "query")];
    let before = daemon.fresh_metrics();
    for one in &mut crowd {
        one.go();
        assert_eq!(one.line(), "done");
    }
    let after = daemon.fresh_metrics();
    let more = after.sum("monitor_syscalls_total", &labels) - before.sum("monitor_syscalls_total", &labels);
    // Others on the machine count as well.
    daemon.counted((more as u64).min(80 * 300), 80 * 300);
    let lost = after.find("monitor_lost_total", &[("signal", "process"), ("cause", "slots_full")]).unwrap();
    assert!(lost > 0.0, "80 processes have found 64 slots");
    assert_eq!(after.find("monitor_process_slots", &[("state", "capacity")]), Some(64.0));
    for one in crowd {
        one.finish();
    }
}
