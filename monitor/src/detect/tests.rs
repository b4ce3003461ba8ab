//! The documents say what the program does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use monitor_common::record::ProcessKey;
use monitor_common::signals::exec::{FdKind, Stdio};
use serde_json::Value;

use super::eval::tests::{Host, exec};
use super::eval::{Engine, Repeated};
use super::*;
use crate::events::{Ancestor, BootClock, Lost, Recent, Store, Subject};
use crate::signals::exec::Written;

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

#[test]
fn the_page_of_rules_is_what_the_rules_say() {
    let path = document("RULES.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == markdown(), "docs/RULES.md is out of date: UPDATE_DOCS=1 cargo test -p monitor --lib detect");
}

fn inet() -> Stdio {
    let mut peer = [0; 16];
    peer[..4].copy_from_slice(&[192, 0, 2, 7]);
    Stdio {
        kind: FdKind::Inet as u32,
        family: 2,
        state: 1,
        peer_port: 4444,
        local_port: 50_000,
        peer,
        ..Stdio::default()
    }
}

/// The example of docs/EVENTS.md: a shell on a connection, with everything that an event can have.
fn example() -> String {
    let event = exec(|exec| {
        exec.exe = b"/usr/bin/bash".to_vec();
        exec.filename = exec.exe.clone();
        exec.comm = b"bash".to_vec();
        exec.cwd = b"/home/me".to_vec();
        exec.stdio = [inet(); 3];
        exec.args = vec![b"bash".to_vec(), b"-i".to_vec(), b"--token=s3cret".to_vec()];
        exec.args_length = 23;
        exec.env = vec![
            (b"HISTFILE".to_vec(), b"/dev/null".to_vec()),
            (b"LD_PRELOAD".to_vec(), b"/tmp/a.so".to_vec()),
            (b"LD_PRELOAD".to_vec(), b"/tmp/b\xff.so".to_vec()),
        ];
        (exec.loginuid, exec.tty) = (Some(1000), b"pts/0".to_vec());
        (exec.file.mode, exec.file.links, exec.file.device) = (0o100_755, 1, 0x80_0001);
        (exec.file.modified_ns, exec.file.changed_ns) = (1_767_000_000_000_000_000, 1_767_000_000_000_000_000);
        exec.written = Some(Written { by: ProcessKey { tgid: 40, ..ProcessKey::default() }, time_ns: 1 });
    });
    let event = Event { time_ns: 5_000_123_456_789, ..event };
    let What::Exec(run) = &event.what else { panic!("made as an exec") };
    let (mut engine, wrong) = Engine::new(lang::load(&default_rules()).rules);
    assert!(!wrong.iter().any(|one| one.error), "{wrong:?}");
    let mut found = Vec::new();
    engine.on_event(&event, &Host::new(), &mut found);
    let mut finding = found.into_iter().find(|one| one.rule.name == "revshell_stdio_socket").unwrap();
    finding.held_back = 3;
    finding.repeated = Some(Repeated { count: 3, since_ns: 4_990_000_000_000, last_ns: 5_000_000_000_000 });
    let clock = BootClock::new(1_767_225_600_000_000_000);
    let ancestor = |pid, exe: &[u8]| Ancestor::new(pid, 10, exe, &[exe.to_vec()], Some(0), clock);
    let process = Subject {
        cgroup: Some("/user.slice/session-2.scope".to_owned()),
        unit: Some("session-2.scope".to_owned()),
        container: Some("4c01db0b339c".to_owned()),
        group: "bash".to_owned(),
        ancestors: vec![ancestor(20, b"/usr/bin/bash"), ancestor(1, b"/usr/lib/systemd/systemd")],
        ..Subject::of_exec(run, clock)
    };
    let recent = vec![Recent { kernel_ns: 4_999_999_000_000, pid: 20, what: "clone -> 30".to_owned() }];
    let lost = Lost { security_ring: 0, telemetry_ring: 12 };
    let alert = alert(finding, process, recent, clock, lost);
    let published = Store::new(1).with_host("web1".to_owned()).publish(&alert);
    String::from_utf8(published.json.to_vec()).unwrap()
}

/// Names of fields, but for those within `env` and `evidence`, which are data.
fn fields(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                names.insert(name.clone());
                if name != "env" && name != "evidence" {
                    fields(value, names);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_example_of_the_schema_is_what_is_published() {
    let path = document("EVENTS.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("```json\n", "\n```");
    let from = text.find(start).unwrap() + start.len();
    let to = from + text[from..].find(end).unwrap();
    let line = example();
    let written: Value = serde_json::from_str(&text[from..to]).unwrap_or_default();
    let published: Value = serde_json::from_str(&line).unwrap();
    if written != published && std::env::var_os("UPDATE_DOCS").is_some() {
        // Keys in the order of the line: a person reads it.
        std::fs::write(&path, format!("{}{}{}", &text[..from], line, &text[to..])).unwrap();
        return;
    }
    assert_eq!(written, published, "docs/EVENTS.md is out of date");
}

#[test]
fn every_field_is_described() {
    let text = std::fs::read_to_string(document("EVENTS.md")).unwrap();
    let mut names = BTreeSet::new();
    fields(&serde_json::from_str(&example()).unwrap(), &mut names);
    let missing: Vec<_> = names.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/EVENTS.md does not describe {missing:?}");
}

#[test]
fn every_variable_that_is_kept_is_described() {
    let text = std::fs::read_to_string(document("EVENTS.md")).unwrap();
    for (name, _) in crate::signals::exec::ENVIRONMENT {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn a_published_line_begins_alike_and_tells_no_secret() {
    let line = example();
    assert!(line.starts_with(r#"{"schema":"monitor.event.v1","seq":1,"time":"2026-01-01T01:23:20.123456789Z","#));
    assert!(!line.contains('\n'));
    // In the arguments, and wherever the rule shows the command line.
    assert!(line.contains("--token=[redacted]") && !line.contains("s3cret"), "{line}");
}
