//! Whoever makes system calls in another way.

use monitor_tests::{Workload, shared};

#[test]
fn a_caller_is_counted() {
    let daemon = shared();
    let process = daemon.ended(Workload::spawn(&["getppid", "1000"]).finish().pid);
    assert!(process["syscalls"]["families"]["query"]["calls"].as_u64() >= Some(1_000), "{process}");
}
