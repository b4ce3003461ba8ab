//! Security events over HTTP.

use monitor_tests::Daemon;
use serde_json::Value;

use super::support::{DISGUISED, Event, HIDDEN, Stream, alert, disguised, hidden, told};

/// Numbers of these events.
fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect()
}

/// Waits until the daemon tells of each of these hidden programs.
fn wait_for(daemon: &Daemon, pids: &[u32]) {
    for pid in pids {
        told(daemon, *pid, HIDDEN);
    }
}

#[test]
fn pages_are_oldest_first_without_gaps_and_each_says_where_the_next_begins() {
    let daemon = Daemon::start("");
    let pids: Vec<u32> = (0..7).map(|_| hidden(&[])).collect();
    wait_for(&daemon, &pids);
    let (mut after, mut seen) = (0, Vec::new());
    // Other tests may cause more meanwhile: the first pages are what counts.
    for _ in 0..3 {
        let page = daemon.json(&format!("/api/v1/events?after={after}&limit=2"));
        let events = page["events"].as_array().unwrap();
        assert_eq!(events.len(), 2, "{page}");
        seen.extend(numbers(events));
        after = page["next"].as_u64().unwrap();
        assert_eq!(seen.last(), Some(&after));
        assert_eq!(page["oldest"], 1);
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    let rest = daemon.events("after=6&limit=10000");
    assert_eq!(numbers(&rest)[0], 7);
    // Beyond the end: nothing, and the same place next time.
    let all = daemon.json("/api/v1/events?limit=10000");
    let newest = all["next"].as_u64().unwrap();
    assert_eq!(numbers(all["events"].as_array().unwrap()), (1..=newest).collect::<Vec<_>>());
}

#[test]
fn severity_and_rule_choose() {
    let daemon = Daemon::start("");
    let (medium, high) = (hidden(&[]), disguised());
    wait_for(&daemon, &[medium]);
    let event = told(&daemon, high, DISGUISED);
    assert_eq!(event["severity"], "high");
    assert_eq!(event["process"]["argv"][0], "[kworker/0:1-events]");
    // Where the build is in /tmp, there are events by a third rule: it says nothing here.
    let ours = |event: &Value| event["rule"] == HIDDEN || event["rule"] == DISGUISED;
    let of = |query: &str, pid: u32| {
        daemon.events(query).iter().filter(|event| event["process"]["pid"] == pid && ours(event)).count()
    };
    for (query, mediums, highs) in [
        ("severity=medium", 1, 0),
        ("severity=high", 0, 1),
        ("severity=high,medium", 1, 1),
        ("severity=critical", 0, 0),
        ("rule=exec_hidden", 1, 0),
        ("rule=kthread_masquerade", 0, 1),
        ("rule=exec_hidden,kthread_masquerade", 1, 1),
        ("rule=exec_hidden&severity=high", 0, 0),
        ("rule=no_such_rule", 0, 0),
    ] {
        let query = format!("limit=10000&{query}");
        assert_eq!((of(&query, medium), of(&query, high)), (mediums, highs), "{query}");
    }
}

fn is_of(event: &Event, pid: u32) -> bool {
    event.data["process"]["pid"] == pid && event.data["rule"] == HIDDEN
}

#[test]
fn a_stream_is_continued_where_the_reader_was_cut_off() {
    let daemon = Daemon::start("");
    let first = alert(&daemon);
    let mut stream = Stream::open(daemon.address(), "after=0", None);
    let mut got = vec![stream.next()];
    assert_eq!(got[0].event, "alert");
    while got.last().unwrap().data["seq"] != first["seq"] {
        got.push(stream.next());
    }
    let live = hidden(&[]);
    while !is_of(got.last().unwrap(), live) {
        got.push(stream.next());
    }
    let last = got.last().unwrap().id.clone();
    drop(stream);

    let missed: Vec<u32> = (0..5).map(|_| hidden(&[])).collect();
    wait_for(&daemon, &missed);
    // A reader that connects again repeats its first URL: the header must win.
    let mut stream = Stream::open(daemon.address(), "after=0", Some(&last));
    while !is_of(got.last().unwrap(), missed[4]) {
        got.push(stream.next());
    }
    let ids: Vec<u64> = got.iter().map(|event| event.id.parse().unwrap()).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "each once, in order");
    let kept = daemon.events("limit=10000");
    for (event, kept) in got.iter().zip(&kept) {
        assert_eq!(event.data, *kept);
    }
    assert_eq!(daemon.metrics().find("monitor_http_missed_events_total", &[]), Some(0.0));
}

#[test]
fn a_stream_without_a_place_begins_now_and_only_has_what_was_chosen() {
    let daemon = Daemon::start("");
    told(&daemon, disguised(), DISGUISED);
    let mut stream = Stream::open(daemon.address(), "rule=kthread_masquerade", None);
    hidden(&[]);
    let pid = disguised();
    loop {
        let event = stream.next();
        assert_eq!(event.data["rule"], "kthread_masquerade");
        if event.data["process"]["pid"] == pid {
            break;
        }
    }
}

#[test]
fn a_reader_that_comes_too_late_is_told_how_much_it_missed() {
    // More alerts of one rule than are published of it by default.
    let daemon = Daemon::start("[events]\nstore = 50\n[rules]\nalert_burst = 1000\n");
    let pids: Vec<u32> = (0..60).map(|_| hidden(&[])).collect();
    told(&daemon, pids[59], HIDDEN);
    let page = daemon.json("/api/v1/events?limit=10000");
    let oldest = page["oldest"].as_u64().unwrap();
    assert!(oldest >= 11, "{page}");
    assert_eq!(page["events"].as_array().unwrap().len(), 50);
    assert!(daemon.metrics().find("monitor_events_evicted_total", &[]).unwrap() >= 10.0);

    let mut stream = Stream::open(daemon.address(), "", Some("1"));
    let missed = stream.next();
    assert_eq!(missed.event, "missed");
    let count = missed.data["count"].as_u64().unwrap();
    assert!(count >= oldest - 2, "{missed:?}");
    assert_eq!(stream.next().data["seq"], 2 + count);
}

#[test]
fn the_command_line_reads_them() {
    let daemon = Daemon::start("");
    let event = alert(&daemon);
    let address = daemon.address().to_string();
    let finished = super::support::monitor(&["events", "--addr", &address, "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let lines: Vec<Value> = finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.contains(&event), "{finished:?}");
    let pid = event["process"]["pid"].to_string();
    let people = super::support::monitor(&["events", "--addr", &address]);
    assert!(people.stdout.contains("exec_hidden") && people.stdout.contains(&pid), "{people:?}");
}
