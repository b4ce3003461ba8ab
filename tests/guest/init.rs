//! The first program of a virtual machine of `cargo xtask test --kernel`: makes the machine fit for the tests, asks the
//! daemon's doctor, runs what `/plan` says, and reports on the console (read by `xtask/src/vm/console.rs`).

#![expect(clippy::panic, clippy::expect_used, reason = "whoever started the machine sees a panic on its console")]

mod setup;

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::Instant,
};

use monitor_tests::LEFT_OUT;
use rustix::{
    process::{Pid, Signal, WaitOptions, kill_process, wait},
    system::{RebootCommand, reboot},
};
use serde_json::Value;

/// The daemon.
const MONITOR: &str = "/disk/release/monitor";
/// Failed tests that are tried once more at most.
const MOST_AGAIN: usize = 5;

fn main() -> ExitCode {
    if std::process::id() == 1 { first() } else { work() }
}

/// As the first process: nothing but to wait for all whose parents have ended, so that they do not stay zombies.
#[expect(clippy::zombie_processes, reason = "it is waited for by its id, among all others")]
fn first() -> ExitCode {
    let worker = Command::new("/init").spawn().expect("start the other half");
    while let Ok(Some((pid, _))) = wait(WaitOptions::empty()) {
        if u32::try_from(pid.as_raw_nonzero().get()) == Ok(worker.id()) {
            break;
        }
        kill_as_told();
    }
    rustix::fs::sync();
    panic!("the machine does not go off: {:?}", reboot(RebootCommand::PowerOff));
}

/// Kills whom a test has named, because only the first process may (`tests/guest/protect.rs`).
fn kill_as_told() {
    let told = fs::read_to_string("/run/kill-by-init").ok().and_then(|pid| pid.trim().parse().ok());
    if let Some(pid) = told.and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn work() -> ExitCode {
    setup::file_systems();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("read {path}: {error}"));
    let uptime = read("/proc/uptime");
    let uptime = uptime.split(' ').next().unwrap_or_default().to_owned();
    println!("@@vm up {uptime} {}", read("/proc/sys/kernel/osrelease").trim());
    setup::modules();
    setup::disk();
    setup::network();
    let plan = read("/plan");
    let mut slowness = "1";
    doctor();
    for line in plan.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["slowness", factor] => slowness = factor,
            [name, program, arguments @ ..] => run(name, program, arguments, slowness),
            _ => println!("@@vm error this is no plan: {line}"),
        }
    }
    kernel_log();
    println!("@@vm done");
    ExitCode::SUCCESS
}

/// Prints what the kernel warned of meanwhile; `xtask` knows what of it is bad.
fn kernel_log() {
    let log = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let mut log = log.expect("the kernel's log");
    // Each read gives one record: `priority,number,microseconds,flags;text`.
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                let (head, text) = text.split_once(';').unwrap_or_default();
                let priority: u32 = head.split(',').next().and_then(|text| text.parse().ok()).unwrap_or(0);
                // 4 is a warning, less is worse; the upper bits say who wrote it.
                if priority & 7 <= 4 {
                    println!("[kernel] {}", text.lines().next().unwrap_or_default());
                }
            }
            // Records were overwritten before they were read.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(_) => return,
        }
    }
}

/// What the daemon can do on this kernel.
fn doctor() {
    let output = Command::new(MONITOR).args(["doctor", "--json"]).output().expect("start the daemon's doctor");
    let Ok(diagnosis) = serde_json::from_slice::<Value>(&output.stdout) else {
        return println!("@@vm error the doctor said no JSON: {}", String::from_utf8_lossy(&output.stderr).trim());
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ");
    for signal in diagnosis["signals"].as_array().into_iter().flatten() {
        let reason = text(&signal["reason"]);
        println!("@@vm signal {} {} {reason}", text(&signal["signal"]), text(&signal["state"]));
    }
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

fn run(name: &str, program: &str, arguments: &[&str], slowness: &str) {
    println!("@@vm run {name}");
    let begin = Instant::now();
    let mut failures = Failures::default();
    let mut code = tests(program, arguments, slowness, &mut failures);
    // Where the kernel left out programs, and said so, a test may have waited for what nobody could have told it.
    let again = failures.to_be_tried_again();
    if !again.is_empty() {
        again.iter().for_each(|test| println!("@@vm again {test}"));
        let options = arguments.iter().copied().filter(|word| word.starts_with("-Z") || *word == "--report-time");
        let mut arguments: Vec<&str> = options.chain(["--test-threads=1", "--exact"]).collect();
        arguments.extend(again.iter().map(String::as_str));
        let second = tests(program, &arguments, slowness, &mut Failures::default());
        if again.len() == failures.failed {
            code = second;
        }
    }
    println!("@@vm exit {name} {code} {:.1}", begin.elapsed().as_secs_f64());
}

/// Runs tests, and shows and hears what they print; their exit code.
fn tests(program: &str, arguments: &[&str], slowness: &str, failures: &mut Failures) -> i32 {
    let child = Command::new(program)
        .args(arguments)
        .stdin(File::open("/dev/null").expect("the null device"))
        .stdout(Stdio::piped())
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/disk/bin")
        .env("HOME", "/root")
        // Lets a stable compiler's test harness tell how long each test took.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("MONITOR_BIN", MONITOR)
        .env("TEST_SLOWNESS", slowness)
        .envs(env::var("RUST_BACKTRACE").map(|value| ("RUST_BACKTRACE", value)))
        .current_dir("/disk")
        .spawn();
    let Ok(mut child) = child else { return 127 };
    let output = child.stdout.take().expect("it is piped");
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        failures.line(&line);
    }
    child.wait().map_or(127, code)
}

/// What Rust's test harness says of tests that failed.
#[derive(Default)]
struct Failures {
    failed: usize,
    /// Whose output is being shown.
    shown: Option<String>,
    /// While whose running the kernel left out programs.
    left_out: BTreeSet<String>,
}

impl Failures {
    fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.failed += 1;
            self.shown = Some(name.to_owned());
        } else if line.starts_with("test result: ") {
            self.shown = None;
        } else if line.starts_with(LEFT_OUT) {
            self.left_out.extend(self.shown.clone());
        }
    }

    /// The same test is not tried a third time: more than a few would be no accident.
    fn to_be_tried_again(&self) -> Vec<String> {
        if self.left_out.len() > MOST_AGAIN { Vec::new() } else { self.left_out.iter().cloned().collect() }
    }
}

/// As a shell tells it.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}
