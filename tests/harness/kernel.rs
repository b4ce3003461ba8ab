//! What a process has in the kernel.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use aya::programs::loaded_programs;
use serde_json::Value;

use crate::until;

/// The kernel frees programs behind the back of whoever closed them, after a grace period of RCU.
const FREED: Duration = Duration::from_secs(10);

/// Numbers of BPF objects. The kernel gives none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Maps.
    pub maps: BTreeSet<u64>,
    /// Links: what attaches a program.
    pub links: BTreeSet<u64>,
}

/// What this process has open.
pub fn held(pid: u32) -> Held {
    let mut held = Held::default();
    let Ok(list) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return held };
    for entry in list.flatten() {
        // A file that is closed meanwhile is none of ours to look at.
        for line in fs::read_to_string(entry.path()).unwrap_or_default().lines() {
            let Some((key, number)) = line.split_once(':') else { continue };
            let Ok(number) = number.trim().parse() else { continue };
            let _ = match key {
                "prog_id" => held.programs.insert(number),
                "map_id" => held.maps.insert(number),
                "link_id" => held.links.insert(number),
                _ => false,
            };
        }
    }
    held.maps.extend(used_by(&held.programs));
    held
}

/// The maps that these programs use: the daemon keeps no descriptor of those that it reads as memory.
fn used_by(programs: &BTreeSet<u64>) -> BTreeSet<u64> {
    if programs.is_empty() {
        return BTreeSet::new();
    }
    // Somebody else's program may go away while they are listed.
    let ours = loaded_programs().filter_map(Result::ok).filter(|program| programs.contains(&u64::from(program.id())));
    ours.filter_map(|program| program.map_ids().ok()?).flatten().map(u64::from).collect()
}

impl Held {
    /// Asserts that the kernel has all of it: that it is gone later would prove nothing otherwise.
    ///
    /// # Panics
    /// When it has not.
    pub fn assert_there(&self) {
        assert!(self.programs.len() > 1 && self.maps.len() > 1, "the daemon has hardly anything: {self:?}");
        assert_eq!(self.left(), *self);
    }

    /// Asserts that the kernel has none of it any more, or soon has not.
    ///
    /// # Panics
    /// When something is left.
    pub fn assert_gone(&self) {
        until(FREED, || {
            let left = self.left();
            if left == Self::default() { Ok(()) } else { Err(format!("still in the kernel: {left:?}")) }
        });
    }

    /// What of it is still in the kernel.
    fn left(&self) -> Self {
        Self {
            programs: &self.programs & &numbers(&listed("prog")),
            maps: &self.maps & &numbers(&listed("map")),
            links: &self.links & &numbers(&listed("link")),
        }
    }
}

/// Programs of these names that no running daemon holds, neither this one nor another's.
///
/// # Panics
/// When bpftool cannot tell.
pub fn orphans(names: &BTreeSet<String>) -> BTreeSet<u64> {
    let ours: Vec<Value> = listed("prog")
        .into_iter()
        .filter(|program| program["name"].as_str().is_some_and(|name| names.contains(name)))
        .collect();
    let owned: BTreeSet<u64> = daemons().into_iter().flat_map(|pid| held(pid).programs).collect();
    &numbers(&ours) - &owned
}

/// Processes that may rightly have programs of ours: other daemons of other tests.
fn daemons() -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("list the processes").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| !held(*pid).programs.is_empty()).collect()
}

fn numbers(list: &[Value]) -> BTreeSet<u64> {
    list.iter().filter_map(|object| object["id"].as_u64()).collect()
}

/// `bpftool -j KIND show`. It fails when something goes away while it walks the list, as when the daemon of another test
/// stops at the same time: then it is asked again.
fn listed(kind: &str) -> Vec<Value> {
    let output = until(FREED, || {
        let output =
            Command::new("bpftool").args(["-j", kind, "show"]).output().expect("run bpftool (Debian: bpftool)");
        let complaint = format!("bpftool {kind} show: {}", String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(output) } else { Err(complaint) }
    });
    // Nothing at all is printed as nothing at all.
    if output.stdout.is_empty() {
        return Vec::new();
    }
    serde_json::from_slice(&output.stdout).expect("bpftool prints JSON")
}
