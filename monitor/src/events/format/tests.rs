//! Names of fields, compared with what the schemas have. The lists are written from the schemas' own references: the field
//! reference of ECS 8.0, and class Detection Finding with the objects it uses of OCSF 1.3.0.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// ECS 8.0. What is ours is below `monitor.`.
const ECS: &[&str] = &[
    "@timestamp",
    "message",
    "tags",
    "ecs.version",
    "event.kind",
    "event.category",
    "event.type",
    "event.module",
    "event.dataset",
    "event.sequence",
    "event.severity",
    "event.start",
    "event.end",
    "rule.id",
    "rule.name",
    "rule.description",
    "rule.version",
    "rule.ruleset",
    "threat.framework",
    "threat.technique.id",
    "threat.technique.subtechnique.id",
    "host.name",
    "host.hostname",
    "host.os.type",
    "user.id",
    "user.effective.id",
    "container.id",
    "process.pid",
    "process.entity_id",
    "process.name",
    "process.executable",
    "process.args",
    "process.args_count",
    "process.command_line",
    "process.start",
    "process.pgid",
    "process.working_directory",
    "process.parent.pid",
    "process.parent.entity_id",
    "process.parent.name",
    "process.parent.executable",
    "process.parent.args",
    "process.parent.args_count",
    "process.parent.command_line",
    "process.parent.start",
];

/// OCSF 1.3.0, class 2004. `unmapped` and `evidences.data` take anything.
const OCSF: &[&str] = &[
    "category_uid",
    "category_name",
    "class_uid",
    "class_name",
    "activity_id",
    "activity_name",
    "type_uid",
    "type_name",
    "time",
    "severity_id",
    "severity",
    "status_id",
    "status",
    "count",
    "message",
    "metadata.version",
    "metadata.profiles",
    "metadata.product.name",
    "metadata.product.vendor_name",
    "metadata.product.version",
    "metadata.log_name",
    "metadata.sequence",
    "metadata.uid",
    "finding_info.uid",
    "finding_info.title",
    "finding_info.types",
    "finding_info.created_time",
    "finding_info.first_seen_time",
    "finding_info.last_seen_time",
    "finding_info.analytic.type_id",
    "finding_info.analytic.type",
    "finding_info.analytic.uid",
    "finding_info.analytic.name",
    "finding_info.analytic.version",
    "finding_info.attacks.technique.uid",
    "finding_info.attacks.sub_technique.uid",
    "device.hostname",
    "device.name",
    "device.type_id",
    "device.os.name",
    "device.os.type",
    "device.os.type_id",
    "evidences.actor.process.pid",
    "evidences.actor.process.uid",
    "evidences.actor.process.name",
    "evidences.actor.process.cmd_line",
    "evidences.actor.process.created_time",
    "evidences.actor.process.file.name",
    "evidences.actor.process.file.path",
    "evidences.actor.process.file.type_id",
    "evidences.actor.process.user.uid",
    "evidences.actor.process.lineage",
    "evidences.actor.process.euid",
    "evidences.actor.process.egid",
    "evidences.actor.process.auid",
    "evidences.actor.process.container.uid",
    "evidences.actor.process.parent_process.pid",
    "evidences.actor.process.parent_process.uid",
    "evidences.actor.process.parent_process.name",
    "evidences.actor.process.parent_process.cmd_line",
    "evidences.actor.process.parent_process.created_time",
    "evidences.actor.process.parent_process.file.name",
    "evidences.actor.process.parent_process.file.path",
    "evidences.actor.process.parent_process.file.type_id",
    "evidences.actor.process.parent_process.user.uid",
];

/// The example of docs/EVENTS.md, which has everything.
fn example() -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/EVENTS.md")).unwrap();
    let from = text.find("```json\n").unwrap() + 8;
    let to = from + text[from..].find("\n```").unwrap();
    let mut event: Value = serde_json::from_str(&text[from..to]).unwrap();
    // What rules that are data can have beside.
    event["tags"] = json!(["host"]);
    event["output"] = json!("a shell on a connection");
    event["rule_source"] = json!({ "file": "rules.yaml", "version": "3" });
    event["process"]["process_group"] = json!(5);
    event["seen"] = json!({ "count": 4, "first": event["time"], "last": event["time"] });
    event
}

fn names(value: &Value, path: &str, free: &[&str], found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !free.contains(&path) => {
            for (name, value) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                names(value, &path, free, found);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            values.iter().for_each(|value| names(value, path, free, found));
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

fn render(format: Format) -> Value {
    let native = serde_json::to_vec(&example()).unwrap();
    serde_json::from_slice(&format.render(&native).unwrap()).unwrap()
}

#[test]
fn every_name_is_one_of_the_schema_and_every_mapping_is_used() {
    for (format, schema, free) in
        [(Format::Ecs, ECS, &["monitor"][..]), (Format::Ocsf, OCSF, &["unmapped", "evidences.data"])]
    {
        let mut found = BTreeSet::new();
        names(&render(format), "", free, &mut found);
        found.retain(|name| !free.contains(&name.as_str()));
        let expected: BTreeSet<String> = schema.iter().map(|name| (*name).to_owned()).collect();
        let differ: Vec<_> = found.symmetric_difference(&expected).collect();
        assert!(differ.is_empty(), "{format:?}: {differ:?}");
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/FORMATS.md")).unwrap();
        for name in schema {
            let name = name.replace("process.parent.", "process.").replace("parent_process.", "");
            assert!(page.contains(&format!("`{name}`")), "docs/FORMATS.md does not describe {name}");
        }
    }
}

#[test]
fn an_alert_in_ecs() {
    let event = render(Format::Ecs);
    assert_eq!(event["event"]["severity"], 99);
    assert_eq!(
        event["threat"]["technique"],
        json!({ "id": ["T1059"], "subtechnique": { "id": ["T1059.004", "T1059.006"] } })
    );
    assert_eq!(event["process"]["entity_id"], "web1-3000-30");
    assert_eq!(event["process"]["command_line"], "bash -i --token=[redacted]");
    assert_eq!(event["process"]["parent"]["pid"], 20);
    assert_eq!((&event["user"]["id"], &event["message"]), (&json!("1000"), &json!("a shell on a connection")));
}

#[test]
fn an_alert_in_ocsf() {
    let event = render(Format::Ocsf);
    assert_eq!((&event["class_uid"], &event["type_uid"]), (&json!(2004), &json!(200_401)));
    assert_eq!((&event["severity_id"], &event["time"]), (&json!(5), &json!(1_767_230_600_123_u64)));
    let sub = |id: &str| json!({ "technique": { "uid": "T1059" }, "sub_technique": { "uid": id } });
    let attack = json!([sub("T1059.004"), sub("T1059.006"), { "technique": { "uid": "T1059" } }]);
    assert_eq!(event["finding_info"]["attacks"], attack);
    let process = &event["evidences"][0]["actor"]["process"];
    assert_eq!(process["lineage"], json!(["/usr/lib/systemd/systemd", "/usr/bin/bash"]));
    assert_eq!((&process["parent_process"]["pid"], &process["auid"]), (&json!(20), &json!(1000)));
}

#[test]
fn what_an_event_lacks_is_left_out() {
    let native = json!({ "rule": "r", "time": "2026-01-01T00:00:00Z", "attack": [], "process": { "pid": 1 }, "host": { "name": "h" } });
    let native = serde_json::to_vec(&native).unwrap();
    for format in [Format::Ecs, Format::Ocsf] {
        let text = String::from_utf8(format.render(&native).unwrap()).unwrap();
        assert!(!text.contains("null") && !text.contains("{}"), "{text}");
    }
    assert_eq!(Format::Native.render(&native), None);
}
