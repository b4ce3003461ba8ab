//! The real daemon.

use std::{
    env, fs,
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{DEADLINE, Guard, Response, Samples, expected, get, patience, request, until};

/// How old counters may be that the daemon answers with, and then some.
const STALE: Duration = Duration::from_millis(150);
/// Begins the line that says why a failed test may pass when it is tried again.
pub const LEFT_OUT: &str = "left out ";
/// Bytes of the daemon's log that a failed test shows.
const LOG_SHOWN: usize = 8 << 10;

/// The daemon's executable: `MONITOR_BIN`, else that of the release or of the debug build.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    let given = env::var_os("MONITOR_BIN").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let places = match given {
        Some(path) => vec![path],
        None => vec![target.join("release/monitor"), target.join("debug/monitor")],
    };
    let found = places.iter().find(|path| path.exists()).unwrap_or_else(|| {
        panic!("no daemon to test at {places:?}: build it (cargo build -p monitor), or name it by MONITOR_BIN")
    });
    fs::canonicalize(found).expect("it exists")
}

/// A running daemon. Stopped when dropped, and when the test process ends in any other way.
#[derive(Debug)]
pub struct Daemon {
    process: Mutex<Guard>,
    pid: u32,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

/// Where each thread of a process is in the kernel: tells why one does not answer.
fn threads(pid: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: &fs::DirEntry, file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
    let lines = tasks.map(|task| {
        let stack = of(&task, "stack");
        let stack: Vec<&str> = stack.lines().filter_map(|line| line.split_whitespace().nth(1)).take(5).collect();
        format!("{} {} {}", of(&task, "stat"), of(&task, "syscall").trim(), stack.join(" < "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Daemon {
    /// Starts it with this configuration (TOML), on a port of its own, and waits until it is ready.
    ///
    /// # Panics
    /// With what it printed, when it does not start.
    pub fn start(config: &str) -> Self {
        Self::launch(&binary(), "127.0.0.1:0", config, |_| {})
    }

    /// The same for this executable, at this address, and with more to be set.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn launch(program: &Path, listen: &str, config: &str, set: impl FnOnce(&mut Command)) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests load programs into the kernel: run them as root");
        leave_service();
        let directory = tempfile::tempdir().expect("make a directory");
        let file = |name: &str| directory.path().join(name);
        fs::write(file("monitor.toml"), config).expect("write the configuration");
        let create = |name: &str| fs::File::create(file(name)).expect("make a file");
        let mut command = Command::new(program);
        command
            .args(["run", "--listen", listen, "--config"])
            .arg(file("monitor.toml"))
            .stdin(Stdio::null())
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            // Settings of whoever runs the tests must not matter.
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            // Its audit trail is its own, too, and so is what its rules have seen.
            .env("MONITOR_AUDIT_DIRECTORY", file("audit"))
            .env("MONITOR_RULES_STATE", file("seen"));
        set(&mut command);
        let mut process = Guard::spawn(&mut command);
        let log = file("stderr");
        let address = until(DEADLINE, || {
            let log = fs::read_to_string(&log).expect("the log is text");
            if let Some(status) = process.ended() {
                panic!("the daemon ended with {status}:\n{log}");
            }
            address(&log).ok_or_else(|| format!("the daemon does not tell its address:\n{log}"))
        });
        let daemon = Self { pid: process.id(), process: Mutex::new(process), address, directory };
        until(DEADLINE, || match get(address, "/-/ready") {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("not ready: {other:?}\n{}\n{}", threads(daemon.pid), daemon.log())),
        });
        daemon
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.file("stderr")
    }

    /// What it printed so far: events, by the default configuration.
    pub fn stdout(&self) -> String {
        self.file("stdout")
    }

    /// Its own directory, with `monitor.toml`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str) -> String {
        fs::read(self.directory.path().join(name)).map_or_else(|error| error.to_string(), |bytes| lossy(&bytes))
    }

    /// `GET path`.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Response {
        get(self.address, path).unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }

    /// `POST path`.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn post(&self, path: &str) -> Response {
        request(self.address, "POST", path, &[]).unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.log()))
    }

    /// `GET path`, which must succeed with JSON.
    ///
    /// # Panics
    /// When it does not.
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "GET {path}: {}", lossy(&response.body));
        serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("GET {path}: no JSON: {error}"))
    }

    /// The page of metrics.
    ///
    /// # Panics
    /// When there is none, or it is not as the format demands.
    pub fn metrics(&self) -> Samples {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200);
        Samples::parse(response.text())
    }

    /// The page of metrics, with everything in it that happened before the call.
    ///
    /// # Panics
    /// As [`Self::metrics`].
    pub fn fresh_metrics(&self) -> Samples {
        // The daemon adds its counters up no more often than this, however often it is asked.
        thread::sleep(STALE);
        self.metrics()
    }

    /// Asserts that the daemon counted all of so many calls. Where kernel programs can be preempted (Linux 7) the kernel
    /// leaves one out that already runs on the same processor: those it has to have told as missed.
    ///
    /// # Panics
    /// When more are counted, or fewer than that.
    #[track_caller]
    pub fn counted(&self, counted: u64, made: u64) {
        let missed = if counted < made { self.missed(&["sys_enter", "sys_exit"]) } else { 0 };
        assert!(counted <= made && counted + missed >= made, "{counted} of {made} counted, {missed} told as missed");
    }

    /// The same for a number that was measured, too: it may itself be short by what was missed.
    ///
    /// # Panics
    /// When the two are further apart than that.
    #[track_caller]
    pub fn equal(&self, counted: u64, measured: u64) {
        let missed = if counted == measured { 0 } else { self.missed(&["sys_enter", "sys_exit"]) };
        assert!(counted.abs_diff(measured) <= missed, "{counted} is not {measured}, {missed} told as missed");
    }

    /// How often the kernel has left these programs out, since the daemon was started.
    ///
    /// # Panics
    /// When it did, on a kernel that has no reason to.
    #[track_caller]
    pub fn missed(&self, programs: &[&str]) -> u64 {
        let metrics = self.fresh_metrics();
        let missed = |program: &&str| metrics.sum("monitor_ebpf_program_misses_total", &[("program", program)]);
        let missed = programs.iter().map(missed).sum::<f64>() as u64;
        assert!(missed == 0 || expected::may_miss(), "{programs:?} missed {missed}");
        missed
    }

    /// How often the kernel has left out any program of this daemon's. Never fails: it is asked by tests that do.
    fn left_out(&self) -> f64 {
        if !expected::may_miss() {
            return 0.0;
        }
        thread::sleep(STALE);
        let Ok(response) = get(self.address, "/metrics") else { return 0.0 };
        let page = String::from_utf8_lossy(&response.body).into_owned();
        let lines = page.lines().filter(|line| line.starts_with("monitor_ebpf_program_misses_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What the daemon knows of the latest process with this id.
    pub fn process(&self, pid: u32) -> Option<Value> {
        let answer = self.json(&format!("/api/v1/processes?pid={pid}"));
        let processes = answer["processes"].as_array().cloned().unwrap_or_default();
        processes.into_iter().max_by_key(|process| process["start_time"].as_str().map(str::to_owned))
    }

    /// What the daemon knows of a living process, with everything that happened before the call.
    ///
    /// # Panics
    /// When it does not know it in time.
    #[track_caller]
    pub fn seen(&self, pid: u32) -> Value {
        thread::sleep(STALE);
        until(DEADLINE, || self.process(pid).ok_or_else(|| format!("process {pid} is not known")))
    }

    /// The final account of a process that has been waited for.
    ///
    /// # Panics
    /// When the daemon does not learn of its end in time.
    #[track_caller]
    pub fn ended(&self, pid: u32) -> Value {
        // The kernel tells an end after a grace period of RCU, which can take very long when the machine is busy. Until
        // then the daemon knows no more than that the process is gone.
        // A process that it never tells of is known by the end of its last thread, but counted late.
        let begin = std::time::Instant::now();
        let late = || begin.elapsed() > 2 * DEADLINE;
        until(3 * DEADLINE, || match self.process(pid) {
            None => Err(format!("process {pid} is not known")),
            Some(process) if !(process["exit"]["recorded"] == true || late() && told(&process)) => {
                Err(format!("the end of process {pid} was not told: {process}"))
            }
            Some(_) => Ok(()),
        });
        // Its last counters may not have been added up when its end was told.
        self.seen(pid)
    }

    /// The events that `/api/v1/events?query` answers.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn events(&self, query: &str) -> Vec<Value> {
        self.json(&format!("/api/v1/events?{query}"))["events"].as_array().cloned().unwrap_or_default()
    }

    /// The events of one process, by any rule.
    ///
    /// # Panics
    /// As [`Self::events`].
    pub fn events_of(&self, pid: u32) -> Vec<Value> {
        let (mut after, mut found) = (0, Vec::new());
        // A page ends before it is too long.
        loop {
            let page = self.json(&format!("/api/v1/events?limit=10000&after={after}"));
            let events = page["events"].as_array().cloned().unwrap_or_default();
            let Some(last) = events.last().and_then(|event| event["seq"].as_u64()) else { return found };
            after = last;
            found.extend(events.into_iter().filter(|event| event["process"]["pid"] == pid));
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the daemon is gone.
    pub fn signal(&self, signal: Signal) {
        self.lock().signal(signal);
    }

    /// Stops it with SIGTERM. How it ended, and how long it took.
    ///
    /// # Panics
    /// Never.
    pub fn stop(&self) -> (ExitStatus, Duration) {
        self.lock().stop(patience(Duration::from_secs(10)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Guard> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            tell_left_out(self.left_out());
        }
        self.stop();
        if thread::panicking() {
            show(&self.log());
        }
    }
}

/// The daemon that tests share which need no configuration of their own. It runs until the test process ends.
///
/// # Panics
/// When it does not start.
pub fn shared() -> Shared {
    static DAEMON: OnceLock<Daemon> = OnceLock::new();
    // Every test brings program names of its own, which all want series of their own.
    let daemon = DAEMON.get_or_init(|| Daemon::start("[metrics]\ngroups = 2000\n"));
    daemon.is_older_than_the_test();
    Shared { daemon, logged: daemon.log().len(), left_out: daemon.left_out() }
}

/// The shared daemon, as one test has it: if the test fails, it shows what the daemon logged meanwhile.
#[derive(Debug)]
pub struct Shared {
    daemon: &'static Daemon,
    logged: usize,
    left_out: f64,
}

impl Deref for Shared {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        self.daemon
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if thread::panicking() {
            tell_left_out(self.daemon.left_out() - self.left_out);
            show(self.daemon.log().get(self.logged..).unwrap_or_default());
        }
    }
}

/// Says that the kernel left out programs while a test that has failed ran: `tests/guest/init.rs` runs it once more then.
fn tell_left_out(times: f64) {
    if times > 0.0 {
        eprintln!("{LEFT_OUT}{times} times: the kernel left out programs of the daemon's meanwhile");
    }
}

fn show(log: &str) {
    let from = log.len().saturating_sub(LOG_SHOWN);
    eprintln!("--- the daemon's log, at most {LOG_SHOWN} bytes of it\n{}---", log.get(from..).unwrap_or(log));
}

/// Is it known how the process ended?
fn told(process: &Value) -> bool {
    let exit = &process["exit"];
    !(exit["code"].is_null() && exit["signal"].is_null())
}

/// The address that the daemon tells in its log.
fn address(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("metrics: http://")?;
    rest.split_once("/metrics")?.0.parse().ok()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Leaves the systemd service or container scope that the tests were started in, if any: processes in one are grouped
/// by it, and the tests tell their own by program name.
fn leave_service() {
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if cgroup.contains(".service") {
        fs::write("/sys/fs/cgroup/cgroup.procs", std::process::id().to_string())
            .expect("the tests run in a systemd service and cannot leave its cgroup: run them from a shell");
    }
}
