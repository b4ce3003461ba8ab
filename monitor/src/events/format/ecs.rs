//! Elastic Common Schema 8. Standard fields where the schema has one; all of ours that it has none for is under `monitor`.

use serde_json::{Value, json};

use super::{at, base, command_line, entity, list, without_nulls};

/// The version whose field names are used: all of them are in every 8.x.
const VERSION: &str = "8.0.0";

pub(super) fn map(event: &Value) -> Value {
    let process = at(event, "/process");
    let ancestors = list(at(process, "/ancestors"));
    let mut mapped = of_process(event, process);
    mapped["working_directory"] = at(process, "/cwd").clone();
    mapped["parent"] = ancestors.first().map_or(Value::Null, |parent| of_process(event, parent));
    let techniques: Vec<&str> = list(at(event, "/attack")).iter().filter_map(Value::as_str).collect();
    let (under, over): (Vec<&str>, Vec<&str>) = techniques.iter().partition(|id| id.contains('.'));
    let mut over: Vec<&str> = over.into_iter().chain(under.iter().filter_map(|id| id.split('.').next())).collect();
    over.dedup();
    let threat = (!techniques.is_empty())
        .then(|| json!({ "framework": "MITRE ATT&CK", "technique": { "id": over, "subtechnique": { "id": under } } }));
    without_nulls(json!({
        "@timestamp": at(event, "/time"),
        "ecs": { "version": VERSION },
        "message": message(event),
        "tags": at(event, "/tags"),
        "event": {
            "kind": "alert",
            "category": ["process"],
            "type": ["info"],
            "module": "monitor",
            "dataset": "monitor.alert",
            "sequence": at(event, "/seq"),
            "severity": severity(at(event, "/severity")),
            "start": at(event, "/seen/first"),
            "end": at(event, "/seen/last"),
        },
        "rule": {
            "id": at(event, "/rule"),
            "name": at(event, "/rule"),
            "description": at(event, "/title"),
            "version": at(event, "/rule_source/version"),
            "ruleset": at(event, "/rule_source/file"),
        },
        "threat": threat,
        "host": { "name": at(event, "/host/name"), "hostname": at(event, "/host/name"), "os": { "type": "linux" } },
        "user": { "id": text(at(process, "/uid")), "effective": { "id": text(at(process, "/euid")) } },
        "container": { "id": at(process, "/container") },
        "process": mapped,
        "monitor": {
            "schema": at(event, "/schema"),
            "severity": at(event, "/severity"),
            "evidence": at(event, "/evidence"),
            "recent": at(event, "/recent"),
            "suppressed": at(event, "/suppressed"),
            "count": at(event, "/seen/count"),
            "lost": at(event, "/lost"),
            "kernel_ns": at(event, "/kernel_ns"),
            "process": {
                "unit": at(process, "/unit"),
                "cgroup": at(process, "/cgroup"),
                "group": at(process, "/group"),
                "loginuid": at(process, "/loginuid"),
                "suid": at(process, "/suid"),
                "capabilities": at(process, "/capabilities"),
                "env": at(process, "/env"),
                "file": at(process, "/file"),
                "ancestors": ancestors.get(1..),
            },
        },
    }))
}

fn of_process(event: &Value, process: &Value) -> Value {
    let argv = at(process, "/argv");
    json!({
        "pid": at(process, "/pid"),
        "entity_id": entity(event, process),
        "name": base(at(process, "/exe")),
        "executable": at(process, "/exe"),
        "args": argv,
        "args_count": list(argv).len(),
        "command_line": command_line(argv),
        "start": at(process, "/start_time"),
        "pgid": at(process, "/process_group"),
    })
}

fn message(event: &Value) -> &Value {
    match at(event, "/output") {
        Value::Null => at(event, "/title"),
        output => output,
    }
}

/// The schema's identifiers are keywords.
fn text(number: &Value) -> Value {
    if number.is_null() { Value::Null } else { number.to_string().into() }
}

/// As Elastic's own detection engine weighs them.
fn severity(severity: &Value) -> Value {
    match severity.as_str() {
        Some("critical") => 99.into(),
        Some("high") => 73.into(),
        Some("medium") => 47.into(),
        Some("low") => 21.into(),
        _ => 0.into(),
    }
}
