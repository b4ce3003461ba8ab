//! A kernel without type information.

use std::fs;

use monitor_tests::Daemon;

use super::support::{has_exit, held, monitor};

/// Signals that cannot do without.
const KERNEL: [&str; 9] = ["process", "exec", "exec_kill", "tcp", "l7", "block_io", "syscalls", "activity", "protect"];

#[test]
fn without_btf_the_host_is_observed_and_the_rest_is_off_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let garbage = directory.path().join("garbage");
    fs::write(&garbage, [0x5a; 5000]).unwrap();
    let cut = directory.path().join("cut");
    let whole = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    fs::write(&cut, &whole[..whole.len() / 3]).unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, "").unwrap();
    for btf in [directory.path().join("missing"), garbage, cut, empty] {
        let btf = btf.to_str().unwrap();
        let daemon = Daemon::start(&format!("[kernel]\nbtf = \"{btf}\"\n"));
        assert!(held(daemon.pid()).programs.is_empty());
        let log = daemon.log();
        assert!(log.contains(btf) && log.contains("Only the host's own numbers are observed"), "{btf}: {log}");

        let status = daemon.json("/api/v1/status");
        let metrics = daemon.metrics();
        for signal in status["signals"].as_array().unwrap() {
            let name = signal["name"].as_str().unwrap();
            let off = KERNEL.contains(&name);
            assert_eq!(signal["state"], if off { "off" } else { "on" }, "{signal}");
            let up = metrics.find("monitor_signal_up", &[("signal", name)]);
            assert_eq!(up, Some(if off { 0.0 } else { 1.0 }), "{name}");
            if off {
                assert!(signal["reason"].as_str().unwrap().contains("monitor doctor"), "{signal}");
            }
        }
        assert!(metrics.find("node_load1", &[]).is_some(), "no metrics of the host");
        assert_eq!(metrics.all("monitor_syscalls_total", &[]).count(), 0);
        assert_eq!(daemon.get("/-/ready").status, 200);
        assert_eq!(daemon.stop().0.code(), Some(0));

        let doctor = monitor(&["doctor", "--set", &format!("kernel.btf={btf}")]);
        has_exit(&doctor, 1, &[]);
        for part in ["FAIL  kernel programs", btf, "remedy: boot a kernel with CONFIG_DEBUG_INFO_BTF=y"] {
            assert!(doctor.stdout.contains(part), "{part:?} is not in:\n{}", doctor.stdout);
        }
    }
}
