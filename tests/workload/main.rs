//! A program to be observed. Its arguments are steps, one after the other, separated by `+`:
//!
//! `workload wait + getppid 10000 + exit 3`
//!
//! Each step does exactly what it says and no system call of the counted kind besides, so that tests can ask for exact
//! amounts. `wait` reads one byte from stdin. What a test has to know, a step prints as one line.

#![expect(clippy::expect_used, clippy::panic, reason = "a step that cannot do its work must not look as if it had")]

mod calls;
mod watchdog;

use std::{
    env,
    io::{Read as _, Write as _},
    process,
};

fn main() {
    let arguments: Vec<String> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    for step in arguments.split(|argument| argument == "+") {
        let (name, rest) = step.split_first().expect("a step has a name");
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        run(name, &rest);
    }
}

fn run(step: &str, arguments: &[&str]) {
    match (step, arguments) {
        ("wait", []) => wait(),
        ("say", [line]) => say(line),
        ("exit", [code]) => process::exit(number(code)),
        ("watchdog", [pid]) => watchdog::watch(number(pid)),
        ("getppid", [count]) => calls::getppid(number(count)),
        _ => panic!("no such step: {step} {arguments:?}"),
    }
}

/// Waits until the test says go, or is gone.
fn wait() {
    let mut byte = [0];
    let _ = std::io::stdin().read(&mut byte);
}

/// Prints one line.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).expect("the test listens");
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}
