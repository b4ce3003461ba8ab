//! What rules with `first_seen` have seen: once told, a restart makes it no news.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use monitor_tests::{DEADLINE, Daemon, binary, copy, program, unique, until};
use rustix::process::Signal;
use serde_json::Value;

const RULE: &str = "first_time_here";

/// Programs in a directory of our own, a rule that knows each by its path, and a file of what it has seen.
struct News {
    directory: tempfile::TempDir,
    state: PathBuf,
    rules: PathBuf,
}

impl News {
    fn new() -> Self {
        let directory = monitor_tests::directory();
        let rules = directory.path().join("rules.d");
        fs::create_dir(&rules).unwrap();
        let programs = directory.path().display();
        let text = format!(
            "- rule: {RULE}\n  desc: x\n  condition: evt.type=execve and proc.exepath startswith {programs}/\n  output: new \
             %proc.exepath\n  priority: NOTICE\n  first_seen:\n    of: [proc.exepath]\n"
        );
        fs::write(rules.join("news.yaml"), text).unwrap();
        Self { state: directory.path().join("state/seen"), rules, directory }
    }

    fn daemon(&self) -> Daemon {
        let config = format!("[rules]\ndefaults = false\ndirectory = \"{}\"\n", self.rules.display());
        Daemon::launch(&binary(), "127.0.0.1:0", &config, |command| {
            command.env("MONITOR_RULES_STATE", &self.state);
        })
    }

    /// Runs a program. Its process id.
    fn run(&self, name: &str) -> u32 {
        let path = self.directory.path().join(name);
        if !path.exists() {
            copy(&program(), &path);
        }
        let mut child = Command::new(path).args(["exit", "0"]).spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    /// Which of these programs are news, each run once. One that always is comes last, so that all are judged.
    fn news(&self, daemon: &Daemon, names: &[&str]) -> Vec<String> {
        let runs: Vec<(u32, &str)> = names.iter().map(|name| (self.run(name), *name)).collect();
        let last = self.run(&unique("n"));
        until(DEADLINE, || told(daemon, last).ok_or("the new program is not told"));
        runs.iter().filter(|(pid, _)| told(daemon, *pid).is_some()).map(|(_, name)| (*name).to_owned()).collect()
    }
}

fn told(daemon: &Daemon, pid: u32) -> Option<Value> {
    let events = daemon.events(&format!("limit=10000&rule={RULE}"));
    events.into_iter().find(|event| event["process"]["pid"] == pid)
}

/// How many programs the rule remembers, as the daemon says.
fn remembered(daemon: &Daemon) -> f64 {
    daemon.metrics().find("monitor_rule_state_entries", &[("state", "first_seen")]).unwrap()
}

/// What the rule remembers is on disk, without a stop.
fn written(daemon: &Daemon, state: &Path) {
    // Magic, length, checksum, the rule's name with its length, since when: then the number of entries.
    let at = 16 + 4 + RULE.len() + 8;
    until(DEADLINE, || {
        let file = fs::read(state).unwrap();
        let count = u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        if f64::from(count) == remembered(daemon) { Ok(()) } else { Err(format!("only {count} are in the file")) }
    });
}

/// Names in the directory of the state, but for the lock.
fn files(state: &Path) -> Vec<String> {
    let entries = fs::read_dir(state.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

#[test]
fn what_was_told_is_no_news_after_a_restart_a_reload_and_a_kill() {
    let news = News::new();
    let first = news.daemon();
    assert_eq!(news.news(&first, &["a", "a", "b"]), ["a", "b"]);
    assert_eq!(remembered(&first), 3.0);
    assert_eq!(first.metrics().find("monitor_rule_state_evictions_total", &[("state", "first_seen")]), Some(0.0));
    assert_eq!(first.metrics().find("monitor_rules_state_kept", &[]), Some(1.0));
    // At once: the last writing is that of the stop.
    assert_eq!(news.news(&first, &["c"]), ["c"]);
    assert!(first.stop().0.success());
    assert_eq!(files(&news.state), ["seen"]);

    let second = news.daemon();
    assert_eq!(news.news(&second, &["a", "b", "c", "d"]), ["d"]);
    assert_eq!(second.post("/-/reload").status, 200);
    assert_eq!(news.news(&second, &["a", "d", "e"]), ["e"]);
    written(&second, &news.state);
    second.signal(Signal::KILL);
    until(DEADLINE, || if second.stop().0.success() { Err("killed, it cannot have ended well") } else { Ok(()) });

    let third = news.daemon();
    assert_eq!(news.news(&third, &["a", "b", "c", "d", "e", "f"]), ["f"], "{}", third.log());
}

#[test]
fn a_file_that_is_damaged_or_another_is_put_aside_and_a_new_one_begun() {
    let news = News::new();
    let first = news.daemon();
    assert_eq!(news.news(&first, &["a"]), ["a"]);
    first.stop();
    let mut damaged = fs::read(&news.state).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    let state = news.state.display();
    for (bytes, aside, what) in [
        (damaged.clone(), "seen.damaged", "has another checksum than it says"),
        (damaged[..damaged.len() / 2].to_vec(), "seen.damaged.2", "bytes and should have"),
        (b"#!/bin/sh\n".to_vec(), "seen.damaged.3", "does not begin as a file of this version does"),
    ] {
        fs::write(&news.state, &bytes).unwrap();
        let daemon = news.daemon();
        let log = daemon.log();
        let kept = news.state.with_file_name(aside);
        assert!(log.contains(&format!("{state} ")) && log.contains(what), "{log}");
        assert!(log.contains(&format!("the file is kept as {}", kept.display())), "{log}");
        assert_eq!(fs::read(&kept).unwrap(), bytes);
        assert_eq!(daemon.metrics().find("monitor_rules_state_kept", &[]), Some(1.0));
        assert_eq!(news.news(&daemon, &["a"]), ["a"], "it begins anew");
        daemon.stop();
        let next = news.daemon();
        assert_eq!(news.news(&next, &["a"]), [""; 0], "and is kept again");
    }
}

#[test]
fn what_cannot_be_kept_is_told_and_rules_work_all_the_same() {
    let news = News::new();
    let first = news.daemon();
    assert_eq!(news.news(&first, &["a"]), ["a"]);
    // A second one would write over what the first one knows.
    let second = news.daemon();
    assert!(second.log().contains(&format!("{} is held by another daemon", news.state.display())), "{}", second.log());
    assert_eq!(second.metrics().find("monitor_rules_state_kept", &[]), Some(0.0));
    assert_eq!(news.news(&second, &["b"]), ["b"]);
    first.stop();
    second.stop();

    fs::remove_file(&news.state).unwrap();
    fs::create_dir(&news.state).unwrap();
    let third = news.daemon();
    assert!(third.log().contains(&format!("cannot read {}: ", news.state.display())), "{}", third.log());
    assert_eq!(news.news(&third, &["c"]), ["c"]);
    third.stop();
    assert!(news.state.is_dir(), "it is left alone");
}
