//! The executable, run to its end.

use std::{
    env,
    process::{Command, Output, Stdio},
    time::Duration,
};

use monitor_tests::binary;

/// Who should have ended by itself, and has not for so long, never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug)]
pub(in crate::daemon) struct Finished {
    /// Exit code.
    pub(in crate::daemon) code: Option<i32>,
    /// What it printed.
    pub(in crate::daemon) stdout: String,
    /// What it complained about.
    pub(in crate::daemon) stderr: String,
}

/// Runs `monitor ARGUMENTS`.
pub(in crate::daemon) fn monitor(arguments: &[&str]) -> Finished {
    monitor_with(arguments, |_| {})
}

/// The same, with more to be set.
pub(in crate::daemon) fn monitor_with(arguments: &[&str], set: impl FnOnce(&mut Command)) -> Finished {
    under(&[], arguments, set)
}

/// The same, started by another program such as setpriv(1).
pub(in crate::daemon) fn under(starter: &[&str], arguments: &[&str], set: impl FnOnce(&mut Command)) -> Finished {
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", &monitor_tests::patience(PATIENCE).as_secs().to_string()])
        .args(starter)
        .arg(binary())
        .args(arguments)
        .stdin(Stdio::null())
        // Settings of whoever runs the tests must not matter.
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        // That of this host is not for tests.
        .env("MONITOR_AUDIT_ENABLED", "false")
        .env("MONITOR_RULES_STATE", "/nonexistent/seen");
    set(&mut command);
    finished(&command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}")))
}

fn finished(output: &Output) -> Finished {
    Finished { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Asserts exit code, and that the complaint has all of these.
pub(in crate::daemon) fn has_exit(finished: &Finished, code: i32, said: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    for part in said {
        assert!(finished.stderr.contains(part), "{part:?} is not in:\n{}", finished.stderr);
    }
}

pub(in crate::daemon) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
