//! Rights that are missing, and those that suffice.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use monitor_tests::{Daemon, binary, expected};
use serde_json::Value;

use super::support::{Finished, has_exit, text, under};

/// No privilege.
const NO_PRIVILEGE: i32 = 77;
/// nobody
const NOBODY: u32 = 65_534;
/// What the messages ask for.
const ENOUGH: &str = "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search";

/// The executable at a place that every user can enter: a home directory is none.
pub(super) struct Everybodys {
    directory: tempfile::TempDir,
}

pub(super) fn program_for_everybody() -> Everybodys {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = Everybodys { directory };
    monitor_tests::copy(&binary(), &program.path());
    program
}

impl Everybodys {
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("monitor")
    }

    /// Runs a command with it to its end.
    pub(super) fn output(&self, command: &mut Command) -> Output {
        command.stdin(Stdio::null());
        loop {
            match command.output() {
                // Another test was just between fork and exec when the copy was written, and still has it open.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    thread::sleep(Duration::from_millis(5));
                }
                result => return result.expect("start the daemon"),
            }
        }
    }
}

fn as_nobody(arguments: &[&str]) -> Output {
    let program = program_for_everybody();
    program.output(Command::new(program.path()).args(arguments).uid(NOBODY).gid(NOBODY).env_clear())
}

#[test]
fn an_unprivileged_user_is_told_what_is_missing() {
    let output = as_nobody(&["run", "--listen", "127.0.0.1:0", "--set", "events.output=none"]);
    assert_eq!(output.status.code(), Some(NO_PRIVILEGE), "{output:?}");
    let stderr = text(&output.stderr);
    for part in ["not permitted", "Run as root", "CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"] {
        assert!(stderr.contains(part), "{part} is not in:\n{stderr}");
    }
}

#[test]
fn doctor_tells_an_unprivileged_user_what_is_missing() {
    let output = as_nobody(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(diagnosis["verdict"], "failure");
    let checks = diagnosis["checks"].as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| check["verdict"] == "failure").collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["check"], "kernel programs");
    assert!(failed[0]["remedy"].as_str().unwrap().contains("CAP_BPF"), "{failed:?}");
    for signal in diagnosis["signals"].as_array().unwrap() {
        let state = if signal["signal"] == "host" { "full" } else { "off" };
        assert_eq!(signal["state"], state, "{signal}");
    }
}

#[test]
fn root_without_a_capability_is_told_which() {
    for dropped in ["-bpf,-sys_admin", "-perfmon,-sys_admin", "-bpf,-perfmon,-sys_admin"] {
        let finished = without(dropped, &["run", "--listen", "127.0.0.1:0", "--set", "events.output=none"]);
        has_exit(&finished, NO_PRIVILEGE, &["not permitted", "CAP_BPF", "CAP_PERFMON"]);
        let doctor = without(dropped, &["doctor"]);
        has_exit(&doctor, 1, &[]);
        assert!(doctor.stdout.contains("FAIL  kernel programs") && doctor.stdout.contains("CAP_PERFMON"), "{doctor:?}");
    }
}

/// Runs the daemon as root whose bounding set lacks capabilities.
fn without(dropped: &str, arguments: &[&str]) -> Finished {
    under(&["setpriv", "--bounding-set", dropped], arguments, |_| {})
}

#[test]
fn the_capabilities_that_are_asked_for_suffice() {
    if expected::version() < (5, 11) {
        // There maps count as locked memory; the unit for systemd says so, too.
        let all = rustix::process::Rlimit { current: None, maximum: None };
        rustix::process::setrlimit(rustix::process::Resource::Memlock, all).unwrap();
    }
    let program = program_for_everybody();
    // What a service with a user of its own has: ambient capabilities and no other right.
    let capabilities = ENOUGH.replace("-all,", "");
    let nobody = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--bounding-set", ENOUGH])
        .args(["--inh-caps", &capabilities, "--ambient-caps", &capabilities])
        .arg(program.path())
        .args(["doctor", "--json"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = program.output(&mut command);
    // As root, or less only as this kernel has less.
    let (code, verdict) = if expected::is_whole() { (0, "ok") } else { (2, "warning") };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(diagnosis["verdict"], verdict, "{diagnosis:#}");
    for signal in diagnosis["signals"].as_array().unwrap() {
        assert_eq!(signal["state"], expected::state(signal["signal"].as_str().unwrap()), "{signal}");
    }
}

#[test]
fn http_needs_no_privilege() {
    let daemon = Daemon::start("");
    let address = daemon.address().to_string();
    let output = as_nobody(&["processes", "--addr", &address, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok(), "{output:?}");
}
