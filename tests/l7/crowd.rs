//! Very many connections at one time.

use std::fs;

use monitor_tests::{DEADLINE, Daemon, Workload, alone, until};

use super::{counted, daemon};

const PROCESSES: usize = 5;
/// Connections of each, to itself.
const CONNECTIONS: usize = 2_000;
/// Bytes of the daemon's memory that one end of a connection may take, once its first request has been answered.
const END_MOST: u64 = 2_048;

/// The daemon's memory in bytes.
fn resident(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn each_of_many_open_connections_takes_little() {
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let before = resident(&daemon);
    let mut crowds: Vec<Workload> =
        (0..PROCESSES).map(|_| Workload::spawn(&["crowd-http", &CONNECTIONS.to_string()])).collect();
    for crowd in &mut crowds {
        assert_eq!(crowd.line(), "open");
    }
    let ends = 2 * PROCESSES * CONNECTIONS;
    let heard = |daemon: &Daemon| daemon.fresh_metrics().sum("monitor_l7_connections", &[]);
    until(DEADLINE, || {
        let heard = heard(&daemon);
        if heard >= ends as f64 { Ok(()) } else { Err(format!("{heard} of {ends}")) }
    });
    let wanted: Vec<_> = crowds.iter().map(|crowd| (crowd.name.as_str(), CONNECTIONS as f64)).collect();
    for metric in ["server", "client"].map(|role| format!("monitor_http_{role}_request_duration_seconds_count")) {
        counted(&daemon, &wanted, |metrics, group| metrics.sum(&metric, &[("group", group)]));
    }
    let grown = resident(&daemon).saturating_sub(before);
    println!("{} bytes for {ends} ends: {} each", grown, grown / ends as u64);
    assert!(grown < END_MOST * ends as u64, "{grown} bytes more for {ends} ends of connections");
    for crowd in &mut crowds {
        crowd.go();
    }
    // What others have open here is not many.
    until(DEADLINE, || {
        let heard = heard(&daemon);
        if heard < ends as f64 / 10.0 { Ok(()) } else { Err(format!("{heard} are still listened to")) }
    });
}
