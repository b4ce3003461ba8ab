//! Fields of ancestors, of the session and of the process group.

use super::process::env_of;
use super::{Argument, Brackets, Definition, Facts, Type, Values, field, unknown};
use crate::detect::eval::facts::Subject;

/// One that asks the parent.
const fn parent(name: &'static str, kind: Type, extract: super::Extract) -> Definition {
    field(name, kind, extract).cost(30)
}

/// One that asks an ancestor, or all of them.
const fn ancestor(name: &'static str, kind: Type, extract: super::Extract) -> Definition {
    field(name, kind, extract).brackets(Brackets::Index).cost(100)
}

pub(super) const FIELDS: &[Definition] = &[
    parent("proc.pname", Type::Text, |facts, _, out| of(facts, 1, out, Subject::name)),
    parent("proc.pexe", Type::Text, |facts, _, out| of(facts, 1, out, Subject::exe)),
    parent("proc.pexepath", Type::Text, |facts, _, out| of(facts, 1, out, Subject::exepath)),
    parent("proc.pcmdline", Type::Text, |facts, _, out| {
        if let Some(subject) = facts.subject(1) {
            line(subject, subject.name(), out);
        }
    })
    .cost(60),
    parent("proc.ppid", Type::Number, |facts, _, out| {
        if let Some(id) = facts.parent_id() {
            out.number(id.pid);
        }
    })
    .cost(20),
    parent("proc.pvpid", Type::Number, |facts, _, out| {
        if let Some(id) = facts.parent_id() {
            out.number(id.pid);
        }
    })
    .cost(20),
    parent("proc.ppid.duration", Type::Number, |facts, _, out| {
        if let Some(parent) = facts.ancestor(1) {
            out.number(facts.event.time_ns.saturating_sub(parent.started_ns));
        }
    }),
    parent("proc.ppid.ts", Type::Number, |facts, _, out| {
        if let Some(parent) = facts.ancestor(1) {
            out.number(facts.world.boot_time_ns() + i128::from(parent.started_ns));
        }
    }),
    ancestor("proc.aname", Type::Text, |facts, argument, out| {
        // The name of the process itself may be newer than the table's.
        if argument == Argument::Index(0) {
            if let Some(name) = facts.name() {
                out.bytes(name);
            }
        } else {
            each(facts, argument, out, |subject, out| out.bytes(subject.name()));
        }
    }),
    ancestor("proc.aexe", Type::Text, |facts, argument, out| {
        each(facts, argument, out, |subject, out| out.known(subject.exe()));
    }),
    ancestor("proc.aexepath", Type::Text, |facts, argument, out| {
        each(facts, argument, out, |subject, out| out.known(subject.exepath()));
    }),
    ancestor("proc.aexepath.of_root", Type::Text, |facts, argument, out| {
        each(facts, argument, out, |subject, out| {
            if subject.file().of_root() {
                out.known(subject.exepath());
            }
        });
    }),
    ancestor("proc.acmdline", Type::Text, |facts, argument, out| {
        each(facts, argument, out, |subject, out| line(subject, subject.name(), out));
    })
    .cost(300),
    ancestor("proc.apid", Type::Number, |facts, argument, out| match argument {
        Argument::Index(0) => out.number(facts.event.process.tgid),
        Argument::Index(generation) => {
            if let Some(process) = facts.ancestor(generation) {
                out.number(process.id.pid);
            }
        }
        _ => facts.ancestors().for_each(|process| out.number(process.id.pid)),
    }),
    field("proc.aenv", Type::Text, |facts, argument, out| match argument {
        Argument::Index(_) => each(facts, argument, out, |subject, out| env_of(subject.env(), Argument::None, out)),
        _ => facts.ancestors().for_each(|process| env_of(&process.image.env, argument, out)),
    })
    .brackets(Brackets::Key)
    .cost(200),
    parent("proc.sname", Type::Text, |facts, _, out| leader(facts, out, Subject::session, Subject::name)).cost(100),
    parent("proc.sid.exe", Type::Text, |facts, _, out| leader(facts, out, Subject::session, Subject::exe)).cost(100),
    parent("proc.sid.exepath", Type::Text, |facts, _, out| leader(facts, out, Subject::session, Subject::exepath))
        .cost(100),
    parent("proc.vpgid.name", Type::Text, |facts, _, out| {
        leader(facts, out, Subject::process_group, Subject::name);
    })
    .cost(100),
    parent("proc.vpgid.exe", Type::Text, |facts, _, out| leader(facts, out, Subject::process_group, Subject::exe))
        .cost(100),
    parent("proc.vpgid.exepath", Type::Text, |facts, _, out| {
        leader(facts, out, Subject::process_group, Subject::exepath);
    })
    .cost(100),
    parent("proc.pgid.name", Type::Text, |facts, _, out| leader(facts, out, Subject::process_group, Subject::name))
        .cost(100),
    parent("proc.pgid.exe", Type::Text, |facts, _, out| leader(facts, out, Subject::process_group, Subject::exe))
        .cost(100),
    parent("proc.pgid.exepath", Type::Text, |facts, _, out| {
        leader(facts, out, Subject::process_group, Subject::exepath);
    })
    .cost(100),
    parent("proc.loginshellid", Type::Number, |facts, _, out| {
        if let Some(shell) = facts.ancestors().filter(|process| is_shell(process.comm.as_bytes())).last() {
            out.number(shell.id.pid);
        } else if facts.name().is_some_and(is_shell) {
            out.number(facts.event.process.tgid);
        }
    })
    .cost(100),
    unknown("proc.stdin.name", Type::Text),
    unknown("proc.stdout.name", Type::Text),
    unknown("proc.stderr.name", Type::Text),
];

/// What Falco takes for a login shell: names that end with `sh`.
fn is_shell(name: &[u8]) -> bool {
    name.ends_with(b"sh")
}

fn of<'a>(facts: &Facts<'a>, generation: usize, out: &mut Values<'a>, which: fn(Subject<'a>) -> &'a [u8]) {
    if let Some(subject) = facts.subject(generation) {
        out.known(which(subject));
    }
}

fn line<'a>(subject: Subject<'a>, first: &[u8], out: &mut Values<'a>) {
    out.made(|text| subject.write_line(first, text));
}

/// The one that the index names; without one all ancestors, without the process itself.
fn each<'a>(facts: &Facts<'a>, argument: Argument<'_>, out: &mut Values<'a>, push: fn(Subject<'a>, &mut Values<'a>)) {
    match argument {
        Argument::Index(generation) => {
            if let Some(subject) = facts.subject(generation) {
                push(subject, out);
            }
        }
        Argument::None | Argument::Key(_) => {
            facts.ancestors().for_each(|process| push(Subject::Process(process), out));
        }
    }
}

/// Who leads the session or the group: the process with that id, else the eldest ancestor in it.
fn leader<'a>(facts: &Facts<'a>, out: &mut Values<'a>, id: fn(Subject<'a>) -> u32, which: fn(Subject<'a>) -> &'a [u8]) {
    let Some(subject) = facts.subject(0) else { return };
    let wanted = id(subject);
    if wanted == 0 {
        return;
    }
    if wanted == facts.event.process.tgid {
        return out.known(which(subject));
    }
    let found = facts
        .world
        .find(wanted)
        .or_else(|| facts.ancestors().take_while(|process| id(Subject::Process(process)) == wanted).last());
    out.known(which(found.map_or(subject, Subject::Process)));
}
