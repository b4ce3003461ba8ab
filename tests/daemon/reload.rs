//! Reading the configuration again.

use std::fs;

use monitor_tests::{DEADLINE, Daemon, Response, Workload, request, until};
use rustix::process::Signal;

use super::support::{HIDDEN, alert, hidden, told};

fn rewrite(daemon: &Daemon, config: &str) {
    fs::write(daemon.directory().join("monitor.toml"), config).unwrap();
}

/// Reloads over HTTP.
fn post(daemon: &Daemon) -> Response {
    daemon.post("/-/reload")
}

/// Reloads by a signal, and waits until the log tells how it went.
fn hangup(daemon: &Daemon, said: &str) {
    let before = daemon.log().len();
    daemon.signal(Signal::HUP);
    until(DEADLINE, || {
        let log = daemon.log();
        if log[before..].contains(said) { Ok(()) } else { Err(format!("no {said:?} in:\n{}", &log[before..])) }
    });
}

fn successful(daemon: &Daemon) -> Option<f64> {
    daemon.metrics().find("monitor_config_last_reload_successful", &[])
}

#[test]
fn a_good_change_takes_effect() {
    let daemon = Daemon::start("");
    let mut workload = Workload::spawn(&["say", "ready", "+", "wait"]);
    assert_eq!(workload.line(), "ready");
    let group = || until(DEADLINE, || daemon.process(workload.pid()).ok_or("unknown"))["group"].clone();
    assert_eq!(group(), workload.name.as_str());
    let series = |daemon: &Daemon| daemon.metrics().all("monitor_pid_syscalls_total", &[]).count();
    assert_eq!(series(&daemon), 0, "nobody asked for any");

    let name = &workload.name;
    rewrite(
        &daemon,
        &format!(
            "[metrics]\ngroups = 23\nper_process = [\"reloaded-{name}\"]\n[[group]]\nname = \"reloaded-{name}\"\nexe = \
             [\"{name}\"]\n"
        ),
    );
    let answer = post(&daemon);
    assert_eq!((answer.status, answer.text()), (200, "configuration and rules reloaded\n"));
    assert_eq!(group(), format!("reloaded-{name}"));
    let metrics = daemon.metrics();
    assert_eq!(metrics.find("monitor_groups_limit", &[]), Some(23.0));
    let pids: Vec<_> =
        metrics.all("monitor_pid_syscalls_total", &[]).filter_map(|sample| sample.label("pid")).collect();
    assert_eq!(pids, [workload.pid().to_string()]);

    rewrite(&daemon, "");
    hangup(&daemon, "configuration and rules reloaded");
    assert_eq!(group(), workload.name.as_str());
    assert_eq!(series(&daemon), 0);
}

#[test]
fn a_rule_that_is_switched_off_finds_nothing_until_it_is_switched_on_again() {
    let daemon = Daemon::start("");
    assert_eq!(alert(&daemon)["rule"], "exec_hidden");
    rewrite(&daemon, "[rules]\ndisable = [\"exec_hidden\"]\n");
    hangup(&daemon, "configuration and rules reloaded");
    let unseen = hidden(&[]);
    rewrite(&daemon, "");
    hangup(&daemon, "configuration and rules reloaded");
    // Records come in order: with this one there, the one before had its chance.
    assert_eq!(alert(&daemon)["rule"], "exec_hidden");
    let of_unseen = |event: &serde_json::Value| event["process"]["pid"] == unseen;
    assert!(!daemon.events("limit=10000&rule=exec_hidden").iter().any(of_unseen), "process {unseen} was told of");
}

#[test]
fn a_bad_change_is_refused_as_a_whole_and_the_old_configuration_stays() {
    let daemon = Daemon::start("[metrics]\ngroups = 23\n");
    let file = daemon.directory().join("monitor.toml");
    let since = daemon.metrics().find("monitor_config_last_reload_success_timestamp_seconds", &[]).unwrap();
    assert_eq!(successful(&daemon), Some(1.0));

    rewrite(&daemon, "[metrics]\ngroups = 24\nper_proces = []\n");
    let answer = post(&daemon);
    assert_eq!(answer.status, 400);
    let place =
        format!("{}:3:1: unknown key \"metrics.per_proces\"; did you mean metrics.per_process?", file.display());
    assert!(answer.text().contains(&place), "{}", answer.text());
    assert_eq!(successful(&daemon), Some(0.0));
    assert_eq!(daemon.metrics().find("monitor_groups_limit", &[]), Some(23.0));
    hangup(&daemon, "the configuration stays as it was");
    assert!(daemon.log().contains(&place), "{}", daemon.log());

    // A rule that does not exist is found later than a key that does not, but before anything is changed.
    rewrite(&daemon, "[metrics]\ngroups = 24\n[rules]\ndisable = [\"exec_hiden\"]\n");
    let answer = post(&daemon);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("there is no rule `exec_hiden`; did you mean `exec_hidden`?"), "{}", answer.text());
    fs::remove_file(&file).unwrap();
    let answer = post(&daemon);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("cannot be read"), "{}", answer.text());

    let metrics = daemon.metrics();
    assert_eq!(metrics.find("monitor_groups_limit", &[]), Some(23.0));
    assert_eq!(metrics.find("monitor_config_last_reload_success_timestamp_seconds", &[]), Some(since));
    alert(&daemon);

    rewrite(&daemon, "[metrics]\ngroups = 24\n");
    assert_eq!(post(&daemon).status, 200);
    assert_eq!(successful(&daemon), Some(1.0));
    assert_eq!(daemon.metrics().find("monitor_groups_limit", &[]), Some(24.0));
}

#[test]
fn what_needs_a_restart_is_named_until_there_was_one() {
    let daemon = Daemon::start("");
    rewrite(
        &daemon,
        "[events]\nstore = 77\n[metrics]\ngroups = 24\n[signals]\ntcp = false\n[http]\nmax_connections = 9\n",
    );
    let told = "configuration and rules reloaded; needs a restart to come into effect: signals.tcp, events.store\n";
    for _ in 0..2 {
        let answer = post(&daemon);
        assert_eq!((answer.status, answer.text()), (200, told));
    }
    assert!(daemon.log().contains(told.trim()), "{}", daemon.log());
    let metrics = daemon.fresh_metrics();
    assert_eq!(metrics.find("monitor_groups_limit", &[]), Some(24.0));
    assert!(metrics.all("monitor_tcp_bytes_total", &[]).count() > 0, "tcp was switched off without a restart");
    rewrite(&daemon, "");
    assert_eq!(post(&daemon).text(), "configuration and rules reloaded\n");
}

#[test]
fn pages_of_other_sites_and_a_switch_can_forbid_it() {
    let daemon = Daemon::start("");
    let foreign = request(daemon.address(), "POST", "/-/reload", &[("Origin", "http://example.com")]).unwrap();
    assert_eq!(foreign.status, 403);
    let own = format!("http://{}", daemon.address());
    assert_eq!(request(daemon.address(), "POST", "/-/reload", &[("Origin", &own)]).unwrap().status, 200);
    assert_eq!(daemon.get("/-/reload").status, 405);

    rewrite(&daemon, "[http]\nreload = false\n");
    assert_eq!(post(&daemon).status, 200);
    let answer = post(&daemon);
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("http.reload") && answer.text().contains("SIGHUP"), "{}", answer.text());
    rewrite(&daemon, "");
    hangup(&daemon, "configuration and rules reloaded");
    assert_eq!(post(&daemon).status, 200);
}

#[test]
fn reloads_in_a_row_lose_no_event() {
    let daemon = Daemon::start("");
    let mut pids = Vec::new();
    for _ in 0..10 {
        daemon.signal(Signal::HUP);
        pids.push(hidden(&[]));
        assert_eq!(post(&daemon).status, 200);
    }
    for pid in pids {
        told(&daemon, pid, HIDDEN);
    }
    assert_eq!(successful(&daemon), Some(1.0));
}
