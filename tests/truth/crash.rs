//! Killed at any time, the daemon leaves nothing in the kernel, and the next one starts as if nothing had been; whoever
//! reads its counters and events sees that they began anew.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use monitor_tests::{
    DEADLINE, Daemon, Guard, Held, Samples, binary, copy, directory, held, orphans, program, unique, until,
};
use rustix::process::Signal;
use serde_json::Value;

const ROUNDS: u32 = 50;
/// On a slow machine (one that is emulated) there are fewer rounds, but not fewer than that.
const LEAST: u32 = 8;
const ENOUGH: Duration = Duration::from_secs(60);
/// What a daemon leaves that is killed in the middle of a line.
const HALF: &str = "{\"schema\":\"monitor.event.v1\",\"seq\":1,\"ti";

/// Numbers that look random and can be had again by their seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What the rounds know of each other.
struct Crashes {
    address: SocketAddr,
    config: String,
    events: std::path::PathBuf,
    /// Name of the program that every daemon tells of.
    program: String,
    random: Random,
    /// How long a start takes.
    start: Duration,
    /// When the last daemon that got ready started.
    started: f64,
    /// Everything that any of them had in the kernel.
    held: Held,
    /// Half lines that we wrote.
    halves: usize,
}

#[test]
fn fifty_crashes_leave_nothing_and_are_seen_as_resets() {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = u64::try_from(now.as_micros()).unwrap();
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    let events = directory.path().join("events.jsonl");
    let config = format!("[events]\noutput = \"file\"\nfile = \"{}\"\n", events.display());
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut crashes = Crashes {
        address,
        config,
        events,
        program: format!(".{}", unique("c")),
        random: Random(seed),
        start: Duration::ZERO,
        started: 0.0,
        held: Held::default(),
        halves: 0,
    };
    let begin = Instant::now();
    let mut round = 0;
    while round < ROUNDS && (round < LEAST || begin.elapsed() < ENOUGH) {
        if round % 2 == 0 {
            crashes.while_it_works(round)
        } else {
            crashes.while_it_starts(directory.path())
        }
        round += 1;
    }
    println!("{round} rounds in {:?}, a start takes {:?}", begin.elapsed(), crashes.start);
    crashes.held.assert_gone();
    let daemon = Daemon::launch(&binary(), &crashes.address.to_string(), &crashes.config, |_| {});
    let names: BTreeSet<String> = Crashes::names(daemon.pid());
    assert!(names.len() > 5, "{names:?}");
    until(DEADLINE, || match orphans(&names) {
        orphans if orphans.is_empty() => Ok(()),
        orphans => Err(format!("programs that nobody holds: {orphans:?}")),
    });
    crashes.check_events();
}

impl Crashes {
    /// Notes what a daemon has in the kernel. How many programs that are.
    fn note(&mut self, pid: u32) -> usize {
        let more = held(pid);
        let count = more.programs.len();
        self.held.programs.extend(more.programs);
        self.held.maps.extend(more.maps);
        self.held.links.extend(more.links);
        count
    }

    /// Names of a daemon's programs.
    fn names(pid: u32) -> BTreeSet<String> {
        let programs = held(pid).programs;
        // It fails when somebody else's program goes away while it lists them.
        let all: Vec<Value> = until(DEADLINE, || {
            let all =
                Command::new("bpftool").args(["-j", "prog", "show"]).output().expect("run bpftool (Debian: bpftool)");
            serde_json::from_slice(&all.stdout)
        });
        let ours = all.into_iter().filter(|program| program["id"].as_u64().is_some_and(|id| programs.contains(&id)));
        ours.filter_map(|program| program["name"].as_str().map(str::to_owned)).collect()
    }

    /// Starts it, checks that it knows nothing of the ones before, gives it something to count, and kills it.
    fn while_it_works(&mut self, round: u32) {
        let begin = Instant::now();
        let daemon = Daemon::launch(&binary(), &self.address.to_string(), &self.config, |_| {});
        self.start = begin.elapsed();
        let metrics = daemon.metrics();
        let started = metrics.find("process_start_time_seconds", &[]).unwrap();
        assert!(started > self.started, "started at {started}, the one before at {}", self.started);
        self.started = started;
        // The same program each round. Others on this machine may do what rules find, too.
        let of_group = |metrics: &Samples| {
            let group = ("group", self.program.as_str());
            let events = metrics.sum("monitor_security_events_total", &[group, ("rule", "exec_hidden")]);
            [metrics.sum("monitor_process_starts_total", &[group]), events]
        };
        assert_eq!(of_group(&metrics), [0.0, 0.0], "counters begin at zero");
        let pid = self.alert(round);
        if self.random.below(2) == 0 {
            daemon.ended(pid);
            assert_eq!(of_group(&daemon.metrics()), [1.0, 1.0]);
            until(DEADLINE, || match fs::read_to_string(&self.events) {
                Ok(text) if text.contains(&format!("\"round\",\"{round}\"")) => Ok(()),
                other => Err(format!("the event is not written: {other:?}")),
            });
        }
        thread::sleep(Duration::from_millis(self.random.below(100)));
        assert!(self.note(daemon.pid()) > 5, "it has hardly any programs");
        daemon.signal(Signal::KILL);
        let (status, _) = daemon.stop();
        assert_eq!(status.code(), None, "{status}");
        let text = fs::read(&self.events).unwrap_or_default();
        if self.random.below(2) == 0 && text.ends_with(b"\n") {
            let mut file = fs::OpenOptions::new().append(true).open(&self.events).unwrap();
            file.write_all(HALF.as_bytes()).unwrap();
            self.halves += 1;
        }
    }

    /// Runs a program with a hidden name, which is an event, and which round this is among its arguments. Its process id.
    fn alert(&self, round: u32) -> u32 {
        let directory = directory();
        let path = directory.path().join(&self.program);
        copy(&program(), &path);
        let mut command = Command::new(&path);
        let mut child =
            command.args(["exit", "0", "+", "round", &round.to_string()]).stdin(Stdio::null()).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        child.id()
    }

    /// Starts it and kills it, ready or not.
    fn while_it_starts(&mut self, directory: &Path) {
        let file = directory.join("monitor.toml");
        fs::write(&file, &self.config).unwrap();
        let mut command = Command::new(binary());
        command.args(["run", "--listen", &self.address.to_string(), "--config"]).arg(&file);
        command
            .env_clear()
            .env("MONITOR_AUDIT_DIRECTORY", directory.join("audit"))
            .env("MONITOR_RULES_STATE", directory.join("seen"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guard = Guard::spawn(&mut command);
        let most = u64::try_from(self.start.as_micros()).unwrap() * 5 / 4;
        thread::sleep(Duration::from_micros(self.random.below(most)));
        self.note(guard.id());
        assert_eq!(guard.ended(), None, "it does not start");
        guard.signal(Signal::KILL);
        let (status, _) = guard.stop(DEADLINE);
        assert_eq!(status.code(), None, "{status}");
    }

    /// The file has its events whole, and each half line is a line of its own.
    fn check_events(&self) {
        let text = fs::read_to_string(&self.events).unwrap();
        let (whole, halves): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| serde_json::from_str::<Value>(line).is_ok());
        println!("{} events, {} half lines of our own in the file", whole.len(), self.halves);
        // A kill may have torn one more in two, if it met the kernel between two pages.
        assert!(halves.len() >= self.halves, "{} half lines of our own, {halves:?}", self.halves);
        let alone = |half: &&str| half.starts_with("{\"schema\"") && half.matches("\"schema\"").count() == 1;
        assert!(halves.iter().all(alone), "half a line has spoilt the next one: {halves:?}");
        let starts = whole.iter().filter(|line| line.contains("\"seq\":1,")).count();
        assert!(starts > 1, "`seq` begins anew with each start: {text}");
    }
}
