//! Each rule against what it must and must not find, evasions included, through the engine.

mod documents;

use monitor_common::record::ProcessKey;
use monitor_common::signals::exec::{FdKind, Stdio};

use super::*;
use crate::events::Severity;
use crate::signals::exec::{Exec, ExecFile};

/// An exec of an ordinary program by an ordinary user.
fn exec(exe: &str) -> Exec {
    let name = exe.rsplit('/').next().unwrap();
    Exec {
        time_ns: 1_000_000_000,
        process: ProcessKey { start_ns: 900_000_000, tgid: 500, reserved: 0 },
        parent: ProcessKey { start_ns: 100_000_000, tgid: 400, reserved: 0 },
        exe: exe.into(),
        cwd: b"/home/me".to_vec(),
        filename: exe.into(),
        args: vec![name.into()],
        args_length: u32::try_from(name.len() + 1).unwrap(),
        uid: 1000,
        euid: 1000,
        gid: 1000,
        egid: 1000,
        comm: name.bytes().take(15).collect(),
        file: ExecFile {
            mode: 0o100_755,
            links: 1,
            owner: 0,
            inode: 42,
            device: 0x80_0001,
            magic: 0xef53,
            ..ExecFile::default()
        },
        ..Exec::default()
    }
}

/// A script run by /usr/bin/dash.
fn script(cwd: &str, filename: &str) -> Exec {
    Exec { script: true, cwd: cwd.into(), filename: filename.into(), ..exec("/usr/bin/dash") }
}

fn with(mut exec: Exec, change: impl FnOnce(&mut Exec)) -> Exec {
    change(&mut exec);
    exec
}

fn inet(last: u8) -> Stdio {
    let mut peer = [0; 16];
    peer[..4].copy_from_slice(&[192, 0, 2, last]);
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

fn context() -> Recorded {
    let ancestor = |pid, exe: &str, uid| Ancestor {
        pid,
        start_ticks: 10,
        exe: exe.into(),
        args: vec![exe.into()],
        uid: Some(uid),
    };
    Recorded {
        ancestors: vec![ancestor(400, "/usr/bin/bash", 1000), ancestor(1, "/usr/lib/systemd/systemd", 0)],
        cgroup: Some(b"/user.slice/session-2.scope".to_vec()),
        unit: Some("session-2.scope".to_owned()),
        container: None,
        group: "bash".to_owned(),
    }
}

fn findings_in(context: &Recorded, exec: &Exec) -> Vec<Finding> {
    let mut out = Vec::new();
    Engine::new(&RuleSettings::default()).on_exec(exec, context, &mut out);
    out
}

/// What is found, as (rule, severity).
fn found_in(context: &Recorded, exec: &Exec) -> Vec<(&'static str, Severity)> {
    findings_in(context, exec).iter().map(|finding| (finding.rule.id, finding.severity)).collect()
}

fn found(exec: &Exec) -> Vec<(&'static str, Severity)> {
    found_in(&context(), exec)
}

fn evidence(exec: &Exec, rule: &str, name: &str) -> serde_json::Value {
    let findings = findings_in(&context(), exec);
    let finding = findings.iter().find(|finding| finding.rule.id == rule).expect("the rule finds it");
    finding.evidence.iter().find(|(found, _)| *found == name).expect("it is evidence").1.clone()
}
