//! `target.*`: another process that the event is about: of ptrace, kill, process_vm_writev, a fork's child, or the one
//! whose directory in `/proc` a path lies in.

use super::{Definition, Extract, Facts, Type, field, path};
use crate::detect::What;
use crate::processes::{Process, ProcessId};

const fn target(name: &'static str, kind: Type, extract: Extract) -> Definition {
    field(name, kind, extract).cost(40)
}

pub(super) const FIELDS: &[Definition] = &[
    target("target.pid", Type::Number, |facts, _, out| {
        if let Some(pid) = pid(facts) {
            out.number(pid);
        }
    })
    .cost(10),
    target("target.name", Type::Text, |facts, _, out| {
        if let Some(process) = process(facts) {
            out.bytes(process.comm.as_bytes());
        }
    }),
    target("target.exepath", Type::Text, |facts, _, out| {
        if let Some(process) = process(facts) {
            out.known(&process.image.exe);
        }
    }),
    target("target.user.uid", Type::Number, |facts, _, out| {
        if let Some(process) = process(facts) {
            out.number(process.credentials.euid);
        }
    }),
    target("target.is_self", Type::Bool, |facts, _, out| {
        if let Some(pid) = pid(facts) {
            out.bool(pid == facts.event.process.tgid);
        }
    }),
    target("target.is_child", Type::Bool, |facts, _, out| {
        if let Some(process) = process(facts) {
            out.bool(process.parent == Some(ProcessId::from_key(facts.event.process)));
        }
    }),
    target("target.is_ancestor", Type::Bool, |facts, _, out| {
        if let Some(pid) = pid(facts) {
            out.bool(facts.ancestors().any(|ancestor| ancestor.id.pid == pid));
        }
    })
    .cost(100),
    target("target.is_observer", Type::Bool, |facts, _, out| {
        if let Some(pid) = pid(facts) {
            out.bool(pid == facts.world.observer());
        }
    })
    .cost(10),
];

/// The process id, whether the process is known or not.
fn pid(facts: &Facts<'_>) -> Option<u32> {
    if let What::Fork { child } = &facts.event.what {
        return Some(child.tgid);
    }
    let activity = facts.activity()?;
    if let Some(target) = activity.target {
        return Some(target.tgid);
    }
    let name = if activity.path.is_empty() { path::object(activity)? } else { &activity.path };
    let rest = name.strip_prefix(b"/proc/")?;
    let end = rest.iter().position(|byte| *byte == b'/')?;
    let first = &rest[..end];
    if first == b"self" || first == b"thread-self" {
        return Some(facts.event.process.tgid);
    }
    let number = std::str::from_utf8(first).ok()?.parse().ok();
    // A signed or padded number is a file's name, not a process.
    number.filter(|_| first.iter().all(u8::is_ascii_digit))
}

fn process<'a>(facts: &Facts<'a>) -> Option<&'a Process> {
    let key = match &facts.event.what {
        What::Fork { child } => Some(*child),
        What::Activity(activity) => activity.target,
        What::Exec(_) | What::Exit { .. } => None,
    };
    match key {
        Some(key) => facts.world.process(ProcessId::from_key(key)),
        None => facts.world.find(pid(facts)?),
    }
}
