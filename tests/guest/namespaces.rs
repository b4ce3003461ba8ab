//! Processes for which ids and paths mean something else.

use std::{
    fs,
    process::{Command, Stdio},
};

use monitor_tests::{DEADLINE, Daemon, Workload, shared, until};
use serde_json::Value;

use super::{calls, check, doctor};

/// The one child of a process.
fn child_of(pid: u32) -> u32 {
    until(DEADLINE, || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.trim().parse::<u32>().map_err(|_| format!("{pid} has children {children:?}"))
    })
}

#[test]
fn a_process_in_a_pid_namespace_is_told_by_its_id_outside() {
    let daemon = shared();
    let workload = Workload::spawn(&["exit", "0"]);
    let path = workload.path.clone();
    let mut unshare = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child"])
        .arg(&path)
        .args(["getppid", "3000", "+", "fork-and-call", "500", "1", "+", "wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child_of(unshare.id());
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_ne!(namespace(pid), namespace(std::process::id()));
    let exec = |process: &Value| process["exe"] == path.to_str().unwrap() && calls(process, "query") >= 3_001;
    let process = until(DEADLINE, || {
        let process = daemon.seen(pid);
        if exec(&process) { Ok(process) } else { Err(process.to_string()) }
    });
    assert_eq!((&process["pid"], &process["ppid"]), (&pid.into(), &unshare.id().into()));
    drop(unshare.stdin.take());
    assert!(unshare.wait().unwrap().success());
    assert_eq!(daemon.ended(pid)["exit"]["code"], 0);
    // Its own child, which in there has the id 2.
    let answer = daemon.json("/api/v1/processes?limit=10000");
    let children: Vec<&Value> =
        answer["processes"].as_array().unwrap().iter().filter(|process| process["ppid"] == pid).collect();
    assert_eq!(children.len(), 1, "{children:?}");
    daemon.counted(calls(children[0], "query"), 500);
    workload.finish();
}

#[test]
fn a_daemon_in_a_pid_namespace_is_told_that_it_does_not_belong_there() {
    assert_eq!(check(&mut doctor(), "pid namespace")["verdict"], "ok");
    let doctor = doctor();
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork"]).arg(doctor.get_program()).args(doctor.get_args());
    inside.env_remove("TEST_SLOWNESS");
    let check = check(&mut inside, "pid namespace");
    assert_eq!(check["verdict"], "warning", "{check}");
    assert!(check["remedy"].as_str().unwrap().contains("--pid=host"), "{check}");
}

#[test]
fn a_program_on_a_mount_of_its_own_is_told_by_its_path_there() {
    let daemon: &Daemon = &shared();
    // A file system that only these processes see, in which rules mind programs.
    let script = "mount -t tmpfs private /tmp && cp /bin/true /tmp/hidden-from-others && exec /tmp/hidden-from-others";
    let mut shell = Command::new("unshare").args(["--mount", "sh", "-c", script]).spawn().unwrap();
    let pid = shell.id();
    assert!(shell.wait().unwrap().success());
    assert!(!fs::exists("/tmp/hidden-from-others").unwrap());
    let process = daemon.ended(pid);
    assert_eq!(process["exe"], "/tmp/hidden-from-others");
    let events = daemon.events_of(pid);
    let found: Vec<(&Value, &Value)> = events.iter().map(|event| (&event["rule"], &event["process"]["exe"])).collect();
    assert_eq!(found, [(&"exec_tmp".into(), &"/tmp/hidden-from-others".into())]);
}
