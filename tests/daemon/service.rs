//! Under a service manager (sd_notify(3)).

use std::{
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use monitor_tests::{DEADLINE, Daemon, binary};
use rustix::process::Signal;

/// What systemd allows between two signs of life.
const WATCHDOG: Duration = Duration::from_millis(600);

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, directory }
    }

    fn start(&self, config: &str) -> Daemon {
        Daemon::launch(&binary(), "127.0.0.1:0", config, |command| {
            command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
            command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        })
    }

    /// The next message; none within 50 ms.
    fn next(&self) -> Option<Vec<String>> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect())
    }

    /// Messages up to the first with this line, without those of the watchdog.
    fn until(&self, line: &str) -> Vec<Vec<String>> {
        let (begin, mut messages) = (Instant::now(), Vec::new());
        while begin.elapsed() < DEADLINE {
            match self.next() {
                Some(message) if message == ["WATCHDOG=1"] => {}
                Some(message) => {
                    messages.push(message);
                    if messages.last().is_some_and(|message| message.iter().any(|found| found == line)) {
                        return messages;
                    }
                }
                None => {}
            }
        }
        panic!("no {line} within {DEADLINE:?}, but {messages:?}");
    }
}

#[test]
fn readiness_is_told_first_and_with_the_address() {
    let manager = Manager::new();
    let daemon = manager.start("");
    let first = manager.until("READY=1").remove(0);
    let status = format!("STATUS=metrics at http://{}/metrics", daemon.address());
    assert_eq!(first, ["READY=1".to_owned(), status]);
    assert!(!daemon.log().contains("hangs"), "{}", daemon.log());
}

#[test]
fn the_watchdog_is_fed_in_time() {
    let manager = Manager::new();
    let _daemon = manager.start("");
    manager.until("READY=1");
    let mut last = Instant::now();
    for _ in 0..8 {
        while manager.next().as_deref() != Some(&["WATCHDOG=1".to_owned()]) {
            assert!(last.elapsed() < WATCHDOG, "not fed for {:?}", last.elapsed());
        }
        last = Instant::now();
    }
}

#[test]
fn a_reload_is_told_also_when_it_fails() {
    let manager = Manager::new();
    let daemon = manager.start("");
    manager.until("READY=1");
    for config in ["", "[nonsense]\n"] {
        std::fs::write(daemon.directory().join("monitor.toml"), config).unwrap();
        daemon.signal(Signal::HUP);
        let [reloading, ready] = &manager.until("READY=1")[..] else { panic!("not two messages") };
        assert_eq!(reloading[0], "RELOADING=1");
        let time = reloading[1].strip_prefix("MONOTONIC_USEC=").and_then(|time| time.parse::<u64>().ok());
        assert!(time.is_some(), "{reloading:?}");
        assert!(ready[1].starts_with("STATUS="), "{ready:?}");
    }
}

#[test]
fn the_stop_is_told() {
    let manager = Manager::new();
    let daemon = manager.start("");
    manager.until("READY=1");
    daemon.stop();
    assert_eq!(manager.until("STOPPING=1"), [["STOPPING=1"]]);
}

#[test]
fn a_service_manager_that_is_gone_is_no_reason_to_stop() {
    let manager = Manager::new();
    let daemon = manager.start("");
    manager.until("READY=1");
    drop(manager);
    daemon.signal(Signal::HUP);
    monitor_tests::until(DEADLINE, || if daemon.log().contains("reloaded") { Ok(()) } else { Err("no reload") });
    assert_eq!(daemon.get("/-/ready").status, 200);
    assert_eq!(daemon.stop().0.code(), Some(0));
}
