//! Small programs that rules find.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use monitor_tests::{DEADLINE, Daemon, directory, unique, until};
use serde_json::Value;

/// Rule that finds [`hidden`] ones, medium.
pub(in crate::daemon) const HIDDEN: &str = "exec_hidden";
/// Rule that finds [`disguised`] ones, high.
pub(in crate::daemon) const DISGUISED: &str = "kthread_masquerade";

/// Runs a program with a hidden name and these arguments. Its process id.
pub(in crate::daemon) fn hidden(arguments: &[&str]) -> u32 {
    run(&format!(".{}", unique("h")), |command| {
        command.args(["exit", "0", "+"]).args(arguments);
    })
}

/// Runs a program that calls itself a kernel thread. Its process id.
pub(in crate::daemon) fn disguised() -> u32 {
    run(&unique("d"), |command| {
        command.arg0("[kworker/0:1-events]").args(["exit", "0"]);
    })
}

/// Runs a program with a hidden name, and waits until the daemon tells of it.
pub(in crate::daemon) fn alert(daemon: &Daemon) -> Value {
    told(daemon, hidden(&[]), HIDDEN)
}

/// Waits until the daemon tells of this process by this rule. Where the build is in /tmp, there are events by another
/// rule besides.
pub(in crate::daemon) fn told(daemon: &Daemon, pid: u32, rule: &str) -> Value {
    let query = format!("limit=10000&rule={rule}");
    until(DEADLINE, || {
        let events = daemon.events(&query);
        let found = events.into_iter().find(|event| event["process"]["pid"] == pid);
        found.ok_or_else(|| format!("no {rule} of process {pid}"))
    })
}

fn run(name: &str, set: impl FnOnce(&mut Command)) -> u32 {
    let directory = directory();
    let path: PathBuf = directory.path().join(name);
    link(&path);
    let mut command = Command::new(&path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    set(&mut command);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {}: {error}", path.display()));
    child.wait().expect("the child is ours");
    child.id()
}

fn link(path: &Path) {
    std::fs::hard_link(monitor_tests::program(), path).expect("give the workload another name");
}
