//! `proc.*` of the process itself, as Falco has them.

use super::{Argument, Brackets, Definition, Facts, Type, Values, field, unknown};
use crate::detect::eval::facts::Subject;
use crate::signals::exec::ExecFile;

pub(super) const FIELDS: &[Definition] = &[
    field("proc.name", Type::Text, |facts, _, out| {
        if let Some(name) = facts.name() {
            out.bytes(name);
        }
    })
    .cost(3),
    field("proc.exe", Type::Text, |facts, _, out| text(facts, out, Subject::exe)),
    field("proc.exepath", Type::Text, |facts, _, out| text(facts, out, Subject::exepath)),
    field("proc.args", Type::Text, |facts, _, out| {
        if let Some(subject) = facts.subject(0) {
            out.made(|text| subject.write_args(text));
        }
    })
    .cost(40),
    field("proc.cmdline", Type::Text, |facts, _, out| {
        if let (Some(subject), Some(name)) = (facts.subject(0), facts.name()) {
            out.made(|text| subject.write_line(name, text));
        }
    })
    .cost(40),
    field("proc.exeline", Type::Text, |facts, _, out| {
        if let Some(subject) = facts.subject(0) {
            out.made(|text| subject.write_line(subject.exe(), text));
        }
    })
    .cost(40),
    field("proc.cmdnargs", Type::Number, |facts, _, out| counted(facts, out, |_| 1)),
    field("proc.cmdlenargs", Type::Number, |facts, _, out| counted(facts, out, <[u8]>::len)),
    field("proc.env", Type::Text, env).brackets(Brackets::Key).cost(20),
    field("proc.cwd", Type::Text, |facts, _, out| {
        // Falco's ends with a slash.
        match facts.subject(0).map(Subject::cwd) {
            None | Some(b"") => {}
            Some(cwd) if cwd.ends_with(b"/") => out.bytes(cwd),
            Some(cwd) => out.made(|text| text.extend(cwd.iter().chain(b"/"))),
        }
    })
    .cost(10),
    field("proc.tty", Type::Number, |facts, _, out| {
        if let Some(subject) = facts.subject(0) {
            out.number(terminal(subject.tty()));
        }
    }),
    field("proc.pid", Type::Number, |facts, _, out| out.number(facts.event.process.tgid)).cost(1),
    // Ids of other pid namespaces are not told: the host's, which is right for processes of the host.
    field("proc.vpid", Type::Number, |facts, _, out| out.number(facts.event.process.tgid)).cost(1),
    field("proc.sid", Type::Number, |facts, _, out| id(facts, out, Subject::session)),
    field("proc.vpgid", Type::Number, |facts, _, out| id(facts, out, Subject::process_group)),
    field("proc.pgid", Type::Number, |facts, _, out| id(facts, out, Subject::process_group)),
    field("proc.is_sid_leader", Type::Bool, |facts, _, out| leads(facts, out, Subject::session)),
    field("proc.is_vpgid_leader", Type::Bool, |facts, _, out| leads(facts, out, Subject::process_group)),
    field("proc.is_pgid_leader", Type::Bool, |facts, _, out| leads(facts, out, Subject::process_group)),
    field("proc.duration", Type::Number, |facts, _, out| {
        let event = facts.event;
        if event.process.start_ns != 0 {
            out.number(event.time_ns.saturating_sub(event.process.start_ns));
        }
    })
    .cost(2),
    field("proc.pid.ts", Type::Number, |facts, _, out| {
        out.number(facts.world.boot_time_ns() + i128::from(facts.event.process.start_ns));
    })
    .cost(3),
    field("proc.is_exe_upper_layer", Type::Bool, |facts, _, out| {
        if let Some(file) = executed_file(facts) {
            out.bool(file.upper_layer);
        }
    }),
    field("proc.is_exe_lower_layer", Type::Bool, |facts, _, out| {
        if let Some(file) = executed_file(facts) {
            out.bool(file.magic == OVERLAY && !file.upper_layer);
        }
    }),
    field("proc.exepath.of_root", Type::Text, |facts, _, out| {
        if exe_file(facts).is_some_and(ExecFile::of_root) {
            text(facts, out, Subject::exepath);
        }
    }),
    field("proc.is_exe_from_memfd", Type::Bool, |facts, _, out| {
        if let Some(subject) = facts.subject(0) {
            out.bool(subject.exepath().starts_with(b"memfd:"));
        }
    }),
    field("proc.is_exe_writable", Type::Bool, |facts, _, out| {
        if let (Some(file), Some(who)) = (exe_file(facts), facts.credentials()) {
            out.bool(who.euid == 0 || file.mode & 0o002 != 0 || (file.owner == who.euid && file.mode & 0o200 != 0));
        }
    })
    .cost(8),
    field("proc.exe_ino", Type::Number, |facts, _, out| {
        if let Some(file) = exe_file(facts) {
            out.number(file.inode);
        }
    }),
    field("proc.exe_ino.ctime", Type::Number, |facts, _, out| {
        if let Some(file) = exe_file(facts) {
            out.number(file.changed_ns);
        }
    }),
    field("proc.exe_ino.mtime", Type::Number, |facts, _, out| {
        if let Some(file) = exe_file(facts) {
            out.number(file.modified_ns);
        }
    }),
    field("proc.exe_ino.ctime_duration_proc_start", Type::Number, |facts, _, out| {
        let started = facts.world.boot_time_ns() + i128::from(facts.event.process.start_ns);
        if let Some(file) = exe_file(facts)
            && started > i128::from(file.changed_ns)
        {
            out.number(started - i128::from(file.changed_ns));
        }
    }),
    field("proc.nthreads", Type::Number, |facts, _, out| {
        if let Some(threads) = facts.process().map(|process| process.gauges.threads).filter(|threads| *threads > 0) {
            out.number(threads);
        }
    }),
    field("proc.nchilds", Type::Number, |facts, _, out| {
        if let Some(threads) = facts.process().map(|process| process.gauges.threads).filter(|threads| *threads > 0) {
            out.number(threads - 1);
        }
    }),
    field("proc.fdopencount", Type::Number, |facts, _, out| {
        if let Some(count) = facts.process().map(|process| process.gauges.open_fds).filter(|count| *count > 0) {
            out.number(count);
        }
    }),
    field("proc.vmsize", Type::Number, |facts, _, out| {
        if let Some(process) = facts.process() {
            out.number(process.gauges.virtual_bytes / 1024);
        }
    }),
    field("proc.vmrss", Type::Number, |facts, _, out| {
        if let Some(process) = facts.process() {
            out.number(process.gauges.resident_bytes / 1024);
        }
    }),
    unknown("proc.vmswap", Type::Number),
    unknown("proc.fdlimit", Type::Number),
    unknown("proc.fdusage", Type::Number),
    unknown("proc.exe_ino.ctime_duration_pidns_start", Type::Number),
    unknown("proc.pidns_init_start_ts", Type::Number),
    unknown("proc.is_container_healthcheck", Type::Bool),
    unknown("proc.is_container_liveness_probe", Type::Bool),
    unknown("proc.is_container_readiness_probe", Type::Bool),
];

/// `OVERLAYFS_SUPER_MAGIC` (statfs(2)).
const OVERLAY: u64 = 0x794c_7630;

/// The file of the program, where it is known.
pub(super) fn exe_file<'a>(facts: &Facts<'a>) -> Option<&'a ExecFile> {
    let file = facts.subject(0)?.file();
    (file.inode != 0).then_some(file)
}

/// The same with what only an exec that was seen tells: its times say that it was.
fn executed_file<'a>(facts: &Facts<'a>) -> Option<&'a ExecFile> {
    exe_file(facts).filter(|file| facts.exec().is_some() || file.changed_ns != 0)
}

fn text<'a>(facts: &Facts<'a>, out: &mut Values<'a>, which: fn(Subject<'a>) -> &'a [u8]) {
    if let Some(subject) = facts.subject(0) {
        out.known(which(subject));
    }
}

fn id<'a>(facts: &Facts<'a>, out: &mut Values<'a>, which: fn(Subject<'a>) -> u32) {
    if let Some(id) = facts.subject(0).map(which).filter(|id| *id != 0) {
        out.number(id);
    }
}

fn leads<'a>(facts: &Facts<'a>, out: &mut Values<'a>, which: fn(Subject<'a>) -> u32) {
    if let Some(id) = facts.subject(0).map(which).filter(|id| *id != 0) {
        out.bool(id == facts.event.process.tgid);
    }
}

/// A sum over the arguments behind `argv[0]`.
fn counted<'a>(facts: &Facts<'a>, out: &mut Values<'a>, each: fn(&[u8]) -> usize) {
    let Some(subject) = facts.subject(0) else { return };
    let (mut sum, mut first) = (0, true);
    subject.each_arg(|arg| {
        sum += if std::mem::take(&mut first) { 0 } else { each(arg) };
        true
    });
    out.number(sum);
}

/// Falco's number of a terminal, which is the kernel's: `pts/3` is 34819.
fn terminal(name: &[u8]) -> i64 {
    let number = |prefix: &[u8]| -> Option<i64> {
        std::str::from_utf8(name.strip_prefix(prefix)?).ok()?.parse::<u32>().ok().map(i64::from)
    };
    match name {
        b"" => 0,
        b"console" => (5 << 8) | 1,
        _ => {
            let found = number(b"pts/").map(|n| (136 << 8) + n);
            found
                .or_else(|| number(b"ttyS").map(|n| (4 << 8) + 64 + n))
                .or_else(|| number(b"tty").map(|n| (4 << 8) + n))
                .unwrap_or(5 << 8)
        }
    }
}

/// One variable, or all that are kept.
pub(super) fn env<'a>(facts: &Facts<'a>, argument: Argument<'_>, out: &mut Values<'a>) {
    let Some(subject) = facts.subject(0) else { return };
    env_of(subject.env(), argument, out);
}

pub(super) fn env_of<'a>(env: &'a [(Vec<u8>, Vec<u8>)], argument: Argument<'_>, out: &mut Values<'a>) {
    if let Argument::Key(wanted) = argument {
        // One that was given twice is there twice: programs differ in which they take.
        for (_, value) in env.iter().filter(|(name, _)| name == wanted.as_bytes()) {
            out.bytes(value);
        }
    } else if !env.is_empty() {
        out.made(|text| {
            for (index, (name, value)) in env.iter().enumerate() {
                for part in [if index > 0 { b" ".as_slice() } else { b"" }, name, b"=", value] {
                    text.extend_from_slice(part);
                }
            }
        });
    }
}
