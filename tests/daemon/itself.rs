//! What the daemon says of itself, and that it does not observe itself.

use std::fs;

use monitor_tests::{DEADLINE, Daemon, binary, copy, directory, unique, until};
use serde_json::Value;

use super::support::held;

/// Numbers of /proc/PID/stat by their place in proc(5).
fn stat(pid: u32, field: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = &stat[stat.rfind(')').unwrap() + 1..];
    rest.split_ascii_whitespace().nth(field - 3).unwrap().parse().unwrap()
}

#[test]
fn it_leaves_itself_out() {
    // Under a name that no other daemon has.
    let directory = directory();
    let name = unique("mon");
    let program = directory.path().join(&name);
    copy(&binary(), &program);
    let daemon = Daemon::launch(&program, "127.0.0.1:0", "[metrics]\ngroups = 1000\n", |_| {});
    // Scrapes are accepts, traffic and system calls of its own.
    for _ in 0..50 {
        assert_eq!(daemon.get("/metrics").status, 200);
    }
    assert_eq!(daemon.process(daemon.pid()), None);
    let all = daemon.json("/api/v1/processes?limit=10000");
    let exe = Value::from(fs::canonicalize(&program).unwrap().to_str().unwrap());
    let processes = all["processes"].as_array().unwrap();
    assert!(
        processes.iter().all(|process| process["exe"] != exe && process["comm"] != name.as_str()),
        "{name} is there"
    );
    let metrics = daemon.fresh_metrics();
    let own: Vec<_> = metrics.0.iter().filter(|sample| sample.label("group") == Some(&name)).collect();
    assert!(own.is_empty(), "{own:?}");
    // The other side of the same connections is no part of it.
    let test = std::env::current_exe().unwrap();
    let test = test.file_name().unwrap().to_str().unwrap();
    assert!(metrics.sum("monitor_tcp_connects_total", &[("group", test)]) >= 50.0, "{test} made no connections");
}

#[test]
fn it_tells_what_it_costs() {
    let daemon = Daemon::start("");
    let programs = held(daemon.pid()).programs.len();
    // The first window of measurement is at the start.
    let metrics = until(DEADLINE, || {
        let metrics = daemon.metrics();
        let calls = metrics.sum("monitor_ebpf_program_runs_total", &[("program", "sys_enter")]);
        let measured = metrics.find("monitor_ebpf_measured_seconds_total", &[]).unwrap();
        if calls > 100.0 && measured > 0.0 {
            Ok(metrics)
        } else {
            Err(format!("{calls} runs measured in {measured} s"))
        }
    });
    let measured = metrics.find("monitor_ebpf_measured_seconds_total", &[]).unwrap();
    assert!((1.0..5.0).contains(&measured), "{measured} s measured");
    assert_eq!(metrics.all("monitor_ebpf_program_runs_total", &[]).count(), programs);
    for sample in metrics.all("monitor_ebpf_program_run_seconds_total", &[]) {
        let runs =
            metrics.find("monitor_ebpf_program_runs_total", &[("program", sample.label("program").unwrap())]).unwrap();
        let each = if runs > 0.0 { sample.value / runs } else { 0.0 };
        assert!((0.0..1e-3).contains(&each), "{each} s for each run: {sample:?}");
        assert!(runs == 0.0 || sample.value > 0.0, "{sample:?}");
    }

    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let cpu = || (stat(daemon.pid(), 14) + stat(daemon.pid(), 15)) / ticks;
    let before = cpu();
    let metrics = daemon.metrics();
    let told = metrics.find("process_cpu_seconds_total", &[]).unwrap();
    assert!((before..=cpu()).contains(&told), "{before} .. {told} .. {}", cpu());
    assert!(told > 0.0);
    let resident = metrics.find("process_resident_memory_bytes", &[]).unwrap();
    let truth = stat(daemon.pid(), 24) * rustix::param::page_size() as f64;
    assert!((resident / truth - 1.0).abs() < 0.1, "{resident} is not {truth}");
    let files = metrics.find("process_open_fds", &[]).unwrap();
    let truth = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count() as f64;
    assert!((files - truth).abs() <= 5.0, "{files} is not {truth}");
    let started = metrics.find("process_start_time_seconds", &[]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((0.0..60.0).contains(&(now - started)), "started at {started}, now is {now}");
    let build = metrics.all("monitor_build_info", &[("version", env!("CARGO_PKG_VERSION"))]).count();
    assert_eq!(build, 1);
}

#[test]
fn a_daemon_that_has_nothing_to_tell_says_no_more_than_where_things_are() {
    let daemon = Daemon::start("");
    let log = daemon.log();
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(log.lines().all(|line| line.contains(" INFO ")), "{log}");
}
