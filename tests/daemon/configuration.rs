//! What the daemon is told, and what it says when that is wrong.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
};

use monitor_tests::{Daemon, binary};

use super::support::{Finished, has_exit, monitor, monitor_with, text};

/// A wrong configuration.
const CONFIG: i32 = 78;
/// A wrong command line.
const USAGE: i32 = 64;

/// A configuration file.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor.toml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_place_and_the_remedy() {
    let (_directory, path) = file(
        "[metrics]\ngruops = 3\n\n[host]\ninterval = \"5 parsecs\"\n\n[events]\nrotate_size = 1\noutput = \"printer\"\n",
    );
    let name = path.to_str().unwrap();
    let said = [
        &format!("{name}:2:1: unknown key \"metrics.gruops\"; did you mean metrics.groups?"),
        &format!("{name}:5:12: host.interval is \"5 parsecs\""),
        "example: interval = \"15s\"",
        &format!("{name}:8:15: events.rotate_size is 1"),
        "from 64KiB to 64GiB",
        &format!("{name}:9:10: events.output is \"printer\""),
        "\"stdout\", \"file\" or \"none\"",
        "4 mistakes",
    ];
    for arguments in
        [&["run", "--config", name][..], &["config", "check", "--config", name], &["doctor", "--config", name]]
    {
        has_exit(&monitor(arguments), CONFIG, &said);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    has_exit(&run(&missing), CONFIG, &[missing.to_str().unwrap(), "cannot be read: No such file"]);
    let folder = directory.path().to_path_buf();
    has_exit(&run(&folder), CONFIG, &[folder.to_str().unwrap(), "cannot be read"]);
    let bytes = directory.path().join("bytes.toml");
    fs::write(&bytes, b"[log]\nlevel = \"\xff\xfe\"\n").unwrap();
    has_exit(&run(&bytes), CONFIG, &[bytes.to_str().unwrap(), "UTF-8"]);
    let large = directory.path().join("large.toml");
    fs::write(&large, "# large\n".repeat(200_000)).unwrap();
    has_exit(&run(&large), CONFIG, &[large.to_str().unwrap(), "larger than"]);
}

fn run(path: &Path) -> Finished {
    monitor(&["run", "--config", path.to_str().unwrap()])
}

#[test]
fn wrong_flags_and_variables_are_told_in_their_own_words() {
    has_exit(&monitor(&["run", "--listen", "127.0.0.1:99999"]), CONFIG, &["--listen", "127.0.0.1:99999", "port"]);
    has_exit(&monitor(&["run", "--listen", "localhost"]), CONFIG, &["--listen", "localhost"]);
    has_exit(&monitor(&["run", "--set", "metrics.gruops=3"]), CONFIG, &["--set", "did you mean metrics.groups?"]);
    has_exit(&monitor(&["run", "--listne", "127.0.0.1:1"]), USAGE, &["--listne", "--listen"]);
    has_exit(&monitor(&["runn"]), USAGE, &["runn", "run"]);
    has_exit(&monitor(&[]), USAGE, &["monitor --help"]);
    let with = |name, value| {
        monitor_with(&["run"], |command| {
            command.env(name, value);
        })
    };
    has_exit(&with("MONITOR_METRICS_GRUOPS", "3"), CONFIG, &["MONITOR_METRICS_GRUOPS", "MONITOR_METRICS_GROUPS"]);
    let said = ["MONITOR_METRICS_GROUPS", "example: MONITOR_METRICS_GROUPS=200"];
    has_exit(&with("MONITOR_METRICS_GROUPS", "many"), CONFIG, &said);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let (_directory, path) = file("[metrics]\ngroups = 11\nmax_processes = 12\ngroup_idle = \"13m\"\n");
    let shown = monitor_with(
        &["config", "show", "--origin", "--set", "metrics.groups=31", "--config", path.to_str().unwrap()],
        |command| {
            command.env("MONITOR_METRICS_GROUPS", "21").env("MONITOR_METRICS_MAX_PROCESSES", "22");
        },
    );
    has_exit(&shown, 0, &[]);
    let lines = [
        "groups = 31  # flag --set",
        "max_processes = 22  # environment MONITOR_METRICS_MAX_PROCESSES",
        &format!("group_idle = \"13m\"  # {}:4", path.display()),
        "per_process = []  # default",
    ];
    for line in lines {
        assert!(shown.stdout.lines().any(|shown| shown.starts_with(line)), "no {line:?} in:\n{}", shown.stdout);
    }
}

#[test]
fn the_daemon_works_by_what_it_was_told() {
    let daemon =
        Daemon::launch(&binary(), "127.0.0.1:0", "[metrics]\ngroups = 11\n[http]\nreload = true\n", |command| {
            command.env("MONITOR_METRICS_GROUPS", "21").args(["--set", "http.reload=false"]);
        });
    assert_eq!(daemon.metrics().find("monitor_groups_limit", &[]), Some(21.0));
    assert_eq!(daemon.post("/-/reload").status, 403);
}

#[test]
fn what_is_shown_is_a_configuration_again() {
    let shown = monitor(&["config", "show", "--origin", "--set", "metrics.per_process=a*,b"]);
    let (_directory, path) = file(&shown.stdout);
    let again = monitor(&["config", "show", "--config", path.to_str().unwrap()]);
    has_exit(&again, 0, &[]);
    assert_eq!(again.stdout, monitor(&["config", "show", "--set", "metrics.per_process=a*,b"]).stdout);
}

#[test]
fn a_file_that_is_not_for_this_user_is_told() {
    let (_directory, path) = file("");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let program = super::privileges::program_for_everybody();
    let mut command = std::process::Command::new(program.path());
    command.args(["config", "check", "--config"]).arg(&path).uid(65_534).gid(65_534).env_clear();
    let output = program.output(&mut command);
    assert_eq!(output.status.code(), Some(CONFIG), "{output:?}");
    assert!(text(&output.stderr).contains("Permission denied"), "{output:?}");
}
