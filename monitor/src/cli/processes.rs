//! `monitor processes`: prints the processes that the daemon knows.

use serde_json::Value;

use super::arguments::Processes;
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::text::{arguments, field, query};

/// Columns with their least widths, as they are called in the daemon's answer.
const COLUMNS: [(&str, usize); 4] = [("pid", 7), ("uid", 6), ("group", 28), ("exe", 32)];

/// Prints the processes that were asked for.
pub(super) fn run(options: &Processes, address: &str, console: &mut Console<'_>) -> Exit {
    let answer = Client::new(address).and_then(|client| client.get_json::<Value>(&path(options)));
    let (body, value) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            console.complain(&error.to_string());
            return Exit::FAILURE;
        }
    };
    let text = match value.get("processes").and_then(Value::as_array) {
        Some(processes) if !options.daemon.json => table(processes),
        _ => format!("{}\n", String::from_utf8_lossy(&body).trim_end()),
    };
    let written = console.print(&text);
    console.ended(written)
}

fn path(options: &Processes) -> String {
    let text = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let (pid, limit) = (text(options.pid), options.limit.to_string());
    let group = options.group.as_deref().unwrap_or_default();
    let sort = options.sort.as_deref().unwrap_or_default();
    query("/api/v1/processes", &[("pid", &pid), ("group", group), ("limit", &limit), ("sort", sort)])
}

fn table(processes: &[Value]) -> String {
    let mut out = String::new();
    for (name, width) in COLUMNS {
        out.push_str(&format!("{:<width$}  ", name.to_uppercase()));
    }
    out.push_str("ARGUMENTS\n");
    for process in processes {
        for (name, width) in COLUMNS {
            out.push_str(&format!("{:<width$}  ", field(process, name)));
        }
        out.push_str(&format!("{}\n", arguments(process)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_is_one_line_that_is_safe_to_print() {
        let processes =
            [serde_json::json!({"pid": 3, "uid": 0, "group": "a\r", "exe": "/x", "argv": ["x"]}), Value::Null];
        let text = table(&processes);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                vec!["PID", "UID", "GROUP", "EXE", "ARGUMENTS"],
                vec!["3", "0", "a\\r", "/x", "x"],
                vec!["-", "-", "-", "-"]
            ]
        );
    }
}
