//! Processors that come and go.

use std::{fs, time::Instant};

use monitor_tests::{DEADLINE, Daemon, Workload, patience};

use super::calls;

/// A processor that can be switched off; on again when dropped.
struct Processor;

impl Processor {
    const SWITCH: &str = "/sys/devices/system/cpu/cpu1/online";

    fn switch(on: bool) {
        fs::write(Self::SWITCH, if on { "1" } else { "0" }).unwrap_or_else(|error| panic!("{}: {error}", Self::SWITCH));
        let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
        assert_eq!(online.trim(), if on { "0-1" } else { "0" });
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        let _ = fs::write(Self::SWITCH, "1");
    }
}

#[test]
fn counts_stay_exact_while_a_processor_comes_and_goes() {
    const CALLS: u64 = 150_000;
    let _on_again = Processor;
    // One that was started while both were there, and one that begins with one of them.
    let first = Daemon::start("");
    Processor::switch(false);
    let second = Daemon::start("");
    let mut workload = Workload::spawn(&[
        "say",
        "ready",
        "+",
        "wait",
        "+",
        "threads",
        "2",
        &CALLS.to_string(),
        "+",
        "say",
        "done",
        "+",
        "wait",
    ]);
    assert_eq!(workload.line(), "ready");
    let daemons = [&first, &second];
    let before = daemons.map(|daemon| calls(&daemon.seen(workload.pid()), "query"));
    workload.go();
    let begin = Instant::now();
    let mut switches = 0;
    // Its threads are on both as soon as there are both.
    while alive_threads(workload.pid()) > 1 || switches < 2 {
        switches += 1;
        Processor::switch(switches % 2 == 1);
        assert!(begin.elapsed() < patience(DEADLINE), "the workload does not end");
    }
    assert_eq!(workload.line(), "done");
    for (daemon, before) in daemons.into_iter().zip(before) {
        let counted = calls(&daemon.seen(workload.pid()), "query") - before;
        // The C library asks for some things of its own for each thread that it starts.
        assert!(counted <= 2 * CALLS + 4, "{counted} of {}", 2 * CALLS);
        daemon.counted(counted.min(2 * CALLS), 2 * CALLS);
    }
    assert!(switches >= 2, "{switches}");
    workload.finish();
}

fn alive_threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}
