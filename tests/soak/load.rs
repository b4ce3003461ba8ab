//! What comes and goes during a soak: processes of every kind, readers of metrics and events, configurations and rules.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Scope},
    time::Duration,
};

use monitor_tests::{Daemon, Workload, copy, directory, program, unique};

/// Taken in turns. What is kept of ended processes and of events is bounded by time and number, and must have reached its
/// bound before growth means something.
pub(crate) const CONFIGS: [&str; 3] = [
    "[processes]\nkeep_exited = \"20s\"\n[events]\nstore = 200\n",
    "[processes]\nkeep_exited = \"20s\"\n[events]\nstore = 200\n[metrics]\ngroups = 20\nper_process = [\"w*\"]\n",
    "[processes]\nkeep_exited = \"20s\"\n[events]\nstore = 200\n[rules]\ndisable = [\"exec_hidden\"]\n[[group]]\nname = \
     \"soak\"\nexe = [\"w*\"]\n",
];

/// What has been done so far.
#[derive(Debug, Default)]
struct Counts {
    workloads: AtomicU64,
    alerts: AtomicU64,
    scrapes: AtomicU64,
    reloads: AtomicU64,
    streams: AtomicU64,
}

/// Something that is done again and again: told how often it was done already.
type Turn<'a> = Box<dyn FnMut(u64, &Counts) + Send + 'a>;

/// The load, which runs until it is told to stop.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

impl Load {
    /// Starts all of it.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>, daemon: &'scope Daemon) -> Self {
        let load = Self { over: Arc::default(), counts: Arc::default() };
        let go_on = |mut turn: Turn<'scope>, pause: u64| {
            let (over, counts) = (Arc::clone(&load.over), Arc::clone(&load.counts));
            scope.spawn(move || {
                // Ended by a panic here, the whole run has to end.
                let guard = Over(Arc::clone(&over));
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    turn(number, &counts);
                    thread::sleep(Duration::from_millis(pause));
                }
                std::mem::forget(guard);
            });
        };
        go_on(Box::new(churn), 20);
        go_on(Box::new(churn), 50);
        go_on(Box::new(alert), 300);
        go_on(
            Box::new(move |number, counts| {
                let path = if number % 5 == 4 { "/api/v1/processes?limit=100" } else { "/metrics" };
                assert_eq!(daemon.get(path).status, 200);
                counts.scrapes.fetch_add(1, Ordering::Relaxed);
            }),
            500,
        );
        go_on(
            Box::new(move |number, counts| {
                let config = CONFIGS[number as usize % CONFIGS.len()];
                fs::write(daemon.directory().join("monitor.toml"), config).expect("write the configuration");
                let answer = daemon.post("/-/reload");
                assert_eq!(answer.status, 200, "{}", answer.text());
                counts.reloads.fetch_add(1, Ordering::Relaxed);
            }),
            2_000,
        );
        let (address, mut open) = (daemon.address(), Vec::new());
        go_on(Box::new(move |number, counts| streams(address, number, &mut open, counts)), 400);
        load
    }

    /// Has a part of it failed?
    pub(crate) fn told(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends it. What it did.
    pub(crate) fn stop(self) -> String {
        self.over.store(true, Ordering::Relaxed);
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { workloads, alerts, scrapes, reloads, streams } = &*self.counts;
        format!(
            "{} programs of every kind, {} alerts, {} scrapes, {} reloads, {} event streams",
            of(workloads),
            of(alerts),
            of(scrapes),
            of(reloads),
            of(streams)
        )
    }
}

struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One program under a name that no other ever has.
fn churn(number: u64, counts: &Counts) {
    let files = directory();
    let files = files.path().to_str().expect("it is text");
    let steps: &[&[&str]] = &[
        &["threads", "8", "100"],
        &["fork", "30"],
        &["spawn", "5", "+", "getppid", "10"],
        &["storm-connections", "50"],
        &["storm-files", "50", files],
        &["storm-calls", "50"],
        &["exec-from-thread", "+", "stat-missing", "50"],
        &["fork-failing", "50", "3"],
        &["die", "11"],
        &["burn", "20", "+", "touch", "500"],
    ];
    Workload::spawn(steps[number as usize % steps.len()]).end();
    counts.workloads.fetch_add(1, Ordering::Relaxed);
}

/// A program that a rule finds.
fn alert(_: u64, counts: &Counts) {
    let directory = directory();
    let path = directory.path().join(format!(".{}", unique("s")));
    copy(&program(), &path);
    let mut command = Command::new(&path);
    let status = command.args(["exit", "0"]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.expect("start it").success());
    counts.alerts.fetch_add(1, Ordering::Relaxed);
}

/// Up to six readers of events, each of which reads a little and goes; some never read, and some ask half a question.
fn streams(address: SocketAddr, number: u64, open: &mut Vec<TcpStream>, counts: &Counts) {
    if open.len() == 6 {
        open.remove(number as usize % 6);
    }
    let mut stream = TcpStream::connect(address).expect("connect to the daemon");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("set a time-out");
    let request = "GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: monitor\r\n\r\n";
    let request = if number.is_multiple_of(7) { &request[..30] } else { request };
    stream.write_all(request.as_bytes()).expect("the daemon takes requests");
    if !number.is_multiple_of(3) {
        let _ = stream.read(&mut [0; 64 << 10]);
    }
    open.push(stream);
    counts.streams.fetch_add(1, Ordering::Relaxed);
}
