//! A kernel without one of the hooks: what needs it is off and says why, the rest runs.

use std::process::Command;

use monitor_tests::{Daemon, Workload, binary, expected};
use serde_json::Value;

const CONFIG: &str = "[kernel]\ndisable_hooks = [\"block_rq_issue\"]\n";

fn signal<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let signals = diagnosis["signals"].as_array().unwrap();
    signals.iter().find(|signal| signal["signal"] == name).unwrap_or_else(|| panic!("no {name} in {diagnosis}"))
}

#[test]
fn a_missing_hook_costs_its_signal_and_no_other() {
    let daemon = Daemon::start(CONFIG);
    let metrics = daemon.fresh_metrics();
    let mut states: Vec<(&str, &str, f64)> = metrics
        .all("monitor_signal_up", &[])
        .map(|sample| (sample.label("signal").unwrap(), sample.label("state").unwrap(), sample.value))
        .collect();
    states.sort_by_key(|(signal, ..)| *signal);
    let wanted = [
        ("activity", "full", 1.0),
        ("block_io", "off", 0.0),
        ("exec", "full", 1.0),
        ("exec_kill", "full", 1.0),
        ("host", "full", 1.0),
        ("l7", expected::state("l7"), f64::from(u8::from(expected::state("l7") != "off"))),
        ("process", "full", 1.0),
        ("protect", "off", 0.0),
        ("syscalls", "full", 1.0),
        ("tcp", expected::state("tcp"), 1.0),
    ];
    assert_eq!(states, wanted);
    let attached = |signal, hook| metrics.find("monitor_hook_attached", &[("signal", signal), ("hook", hook)]);
    assert_eq!(attached("block_io", "block_rq_issue"), Some(0.0));
    assert_eq!(attached("syscalls", "sys_enter"), Some(1.0));
    assert!(daemon.log().contains("block_rq_issue"), "the log says why");

    // The rest is no worse for it.
    let process = daemon.ended(Workload::spawn(&["getppid", "1000"]).finish().pid);
    let counted = process["syscalls"]["families"]["query"]["calls"].as_u64().unwrap_or(0);
    // What the program asks for at its start comes on top.
    daemon.counted(counted.min(1_000), 1_000);
    assert_eq!((&process["exit"]["code"], &process["execs"]), (&0.into(), &1.into()));
    assert_eq!(process["block_io"], Value::Null);
}

#[test]
fn the_doctor_finds_out_by_trying() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("monitor.toml");
    for (config, healthy) in [("", true), (CONFIG, false)] {
        std::fs::write(&file, config).unwrap();
        let output = Command::new(binary()).args(["doctor", "--json", "--config"]).arg(&file).output().unwrap();
        let diagnosis: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(signal(&diagnosis, "syscalls")["state"], "full");
        let block_io = signal(&diagnosis, "block_io");
        if healthy {
            assert_eq!(block_io["state"], expected::state("block_io"), "{diagnosis}");
            assert_eq!(output.status.success(), expected::is_whole(), "{diagnosis}");
        } else {
            assert_eq!(block_io["state"], "off");
            let reason = block_io["reason"].as_str().unwrap();
            assert!(reason.contains("block_rq_issue") && reason.contains("disable_hooks"), "{reason}");
            assert!(!output.status.success(), "a script has to see it by the exit code");
        }
    }
}
