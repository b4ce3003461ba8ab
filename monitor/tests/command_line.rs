//! The real program's exit codes and pipes.

use std::io;
use std::process::{Command, Output, Stdio};

fn monitor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_monitor"));
    // Neither the file nor the variables of the machine that runs the test matter.
    command.env_clear().env("MONITOR_CONFIG", "/dev/null").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> io::Result<Output> {
    monitor().args(arguments).output()
}

#[test]
fn exit_codes_tell_what_went_wrong() -> io::Result<()> {
    assert_eq!(output(&["config", "check"])?.status.code(), Some(0));
    assert_eq!(output(&["--no-such-flag"])?.status.code(), Some(64));
    assert_eq!(output(&[])?.status.code(), Some(64));
    let wrong = output(&["run", "--set", "metrics.groups=0"])?;
    assert_eq!(wrong.status.code(), Some(78));
    let message = String::from_utf8(wrong.stderr).expect("text");
    assert!(message.contains("flag --set: metrics.groups is \"0\" (out of range)"), "{message}");
    assert!(wrong.stdout.is_empty());
    Ok(())
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let child =
        monitor().args(["config", "default"]).stdout(writer).stderr(Stdio::piped()).spawn().expect("the program");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
