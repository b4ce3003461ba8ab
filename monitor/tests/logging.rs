//! The log of a whole process: what libraries write through the `log` crate arrives, and a new level counts for it.

use std::process::{Command, ExitCode};

use monitor::config::{KernelLevel, Log, LogFormat};
use monitor::logging;

/// In the environment of the process that logs.
const CHILD: &str = "MONITOR_TEST_CHILD";

fn main() -> ExitCode {
    let result = if std::env::var_os(CHILD).is_some() { log_something() } else { check() };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn log_something() -> Result<(), String> {
    let quiet = Log { level: "warn".to_owned(), format: LogFormat::Text, kernel: KernelLevel::Info };
    let handle = logging::init(&quiet).map_err(|error| error.to_string())?;
    log::debug!(target: "library", "too quiet");
    log::warn!(target: "library", "first");
    log::info!(target: "monitor_ebpf::signals::exec", "from the kernel");
    let loud = Log { level: "debug".to_owned(), ..quiet.clone() };
    handle.reconfigure(&loud).map_err(|error| error.to_string())?;
    log::debug!(target: "library", "second");
    match logging::init(&quiet) {
        Ok(_) => Err("a second log was set up".to_owned()),
        Err(_) => Ok(()),
    }
}

fn check() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).env(CHILD, "1").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    // Without the time.
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect();
    let expected =
        ["WARN library: first", "INFO monitor_ebpf::signals::exec: from the kernel", "DEBUG library: second"];
    if output.status.success() && lines == expected {
        Ok(())
    } else {
        Err(format!("{}, expected {expected:#?}, got\n{text}", output.status))
    }
}
