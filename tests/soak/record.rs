//! How large the daemon is, from time to time, and whether it grew.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use monitor_tests::{Daemon, held};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(10);
/// Fewest looks, for a short run.
const LEAST: u32 = 18;

/// What is looked at: its name, how it is read, and by how much it may differ between two thirds of a run without having
/// grown: as a part of itself, and in its own unit.
type Measure = (&'static str, fn(u32) -> u64, f64, f64);

const MEASURES: [Measure; 6] = [
    // What allocators keep and give back.
    ("RSS, KiB", resident, 0.05, 1024.0),
    // Readers come and go.
    ("fds", descriptors, 0.0, 8.0),
    // The runtime starts threads for blocking work, and ends them when there is none.
    ("tasks", tasks, 0.0, 2.0),
    ("programs", |pid| held(pid).programs.len() as u64, 0.0, 0.0),
    ("maps", |pid| held(pid).maps.len() as u64, 0.0, 0.0),
    ("links", |pid| held(pid).links.len() as u64, 0.0, 0.0),
];

/// All looks at one daemon.
pub(crate) struct Record {
    pid: u32,
    looks: Vec<[u64; MEASURES.len()]>,
}

impl Record {
    pub(crate) fn new(daemon: &Daemon) -> Self {
        let titles: Vec<String> = MEASURES.iter().map(|(name, ..)| format!("{name:>10}")).collect();
        println!("{:>8} {}", "seconds", titles.join(" "));
        Self { pid: daemon.pid(), looks: Vec::new() }
    }

    /// Looks at the daemon for so long, or until `failed`.
    pub(crate) fn keep(&mut self, daemon: &Daemon, time: Duration, failed: impl Fn() -> bool) {
        let begin = Instant::now();
        let period = PERIOD.min(time / LEAST);
        while begin.elapsed() < time {
            thread::sleep(period);
            assert!(!failed(), "a part of the load has failed, see above\n{}", daemon.log());
            let look = MEASURES.map(|(_, read, ..)| read(self.pid));
            let numbers: Vec<String> = look.iter().map(|number| format!("{number:>10}")).collect();
            println!("{:>8} {}", begin.elapsed().as_secs(), numbers.join(" "));
            self.looks.push(look);
        }
    }

    /// Fails when something was larger in the last third than in the second one. In the first one it fills its tables.
    pub(crate) fn judge(&self) {
        let third = self.looks.len() / 3;
        assert!(third > 1, "too short");
        let mut grown = Vec::new();
        println!("{:>10} {:>12} {:>12} {:>12}  most in each third", "", "first", "second", "last");
        for (index, (name, _, part, unit)) in MEASURES.iter().enumerate() {
            let most = |looks: &[[u64; MEASURES.len()]]| looks.iter().map(|look| look[index]).max().unwrap_or(0);
            let (first, rest) = self.looks.split_at(third);
            let (second, last) = rest.split_at(rest.len() / 2);
            let (first, second, last) = (most(first), most(second), most(last));
            println!("{name:>10} {first:>12} {second:>12} {last:>12}");
            if last as f64 > second as f64 * (1.0 + part) + unit {
                grown.push(format!("{name}: {second}, then {last}"));
            }
        }
        assert!(grown.is_empty(), "it grows: {}", grown.join("; "));
        println!("nothing has grown");
    }
}

fn status(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel tells it");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

fn tasks(pid: u32) -> u64 {
    status(pid, "Threads:")
}

fn descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the daemon runs").count() as u64
}
