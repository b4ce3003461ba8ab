//! `fd.*` of files and of descriptors as such. Sockets are in `socket.rs`.

use monitor_common::signals::activity::{Act, FMODE_CREATED, FileObject};

use super::socket;
use super::stdio::{kind as stdio_kind, stdio};
use super::{Argument, Brackets, Definition, Facts, Several, Type, Values, basename, directory, field, path};
use crate::signals::activity::Activity;

pub(super) const FIELDS: &[Definition] = &[
    field("fd.num", Type::Number, |facts, _, out| {
        if let Some(number) = facts.activity().and_then(number) {
            out.number(number);
        }
    })
    .cost(2),
    field("fd.type", Type::Text, |facts, _, out| {
        if let Some((name, _)) = facts.activity().and_then(kind) {
            out.bytes(name.as_bytes());
        }
    })
    .cost(3),
    field("fd.typechar", Type::Text, |facts, _, out| {
        if let Some((_, letter)) = facts.activity().and_then(kind) {
            out.bytes(letter.as_bytes());
        }
    })
    .cost(3),
    field("fd.name", Type::Text, |facts, _, out| {
        let Some(activity) = facts.activity() else { return };
        match file_name(activity) {
            Some(name) => out.bytes(name),
            None => socket::push_name(activity, out),
        }
    })
    .cost(4),
    field("fd.original", Type::Text, |facts, _, out| {
        let Some(activity) = facts.activity() else { return };
        let protected = activity.file.and_then(|file| facts.world.protected_path(file.device, file.inode));
        let name = protected.or_else(|| file_name(activity)).or_else(|| path::object(activity));
        if let Some(name) = name {
            out.bytes(name);
        }
    })
    .cost(20),
    field("fd.nameraw", Type::Text, |facts, _, out| {
        if let Some(name) = facts
            .activity()
            .filter(|activity| activity.act == Act::FileOpen)
            .and_then(|activity| activity.name.as_ref())
        {
            out.known(&name.raw);
        }
    })
    .cost(4),
    field("fd.directory", Type::Text, |facts, _, out| {
        if let Some(name) = facts.activity().and_then(file_name) {
            out.bytes(directory(name));
        }
    })
    .cost(6),
    field("fd.filename", Type::Text, |facts, _, out| {
        if let Some(activity) = facts.activity()
            && activity.result >= 0
            && let Some(name) = file_name(activity)
        {
            out.bytes(basename(name));
        }
    })
    .cost(6),
    field("fd.uid", Type::Text, |facts, _, out| {
        if let Some(number) = facts.activity().and_then(number) {
            out.made(|text| {
                text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
                text.extend_from_slice(itoa::Buffer::new().format(facts.event.tid).as_bytes());
            });
        }
    })
    .cost(20),
    field("fd.containername", Type::Text, |facts, _, out| in_container(facts, out, |name| name)).cost(30),
    field("fd.containerdirectory", Type::Text, |facts, _, out| in_container(facts, out, directory)).cost(30),
    field("fd.dev", Type::Number, |facts, _, out| file(facts, out, |file| file.device.into())),
    field("fd.dev.major", Type::Number, |facts, _, out| file(facts, out, |file| i64::from(file.device >> 20))),
    field("fd.dev.minor", Type::Number, |facts, _, out| file(facts, out, |file| i64::from(file.device & 0xf_ffff))),
    field("fd.ino", Type::Number, |facts, _, out| {
        file(facts, out, |file| file.inode.try_into().unwrap_or(i64::MAX));
    }),
    field("fd.mode", Type::Number, |facts, _, out| file(facts, out, |file| i64::from(file.mode & 0o7777))),
    field("fd.nlink", Type::Number, |facts, _, out| file(facts, out, |file| file.links.into())),
    field("fd.owner.uid", Type::Number, |facts, _, out| file(facts, out, |file| file.owner.into())),
    field("fd.created", Type::Bool, |facts, _, out| {
        if let Some(activity) = facts.activity()
            && activity.act == Act::FileOpen
        {
            out.bool(activity.file.is_some_and(|file| file.open_mode & FMODE_CREATED != 0));
        }
    })
    .cost(3),
    // Falco knows all descriptors; here the standard ones are known, as they were at the exec.
    field("fd.types", Type::Text, |facts, argument, out| {
        for number in 0..3 {
            if let Argument::Index(wanted) = argument
                && wanted != number
            {
                continue;
            }
            if let Some(stdio) = stdio(facts, number).filter(|stdio| stdio.kind != 0) {
                out.bytes(match stdio_kind(stdio) {
                    "fifo" => b"pipe",
                    "tty" | "null" => b"file",
                    other => other.as_bytes(),
                });
            }
        }
    })
    .brackets(Brackets::Index)
    .several(Several::List)
    .cost(10),
];

/// `S_IFMT` and its values.
const FORMAT: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FIFO: u32 = 0o010_000;

/// The descriptor that the call made or was given; -1: it should have made one. None: it has to do with none.
pub(in crate::detect::eval) fn number(activity: &Activity) -> Option<i64> {
    let made = || if activity.result < 0 { -1 } else { activity.result };
    let given = || i64::from(activity.args[0] as i32);
    match activity.act {
        Act::FileOpen | Act::Socket | Act::Accept | Act::MemfdCreate | Act::Userfaultfd => Some(made()),
        Act::Dup => Some(if activity.result < 0 { given() } else { activity.result }),
        Act::Connect | Act::Bind | Act::Listen | Act::Send | Act::Ioctl => Some(given()),
        Act::IoUring if activity.call == "io_uring_setup" => Some(made()),
        _ => match activity.call {
            "fchmod" | "fchown" | "fchown32" | "ftruncate" | "ftruncate64" | "fallocate" | "fsetxattr"
            | "fremovexattr" | "finit_module" | "setns" => Some(given()),
            "bpf" => Some(made()),
            "mmap" | "mmap2" if activity.file.is_some() => Some(i64::from(activity.args[4] as i32)),
            "fsopen" | "fsmount" | "fspick" | "open_tree" | "pidfd_getfd" => Some(made()),
            _ => None,
        },
    }
}

/// Falco's name and letter of what the descriptor is.
fn kind(activity: &Activity) -> Option<(&'static str, &'static str)> {
    number(activity)?;
    if let Some(kind) = socket::kind(activity) {
        return Some(kind);
    }
    Some(match activity.act {
        Act::MemfdCreate => ("memfd", "m"),
        Act::Userfaultfd => ("userfaultfd", "u"),
        Act::IoUring => ("io_uring", "r"),
        Act::Bpf => ("bpf", "b"),
        _ => match activity.file.map(|file| file.mode & FORMAT) {
            Some(DIRECTORY) => ("directory", "d"),
            Some(FIFO) => ("pipe", "p"),
            // Of a file that could not be opened all that is known is that it was to be a file.
            Some(_) => ("file", "f"),
            None if activity.act == Act::FileOpen => ("file", "f"),
            None => ("other", "o"),
        },
    })
}

/// The path of the file behind the descriptor: the kernel's own; of one that could not be opened the name that was given.
pub(in crate::detect::eval) fn file_name(activity: &Activity) -> Option<&[u8]> {
    if activity.socket.is_some() {
        return None;
    }
    number(activity)?;
    if !activity.path.is_empty() {
        return Some(&activity.path);
    }
    let name = activity.name.as_ref().filter(|_| activity.act == Act::FileOpen)?;
    Some(if name.path.is_empty() { &name.raw } else { &name.path }).filter(|name| !name.is_empty()).map(Vec::as_slice)
}

fn file(facts: &Facts<'_>, out: &mut Values<'_>, which: fn(&FileObject) -> i64) {
    if let Some(file) = facts.activity().and_then(|activity| activity.file.as_ref()) {
        out.number(which(file));
    }
}

fn in_container<'a>(facts: &Facts<'a>, out: &mut Values<'a>, part: fn(&[u8]) -> &[u8]) {
    if let Some(name) = facts.activity().and_then(file_name) {
        let container = super::container::id(facts);
        out.made(|text| {
            text.extend_from_slice(container.as_bytes());
            text.push(b':');
            text.extend_from_slice(part(name));
        });
    }
}
