//! `proc.stdin.*`, `proc.stdout.*`, `proc.stderr.*`: what the three standard descriptors were at the exec.

use std::net::IpAddr;

use monitor_common::signals::exec::{FdKind, Stdio};

use super::socket::address;
use super::{Definition, Facts, Type, Values, field};
use crate::detect::eval::facts::Subject;

macro_rules! descriptor {
    ($number:literal: $type:literal, $sip:literal, $rip:literal, $sport:literal, $rport:literal, $lport:literal) => {
        [
            field($type, Type::Text, |facts, _, out| {
                if let Some(stdio) = stdio(facts, $number) {
                    out.bytes(kind(stdio).as_bytes());
                }
            }),
            field($sip, Type::Ip, |facts, _, out| peer(facts, $number, out)),
            field($rip, Type::Ip, |facts, _, out| peer(facts, $number, out)),
            field($sport, Type::Number, |facts, _, out| port(facts, $number, out, |stdio| stdio.peer_port)),
            field($rport, Type::Number, |facts, _, out| port(facts, $number, out, |stdio| stdio.peer_port)),
            field($lport, Type::Number, |facts, _, out| port(facts, $number, out, |stdio| stdio.local_port)),
        ]
    };
}

const STDIN: [Definition; 6] = descriptor!(0:
    "proc.stdin.type", "proc.stdin.sip", "proc.stdin.rip", "proc.stdin.sport", "proc.stdin.rport", "proc.stdin.lport");
const STDOUT: [Definition; 6] = descriptor!(1:
    "proc.stdout.type", "proc.stdout.sip", "proc.stdout.rip", "proc.stdout.sport", "proc.stdout.rport",
    "proc.stdout.lport");
const STDERR: [Definition; 6] = descriptor!(2:
    "proc.stderr.type", "proc.stderr.sip", "proc.stderr.rip", "proc.stderr.sport", "proc.stderr.rport",
    "proc.stderr.lport");

pub(super) const FIELDS: &[Definition] = {
    const ALL: [Definition; 18] = [
        STDIN[0], STDIN[1], STDIN[2], STDIN[3], STDIN[4], STDIN[5], STDOUT[0], STDOUT[1], STDOUT[2], STDOUT[3],
        STDOUT[4], STDOUT[5], STDERR[0], STDERR[1], STDERR[2], STDERR[3], STDERR[4], STDERR[5],
    ];
    &ALL
};

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
        _ => "file",
    }
}

fn inet<'a>(facts: &Facts<'a>, number: usize) -> Option<&'a Stdio> {
    stdio(facts, number).filter(|stdio| stdio.kind == FdKind::Inet as u32)
}

/// Of a descriptor nobody knows any more who connected: the other end counts as the server.
fn peer(facts: &Facts<'_>, number: usize, out: &mut Values<'_>) {
    let found: Option<IpAddr> = inet(facts, number).and_then(|stdio| address(stdio.family, &stdio.peer));
    if let Some(ip) = found {
        out.ip(ip);
    }
}

fn port(facts: &Facts<'_>, number: usize, out: &mut Values<'_>, which: fn(&Stdio) -> u16) {
    if let Some(stdio) = inet(facts, number) {
        out.number(which(stdio));
    }
}
