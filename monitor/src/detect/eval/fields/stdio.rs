//! `proc.stdin.*`, `proc.stdout.*`, `proc.stderr.*`: what the three standard descriptors were at the exec.

use std::net::IpAddr;

use monitor_common::signals::exec::{FdKind, Stdio};

use super::socket::address;
use super::{Definition, Facts, Type, Values, field};
use crate::detect::eval::facts::Subject;

macro_rules! descriptor {
    ($number:literal, $name:literal) => {
        &[
            field(concat!("proc.", $name, ".type"), Type::Text, |facts, _, out| {
                if let Some(stdio) = stdio(facts, $number) {
                    out.bytes(kind(stdio).as_bytes());
                }
            }),
            field(concat!("proc.", $name, ".sip"), Type::Ip, |facts, _, out| ip(facts, $number, out, |one| &one.peer)),
            field(concat!("proc.", $name, ".rip"), Type::Ip, |facts, _, out| ip(facts, $number, out, |one| &one.peer)),
            field(concat!("proc.", $name, ".lip"), Type::Ip, |facts, _, out| ip(facts, $number, out, |one| &one.local)),
            field(concat!("proc.", $name, ".sport"), Type::Number, |facts, _, out| {
                port(facts, $number, out, |one| one.peer_port);
            }),
            field(concat!("proc.", $name, ".rport"), Type::Number, |facts, _, out| {
                port(facts, $number, out, |one| one.peer_port);
            }),
            field(concat!("proc.", $name, ".lport"), Type::Number, |facts, _, out| {
                port(facts, $number, out, |one| one.local_port);
            }),
            field(concat!("proc.", $name, ".inode"), Type::Number, |facts, _, out| {
                if let Some(stdio) = stdio(facts, $number).filter(|stdio| stdio.inode != 0) {
                    out.number(stdio.inode);
                }
            }),
        ]
    };
}

pub(super) const STDIN: &[Definition] = descriptor!(0, "stdin");
pub(super) const STDOUT: &[Definition] = descriptor!(1, "stdout");
pub(super) const STDERR: &[Definition] = descriptor!(2, "stderr");

/// The descriptor at the exec; None where it was not seen.
pub(super) fn stdio<'a>(facts: &Facts<'a>, number: usize) -> Option<&'a Stdio> {
    match facts.subject(0)? {
        Subject::Exec(exec) => exec.stdio.get(number),
        Subject::Process(process) if process.exec_ns.is_some() => process.image.stdio.get(number),
        Subject::Process(_) => None,
    }
}

/// In the words of `fd.type`.
pub(super) fn kind(stdio: &Stdio) -> &'static str {
    const INET: u32 = FdKind::Inet as u32;
    const SOCKET: u32 = FdKind::Socket as u32;
    const PIPE: u32 = FdKind::Pipe as u32;
    const CHARACTER: u32 = FdKind::Character as u32;
    const CLOSED: u32 = FdKind::Closed as u32;
    const FILE: u32 = FdKind::File as u32;
    match stdio.kind {
        CLOSED => "closed",
        INET if i32::from(stdio.family) == libc::AF_INET6 => "ipv6",
        INET => "ipv4",
        SOCKET if i32::from(stdio.family) == libc::AF_UNIX => "unix",
        SOCKET => "other",
        PIPE => "fifo",
        CHARACTER => match (stdio.device >> 20, stdio.device & 0xf_ffff) {
            (1, 3) => "null",
            // Consoles and serial lines, /dev/tty, and both ends of pseudo-terminals.
            (4 | 5 | 128..=143, _) => "tty",
            _ => "other",
        },
        FILE => "file",
        _ => "other",
    }
}

fn inet<'a>(facts: &Facts<'a>, number: usize) -> Option<&'a Stdio> {
    stdio(facts, number).filter(|stdio| stdio.kind == FdKind::Inet as u32)
}

/// Of a descriptor nobody knows any more who connected: the other end counts as the server.
fn ip(facts: &Facts<'_>, number: usize, out: &mut Values<'_>, which: fn(&Stdio) -> &[u8; 16]) {
    let found: Option<IpAddr> = inet(facts, number).and_then(|stdio| address(stdio.family, which(stdio)));
    if let Some(ip) = found {
        out.ip(ip);
    }
}

fn port(facts: &Facts<'_>, number: usize, out: &mut Values<'_>, which: fn(&Stdio) -> u16) {
    if let Some(stdio) = inet(facts, number) {
        out.number(which(stdio));
    }
}
