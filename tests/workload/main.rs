//! A program to be observed. Its arguments are steps, one after the other, separated by `+`:
//!
//! `workload wait + getppid 10000 + exit 3`
//!
//! Each step does exactly what it says and no system call of the counted kind besides, so that tests can ask for exact
//! amounts. `wait` reads one byte from stdin. What a test has to know, a step prints as one line.

#![expect(clippy::expect_used, clippy::panic, reason = "a step that cannot do its work must not look as if it had")]

mod asks;
mod busy;
mod calls;
mod disk;
mod image;
mod life;
mod memcached;
mod net;
mod storm;
mod talk;
mod watchdog;
mod ways;

use std::{
    env,
    io::{Read as _, Write as _},
    process,
};

/// What steps leave to later ones.
#[derive(Default)]
struct State {
    net: net::Sockets,
    disk: disk::Disk,
}

fn main() {
    let arguments: Vec<String> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut state = State::default();
    let mut rest = arguments.as_slice();
    while !rest.is_empty() {
        let end = rest.iter().position(|argument| *argument == "+").unwrap_or(rest.len());
        let (step, after) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
        rest = after;
        let (name, words) = step.split_first().expect("a step has a name");
        if !(basic(name, words, after)
            || life::step(name, words)
            || net::step(name, words, &mut state.net)
            || disk::step(name, words, &mut state.disk)
            || asks::step(name, words)
            || busy::step(name, words)
            || storm::step(name, words))
        {
            panic!("no such step: {step:?}");
        }
    }
}

/// Steps that work on nothing but this process. `after` are the steps that follow: some hand them to a new program.
fn basic(name: &str, words: &[&str], after: &[&str]) -> bool {
    match (name, words) {
        ("wait", []) => wait(),
        ("say", [line]) => say(line),
        ("exit", [code]) => process::exit(number(code)),
        ("watchdog", [pid]) => watchdog::watch(number(pid)),
        ("getppid", [count]) => calls::getppid(number(count)),
        ("getppid32", [count]) => calls::getppid32(number(count)),
        ("stat-missing", [count]) => calls::stat_missing(number(count)),
        ("fsync-nothing", [count]) => calls::fsync_nothing(number(count)),
        ("read-zeroes", [count]) => calls::read_zeroes(number(count)),
        ("sleep", [milliseconds]) => calls::sleep(number(milliseconds)),
        ("exit-while-reading", []) => calls::exit_while_reading(),
        ("threads", [threads, count]) => calls::threads(number(threads), number(count)),
        ("exec", []) => image::exec(after),
        ("exec-again", [count]) => image::exec_again(number(count), after),
        ("exec-from-thread", []) => image::exec_from_thread(after),
        ("exec-memfd", [program]) => image::exec_memfd(program),
        ("exec-deleted", []) => image::exec_deleted(after),
        ("spawn", [count]) => {
            image::spawn(number(count), after);
            process::exit(0);
        }
        _ => return false,
    }
    true
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

/// The result of a system call that may not fail.
fn checked(what: &str, result: i64) -> i64 {
    assert!(result >= 0, "{what}: {}", std::io::Error::last_os_error());
    result
}
