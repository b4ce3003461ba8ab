//! `process`: births, ends and what was used in between; who everybody is and where they come from.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use monitor_tests::{DEADLINE, Daemon, Samples, Workload, copy, directory, program, shared, until};
use serde_json::{Value, json};

/// A number of a group, by name of metric and further labels.
fn of_group(metrics: &Samples, group: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut all = vec![("group", group)];
    all.extend(labels);
    metrics.find(name, &all)
}

#[test]
fn births_and_ends_are_counted_for_the_group() {
    let daemon = shared();
    let workload = Workload::spawn(&["fork", "7", "+", "exit", "3"]);
    let group = workload.name.clone();
    let ended = workload.end();
    assert_eq!(ended.status.code(), Some(3));
    let process = daemon.ended(ended.pid);
    assert_eq!((&process["exit"]["code"], &process["exit"]["signal"]), (&json!(3), &Value::Null));
    assert_eq!((&process["state"], &process["ppid"]), (&json!("exited"), &json!(std::process::id())));
    let metrics = daemon.fresh_metrics();
    let number = |name, labels: &[(&str, &str)]| of_group(&metrics, &group, name, labels);
    assert_eq!(number("monitor_process_forks_total", &[]), Some(7.0));
    assert_eq!(number("monitor_process_starts_total", &[]), Some(1.0));
    assert_eq!(number("monitor_process_exits_total", &[("reason", "ok")]), Some(7.0));
    assert_eq!(number("monitor_process_exits_total", &[("reason", "error")]), Some(1.0));
    assert_eq!(number("monitor_processes", &[]).unwrap_or(0.0), 0.0);
}

#[test]
fn a_violent_end_tells_its_signal() {
    let daemon = shared();
    for (number, name, crash) in [(libc::SIGSEGV, "SIGSEGV", 1.0), (libc::SIGKILL, "SIGKILL", 0.0)] {
        let workload = Workload::spawn(&["die", &number.to_string()]);
        let group = workload.name.clone();
        let process = daemon.ended(workload.end().pid);
        assert_eq!(process["exit"]["signal"], name);
        assert_eq!((&process["exit"]["code"], &process["exit"]["core_dumped"]), (&Value::Null, &json!(false)));
        let metrics = daemon.fresh_metrics();
        let of = |name, labels: &[(&str, &str)]| of_group(&metrics, &group, name, labels).unwrap_or(0.0);
        assert_eq!(of("monitor_process_exits_total", &[("reason", "signal")]), 1.0);
        assert_eq!(of("monitor_process_crashes_total", &[("signal", name)]), crash);
    }
}

#[test]
fn a_short_life_is_accounted_for_in_full() {
    let daemon = shared();
    let directory = directory();
    let file = directory.path().join("file");
    // Gone long before anybody could have looked at it in /proc.
    let workload =
        Workload::spawn(&["burn", "20", "+", "touch", "500", "+", "write", file.to_str().unwrap(), "123456"]);
    let group = workload.name.clone();
    let ended = workload.finish();
    let process = daemon.ended(ended.pid);

    // What the kernel told the parent.
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let told = seconds(ended.usage.ru_utime) + seconds(ended.usage.ru_stime);
    let cpu = &process["cpu_seconds"];
    let used = cpu["user"].as_f64().unwrap() + cpu["system"].as_f64().unwrap();
    assert!((used - told).abs() < 0.001, "{used} s, the kernel says {told} s");
    assert!(used >= 0.02);
    assert_eq!(process["page_faults"]["minor"], ended.usage.ru_minflt);
    assert!(ended.usage.ru_minflt >= 500);
    assert_eq!(process["exit"]["max_resident_memory_bytes"], ended.usage.ru_maxrss * 1024);
    assert_eq!(process["page_faults"]["major"], ended.usage.ru_majflt);
    let switches = json!({ "voluntary": ended.usage.ru_nvcsw, "involuntary": ended.usage.ru_nivcsw });
    assert_eq!(process["context_switches"], switches);
    assert_eq!(process["written_bytes"], 123_456);

    let metrics = daemon.fresh_metrics();
    let modes = ["user", "system"]
        .map(|mode| of_group(&metrics, &group, "monitor_process_cpu_seconds_total", &[("mode", mode)]).unwrap_or(0.0));
    assert!((modes.iter().sum::<f64>() - used).abs() < 1e-6, "{modes:?} {used}");
    assert_eq!(of_group(&metrics, &group, "monitor_process_written_bytes_total", &[]), Some(123_456.0));
    let faults = of_group(&metrics, &group, "monitor_process_page_faults_total", &[("type", "minor")]);
    assert_eq!(faults, Some(ended.usage.ru_minflt as f64));
}

#[test]
fn ancestors_outlive_their_end() {
    let daemon = shared();
    let mut workload = Workload::spawn(&["orphan", "60000", "+", "wait"]);
    let line = workload.line();
    let (child, orphan) = line.split_once(' ').unwrap();
    let (child, orphan): (u32, u32) = (child.parse().unwrap(), orphan.parse().unwrap());
    daemon.ended(child);
    let parent = workload.pid();
    workload.finish();
    daemon.ended(parent);
    let process = daemon.seen(orphan);
    let path = |ancestor: &Value| (ancestor["pid"].as_u64().unwrap(), ancestor["exe"].as_str().unwrap().to_owned());
    let ancestors: Vec<_> = process["ancestors"].as_array().unwrap().iter().map(path).take(3).collect();
    let exe = process["exe"].as_str().unwrap().to_owned();
    let tests = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let wanted = [(child.into(), exe.clone()), (parent.into(), exe), (std::process::id().into(), tests)];
    // When nobody told of its birth, all that is known is what /proc says later, when the parents are gone.
    let born_unseen = ancestors.len() == 1 && ancestors[0].0 == 1 && daemon.missed(&["process_fork"]) > 0;
    assert!(ancestors == wanted || born_unseen, "nearest first: {ancestors:?} is not {wanted:?}");
    assert_eq!(process["exit"], Value::Null);
    // SAFETY: no memory is involved; the process is one of ours, which sleeps.
    assert_eq!(unsafe { libc::kill(orphan.cast_signed(), libc::SIGKILL) }, 0);
    daemon.ended(orphan);
}

/// Starts a program that just sleeps, as user and group 65534 in `/usr`, with an argument that is nobody's business.
fn somebody() -> std::process::Child {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "read line; exit 0", "its name", "an argument"]).uid(65534).gid(65534).current_dir("/usr");
    command.stdin(Stdio::piped()).spawn().unwrap()
}

fn check_somebody(process: &Value) {
    let shell = fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(process["exe"], shell.to_str().unwrap());
    let argv = json!(["/bin/sh", "-c", "read line; exit 0", "its name", "an argument"]);
    assert_eq!(process["argv"], argv);
    assert_eq!(process["cwd"], "/usr");
    assert_eq!((&process["uid"], &process["gid"], &process["euid"]), (&json!(65534), &json!(65534), &json!(65534)));
    assert_eq!((&process["comm"], &process["ppid"]), (&json!("sh"), &json!(std::process::id())));
    assert_eq!(process["ancestors"][0]["pid"], std::process::id());
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(cgroup.contains(process["cgroup"].as_str().unwrap()), "{}", process["cgroup"]);
}

#[test]
fn everybody_is_known_whether_born_before_the_daemon_or_after() {
    let mut before = somebody();
    let daemon = Daemon::start("");
    let mut after = somebody();
    check_somebody(&daemon.seen(before.id()));
    let exec = until(DEADLINE, || {
        let process = daemon.seen(after.id());
        if process["execs"] == 1 { Ok(process) } else { Err(process.to_string()) }
    });
    check_somebody(&exec);
    for child in [&mut before, &mut after] {
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(daemon.ended(child.id())["exit"]["code"], 0);
    }
}

/// Control characters, what ends labels and lines, and no UTF-8.
const UGLY: &[u8] = b"w\xff\x1b[31m\"\\\n\t{}";

#[test]
fn an_ugly_name_spoils_neither_json_nor_metrics() {
    let directory = directory();
    let path = directory.path().join(OsStr::from_bytes(UGLY));
    copy(&program(), &path);
    let mut argument = OsString::from(OsStr::from_bytes(b"\xc3\x28 \x00".strip_suffix(b"\x00").unwrap()));
    argument.push(OsStr::from_bytes(UGLY));
    let mut child = Command::new(&path)
        .arg0(OsStr::from_bytes(UGLY))
        .args(["rename", "ff1b5b333100"])
        .args(["+", "wait", "+", "say"])
        .arg(&argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Its group, and the series of the single process, have its name as a label.
    let daemon = Daemon::start("[metrics]\nper_process = [\"w*\"]\n");
    let process = daemon.seen(child.id());
    // What is no UTF-8 is shown as `\xNN`; the rest is JSON's to escape.
    let shown = "w\\xff\u{1b}[31m\"\\\n\t{}";
    assert_eq!(process["argv"][7], format!("\\xc3( {shown}"), "{process}");
    assert_eq!((&process["argv"][0], &process["comm"]), (&json!(shown), &json!("\\xff\u{1b}[31")));
    assert_eq!(process["exe"], json!(directory.path().join(shown)));
    let name = process["group"].as_str().unwrap().to_owned();
    assert!(!name.contains(char::is_control), "{name:?}");

    // Who has series of their own is decided every ten seconds.
    let labels = [("group", name.as_str()), ("pid", &child.id().to_string())];
    let page = until(DEADLINE, || {
        let page = daemon.get("/metrics");
        let metrics = Samples::parse(page.text());
        if metrics.find("monitor_pid_syscalls_total", &labels).is_some() { Ok(page) } else { Err("no series") }
    });
    promtool(page.text());
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// Prometheus' own opinion of a page. It does not like the names of node_exporter, which ours have to equal.
fn promtool(page: &str) {
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (Debian: prometheus) judges the metrics");
    check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let ours: Vec<_> = said.lines().filter(|line| !line.is_empty() && !line.starts_with("node_")).collect();
    assert_eq!(ours, [] as [&str; 0]);
    // 3: there are remarks, but the page is as it should be.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", output.status);
}

#[test]
fn the_daemon_does_not_observe_itself() {
    let daemon = shared();
    assert!(Path::new(&format!("/proc/{}", daemon.pid())).exists());
    assert_eq!(daemon.process(daemon.pid()), None);
}
