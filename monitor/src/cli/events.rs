//! `monitor events`: prints what the daemon's event store has, and waits for more.

use std::io;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::arguments::Events;
use super::client::{Client, ClientError};
use super::console::Console;
use super::exit::Exit;
use super::text::{arguments, field, query};

/// Events asked for at a time.
const PAGE: u64 = 500;
/// Time between two questions when there is nothing new.
const PAUSE: Duration = Duration::from_millis(500);

/// An answer of `/api/v1/events`.
#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: u64,
    #[serde(default)]
    oldest: u64,
}

/// Why it ends.
enum End {
    Output(io::Error),
    Client(ClientError),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ClientError> for End {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// Prints events until there are no more, or for ever.
pub(super) fn run(options: &Events, address: &str, console: &mut Console<'_>) -> Exit {
    match page_through(options, address, console) {
        Ok(()) => Exit::OK,
        Err(End::Output(error)) => console.ended(Err(error)),
        Err(End::Client(error)) => {
            console.complain(&error.to_string());
            Exit::FAILURE
        }
    }
}

fn page_through(options: &Events, address: &str, console: &mut Console<'_>) -> Result<(), End> {
    let client = Client::new(address)?;
    let (mut after, mut left) = (options.after, options.limit.unwrap_or(u64::MAX));
    let mut answered = false;
    while left > 0 {
        let page: Page = match client.get_json(&path(options, after, left.min(PAGE))) {
            Ok((_, page)) => page,
            // Whoever follows wants to see the events of the daemon's next run, too.
            Err(ClientError::Connect { .. }) if options.follow && answered => {
                thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        gaps(after, answered, &page, console);
        answered = true;
        for event in &page.events {
            console.print(&shown(event, options.daemon.json))?;
            left = left.saturating_sub(1);
        }
        let more = !page.events.is_empty();
        after = page.next;
        match (more, options.follow) {
            (true, _) => {}
            (false, true) => thread::sleep(PAUSE),
            (false, false) => break,
        }
    }
    Ok(())
}

fn path(options: &Events, after: u64, limit: u64) -> String {
    let (after, limit) = (after.to_string(), limit.to_string());
    let (severity, rule) = (options.severity.join(","), options.rule.join(","));
    query("/api/v1/events", &[("after", &after), ("limit", &limit), ("severity", &severity), ("rule", &rule)])
}

/// Tells what the reader does not get to see. At the first question it is normal that old events are gone.
fn gaps(after: u64, asked_before: bool, page: &Page, console: &mut Console<'_>) {
    if page.next < after {
        console.complain("the daemon has started anew, its events count from 1 again");
    } else if asked_before && page.oldest > after.saturating_add(1) {
        let missed = page.oldest - after - 1;
        console.complain(&format!(
            "{missed} events were gone before they could be read; a larger events.store keeps more"
        ));
    }
}

fn shown(event: &RawValue, json: bool) -> String {
    match serde_json::from_str::<Value>(event.get()) {
        Ok(value) if !json => line(&value),
        _ => format!("{}\n", event.get()),
    }
}

/// One event on one line: when, how bad, which rule, who.
fn line(event: &Value) -> String {
    let process = event.get("process").unwrap_or(&Value::Null);
    let parent = process.pointer("/ancestors/0").unwrap_or(&Value::Null);
    format!(
        "{:>6}  {}  {:<8}  {}  pid {} {} (uid {}, parent {} {})  {}\n",
        field(event, "seq"),
        field(event, "time"),
        field(event, "severity"),
        field(event, "rule"),
        field(process, "pid"),
        field(process, "exe"),
        field(process, "uid"),
        field(parent, "pid"),
        field(parent, "exe"),
        arguments(process),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_is_safe_to_print() {
        let event = serde_json::json!({
            "seq": 7, "time": "2026-01-02T03:04:05Z", "severity": "high", "rule": "exec_from_tmp",
            "process": {"pid": 9, "exe": "/dev/shm/\u{1b}[2J", "uid": 0, "argv": ["x", "a b\n"],
                        "ancestors": [{"pid": 1, "exe": "/sbin/init"}]},
        });
        assert_eq!(
            line(&event),
            "     7  2026-01-02T03:04:05Z  high      exec_from_tmp  pid 9 /dev/shm/\\u{1b}[2J (uid 0, parent 1 /sbin/init)  \
             x 'a b\\n'\n"
        );
        assert_eq!(line(&Value::Null), "     -  -  -         -  pid - - (uid -, parent - -)  \n");
    }
}
