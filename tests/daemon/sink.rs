//! Where events are written.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use monitor_tests::{DEADLINE, Daemon, binary, until};
use rustix::process::Signal;
use serde_json::Value;

use super::support::{HIDDEN, alert, has_exit, hidden, monitor, told};

/// A daemon that writes its events to a file in its own directory.
fn to_file(more: &str) -> (tempfile::TempDir, PathBuf, Daemon) {
    let directory = tempfile::tempdir().unwrap();
    // The directory of the file is made.
    let file = directory.path().join("log/events.jsonl");
    let daemon = Daemon::start(&format!("[events]\noutput = \"file\"\nfile = \"{}\"\n{more}", file.display()));
    (directory, file, daemon)
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect()
}

/// Waits until this file has the event.
fn wait_for(file: &Path, event: &Value) {
    until(DEADLINE, || {
        if lines(file).contains(event) { Ok(()) } else { Err(format!("{} lacks the event", file.display())) }
    });
}

#[test]
fn standard_output_has_each_event_on_a_line() {
    let daemon = Daemon::start("");
    let event = alert(&daemon);
    until(DEADLINE, || {
        let stdout = daemon.stdout();
        let found = stdout.lines().any(|line| serde_json::from_str::<Value>(line).is_ok_and(|found| found == event));
        if found { Ok(()) } else { Err(stdout) }
    });
    daemon.stop();
    for line in daemon.stdout().lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn a_file_is_for_its_owner_only_and_rotates_without_losing_an_event() {
    let (_directory, file, daemon) = to_file("rotate_size = \"64KiB\"\nrotate_keep = 2\n");
    let event = alert(&daemon);
    wait_for(&file, &event);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o750);

    let numbered = |number: u32| PathBuf::from(format!("{}.{number}", file.display()));
    // Each has some 30 KB, so these fill more than the files that are kept.
    let long = "x".repeat(30_000);
    let pids: Vec<u32> = (0..12).map(|_| hidden(&[&long])).collect();
    told(&daemon, pids[11], HIDDEN);
    let last = alert(&daemon);
    wait_for(&file, &last);
    let (mut numbers, mut sizes) = (Vec::new(), Vec::new());
    for path in [numbered(2), numbered(1), file.clone()] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        sizes.push(fs::metadata(&path).unwrap().len());
        numbers.extend(lines(&path).iter().map(|event| event["seq"].as_u64().unwrap()));
    }
    assert!(sizes.iter().all(|size| *size <= 64 << 10), "{sizes:?}");
    assert!(!numbered(3).exists());
    let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
    assert!(first > 1, "nothing was rotated away: {numbers:?}");
    assert_eq!(numbers, (first..=last).collect::<Vec<_>>());
    assert_eq!(daemon.metrics().sum("monitor_events_lost_total", &[]), 0.0);
}

#[test]
fn a_file_that_was_taken_away_is_made_anew_when_told() {
    let (_directory, file, daemon) = to_file("");
    let before = alert(&daemon);
    wait_for(&file, &before);
    let moved = file.with_extension("old");
    fs::rename(&file, &moved).unwrap();
    // Until it is told, it writes where it did: nothing is lost between.
    let between = alert(&daemon);
    wait_for(&moved, &between);
    assert!(!file.exists());
    daemon.signal(Signal::HUP);
    until(DEADLINE, || if file.exists() { Ok(()) } else { Err("no new file") });
    let after = alert(&daemon);
    wait_for(&file, &after);
    assert!(!lines(&moved).contains(&after));
    assert_ne!(fs::metadata(&file).unwrap().ino(), fs::metadata(&moved).unwrap().ino());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // Also when the configuration is bad at that moment.
    fs::remove_file(&file).unwrap();
    fs::write(daemon.directory().join("monitor.toml"), "[nonsense]\n").unwrap();
    daemon.signal(Signal::HUP);
    until(DEADLINE, || if file.exists() { Ok(()) } else { Err("no new file") });
    let last = alert(&daemon);
    wait_for(&file, &last);
}

#[test]
fn a_full_disk_costs_events_of_the_file_and_nothing_else() {
    let daemon = Daemon::start("[events]\noutput = \"file\"\nfile = \"/dev/full\"\n");
    for _ in 0..3 {
        alert(&daemon);
    }
    until(DEADLINE, || {
        let metrics = daemon.metrics();
        let lost = metrics.sum("monitor_events_lost_total", &[("cause", "sink_error")]);
        if lost >= 3.0 { Ok(()) } else { Err(format!("{lost} counted")) }
    });
    let metrics = daemon.metrics();
    assert_eq!(metrics.find("monitor_events_written_total", &[("sink", "file")]), Some(0.0));
    assert_eq!(metrics.find("monitor_event_sink_up", &[("sink", "file")]), Some(0.0));
    let told = daemon.log().matches("cannot write an event").count();
    assert_eq!(told, 1, "once, not for each: {}", daemon.log());
    assert_eq!(daemon.stop().0.code(), Some(0));
}

#[test]
fn nobody_at_the_other_end_of_standard_output_is_no_reason_to_stop() {
    let (reader, writer) = std::io::pipe().unwrap();
    let daemon = Daemon::launch(&binary(), "127.0.0.1:0", "", |command| {
        command.stdout(writer);
    });
    drop(reader);
    alert(&daemon);
    alert(&daemon);
    until(DEADLINE, || match daemon.metrics().sum("monitor_events_lost_total", &[("cause", "sink_closed")]) {
        lost if lost >= 2.0 => Ok(()),
        lost => Err(format!("{lost} counted")),
    });
    assert!(daemon.log().contains("nobody reads the events on standard output"), "{}", daemon.log());
    assert_eq!(daemon.stop().0.code(), Some(0));
}

#[test]
fn a_reader_of_standard_output_that_sleeps_holds_up_nobody() {
    // Nobody reads it, but somebody could.
    let (_reader, writer) = std::io::pipe().unwrap();
    let daemon = Daemon::launch(&binary(), "127.0.0.1:0", "", |command| {
        command.stdout(writer);
    });
    let long = "x".repeat(30_000);
    // More than the pipe takes.
    let pids: Vec<u32> = (0..6).map(|_| hidden(&[&long])).collect();
    for pid in pids {
        told(&daemon, pid, HIDDEN);
    }
    let (status, took) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took.as_secs_f64() < 1.0, "took {took:?}");
}

#[test]
fn a_file_that_cannot_be_opened_is_told_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let set = format!("events.file={}", directory.path().display());
    let finished = monitor(&["run", "--listen", "127.0.0.1:0", "--set", "events.output=file", "--set", &set]);
    has_exit(&finished, 1, &["cannot open", directory.path().to_str().unwrap(), "set events.file to a path"]);
}

#[test]
fn without_an_output_events_are_over_http() {
    let daemon = Daemon::start("[events]\noutput = \"none\"\n");
    alert(&daemon);
    assert_eq!(daemon.stdout(), "");
    assert_eq!(daemon.metrics().all("monitor_events_written_total", &[]).count(), 0);
}
