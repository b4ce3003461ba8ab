//! Programs that the bench starts and talks to. Dropping one ends it.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Longest time from the daemon's start to the end of its first measurement of itself.
const READY: Duration = Duration::from_secs(30);

/// How long the kernel may take to free what a program had attached: it does so behind the program's back.
const FREED: Duration = Duration::from_millis(300);

/// A program that ends when it is dropped.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self(child))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The pipe to its standard input, if it was started with one.
    pub(super) fn input(&mut self) -> Result<ChildStdin> {
        self.0.stdin.take().context("a pipe to the program")
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Ends it and waits until nothing of it is left in the kernel.
    pub(super) fn stop(mut self) -> Result<()> {
        self.end().context("stop an observer")?;
        thread::sleep(FREED);
        Ok(())
    }

    /// Without a chance to tidy up: the kernel detaches what belongs to a process that is gone.
    fn end(&mut self) -> std::io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already; there is nothing else to be done about it here.
        drop(self.end());
    }
}

/// Time of one operation, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    /// By the clock.
    pub(super) clock: f64,
    /// CPU time, where it can be told.
    pub(super) cpu: Option<f64>,
}

impl Cost {
    /// As `monitor-bench` writes it.
    fn parse(text: &str) -> Option<Self> {
        let (clock, cpu) = text.split_once(' ')?;
        let cpu = if cpu == "-" { None } else { Some(cpu.parse().ok()?) };
        Some(Self { clock: clock.parse().ok()?, cpu })
    }
}

/// A program that answers lines with lines.
pub(super) struct Lines {
    _program: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Lines {
    pub(super) fn start(program: &Path, arguments: &[&OsStr]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut command)?;
        let input = running.input()?;
        let output = BufReader::new(running.0.stdout.take().context("a pipe from the program")?);
        Ok(Self { _program: running, input, output })
    }

    pub(super) fn ask(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").with_context(|| format!("ask for {line}"))
    }

    pub(super) fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            bail!("monitor-bench ended; its error is above");
        }
        Ok(line.trim().to_owned())
    }
}

/// The process that runs the workloads.
pub(super) struct Worker(Lines);

impl Worker {
    /// On one CPU, with a directory for files.
    pub(super) fn start(program: &Path, cpu: usize, scratch: &Path) -> Result<Self> {
        Lines::start(program, &["work".as_ref(), cpu.to_string().as_ref(), scratch.as_os_str()]).map(Self)
    }

    pub(super) fn run(&mut self, workload: &str) -> Result<Cost> {
        self.0.ask(workload)?;
        let answer = self.0.answer().with_context(|| format!("run {workload}"))?;
        Cost::parse(&answer).with_context(|| format!("{workload} took {answer:?}"))
    }
}

/// Attaches a program of the object to hooks.
pub(super) fn attach(loader: &Path, object: &Path, program: &str, hooks: &[&str]) -> Result<Running> {
    let mut arguments = vec!["attach".as_ref(), object.as_os_str(), program.as_ref()];
    arguments.extend(hooks.iter().map(OsStr::new));
    let mut lines = Lines::start(loader, &arguments)?;
    lines.answer().with_context(|| format!("attach {program} to {hooks:?}"))?;
    let Lines { _program, input, .. } = lines;
    // It goes on until its input ends; the process that holds it keeps the pipe open.
    std::mem::forget(input);
    Ok(_program)
}

/// A daemon, where it listens, and how long it took from its start to ready.
pub(super) struct Daemon {
    pub(super) running: Running,
    pub(super) address: String,
    pub(super) ready: Duration,
}

/// Starts a daemon that keeps its events to itself and waits until it is ready. `scratch` is for what it writes down.
pub(super) fn daemon(program: &Path, scratch: &Path, settings: &[String]) -> Result<Daemon> {
    // Free a moment ago; the daemon says so if somebody else was faster.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?.to_string();
    let mut command = Command::new(program);
    command.args(["run", "--listen", &address, "--set", "events.output=none", "--set", "log.level=error"]);
    // The trail of this host and what rules remember of it are not for benches. A build from before them has neither.
    let known = Command::new(program).args(["config", "default"]).output()?.stdout;
    let known = String::from_utf8_lossy(&known);
    if known.contains("[audit]") {
        command.args(["--set", "audit.enabled=false"]);
    }
    if known.contains("/var/lib/monitor/seen") {
        command.args(["--set", &format!("rules.state={}", scratch.join("seen").display())]);
    }
    for setting in settings {
        command.args(["--set", setting]);
    }
    let begin = Instant::now();
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
    loop {
        if get(&address, "/-/ready").is_ok() {
            return Ok(Daemon { running, address, ready: begin.elapsed() });
        }
        if let Some(status) = running.0.try_wait()? {
            bail!("the daemon ended ({status}); its error is above");
        }
        if begin.elapsed() > READY {
            bail!("the daemon is not ready after {READY:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the daemon has measured its own programs for the first time: while it does, they are slower. The next
/// time is a minute away.
pub(super) fn settled(daemon: &Daemon) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < READY {
        let text = get(&daemon.address, "/metrics")?;
        let measured = text.lines().find_map(|line| line.strip_prefix("monitor_ebpf_measured_seconds_total "));
        if measured.and_then(|seconds| seconds.parse().ok()).is_none_or(|seconds: f64| seconds > 0.0) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("the daemon has not measured its programs after {READY:?}")
}

/// The body of a page.
pub(super) fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(body.to_owned()) } else { bail!("{path}: {status}") }
}

/// The kernel's account of a process or thread, from `/proc/PID/status`: the number behind `field`.
pub(super) fn status(path: &Path, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_and_nothing_else() {
        assert_eq!(Cost::parse("118.250 120.5"), Some(Cost { clock: 118.25, cpu: Some(120.5) }));
        assert_eq!(Cost::parse("118.250 -"), Some(Cost { clock: 118.25, cpu: None }));
        for text in ["", "1", "x 1", "1 x"] {
            assert_eq!(Cost::parse(text), None, "{text:?}");
        }
    }
}
