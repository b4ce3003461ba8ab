//! A line of shell in a session of its own, and the alerts of its processes.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use monitor_tests::{DEADLINE, Daemon, directory, patience, program, unique, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an alert may take after the line has ended.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// Severities, the least first.
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// A daemon with the default rules. Each test has its own: what one has seen is no news to it in another test.
pub(super) fn daemon() -> Daemon {
    Daemon::start("[metrics]\ngroups = 2000\n")
}

/// A line with what it may use before it.
pub(super) fn with_prelude(daemon: &Daemon, line: &str) -> String {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/detect/data");
    format!("DATA={data}\nMONITOR={}\n. \"$DATA/prelude.sh\"\n{line}", daemon.pid())
}

/// Lines use fixed ports and paths, and count what one session does: one at a time.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was done.
pub(super) struct Scene {
    /// The shell's process id, which is its session's too.
    pub(super) pid: u32,
    /// How it ended.
    pub(super) code: Option<i32>,
    /// What it complained about.
    pub(super) complaints: String,
    after: u64,
}

/// Where a reader of events continues who wants those from now on.
fn newest(daemon: &Daemon) -> u64 {
    daemon.json("/api/v1/events?limit=10000")["next"].as_u64().expect("a number")
}

/// Does it, to its end.
pub(super) fn act(daemon: &Daemon, line: &str) -> Scene {
    let after = newest(daemon);
    let mut command = Command::new("setsid");
    command.args(["bash", "-c", line]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Settings of whoever runs the tests must not matter.
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    let mut child = command.spawn().expect("start setsid(1)");
    let mut pipe = child.stderr.take().expect("stderr is a pipe");
    // Whoever is left of the session may keep the pipe open, so it is read apart.
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let end = Instant::now() + patience(PATIENCE);
    let status = loop {
        match child.try_wait().expect("the child is ours") {
            Some(status) => break Some(status),
            None if Instant::now() >= end => break None,
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    end_session(child.id());
    let _ = child.wait();
    let complaints = reader.join().unwrap_or_default();
    Scene { pid: child.id(), code: status.and_then(|status| status.code()), complaints, after }
}

/// Ends whoever is left of a session that we began.
fn end_session(session: u32) {
    let session = session.to_string();
    let of_session = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in parentheses, may have blanks and parentheses itself.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(3)) == Some(session.as_str())
    };
    for entry in fs::read_dir("/proc").expect("read /proc").flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).filter(|pid| of_session(*pid));
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Scene {
    /// The alerts of its processes so far.
    pub(super) fn alerts(&self, daemon: &Daemon) -> Vec<Value> {
        let events = daemon.events(&format!("after={}&limit=10000", self.after));
        events.into_iter().filter(|event| self.is_ours(event)).collect()
    }

    fn is_ours(&self, event: &Value) -> bool {
        let process = &event["process"];
        let ancestors = process["ancestors"].as_array().map(Vec::as_slice).unwrap_or_default();
        process["pid"] == self.pid || ancestors.iter().any(|ancestor| ancestor["pid"] == self.pid)
    }

    /// Waits for an alert that `wanted` takes. What came instead, when none does.
    pub(super) fn wait(&self, daemon: &Daemon, wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let end = Instant::now() + patience(SOON);
        loop {
            let alerts = self.alerts(daemon);
            if let Some(found) = alerts.iter().find(|alert| wanted(alert)) {
                return Ok(found.clone());
            }
            if Instant::now() >= end {
                return Err(format!("only {:?} {}", names(&alerts), self.complaints.trim()));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// All alerts there will ever be: what happened before a later event has been judged when that one is told.
    pub(super) fn all(&self, daemon: &Daemon) -> Vec<Value> {
        marker(daemon);
        // What comes through the ring of bulk events is read a little later.
        thread::sleep(patience(Duration::from_millis(300)));
        marker(daemon);
        self.alerts(daemon)
    }
}

/// Runs a hidden program and waits until the daemon tells of it.
fn marker(daemon: &Daemon) {
    let directory = directory();
    let path = directory.path().join(format!(".{}", unique("m")));
    fs::hard_link(program(), &path).expect("give the workload another name");
    let mut child = Command::new(&path).args(["exit", "0"]).spawn().expect("start the marker");
    child.wait().expect("the child is ours");
    until(DEADLINE, || {
        let events = daemon.events("limit=10000&rule=exec_hidden");
        let found = events.iter().any(|event| event["process"]["pid"] == child.id());
        found.then_some(()).ok_or("the marker is not told")
    });
}

/// Names of rules with their severity, each once.
pub(super) fn names(alerts: &[Value]) -> BTreeSet<String> {
    alerts.iter().map(|alert| format!("{} {}", text(alert, "rule"), text(alert, "severity"))).collect()
}

/// A field that is text.
pub(super) fn text<'a>(alert: &'a Value, field: &str) -> &'a str {
    alert[field].as_str().unwrap_or_default()
}

/// Whether one severity is at least as bad as another.
pub(super) fn at_least(severity: &str, least: &str) -> bool {
    let rank = |name: &str| {
        let found = SEVERITIES.iter().position(|one| one.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no severity: {name}"))
    };
    rank(severity) >= rank(least)
}

/// Whether an alert is of this rule or of one of its kind: `setuid_exec` stands for `setuid_exec_system` too.
pub(super) fn is_of(alert: &Value, rule: &str) -> bool {
    text(alert, "rule").strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Whether an alert names this technique.
pub(super) fn names_technique(alert: &Value, technique: &str) -> bool {
    let list = alert["attack"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).any(|id| id == technique)
}

/// Takes away what a line that was cut short may have left, at the end of a test, however it ends.
pub(super) struct Sweep {
    preload: bool,
}

/// Directories, and how names in them begin that are ours.
const OURS: &[(&str, &[&str])] = &[
    ("/etc", &["mt_"]),
    ("/etc/cron.d", &["at_test_", "mt_"]),
    ("/etc/systemd/system", &["at-test-", "mt-"]),
    ("/etc/apt/apt.conf.d", &["99at", "99mt"]),
    ("/etc/sudoers.d", &["mt_"]),
    ("/etc/pam.d", &["mt_"]),
    ("/etc/profile.d", &["mt_"]),
    ("/etc/udev/rules.d", &["99-mt"]),
    ("/etc/init.d", &["mt_"]),
    ("/etc/audit", &["mt_"]),
    ("/root", &[".at", ".mt"]),
    ("/usr/bin", &["at_test", "mt_"]),
    ("/usr/local/bin", &["bn-test-", "mt_"]),
    ("/var/log", &["mt_"]),
    ("/dev", &["mt_"]),
    ("/dev/shm", &["mt_"]),
    ("/run/user", &["mt_"]),
];

impl Sweep {
    pub(super) fn new() -> Self {
        Self { preload: Path::new("/etc/ld.so.preload").exists() }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if !self.preload {
            let _ = fs::remove_file("/etc/ld.so.preload");
        }
        for (directory, prefixes) in OURS {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                    let path = entry.path();
                    let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                }
            }
        }
    }
}
