//! The documents say what the program does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::events::{BootClock, Lost, Store};

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

#[test]
fn ids_are_unique_and_sorted() {
    assert!(RULES.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert!(RULES.iter().all(|one| rule(one.id) == Some(one)));
    assert!(RULES.iter().all(|rule| !rule.attack.is_empty() && rule.attack.iter().all(|id| id.starts_with('T'))));
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

/// The example of docs/EVENTS.md: a shell on a connection, with everything that an event can have.
fn example() -> String {
    let shell = with(exec("/usr/bin/bash"), |exec| {
        exec.stdio = [inet(7); 3];
        exec.args = vec![b"bash".to_vec(), b"-i".to_vec(), b"--token=s3cret".to_vec()];
        exec.args_length = 23;
        exec.env = vec![
            (b"HISTFILE".to_vec(), b"/dev/null".to_vec()),
            (b"LD_PRELOAD".to_vec(), b"/tmp/a.so".to_vec()),
            (b"LD_PRELOAD".to_vec(), b"/tmp/b\xff.so".to_vec()),
        ];
        exec.loginuid = Some(1000);
        exec.tty = b"pts/0".to_vec();
        exec.time_ns = 5_000_123_456_789;
        exec.process.start_ns = 4_999_870_000_000;
    });
    let mut context = context();
    context.container = Some("4c01db0b339c".to_owned());
    let mut found = Vec::new();
    Engine::new(&RuleSettings::default()).on_exec(&shell, &context, &mut found);
    let mut finding = found.pop().unwrap();
    finding.suppressed = 3;
    let clock = BootClock::new(1_767_225_600_000_000_000);
    let lost = Lost { security_ring: 0, telemetry_ring: 12 };
    let alert = alert_of_exec(finding, &shell, &context, clock, lost);
    let published = Store::new(1).with_host("web1".to_owned()).publish(&alert);
    String::from_utf8(published.json.to_vec()).unwrap()
}

fn fields(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                names.insert(name.clone());
                fields(value, names);
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
    assert!(
        line.starts_with(r#"{"schema":"monitor.event.v1","seq":1,"time":"2026-01-01T01:23:20.123456789Z","rule":"#)
    );
    assert!(!line.contains('\n'));
    assert!(line.contains("--token=[redacted]") && !line.contains("s3cret"));
}

#[test]
fn all_evidence_is_described() {
    let text = std::fs::read_to_string(document("EVENTS.md")).unwrap();
    let memfd = |name| with(exec(name), |exec| exec.file.links = 0);
    let mut seen = BTreeSet::new();
    for run in [
        exec("/tmp/.x"),
        exec("/dev/shm/x"),
        memfd("memfd:runc_cloned:/proc/self/exe"),
        memfd("/usr/bin/x"),
        script("/", "/dev/fd/3"),
        exec("/usr/bin/[x]"),
        with(exec("/bin/sh"), |exec| exec.stdio = [inet(1); 3]),
        with(exec("/x"), |exec| (exec.gained, exec.file.mode, exec.euid) = (true, 0o104_755, 0)),
    ] {
        for finding in findings_in(&context(), &run) {
            seen.insert(finding.rule.id);
            for (name, _) in finding.evidence {
                assert!(text.contains(&format!("`{name}`")), "{} {name}", finding.rule.id);
            }
        }
    }
    // One sample for each rule but event_loss, which looks at no exec.
    assert_eq!(seen.len(), RULES.len() - 1, "{seen:?}");
}
