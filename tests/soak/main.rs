//! `cargo xtask soak` and `cargo xtask flood`: what a test shows in seconds, for as long as one likes.

#![expect(clippy::panic, clippy::expect_used, reason = "a run fails by a panic, like a test")]

mod load;
mod record;

use std::{env, thread, time::Duration};

use monitor_tests::{Daemon, flood, flood_of_execs};

const USAGE: &str = "usage: monitor-soak soak MINUTES | flood SECONDS | execs SECONDS";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["soak", minutes] => soak(Duration::from_secs_f64(60.0 * number(minutes))),
        ["flood", seconds] => println!("a flood of everything: {}", flood(Duration::from_secs_f64(number(seconds)))),
        ["execs", seconds] => {
            println!("a flood of execs: {}", flood_of_execs(Duration::from_secs_f64(number(seconds))))
        }
        _ => panic!("{USAGE}"),
    }
}

fn number(text: &str) -> f64 {
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number < 1e6);
    number.unwrap_or_else(|| panic!("no number: {text}\n{USAGE}"))
}

/// Everything comes and goes for so long; the daemon must not grow once it has seen it all.
fn soak(time: Duration) {
    let daemon = Daemon::start(load::CONFIGS[0]);
    let mut record = record::Record::new(&daemon);
    let done = thread::scope(|scope| {
        let load = load::Load::start(scope, &daemon);
        record.keep(&daemon, time, || load.told());
        load.stop()
    });
    println!("\n{done}");
    record.judge();
}
