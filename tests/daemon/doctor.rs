//! `monitor doctor`.

use std::{collections::BTreeSet, time::Duration};

use monitor_tests::{Daemon, expected, until};
use serde_json::Value;

use super::support::{Finished, has_exit, monitor, orphans};

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {finished:?}"))
}

/// Every hook of a diagnosis with its signal.
fn hooks(diagnosis: &Value) -> Vec<(&str, &Value)> {
    let signals = diagnosis["signals"].as_array().unwrap();
    signals
        .iter()
        .flat_map(|signal| {
            let name = signal["signal"].as_str().unwrap();
            signal["hooks"].as_array().unwrap().iter().map(move |hook| (name, hook))
        })
        .collect()
}

/// Functions whose returns stand in for tracepoints on what sockets send and receive.
const STAND_INS: [&str; 7] = [
    "tcp_sendmsg",
    "tcp_recvmsg",
    "tcp_sendpage",
    "udp_sendmsg",
    "udpv6_sendmsg",
    "udp_recvmsg",
    "udpv6_recvmsg",
];

/// The doctor's exit code when all is as it should be on this kernel.
fn healthy() -> i32 {
    if expected::is_whole() { 0 } else { 2 }
}

#[test]
fn this_kernel_can_do_all_that_it_should_and_nothing_stays_behind() {
    let finished = monitor(&["doctor", "--json"]);
    has_exit(&finished, healthy(), &[]);
    let diagnosis = json(&finished);
    assert_eq!(diagnosis["verdict"], if expected::is_whole() { "ok" } else { "warning" });
    for check in diagnosis["checks"].as_array().unwrap() {
        assert_eq!(check["verdict"], "ok", "{check}");
    }
    let names: Vec<_> = diagnosis["signals"].as_array().unwrap().iter().map(|signal| &signal["signal"]).collect();
    assert_eq!(
        names,
        ["process", "exec", "exec_kill", "tcp", "l7", "block_io", "syscalls", "activity", "protect", "host"]
    );
    for signal in diagnosis["signals"].as_array().unwrap() {
        // Forbidding is not for a doctor to try unasked.
        if signal["signal"] == "protect" {
            assert_eq!((&signal["state"], &signal["reason"]), (&"off".into(), &"off by protect.enabled".into()));
            continue;
        }
        let state = expected::state(signal["signal"].as_str().unwrap());
        assert_eq!(signal["state"], state, "{signal}");
        assert_eq!(signal["reason"].is_string(), state != "full", "{signal}");
    }
    for (signal, hook) in hooks(&diagnosis) {
        let name = hook["hook"].as_str().unwrap();
        let state = match name {
            // Attached only while rules kill at exec.
            _ if signal == "exec_kill" => "unused",
            // Attached to libraries, not to the kernel.
            "tls_enter" | "tls_return" if expected::has_hook("uprobe_multi") => "unused",
            "tls_enter" | "tls_return" => "failed",
            "sock_send_length" | "sock_recv_length" if signal == "l7" && !expected::has_hook(name) => "unused",
            _ if STAND_INS.contains(&name) && expected::has_hook("sock_send_length") => "unused",
            _ if STAND_INS.contains(&name) && !expected::has_hook("bpf_task_pt_regs") => "failed",
            "block_rq_insert" if expected::has_hook("block_io_start") => "unused",
            "io_uring_submit_req" if !expected::has_hook(name) => "unused",
            "io_uring_submit_sqe" if expected::has_hook("io_uring_submit_req") => "unused",
            _ if expected::has_hook(name) => "attached",
            _ => "failed",
        };
        assert_eq!(hook["state"], state, "{signal}: {hook}");
        if name.starts_with("tls_") && state == "failed" {
            assert!(hook["reason"].as_str().unwrap().contains("Linux 6.6"), "{hook}");
        } else if state == "failed" && !STAND_INS.contains(&name) {
            assert_eq!(hook["reason"], format!("this kernel has no tracepoint {name}"));
            // What the whole signal stands on is told by the signal.
            assert!(hook["lost"].is_string() || expected::state(signal) == "off", "{hook}");
        }
    }
    let layout = diagnosis["layout"].as_object().unwrap();
    let wanted: Vec<(&str, bool)> = expected::layout().collect();
    let found: Vec<(&str, bool)> = wanted.iter().map(|(name, _)| (*name, layout[*name].as_bool().unwrap())).collect();
    assert_eq!((found, layout.len()), (wanted.clone(), wanted.len()), "on {}", diagnosis["kernel"]);

    // The kernel keeps 15 bytes of a name.
    let program = |hook: &Value| hook["program"].as_str().unwrap().chars().take(15).collect();
    let programs: BTreeSet<String> = hooks(&diagnosis).iter().map(|(_, hook)| program(hook)).collect();
    assert!(programs.len() > 10, "{programs:?}");
    until(Duration::from_secs(10), || match orphans(&programs) {
        orphans if orphans.is_empty() => Ok(()),
        orphans => Err(format!("programs that nobody holds: {orphans:?}")),
    });
}

#[test]
fn people_read_every_hook() {
    let diagnosis = json(&monitor(&["doctor", "--json"]));
    let finished = monitor(&["doctor"]);
    has_exit(&finished, healthy(), &[]);
    let line = |name: &str, state: &str| {
        finished.stdout.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(name) && words.next() == Some(state)
        })
    };
    for (_, hook) in hooks(&diagnosis) {
        let state = match hook["state"].as_str() {
            Some("unused") => "not",
            Some("failed") => "FAILED:",
            _ => "attached",
        };
        assert!(line(hook["hook"].as_str().unwrap(), state), "{hook} is not in:\n{}", finished.stdout);
    }
    for check in diagnosis["checks"].as_array().unwrap() {
        assert!(finished.stdout.contains(check["check"].as_str().unwrap()), "{check}");
    }
}

#[test]
fn what_is_lost_without_a_hook_is_told() {
    let disable = "kernel.disable_hooks=sock_send_length,sys_enter,block_io_start";
    let finished = monitor(&["doctor", "--json", "--set", disable]);
    has_exit(&finished, 2, &[]);
    let diagnosis = json(&finished);
    assert_eq!(diagnosis["verdict"], "warning");
    let signal = |name: &str| {
        let signals = diagnosis["signals"].as_array().unwrap();
        signals.iter().find(|signal| signal["signal"] == name).unwrap().clone()
    };
    let tcp = signal("tcp");
    assert_eq!(tcp["state"], "degraded");
    assert!(tcp["reason"].as_str().unwrap().contains("bytes are read from each socket when it closes"), "{tcp}");
    let syscalls = signal("syscalls");
    assert_eq!(syscalls["state"], "off");
    assert_eq!(syscalls["reason"], "sys_enter: off by kernel.disable_hooks");
    assert_eq!(signal("process")["state"], "full");
    let states = hooks(&diagnosis);
    let state = |name: &str| &states.iter().find(|(_, hook)| hook["hook"] == name).unwrap().1["state"];
    assert_eq!(state("sock_send_length"), "failed");
    // It stands in for the one that is disabled.
    assert_eq!(state("block_rq_insert"), "attached");

    let text = monitor(&["doctor", "--set", disable]).stdout;
    assert!(text.contains("sock_send_length         FAILED: off by kernel.disable_hooks"), "{text}");
    assert!(text.contains("lost:   traffic as it happens"), "{text}");
}

#[test]
fn it_examines_while_a_daemon_runs() {
    let daemon = monitor_tests::shared();
    has_exit(&monitor(&["doctor", "--json"]), healthy(), &[]);
    assert_eq!(daemon.get("/-/ready").status, 200);
}

/// A test of what happens where the kernel asks BPF programs is `guest/protect.rs`: here it may or may not.
#[test]
fn protection_that_was_asked_for_is_there_or_missed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("monitor.toml");
    std::fs::write(&file, "[protect]\nenabled = true\n").unwrap();
    let diagnosis = json(&monitor(&["doctor", "--json", "--config", file.to_str().unwrap()]));
    let checks = diagnosis["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == "self-protection").unwrap();
    let signals = diagnosis["signals"].as_array().unwrap();
    let signal = signals.iter().find(|signal| signal["signal"] == "protect").unwrap();
    let daemon = Daemon::start("[protect]\nenabled = true\n");
    let up = |state| daemon.metrics().find("monitor_signal_up", &[("signal", "protect"), ("state", state)]);
    if signal["state"] == "full" {
        assert_eq!((&check["verdict"], up("full")), (&"ok".into(), Some(1.0)), "{check}");
    } else {
        assert_eq!((&check["verdict"], up("off")), (&"warning".into(), Some(0.0)), "{check}");
        let (reason, remedy) = (signal["reason"].as_str().unwrap(), check["remedy"].as_str().unwrap());
        assert!(check["found"].as_str().unwrap().contains(reason) && remedy.contains("lsm="), "{check}");
        assert!(daemon.log().contains(reason), "{}", daemon.log());
    }
    // Either way it watches.
    assert_eq!(daemon.metrics().find("monitor_signal_up", &[("signal", "activity"), ("state", "full")]), Some(1.0));
}
