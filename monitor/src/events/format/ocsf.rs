//! Open Cybersecurity Schema Framework 1.3: class Detection Finding (2004), with the profile for Linux users.

use serde_json::{Value, json};

use super::{at, base, command_line, entity, list, milliseconds, without_nulls};

const VERSION: &str = "1.3.0";
/// Findings.
const CATEGORY: u32 = 2;
/// Detection Finding.
const CLASS: u32 = 2004;
/// Create.
const ACTIVITY: u32 = 1;

pub(super) fn map(event: &Value) -> Value {
    let process = at(event, "/process");
    let ancestors = list(at(process, "/ancestors"));
    let mut actor = of_process(event, process);
    actor["parent_process"] = ancestors.first().map_or(Value::Null, |parent| of_process(event, parent));
    let lineage: Vec<&Value> = ancestors.iter().rev().map(|ancestor| at(ancestor, "/exe")).collect();
    actor["lineage"] = json!(lineage);
    actor["euid"] = at(process, "/euid").clone();
    actor["egid"] = at(process, "/egid").clone();
    actor["auid"] = at(process, "/loginuid").clone();
    actor["container"] = json!({ "uid": at(process, "/container") });
    let attacks: Vec<Value> = list(at(event, "/attack")).iter().filter_map(Value::as_str).map(attack).collect();
    let (severity_id, severity) = severity(at(event, "/severity"));
    let time = milliseconds(at(event, "/time"));
    let uid = format!(
        "{}-{time}-{}",
        at(event, "/host/name").as_str().unwrap_or_default(),
        at(event, "/seq").as_u64().unwrap_or(0)
    );
    without_nulls(json!({
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "activity_id": ACTIVITY,
        "activity_name": "Create",
        "type_uid": CLASS * 100 + ACTIVITY,
        "type_name": "Detection Finding: Create",
        "time": time,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "count": at(event, "/seen/count"),
        "message": match at(event, "/output") { Value::Null => at(event, "/title"), output => output },
        "metadata": {
            "version": VERSION,
            "profiles": ["host", "container", "linux/linux_users"],
            "product": { "name": "monitor", "vendor_name": "monitor", "version": env!("CARGO_PKG_VERSION") },
            "log_name": at(event, "/schema"),
            "sequence": at(event, "/seq"),
            "uid": uid,
        },
        "finding_info": {
            "uid": uid,
            "title": at(event, "/title"),
            "types": at(event, "/tags"),
            "created_time": time,
            "first_seen_time": milliseconds(at(event, "/seen/first")),
            "last_seen_time": milliseconds(at(event, "/seen/last")),
            "analytic": {
                "type_id": 1,
                "type": "Rule",
                "uid": at(event, "/rule"),
                "name": at(event, "/rule"),
                "version": at(event, "/rule_source/version"),
            },
            "attacks": attacks,
        },
        "evidences": [{
            "actor": { "process": actor },
            "data": { "evidence": at(event, "/evidence"), "recent": at(event, "/recent") },
        }],
        "device": { "hostname": at(event, "/host/name"), "name": at(event, "/host/name"), "type_id": 0,
                    "os": { "name": "Linux", "type_id": 200, "type": "Linux" } },
        "unmapped": {
            "suppressed": at(event, "/suppressed"),
            "lost": at(event, "/lost"),
            "kernel_ns": at(event, "/kernel_ns"),
            "unit": at(process, "/unit"),
            "cgroup": at(process, "/cgroup"),
            "group": at(process, "/group"),
            "cwd": at(process, "/cwd"),
            "env": at(process, "/env"),
            "suid": at(process, "/suid"),
            "capabilities": at(process, "/capabilities"),
            "file": at(process, "/file"),
            "rule_file": at(event, "/rule_source/file"),
        },
    }))
}

fn of_process(event: &Value, process: &Value) -> Value {
    let exe = at(process, "/exe");
    let uid = at(process, "/uid");
    json!({
        "pid": at(process, "/pid"),
        "uid": entity(event, process),
        "name": base(exe),
        "cmd_line": command_line(at(process, "/argv")),
        "created_time": milliseconds(at(process, "/start_time")),
        // Regular File.
        "file": { "name": base(exe), "path": exe, "type_id": 1 },
        "user": { "uid": if uid.is_null() { Value::Null } else { uid.to_string().into() } },
    })
}

fn attack(id: &str) -> Value {
    let technique = id.split('.').next().unwrap_or(id);
    let under = id.contains('.').then(|| json!({ "uid": id }));
    json!({ "technique": { "uid": technique }, "sub_technique": under })
}

fn severity(severity: &Value) -> (u32, &'static str) {
    match severity.as_str() {
        Some("critical") => (5, "Critical"),
        Some("high") => (4, "High"),
        Some("medium") => (3, "Medium"),
        Some("low") => (2, "Low"),
        Some("info") => (1, "Informational"),
        _ => (0, "Unknown"),
    }
}
