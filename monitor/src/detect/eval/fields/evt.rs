//! `evt.*`: the event itself.

use super::{Argument, Brackets, Definition, Facts, Several, Type, Values, field, unknown};
use crate::detect::What;
use crate::detect::eval::{args, calls, errno};
use crate::signals::activity::Activity;
use monitor_common::signals::activity::{Act, FMODE_CREATED, Via};

const SECOND: i128 = 1_000_000_000;

pub(super) const FIELDS: &[Definition] = &[
    field("evt.num", Type::Number, |facts, _, out| out.number(facts.event.number)).cost(1),
    field("evt.type", Type::Text, |facts, _, out| {
        for name in calls::names(facts.event) {
            out.bytes(name.as_bytes());
        }
    })
    .several(Several::Ends)
    .cost(2),
    field("syscall.type", Type::Text, |facts, _, out| {
        if !matches!(facts.event.what, What::Exit { .. }) {
            out.bytes(calls::name(facts.event).as_bytes());
        }
    })
    .cost(2),
    field("evt.dir", Type::Text, |_, _, out| out.bytes(b"<")).cost(1),
    field("evt.abi", Type::Text, |facts, _, out| {
        out.bytes(match facts.activity().map(|activity| activity.via) {
            None | Some(Via::Native) => b"native",
            Some(Via::Compat) => b"compat",
            Some(Via::IoUring) => b"io_uring",
        });
    })
    .cost(2),
    field("evt.category", Type::Text, |facts, _, out| out.bytes(category(facts).as_bytes())).cost(2),
    field("evt.cpu", Type::Number, |facts, _, out| out.number(facts.event.cpu)).cost(1),
    field("evt.source", Type::Text, |_, _, out| out.bytes(b"syscall")).cost(1),
    field("evt.hostname", Type::Text, |facts, _, out| out.bytes(facts.world.hostname().as_bytes())).cost(5),
    field("evt.is_async", Type::Bool, |_, _, out| out.bool(false)).cost(1),
    field("evt.time", Type::Text, |facts, _, out| time(facts, out, "%H:%M:%S%.9f")).cost(500),
    field("evt.outputtime", Type::Text, |facts, _, out| time(facts, out, "%H:%M:%S%.9f")).cost(500),
    field("evt.time.s", Type::Text, |facts, _, out| time(facts, out, "%H:%M:%S")).cost(500),
    field("evt.time.iso8601", Type::Text, |facts, _, out| time(facts, out, "%Y-%m-%dT%H:%M:%S%.9fZ")).cost(500),
    field("evt.datetime", Type::Text, |facts, _, out| time(facts, out, "%Y-%m-%d %H:%M:%S%.9f")).cost(500),
    field("evt.datetime.s", Type::Text, |facts, _, out| time(facts, out, "%Y-%m-%d %H:%M:%S")).cost(500),
    field("evt.rawtime", Type::Number, |facts, _, out| out.number(epoch(facts))).cost(2),
    field("evt.rawtime.s", Type::Number, |facts, _, out| out.number(epoch(facts) / SECOND)).cost(2),
    field("evt.rawtime.ns", Type::Number, |facts, _, out| out.number(epoch(facts) % SECOND)).cost(2),
    // Falco counts from the start of a capture. Here that is the boot.
    field("evt.reltime", Type::Number, |facts, _, out| out.number(facts.event.time_ns)).cost(1),
    field("evt.reltime.s", Type::Number, |facts, _, out| out.number(facts.event.time_ns / 1_000_000_000)).cost(1),
    field("evt.reltime.ns", Type::Number, |facts, _, out| out.number(facts.event.time_ns % 1_000_000_000)).cost(1),
    field("evt.arg", Type::Text, |facts, argument, out| match argument {
        Argument::None => {}
        Argument::Index(index) => args::push_at(facts, index, false, out),
        Argument::Key(name) => args::push(facts, name, false, out),
    })
    .brackets(Brackets::NeedsKey)
    .cost(15),
    field("evt.rawarg", Type::Number, |facts, argument, out| match argument {
        Argument::None => {}
        Argument::Index(index) => args::push_at(facts, index, true, out),
        Argument::Key(name) => args::push(facts, name, true, out),
    })
    .brackets(Brackets::NeedsKey)
    .cost(10),
    field("evt.args", Type::Text, |facts, _, out| args::push_all(facts, out)).cost(200),
    field("evt.info", Type::Text, |facts, _, out| args::push_all(facts, out)).cost(200),
    field("evt.res", Type::Text, |facts, _, out| {
        if has_result(facts) {
            errno::push(facts.result(), out);
        }
    })
    .cost(3),
    field("evt.rawres", Type::Number, |facts, _, out| {
        if has_result(facts) {
            out.number(facts.result());
        }
    })
    .cost(2),
    field("evt.failed", Type::Bool, |facts, _, out| {
        if has_result(facts) {
            out.bool(facts.result() < 0);
        }
    })
    .cost(2),
    field("evt.count", Type::Number, |_, _, out| out.number(1)).cost(1),
    field("evt.count.error", Type::Number, |facts, _, out| failed(facts, None, out)).cost(2),
    field("evt.count.error.file", Type::Number, |facts, _, out| failed(facts, Some("file"), out)).cost(2),
    field("evt.count.error.net", Type::Number, |facts, _, out| failed(facts, Some("net"), out)).cost(2),
    field("evt.count.error.memory", Type::Number, |facts, _, out| failed(facts, Some("memory"), out)).cost(2),
    field("evt.count.error.other", Type::Number, |facts, _, out| failed(facts, Some("other"), out)).cost(2),
    field("evt.count.exit", Type::Number, |_, _, out| out.number(1)).cost(1),
    field("evt.is_io", Type::Bool, |facts, _, out| out.bool(is_send(facts))).cost(2),
    field("evt.is_io_read", Type::Bool, |_, _, out| out.bool(false)).cost(1),
    field("evt.is_io_write", Type::Bool, |facts, _, out| out.bool(is_send(facts))).cost(2),
    field("evt.io_dir", Type::Text, |facts, _, out| {
        if is_send(facts) {
            out.bytes(b"w");
        }
    })
    .cost(2),
    field("evt.is_wait", Type::Bool, |_, _, out| out.bool(false)).cost(1),
    field("evt.is_open_read", Type::Bool, |facts, _, out| opened(facts, out, |open| open.read)).cost(2),
    field("evt.is_open_write", Type::Bool, |facts, _, out| opened(facts, out, |open| open.write)).cost(2),
    field("evt.is_open_create", Type::Bool, |facts, _, out| opened(facts, out, |open| open.created)).cost(2),
    field("evt.is_open_exec", Type::Bool, |facts, _, out| opened(facts, out, |open| open.executable)).cost(2),
    field("evt.abspath", Type::Text, abspath).brackets(Brackets::Key).cost(3),
    field("evt.type.is", Type::Number, |facts, argument, out| {
        if let Argument::Key(name) = argument {
            out.number(u8::from(calls::names(facts.event).contains(&name)));
        }
    })
    .brackets(Brackets::NeedsKey),
    field("evt.around", Type::Number, |facts, argument, out| {
        if let Argument::Index(time) = argument {
            let distance = (epoch(facts) - time as i128).abs();
            out.number(distance / 1_000_000);
        }
    })
    .brackets(Brackets::NeedsIndex),
    unknown("evt.pluginname", Type::Text),
    unknown("evt.plugininfo", Type::Text),
    unknown("evt.asynctype", Type::Text),
    unknown("evt.latency", Type::Number),
    unknown("evt.latency.s", Type::Number),
    unknown("evt.latency.ns", Type::Number),
    unknown("evt.latency.quantized", Type::Number),
    unknown("evt.latency.human", Type::Text),
    unknown("evt.deltatime", Type::Number),
    unknown("evt.deltatime.s", Type::Number),
    unknown("evt.deltatime.ns", Type::Number),
    unknown("evt.buffer", Type::Text),
    unknown("evt.buflen", Type::Number),
    unknown("evt.wait_latency", Type::Number),
    unknown("evt.is_syslog", Type::Bool),
    unknown("evt.count.procinfo", Type::Number),
    unknown("evt.count.threadinfo", Type::Number),
    unknown("evt.buflen.in", Type::Number),
    unknown("evt.buflen.out", Type::Number),
    unknown("evt.buflen.file", Type::Number),
    unknown("evt.buflen.file.in", Type::Number),
    unknown("evt.buflen.file.out", Type::Number),
    unknown("evt.buflen.net", Type::Number),
    unknown("evt.buflen.net.in", Type::Number),
    unknown("evt.buflen.net.out", Type::Number),
    unknown("evt.infra.docker.name", Type::Text),
    unknown("evt.infra.docker.container.id", Type::Text),
    unknown("evt.infra.docker.container.name", Type::Text),
    unknown("evt.infra.docker.container.image", Type::Text),
];

/// Nanoseconds since 1970.
fn epoch(facts: &Facts<'_>) -> i128 {
    facts.world.boot_time_ns() + i128::from(facts.event.time_ns)
}

fn time(facts: &Facts<'_>, out: &mut Values<'_>, format: &str) {
    use std::io::Write;
    let time = jiff::Timestamp::from_nanosecond(epoch(facts)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    out.made(|text| {
        // Writing to a Vec does not fail.
        let _ = write!(text, "{}", time.strftime(format));
    });
}

fn has_result(facts: &Facts<'_>) -> bool {
    !matches!(facts.event.what, What::Exit { .. })
}

fn is_send(facts: &Facts<'_>) -> bool {
    facts.activity().is_some_and(|activity| activity.act == Act::Send)
}

/// 1 for a call that failed.
fn failed(facts: &Facts<'_>, only: Option<&str>, out: &mut Values<'_>) {
    if facts.result() < 0 && only.is_none_or(|only| counted_as(category(facts)) == only) {
        out.number(1);
    }
}

fn counted_as(category: &str) -> &str {
    match category {
        "file" | "net" | "memory" => category,
        _ => "other",
    }
}

/// Falco's categories.
fn category(facts: &Facts<'_>) -> &'static str {
    let Some(activity) = facts.activity() else { return "process" };
    match activity.act {
        Act::FileOpen
        | Act::Unlink
        | Act::Rmdir
        | Act::Rename
        | Act::Link
        | Act::Symlink
        | Act::Mkdir
        | Act::Mknod
        | Act::Chmod
        | Act::Chown
        | Act::Truncate
        | Act::Setxattr
        | Act::Utimens
        | Act::Mount => "file",
        Act::Socket | Act::Connect | Act::Bind | Act::Listen | Act::Accept => "net",
        Act::Send => "IO-write",
        Act::Ioctl | Act::Dup => "IO-other",
        Act::MemoryExec | Act::MemfdCreate | Act::Userfaultfd => "memory",
        Act::SetIds | Act::Capset => "user",
        Act::Signal => "signal",
        Act::Ptrace | Act::ProcessVm | Act::Prctl | Act::Setns | Act::Unshare | Act::Chroot => "process",
        Act::Module | Act::Bpf | Act::Kexec | Act::IoUring | Act::Throttle | Act::Heartbeat | Act::Denied => "system",
    }
}

/// What an open was for.
pub(in crate::detect::eval) struct Open {
    pub(in crate::detect::eval) read: bool,
    pub(in crate::detect::eval) write: bool,
    pub(in crate::detect::eval) created: bool,
    executable: bool,
}

/// The flags of an open, as they were passed; of a call that is none of these as the file has them.
pub(in crate::detect::eval) fn open_flags(activity: &Activity) -> u64 {
    match activity.call {
        "open" => activity.args[1],
        "creat" => (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64,
        // What openat2 was passed in memory the kernel programs put there.
        "openat" | "openat2" | "open_by_handle_at" => activity.args[2],
        _ => {
            let created = activity.file.is_some_and(|file| file.open_mode & FMODE_CREATED != 0);
            let flags = activity.file.map_or(activity.args[2], |file| file.flags.into());
            flags | if created { libc::O_CREAT as u64 } else { 0 }
        }
    }
}

pub(in crate::detect::eval) fn open(activity: &Activity) -> Option<Open> {
    if activity.act != Act::FileOpen {
        return None;
    }
    let flags = open_flags(activity);
    let mode = flags as i32 & libc::O_ACCMODE;
    let created = activity.file.is_some_and(|file| file.open_mode & FMODE_CREATED != 0);
    let permissions = activity.file.map_or(0, |file| file.mode);
    Some(Open {
        read: mode == libc::O_RDONLY || mode == libc::O_RDWR,
        write: mode == libc::O_WRONLY || mode == libc::O_RDWR,
        created,
        executable: created && permissions & 0o111 != 0,
    })
}

fn opened(facts: &Facts<'_>, out: &mut Values<'_>, which: fn(&Open) -> bool) {
    if let Some(open) = facts.activity().and_then(open) {
        out.bool(which(&open));
    }
}

fn abspath<'a>(facts: &Facts<'a>, argument: Argument<'_>, out: &mut Values<'a>) {
    let Some(activity) = facts.activity() else { return };
    let name = match argument {
        Argument::Key("dst") => activity.other.as_ref(),
        _ => activity.name.as_ref(),
    };
    if let Some(name) = name {
        out.known(&name.path);
    }
}
