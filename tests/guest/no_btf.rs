//! A kernel that has no type information: its place is empty.

use monitor_tests::Daemon;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{check, doctor};

/// Where the kernel shows its type information.
const PLACE: &str = "/sys/kernel/btf";

/// Covers it while it lives.
struct Covered;

impl Covered {
    fn new() -> Self {
        mount("tmpfs", PLACE, "tmpfs", MountFlags::empty(), None).unwrap();
        Self
    }
}

impl Drop for Covered {
    fn drop(&mut self) {
        let _ = unmount(PLACE, UnmountFlags::DETACH);
    }
}

#[test]
fn what_needs_no_kernel_program_runs_without_it() {
    let covered = Covered::new();
    let check = check(&mut doctor(), "kernel programs");
    assert_eq!(check["verdict"], "failure", "{check}");
    assert!(check["found"].as_str().unwrap().contains("/sys/kernel/btf/vmlinux"), "{check}");
    assert!(check["remedy"].as_str().unwrap().contains("CONFIG_DEBUG_INFO_BTF=y"), "{check}");

    let daemon = Daemon::start("");
    let metrics = daemon.fresh_metrics();
    for signal in ["process", "exec", "tcp", "block_io", "syscalls"] {
        assert_eq!(metrics.find("monitor_signal_up", &[("signal", signal)]), Some(0.0), "{signal}");
    }
    assert_eq!(metrics.find("monitor_signal_up", &[("signal", "host")]), Some(1.0));
    assert!(metrics.find("node_load1", &[]).is_some());
    drop(covered);
    // With it everything is there again.
    let metrics = Daemon::start("").fresh_metrics();
    assert_eq!(metrics.find("monitor_signal_up", &[("signal", "syscalls")]), Some(1.0));
}
