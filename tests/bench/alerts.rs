//! How long an alert takes: programs run from where none should, and a reader of the daemon's stream tells when each was
//! told.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// Rule that finds the programs.
const RULE: &str = "exec_devshm";
/// Between two: fewer than the limit that a rule has.
const EVERY: Duration = Duration::from_millis(250);
/// Longest time that one may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An alert: of which program, when that was executed by the kernel's clock, and when it was read.
struct Told {
    program: String,
    executed_ns: u64,
    read_ns: u64,
}

/// Runs `count` programs, and prints for each alert how many nanoseconds it took from the exec to the reader. `directory`
/// has to be in shared memory.
pub(super) fn measure(address: &str, directory: &Path, count: usize) -> Result<()> {
    let told = listen(address)?;
    let original = directory.join("original");
    fs::copy("/bin/true", &original).with_context(|| format!("copy a program to {}", original.display()))?;
    for number in 0..count {
        let begin = Instant::now();
        let program = directory.join(format!("program{number}"));
        fs::hard_link(&original, &program)?;
        let status = Command::new(&program).stdin(Stdio::null()).status()?;
        ensure!(status.success(), "{} failed: {status}", program.display());
        let program = program.to_str().context("a name that is text")?;
        let alert = loop {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let alert = told.recv_timeout(left).with_context(|| format!("no alert of {program} after {PATIENCE:?}"))?;
            if alert.program == program {
                break alert;
            }
        };
        println!("{}", alert.read_ns.saturating_sub(alert.executed_ns));
        thread::sleep(EVERY.saturating_sub(begin.elapsed()));
    }
    Ok(())
}

/// Reads the stream of events from now on.
fn listen(address: &str) -> Result<Receiver<Told>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /api/v1/events/stream HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().context("an answer")??;
    ensure!(status.contains(" 200 "), "the stream of events: {status}");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let now = clock_gettime(ClockId::Boottime);
            let Some(event) = line.strip_prefix("data:") else { continue };
            let Some(told) = read(event, now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64) else { continue };
            if sender.send(told).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn read(event: &str, read_ns: u64) -> Option<Told> {
    let event: Value = serde_json::from_str(event).ok()?;
    if event["rule"] != RULE {
        return None;
    }
    let program = event["process"]["exe"].as_str()?.to_owned();
    Some(Told { program, executed_ns: event["kernel_ns"].as_u64()?, read_ns })
}
