//! Programs of the test's own, the rule about them, and what the daemon decided.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use monitor_tests::{DEADLINE, Daemon, copy, directory, program, unique, until};
use serde_json::Value;

/// A user that nobody here is.
pub(super) const NOBODY_ELSE: u32 = 64_217;
/// Respond, and kill about these rules.
pub(super) const KILL: &str = "[respond]\nenabled = true\ndry_run = false\nrate = 10000\nkill = [\"at_exec_*\"]\n";
/// `O_CREAT | O_WRONLY`.
const MAKE: i32 = 0o101;

/// A directory with programs, and one with rules.
pub(super) struct Scene {
    place: tempfile::TempDir,
    pub(super) rules: tempfile::TempDir,
}

/// How a program fared.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fared {
    /// It did what it is there for.
    Ran,
    /// It was killed before its first act.
    Killed,
    /// It was killed after it.
    Late,
}

impl Scene {
    pub(super) fn new(condition: &str) -> Self {
        let scene = Self { place: directory(), rules: tempfile::tempdir().unwrap() };
        scene.rule(condition);
        scene
    }

    /// Where its programs are, as the kernel resolves it.
    pub(super) fn path(&self) -> PathBuf {
        fs::canonicalize(self.place.path()).unwrap()
    }

    /// There is one rule, about execs; `DIR` stands for the directory.
    pub(super) fn rule(&self, condition: &str) {
        self.write("at_exec_test", condition, "");
    }

    pub(super) fn write(&self, name: &str, condition: &str, more: &str) {
        let condition = condition.replace("DIR", self.path().to_str().unwrap());
        let text = format!(
            "- rule: {name}\n  desc: a test\n  condition: >\n    evt.type in (execve, execveat) and ({condition})\n  \
             output: ran %proc.exepath\n  priority: WARNING\n{more}"
        );
        fs::write(self.rules.path().join("rules.yaml"), text).unwrap();
    }

    pub(super) fn config(&self, respond: &str) -> String {
        format!("[rules]\ndefaults = false\ndirectory = \"{}\"\n{respond}", self.rules.path().display())
    }

    pub(super) fn start(&self, respond: &str) -> Daemon {
        Daemon::start(&self.config(respond))
    }

    /// Works by other rules and another configuration from now on.
    pub(super) fn reload(&self, daemon: &Daemon, respond: &str) {
        fs::write(daemon.directory().join("monitor.toml"), self.config(respond)).unwrap();
        let answer = daemon.post("/-/reload");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// A program there that makes the file that it is given.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        copy(&program(), &path);
        path
    }

    /// Runs it.
    pub(super) fn run(&self, program: &Path) -> (Fared, u32) {
        self.run_as(Command::new(program))
    }

    /// Runs it to be killed. Where the kernel may leave the program on the hook out, and says that it did, once more.
    pub(super) fn killed(&self, daemon: &Daemon, program: &Path) {
        let mut missed = 0;
        while self.run(program).0 != Fared::Killed {
            let now = daemon.missed(&["exec_kill"]);
            assert!(now > missed, "it was not killed\n{}", daemon.log());
            missed = now;
        }
    }

    pub(super) fn run_as(&self, mut command: Command) -> (Fared, u32) {
        let file = self.path().join(unique("made"));
        let mut child = command.args(words(&file)).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        (Self::fared(child.wait().unwrap(), &file), pid)
    }

    pub(super) fn fared(status: ExitStatus, file: &Path) -> Fared {
        let fared = match (status.signal(), file.exists()) {
            (None, true) if status.success() => Fared::Ran,
            (Some(libc::SIGKILL), false) => Fared::Killed,
            (Some(libc::SIGKILL), true) => Fared::Late,
            other => panic!("{status} {other:?}"),
        };
        let _ = fs::remove_file(file);
        fared
    }
}

/// Lets the program make this file, and live long enough to be killed.
pub(super) fn words(file: &Path) -> Vec<String> {
    let call = libc::SYS_openat.to_string();
    let words =
        ["ask", &call, "-100", &format!("@{}", file.display()), &MAKE.to_string(), "0x180", "+", "sleep", "400"];
    words.map(str::to_owned).to_vec()
}

/// What was decided, by the audit trail.
pub(super) fn decisions(daemon: &Daemon) -> Vec<Value> {
    let files = fs::read_dir(daemon.directory().join("audit")).unwrap();
    let text: String = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok()).collect();
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["kind"] == "response").map(|record| record["body"].clone()).collect()
}

/// Those about one process, when there is one.
pub(super) fn decision(daemon: &Daemon, pid: u32) -> Value {
    let of = |all: &[Value]| -> Vec<Value> { all.iter().filter(|one| one["process"]["pid"] == pid).cloned().collect() };
    let found = until(DEADLINE, || match of(&decisions(daemon)) {
        found if found.is_empty() => Err(format!("nothing about {pid}: {}", daemon.log())),
        found => Ok(found),
    });
    // What else there is comes with the alert, which is told before or with it.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(of(&decisions(daemon)).len(), 1, "{found:?}");
    found[0].clone()
}

pub(super) fn attached(daemon: &Daemon) -> Option<f64> {
    let labels = [("signal", "exec_kill"), ("hook", "sched_process_exec")];
    daemon.metrics().find("monitor_hook_attached", &labels)
}

pub(super) fn responses(daemon: &Daemon, outcome: &str) -> Option<f64> {
    daemon.fresh_metrics().find("monitor_responses_total", &[("action", "kill"), ("outcome", outcome)])
}
