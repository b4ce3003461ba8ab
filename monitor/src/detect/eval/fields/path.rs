//! `fs.path.*`: the paths that a call is about, as it was given them. Falco has them only of calls that succeeded.

use monitor_common::signals::activity::Act;

use super::{Definition, Extract, Facts, Type, Values, fd, field};
use crate::signals::activity::{Activity, Name};

const fn path(name: &'static str, extract: Extract) -> Definition {
    field(name, Type::Text, extract).cost(4)
}

pub(super) const FIELDS: &[Definition] = &[
    path("fs.path.name", |facts, _, out| {
        let Some(activity) = succeeded(facts) else { return };
        if let Some(path) = object(activity) {
            out.bytes(path);
        }
    }),
    path("fs.path.nameraw", |facts, _, out| {
        let Some(activity) = succeeded(facts).filter(|activity| has_one(activity)) else { return };
        match &activity.name {
            Some(name) => out.known(&name.raw),
            None => out.known(&activity.path),
        }
    }),
    path("fs.path.source", |facts, _, out| one_of_two(facts, out, 0, full)),
    path("fs.path.sourceraw", |facts, _, out| one_of_two(facts, out, 0, |name| &name.raw)),
    path("fs.path.target", |facts, _, out| one_of_two(facts, out, 1, full)),
    // Ours: what a name was before, and what it is from now on, whichever call it is.
    path("fs.path.old", |facts, _, out| old_or_new(facts, out, 0)),
    path("fs.path.new", |facts, _, out| old_or_new(facts, out, 1)),
    path("fs.path.targetraw", |facts, _, out| one_of_two(facts, out, 1, |name| &name.raw)),
];

/// Of rename and link the first name and the second; a symbolic link is new only: its text need be no path.
fn old_or_new<'a>(facts: &Facts<'a>, out: &mut Values<'a>, which: usize) {
    let Some(activity) = succeeded(facts) else { return };
    let pair = match activity.act {
        Act::Rename | Act::Link => [activity.name.as_ref(), activity.other.as_ref()],
        Act::Symlink => [None, activity.name.as_ref()],
        _ => return,
    };
    if let Some(name) = pair.get(which).copied().flatten() {
        out.known(full(name));
    }
}

fn succeeded<'a>(facts: &Facts<'a>) -> Option<&'a Activity> {
    facts.activity().filter(|activity| activity.result >= 0)
}

fn full(name: &Name) -> &[u8] {
    if name.path.is_empty() { &name.raw } else { &name.path }
}

/// Calls about one path.
fn has_one(activity: &Activity) -> bool {
    match activity.act {
        Act::FileOpen
        | Act::Unlink
        | Act::Rmdir
        | Act::Mkdir
        | Act::Mknod
        | Act::Chmod
        | Act::Chown
        | Act::Truncate
        | Act::Setxattr
        | Act::Utimens
        | Act::Chroot => true,
        Act::Mount => matches!(activity.call, "umount" | "umount2"),
        _ => false,
    }
}

/// The one path: of an open the kernel's own, else as it was given; of a call that was given a descriptor, its file's.
pub(super) fn object(activity: &Activity) -> Option<&[u8]> {
    if !has_one(activity) {
        return None;
    }
    let given = activity.name.as_ref().map(full).filter(|path| !path.is_empty());
    let kernel = Some(activity.path.as_slice()).filter(|path| !path.is_empty());
    if activity.act == Act::FileOpen { fd::file_name(activity).or(given) } else { given.or(kernel) }
}

/// Calls about two paths, with Falco's meaning of source and target: of a link the source is the new name.
fn one_of_two<'a>(facts: &Facts<'a>, out: &mut Values<'a>, which: usize, part: fn(&Name) -> &[u8]) {
    let Some(activity) = succeeded(facts) else { return };
    let (first, second) = (activity.name.as_ref(), activity.other.as_ref());
    let pair = match activity.act {
        Act::Rename => [first, second],
        Act::Link => [second, first],
        // symlink(target, linkpath): the link's own path is the first name, its text the second.
        Act::Symlink => [first, second],
        // The place is the first name, what is put there the second.
        Act::Mount if matches!(activity.call, "mount" | "move_mount") => [second, first],
        _ => return,
    };
    if let Some(name) = pair.get(which).copied().flatten() {
        out.known(part(name));
    }
}
