//! `proc.*` fields that Falco does not have: the program's file and who wrote it, connections, credentials before.

use super::process::exe_file;
use super::{Argument, Brackets, Definition, Facts, Type, Values, field};
use crate::detect::eval::facts::Subject;
use crate::detect::paths;
use crate::processes::{Connection, Credentials, Process, ProcessId};
use crate::signals::exec::{ExecFile, Written};

pub(super) const FIELDS: &[Definition] = &[
    field("proc.exe.deleted", Type::Bool, |facts, _, out| file(facts, out, |file, out| out.bool(file.links == 0))),
    field("proc.exe.owner.uid", Type::Number, |facts, _, out| file(facts, out, |file, out| out.number(file.owner))),
    field("proc.exe.mode", Type::Number, |facts, _, out| file(facts, out, |file, out| out.number(file.mode & 0o7777))),
    field("proc.exe.ino", Type::Number, |facts, _, out| file(facts, out, |file, out| out.number(file.inode))),
    field("proc.exe.dev", Type::Number, |facts, _, out| file(facts, out, |file, out| out.number(file.device))),
    field("proc.exe.written", Type::Bool, |facts, _, out| {
        if facts.subject(0).is_some() {
            out.bool(written(facts).is_some());
        }
    }),
    field("proc.exe.writer.pid", Type::Number, |facts, _, out| {
        if let Some(written) = written(facts) {
            out.number(written.by.tgid);
        }
    }),
    field("proc.exe.writer.name", Type::Text, |facts, _, out| {
        if let Some(writer) = writer(facts) {
            out.bytes(writer.comm.as_bytes());
        }
    })
    .cost(40),
    field("proc.exe.writer.exepath", Type::Text, |facts, _, out| {
        if let Some(writer) = writer(facts) {
            out.known(&writer.image.exe);
        }
    })
    .cost(40),
    field("proc.exe.writer.exepath.of_root", Type::Text, |facts, _, out| {
        if let Some(writer) = writer(facts).filter(|writer| writer.image.file.of_root()) {
            out.known(&writer.image.exe);
        }
    })
    .cost(40),
    field("proc.exe.writer.networked", Type::Bool, |facts, _, out| {
        if let Some(writer) = writer(facts) {
            out.bool(writer.connection.is_some());
        }
    })
    .cost(40),
    // Of a file that nobody was seen writing, the time since its inode changed: that one cannot be set by utimes.
    field("proc.exe.age", Type::Number, |facts, _, out| {
        if let Some(written) = written(facts) {
            out.number(facts.event.time_ns.saturating_sub(written.time_ns));
        } else if let Some(file) = exe_file(facts).filter(|file| file.changed_ns != 0) {
            let now = facts.world.boot_time_ns() + i128::from(facts.event.time_ns);
            out.number((now - i128::from(file.changed_ns)).max(0));
        }
    }),
    field("proc.filename", Type::Text, |facts, _, out| match facts.subject(0) {
        Some(Subject::Exec(exec)) => out.known(&exec.filename),
        Some(Subject::Process(process)) => out.known(&process.image.filename),
        None => {}
    }),
    // A script's path, of the exec only: the kernel tells the name it was called by.
    field("proc.script", Type::Text, |facts, _, out| {
        if let Some(exec) = facts.exec().filter(|exec| exec.script) {
            let judged = paths::judged(exec);
            if judged.script {
                out.made(|text| text.extend_from_slice(&judged.path));
            }
        }
    })
    .cost(100),
    // What the process ran before this exec: the table still has it.
    field("proc.exepath_before", Type::Text, |facts, _, out| {
        if let Some((path, _)) = exe_before(facts) {
            out.known(path);
        }
    }),
    field("proc.exepath_before.of_root", Type::Text, |facts, _, out| {
        if let Some((path, true)) = exe_before(facts) {
            out.known(path);
        }
    }),
    field("proc.unit", Type::Text, |facts, _, out| {
        if let Some(unit) = facts.process().and_then(|process| process.cgroup.unit.as_deref()) {
            out.bytes(unit.as_bytes());
        }
    }),
    field("proc.is_script", Type::Bool, |facts, _, out| match facts.subject(0) {
        Some(Subject::Exec(exec)) => out.bool(exec.script),
        Some(Subject::Process(process)) => out.bool(process.image.script),
        None => {}
    }),
    field("proc.gained_privileges", Type::Bool, |facts, _, out| match facts.subject(0) {
        Some(Subject::Exec(exec)) => out.bool(exec.gained),
        Some(Subject::Process(process)) => out.bool(process.image.gained),
        None => {}
    }),
    field("proc.arglen", Type::Number, |facts, _, out| match facts.subject(0) {
        Some(Subject::Exec(exec)) => out.number(exec.args_length),
        Some(Subject::Process(process)) => out.number(process.image.args_length),
        None => {}
    }),
    field("proc.kernel_thread", Type::Bool, |facts, _, out| match facts.subject(0) {
        Some(Subject::Exec(_)) => out.bool(false),
        Some(Subject::Process(process)) => out.bool(process.kernel_thread),
        None => {}
    }),
    field("proc.uid_before", Type::Number, |facts, _, out| {
        if let Some(before) = before(facts) {
            out.number(before.uid);
        }
    }),
    field("proc.euid_before", Type::Number, |facts, _, out| {
        if let Some(before) = before(facts) {
            out.number(before.euid);
        }
    }),
    connection("proc.inet.duration", Type::Number, |facts, argument, out| {
        if let Some(connection) = connected(facts, argument) {
            out.number(facts.event.time_ns.saturating_sub(connection.time_ns));
        }
    }),
    connection("proc.inet.rip", Type::Ip, |facts, argument, out| {
        if let Some(connection) = connected(facts, argument) {
            out.ip(connection.peer.ip().to_canonical());
        }
    }),
    connection("proc.inet.rport", Type::Number, |facts, argument, out| {
        if let Some(connection) = connected(facts, argument) {
            out.number(connection.peer.port());
        }
    }),
    connection("proc.inet.accepted", Type::Bool, |facts, argument, out| {
        if let Some(connection) = connected(facts, argument) {
            out.bool(connection.accepted);
        }
    }),
];

/// The program before an exec, and whether it was root's.
fn exe_before<'a>(facts: &Facts<'a>) -> Option<(&'a [u8], bool)> {
    let process = facts.exec().and_then(|_| facts.process())?;
    // The table may know of this exec already.
    let after = process.exec_ns == Some(facts.event.time_ns);
    let image = &process.image;
    Some(if after { (&process.exe_before, process.of_root_before) } else { (&image.exe, image.file.of_root()) })
}

/// Who the process acted as before the event. The table may know of the event already.
fn before(facts: &Facts<'_>) -> Option<Credentials> {
    let process = facts.process()?;
    let changed = process.credentials_before.filter(|(time_ns, _)| *time_ns == facts.event.time_ns);
    Some(changed.map_or(process.credentials, |(_, before)| before))
}

const fn connection(name: &'static str, kind: Type, extract: super::Extract) -> Definition {
    field(name, kind, extract).brackets(Brackets::Index).cost(60)
}

/// The last connection of the process, or of the ancestor that the index names.
fn connected(facts: &Facts<'_>, argument: Argument<'_>) -> Option<Connection> {
    match argument {
        Argument::None | Argument::Key(_) | Argument::Index(0) => facts.process()?.connection,
        Argument::Index(generation) => facts.ancestor(generation)?.connection,
    }
}

fn file<'a>(facts: &Facts<'a>, out: &mut Values<'a>, push: fn(&ExecFile, &mut Values<'a>)) {
    if let Some(file) = exe_file(facts) {
        push(file, out);
    }
}

fn written(facts: &Facts<'_>) -> Option<Written> {
    match facts.subject(0)? {
        Subject::Exec(exec) => exec.written,
        Subject::Process(process) => process.image.written,
    }
}

fn writer<'a>(facts: &Facts<'a>) -> Option<&'a Process> {
    facts.world.process(ProcessId::from_key(written(facts)?.by))
}
