//! Equal alerts are told once with how many there were, and too many of one rule are summed up: also when nothing more comes.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use monitor_tests::{DEADLINE, Daemon, copy, program, until};
use serde_json::Value;

/// A daemon with one rule, about programs in a directory.
struct Scene {
    directory: tempfile::TempDir,
    daemon: Daemon,
}

impl Scene {
    /// With these keys of `[rules]`, and this window within which alerts about the same program are one.
    fn new(keys: &str, window: &str) -> Self {
        let directory = monitor_tests::directory();
        let rules = directory.path().join("rules.d");
        fs::create_dir(&rules).unwrap();
        let programs = directory.path().display();
        let text = format!(
            "- rule: one\n  desc: x\n  condition: evt.type=execve and proc.exepath startswith {programs}/\n  output: ran \
             %proc.name\n  priority: NOTICE\n  dedup:\n    key: [proc.exepath]\n    window: {window}\n"
        );
        fs::write(rules.join("one.yaml"), text).unwrap();
        let daemon = Daemon::start(&format!("[rules]\ndefaults = false\ndirectory = \"{}\"\n{keys}", rules.display()));
        Self { directory, daemon }
    }

    fn run(&self, name: &str) -> u32 {
        let path = self.directory.path().join(name);
        if !path.exists() {
            copy(&program(), &path);
        }
        let mut child = Command::new(path).args(["exit", "0"]).spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    /// Waits for so many alerts.
    fn alerts(&self, count: usize) -> Vec<Value> {
        until(DEADLINE, || {
            let alerts = self.daemon.events("limit=10000&rule=one");
            if alerts.len() >= count { Ok(alerts) } else { Err(format!("{count} alerts expected, {alerts:?}")) }
        })
    }

    fn held(&self, reason: &str) -> f64 {
        let labels = [("rule", "one"), ("reason", reason)];
        self.daemon.metrics().find("monitor_rule_findings_held_total", &labels).unwrap()
    }
}

/// Nanoseconds since boot.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[test]
fn what_is_seen_again_is_told_once_with_how_often_when_its_window_ends() {
    let scene = Scene::new("", "4s");
    let pids: Vec<u32> = (0..5).map(|_| scene.run("x")).collect();
    let began = Instant::now();
    let alerts = scene.alerts(2);
    // The window, and a look a second.
    assert!(began.elapsed() < monitor_tests::patience(Duration::from_secs(7)), "{:?}", began.elapsed());
    let [first, summary] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!(first["process"]["pid"], pids[0]);
    assert!(first["seen"].is_null() && first["suppressed"].is_null(), "{first}");
    assert_eq!((&summary["seen"]["count"], &summary["suppressed"]), (&4.into(), &4.into()), "{summary}");
    assert!(summary["output"].as_str().unwrap().starts_with("ran x | seen 4 times more within "), "{summary}");
    assert_eq!(summary["process"]["pid"], pids[1], "the first of those that were held back");
    assert_eq!(summary["evidence"], first["evidence"]);
    assert!(summary["seen"]["first"].as_str() <= summary["seen"]["last"].as_str(), "{summary}");
    assert_eq!(scene.held("repeat"), 4.0);

    // The window is over: the next one is an alert of its own, and has nothing to tell of the past.
    let pid = scene.run("x");
    let alerts = scene.alerts(3);
    assert_eq!((&alerts[2]["process"]["pid"], &alerts[2]["suppressed"]), (&pid.into(), &Value::Null));
}

#[test]
fn more_alerts_of_one_rule_than_it_may_have_are_summed_up() {
    let scene = Scene::new("alert_burst = 3\nalert_rate = 1\n", "1h");
    let begin = now();
    let pids: Vec<u32> = (0..20).map(|number| scene.run(&format!("x{number}"))).collect();
    until(DEADLINE, || match scene.held("repeat") + scene.held("rate") + scene.alerts(3).len() as f64 {
        20.0.. => Ok(()),
        other => Err(format!("{other} of 20")),
    });
    let alerts = until(DEADLINE, || {
        let alerts = scene.daemon.events("limit=10000&rule=one");
        let told = |alert: &Value| alert["output"].as_str().is_some_and(|text| text.contains("were not published"));
        if alerts.iter().any(told) { Ok(alerts) } else { Err(format!("no summary: {alerts:?}")) }
    });
    let (storm, single) = alerts.split_last().unwrap();
    // Three at once, and one a second while they were run.
    let most = 3 + usize::try_from((now() - begin) / 1_000_000_000).unwrap();
    assert!((3..=most).contains(&single.len()), "{alerts:?}");
    assert_eq!(single[0]["process"]["pid"], pids[0]);
    let rest = 20 - single.len() as u64;
    assert_eq!((&storm["seen"]["count"], &storm["suppressed"]), (&rest.into(), &rest.into()), "{storm}");
    assert!(storm["output"].as_str().unwrap().starts_with(&format!("one: {rest} findings within 1")), "{storm}");
    assert_eq!(scene.held("rate"), rest as f64);

    // A reload lets through what was held back before.
    let config = scene.daemon.directory().join("monitor.toml");
    let text = fs::read_to_string(&config).unwrap().replace("alert_burst = 3", "alert_burst = 300");
    fs::write(&config, text).unwrap();
    assert_eq!(scene.daemon.post("/-/reload").status, 200);
    let before = alerts.len();
    for number in 100..130 {
        scene.run(&format!("x{number}"));
    }
    scene.alerts(before + 30);
}
