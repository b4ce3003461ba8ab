//! Arguments of calls about files.

use monitor_common::signals::activity::Act;

use super::super::{fields::evt, flags};
use super::{Arg, full, raw};
use crate::signals::activity::Activity;

/// The argument with this name.
pub(super) fn argument<'a>(activity: &'a Activity, name: &str) -> Arg<'a> {
    let at = |index: usize| activity.args.get(index).copied().unwrap_or(0);
    let int = |index: usize| Arg::Number(i64::from(at(index) as i32));
    let id = |index: usize| Arg::Number(if at(index) as u32 == u32::MAX { -1 } else { i64::from(at(index) as u32) });
    // Calls with a directory's descriptor have everything one place later.
    let shift = usize::from(activity.call.contains("at") && activity.call != "creat");
    match activity.act {
        Act::FileOpen => match name {
            // Falco tells the name of openat as it was passed, and the others' too.
            "name" | "path" => raw(&activity.name),
            "dirfd" if shift == 1 => int(0),
            "flags" => {
                let created = evt::open(activity).is_some_and(|open| open.created);
                Arg::Open(evt::open_flags(activity), created)
            }
            "mode" if evt::open_flags(activity) & libc::O_CREAT as u64 != 0 => match activity.call {
                "creat" => Arg::Bits(flags::MODE, at(1)),
                _ => Arg::Bits(flags::MODE, at(2 + shift)),
            },
            "dev" => activity.file.map_or(Arg::None, |file| Arg::Number(file.device.into())),
            _ => Arg::None,
        },
        Act::Unlink | Act::Rmdir | Act::Mkdir | Act::Mknod => match name {
            "path" | "name" => full(&activity.name),
            "dirfd" if shift == 1 => int(0),
            "flags" if activity.call == "unlinkat" => Arg::Bits(flags::UNLINK, at(2)),
            "mode" if matches!(activity.act, Act::Mkdir | Act::Mknod) => Arg::Bits(flags::MODE, at(1 + shift)),
            "dev" if activity.act == Act::Mknod => Arg::Number(at(2 + shift) as i64),
            _ => Arg::None,
        },
        Act::Chmod => match name {
            "filename" | "path" => full(&activity.name),
            "mode" => Arg::Bits(flags::MODE, at(1 + shift)),
            "dirfd" if shift == 1 => int(0),
            _ => Arg::None,
        },
        Act::Chown => match name {
            "path" | "pathname" => full(&activity.name),
            "uid" => id(1 + shift),
            "gid" => id(2 + shift),
            "dirfd" if shift == 1 => int(0),
            _ => Arg::None,
        },
        Act::Truncate => match name {
            "path" => full(&activity.name),
            "length" => Arg::Number(at(1) as i64),
            _ => Arg::None,
        },
        Act::Setxattr => match name {
            "path" => full(&activity.name),
            "name" | "attribute" => raw(&activity.other),
            _ => Arg::None,
        },
        Act::Utimens => match name {
            "path" | "name" => full(&activity.name),
            "times_set" => Arg::Bool(at(1 + shift) != 0),
            _ => Arg::None,
        },
        Act::Symlink => match name {
            "linkpath" => full(&activity.name),
            "target" => raw(&activity.other),
            "linkdirfd" if shift == 1 => int(1),
            _ => Arg::None,
        },
        Act::Rename | Act::Link => match name {
            "oldpath" => full(&activity.name),
            "newpath" => full(&activity.other),
            "olddirfd" if shift == 1 => int(0),
            "newdirfd" if shift == 1 => int(2),
            "flags" if activity.call == "renameat2" => Arg::Number(at(4) as i64),
            "flags" if activity.call == "linkat" => Arg::Bits(flags::LINK, at(4)),
            _ => Arg::None,
        },
        _ => Arg::None,
    }
}
