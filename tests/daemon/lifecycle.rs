//! Start and stop.

use std::time::{Duration, Instant};

use monitor_tests::{DEADLINE, Daemon, binary, patience, until};
use rustix::process::Signal;

use super::support::{Peer, Stream, has_exit, held, monitor};

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(1);

#[test]
fn sigterm_stops_it_within_a_second_whatever_its_peers_do() {
    let daemon = Daemon::start("");
    let held = held(daemon.pid());
    held.assert_there();
    let stream = Stream::open(daemon.address(), "", None);
    let mut deaf = Peer::connect(daemon.address());
    let unread = deaf.flood("/metrics");
    let mut stalled = Peer::connect(daemon.address());
    stalled.send("GET /metrics HTTP/1.1\r\nHost: mon").unwrap();
    let metrics = daemon.metrics();
    assert_eq!(metrics.find("monitor_http_event_streams", &[]), Some(1.0));
    assert_eq!(metrics.find("monitor_http_connections", &[]), Some(4.0), "those three and the one that asks");

    let (status, took) = daemon.stop();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < patience(STOP), "took {took:?} with {unread} unread requests");
    held.assert_gone();
    stream.until_closed();
}

#[test]
fn sigint_stops_it_too() {
    let daemon = Daemon::start("");
    let held = held(daemon.pid());
    held.assert_there();
    let begin = Instant::now();
    daemon.signal(Signal::INT);
    // The SIGTERM of `stop` finds it stopping already.
    until(DEADLINE, || if daemon.log().contains("SIGINT: stops") { Ok(()) } else { Err(daemon.log()) });
    let (status, _) = daemon.stop();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(begin.elapsed() < patience(STOP), "took {:?}", begin.elapsed());
    held.assert_gone();
}

#[test]
fn a_killed_daemon_leaves_nothing_attached() {
    let daemon = Daemon::start("");
    let held = held(daemon.pid());
    held.assert_there();
    daemon.signal(Signal::KILL);
    let (status, _) = daemon.stop();
    assert_eq!(status.code(), None, "{status}");
    held.assert_gone();
}

#[test]
fn a_second_daemon_on_the_port_of_the_first_says_so_and_leaves_the_first_alone() {
    let first = Daemon::start("");
    let address = first.address().to_string();
    let second = monitor(&["run", "--listen", &address]);
    let port = format!("sport = :{}", first.address().port());
    has_exit(&second, 1, &[&address, "in use", &port, "--listen ADDRESS:PORT", "http.listen"]);
    assert_eq!(second.stdout, "");
    assert_eq!(first.get("/-/ready").status, 200);
}

#[test]
fn a_restart_at_once_takes_the_same_port() {
    let first = Daemon::start("");
    let address = first.address();
    // A connection that the daemon closes first lingers in the kernel, at the daemon's port.
    let stream = Stream::open(address, "", None);
    let mut open = Peer::connect(address);
    open.ask("/-/healthy");
    assert_eq!(open.answer().0, 200);
    first.stop();
    let second = Daemon::launch(&binary(), &address.to_string(), "", |_| {});
    assert_eq!(second.address(), address);
    assert_eq!(second.get("/-/healthy").status, 200);
    stream.until_closed();
}

#[test]
fn a_terminating_signal_during_the_start_leaves_nothing() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(binary())
        .args(["run", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("MONITOR_AUDIT_ENABLED", "false")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut all = held(child.id());
    let begin = Instant::now();
    // In the middle of loading: the first programs are there, the last ones are not.
    while all.programs.len() < 3 && begin.elapsed() < patience(DEADLINE) {
        all = held(child.id());
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let begin = Instant::now();
    child.wait().unwrap();
    assert!(begin.elapsed() < patience(STOP), "took {:?}", begin.elapsed());
    all.assert_gone();
}
