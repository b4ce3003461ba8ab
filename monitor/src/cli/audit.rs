//! `monitor audit`: checks and prints the audit trail. Reads the files, not the daemon: who doubts a host asks it nothing.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde_json::Value;

use super::arguments::{AuditCommand, AuditTrail};
use super::console::Console;
use super::exit::Exit;
use super::text::field;
use crate::audit::{Head, Record, Report, Seal, read_key, read_segments, verify};
use crate::config::mistake::printable;
use crate::config::{ConfigError, Loaded, Sources};

/// Most characters of a body on a line.
const SHOWN: usize = 300;

/// A trail to read.
struct Place {
    directory: PathBuf,
    seal: Seal,
}

/// Checks or prints.
pub(super) fn run(command: AuditCommand, sources: Sources, console: &mut Console<'_>) -> Result<Exit, ConfigError> {
    let trail = match &command {
        AuditCommand::Verify { trail, .. } | AuditCommand::Show { trail, .. } => trail,
    };
    let place = match place(trail, sources)? {
        Ok(place) => place,
        Err(reason) => {
            console.complain(&reason);
            return Ok(Exit::FAILURE);
        }
    };
    let done = match command {
        AuditCommand::Verify { head, json, .. } => check(&place, head, json, console),
        AuditCommand::Show { kind, after, limit, json, .. } => {
            let wanted = Wanted { kind, after, left: limit.unwrap_or(u64::MAX), json };
            show(&place, wanted, console)
        }
    };
    Ok(done.unwrap_or_else(|error| {
        let directory = printable(&place.directory.to_string_lossy());
        console.complain(&format!("cannot read the audit trail in {directory}: {error}"));
        Exit::FAILURE
    }))
}

/// What was named, else what the configuration says.
fn place(trail: &AuditTrail, sources: Sources) -> Result<Result<Place, String>, ConfigError> {
    let (directory, key_file) = match (&trail.directory, &trail.key_file) {
        (Some(directory), Some(key)) => (directory.clone(), Some(key.clone())),
        (directory, key) => {
            let audit = Loaded::load(sources)?.config.audit;
            (directory.clone().unwrap_or(audit.directory), key.clone().or(audit.key_file))
        }
    };
    let seal = key_file.as_deref().map_or(Ok(Seal::Hash), read_key).map_err(|error| error.to_string());
    Ok(seal.map(|seal| Place { directory, seal }))
}

fn check(place: &Place, head: Option<Head>, json: bool, console: &mut Console<'_>) -> io::Result<Exit> {
    let report = verify(&place.directory, &place.seal, head)?;
    let text = if json { format!("{}\n", serde_json::to_string(&report)?) } else { told(&report) };
    let written = console.print(&text);
    let exit = console.ended(written);
    Ok(if report.problem_count > 0 { Exit::FAILURE } else { exit })
}

/// The report for people.
fn told(report: &Report) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let record = problem.sequence.map_or_else(String::new, |sequence| format!(" record {sequence}:"));
        let segment = printable(&problem.segment);
        text.push_str(&format!("{segment}:{}:{record} {}\n", problem.line, printable(&problem.what)));
    }
    let unlisted = report.problem_count - report.problems.len() as u64;
    if unlisted > 0 {
        text.push_str(&format!("... and {unlisted} more\n"));
    }
    if report.torn_bytes > 0 {
        text.push_str(&format!(
            "the last {} bytes are no whole record: one is being written, or the daemon was killed while it was; nobody had \
             been told that it is safe\n",
            report.torn_bytes
        ));
    }
    let (first, last) = (report.first.unwrap_or(0), report.last.unwrap_or_default());
    text.push_str(&format!(
        "{} records ({first} to {}) in {} segments: {}\n",
        report.records,
        last.sequence,
        report.segments,
        if report.problem_count == 0 {
            "the chain is whole".to_owned()
        } else {
            format!("{} problems", report.problem_count)
        }
    ));
    if report.records > 0 {
        text.push_str(&format!("head: {}:{}\n", last.sequence, last.hash));
    }
    text
}

/// What to print.
struct Wanted {
    kind: Vec<String>,
    after: u64,
    left: u64,
    json: bool,
}

fn show(place: &Place, mut wanted: Wanted, console: &mut Console<'_>) -> io::Result<Exit> {
    let mut written = Ok(());
    read_segments(&place.directory, &place.seal, |record, line| {
        if record.sequence <= wanted.after
            || !(wanted.kind.is_empty() || wanted.kind.iter().any(|kind| kind == record.kind))
        {
            return ControlFlow::Continue(());
        }
        let text = if wanted.json { format!("{}\n", String::from_utf8_lossy(line)) } else { shown(record) };
        written = console.print(&text);
        wanted.left -= 1;
        if written.is_err() || wanted.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(console.ended(written))
}

/// One record on one line.
fn shown(record: &Record<'_>) -> String {
    let body: Value = serde_json::from_str(record.body.get()).unwrap_or_default();
    let what = match record.kind {
        "alert" | "loss" => {
            let process = body.get("process").unwrap_or(&Value::Null);
            let who = format!("pid {} {}", field(process, "pid"), field(process, "exe"));
            format!("{} {} {who}", field(&body, "severity"), field(&body, "rule"))
        }
        _ => printable(&body.to_string()).chars().take(SHOWN).collect(),
    };
    let broken = if record.sealed { "" } else { "  (its hash is wrong)" };
    format!("{:>8}  {}  {:<13}  {what}{broken}\n", record.sequence, printable(record.time), printable(record.kind))
}
