//! A shell that somebody talks to over the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use monitor_common::signals::exec::{FdKind, Stdio};

use super::{Check, Input, Match, Rule};
use crate::detect::paths::{basename, is_installed};
use crate::events::{Severity, text::lossy};
use crate::signals::exec::Exec;

const SHELLS: &[&[u8]] = &[
    b"sh", b"bash", b"rbash", b"dash", b"zsh", b"ksh", b"mksh", b"ash", b"fish", b"csh", b"tcsh", b"busybox",
    b"toybox", b"xonsh", b"pwsh", b"elvish", b"nu",
];

const INTERPRETERS: &[&[u8]] = &[
    b"python",
    b"pypy",
    b"perl",
    b"ruby",
    b"php",
    b"php-cgi",
    b"node",
    b"nodejs",
    b"deno",
    b"bun",
    b"lua",
    b"luajit",
    b"tclsh",
    b"expect",
    b"awk",
    b"gawk",
    b"mawk",
    b"socat",
    b"nc",
    b"ncat",
    b"netcat",
    b"nc.openbsd",
    b"nc.traditional",
    b"openssl",
    b"telnet",
];

/// Super-servers: they hand a connection to a program as its stdin and stdout.
const SUPER_SERVERS: &[&[u8]] = &[b"inetd", b"xinetd", b"tcpserver", b"tcpsvd", b"openbsd-inetd", b"inetutils-inetd"];

const TCP_CLOSE: u16 = 7;
const TCP_LISTEN: u16 = 10;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

pub(super) static RULE: Rule = Rule {
    id: "revshell_stdio_socket",
    title: "A shell was started with a network connection as its input and output",
    description: "Descriptor 0 and one of 1 and 2 are connected internet sockets, and the program is a shell \
                  (critical), an interpreter or network tool (high), or any program outside the directories where \
                  programs get installed (high): whoever is at the other end gives the commands. Shells and \
                  interpreters are recognised by the file's name, also with a version number, and by argv[0]. Lowered \
                  by two steps, never silent, when inetd or a like server that runs as root, or a socket unit of \
                  systemd with Accept=yes, started it. A shell whose input is a pipe or a terminal that another \
                  process connects to the network is not seen by this rule.",
    severity: Severity::Critical,
    attack: &["T1059.004"],
    false_positives: "Services written as scripts behind inetd or a socket unit (lowered); CGI programs that get the \
                      client's socket.",
    check: Check::Exec(check),
};

fn check(input: &Input<'_>) -> Option<Match> {
    let exec = input.exec;
    let peers = [peer(&exec.stdio[0]), peer(&exec.stdio[1]), peer(&exec.stdio[2])];
    let peer = peers[0].filter(|_| peers[1].is_some() || peers[2].is_some())?;
    let (what, severity) = kind(exec)?;
    let server = super_server(input);
    let sockets: Vec<usize> = (0..3).filter(|fd| peers[*fd].is_some()).collect();
    let found = Match::new(&exec.exe)
        .detail(peer.ip().to_string())
        .with("peer", peer.to_string())
        .with("local_port", exec.stdio[0].local_port)
        .with("fds", sockets)
        .with("program", what);
    Some(match server {
        None => found.severity(severity),
        Some(server) => found.with("lowered_for", server).severity(lowered(severity)),
    })
}

/// The other end, when the descriptor is a connected internet socket.
fn peer(fd: &Stdio) -> Option<SocketAddr> {
    let connected = fd.kind == FdKind::Inet as u32 && fd.peer_port != 0 && !matches!(fd.state, TCP_CLOSE | TCP_LISTEN);
    let address = match fd.family {
        AF_INET => IpAddr::V4(Ipv4Addr::new(fd.peer[0], fd.peer[1], fd.peer[2], fd.peer[3])),
        AF_INET6 => Ipv6Addr::from(fd.peer).to_canonical(),
        _ => return None,
    };
    connected.then(|| SocketAddr::new(address, fd.peer_port))
}

fn kind(exec: &Exec) -> Option<(&'static str, Severity)> {
    let argv0 = exec.args.first().map(Vec::as_slice).unwrap_or_default();
    // A login shell's argv[0] begins with a dash.
    let argv0 = basename(argv0.strip_prefix(b"-").unwrap_or(argv0));
    let names = [basename(&exec.exe), argv0];
    if names.iter().any(|name| is_one_of(name, SHELLS)) {
        Some(("shell", Severity::Critical))
    } else if names.iter().any(|name| is_one_of(name, INTERPRETERS)) {
        Some(("interpreter", Severity::High))
    } else {
        (!is_installed(&exec.exe)).then_some(("uninstalled program", Severity::High))
    }
}

/// With and without a version: python3.11, lua5.4, bash-5.2.
fn is_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    let end = name.iter().rposition(|byte| !(byte.is_ascii_digit() || matches!(byte, b'.' | b'-')));
    let unversioned = &name[..end.map_or(0, |end| end + 1)];
    names.contains(&name) || names.contains(&unversioned)
}

/// The server that is meant to start programs like this.
fn super_server(input: &Input<'_>) -> Option<String> {
    let parent = input.context.ancestors().into_iter().next()?;
    if parent.uid != Some(0) {
        return None;
    }
    if is_installed(&parent.exe) && SUPER_SERVERS.contains(&basename(&parent.exe)) {
        return Some(lossy(&parent.exe).into_owned());
    }
    // Everything that lost its parent is a child of systemd: its unit has to be a connection's, `name@4-1.2.3.4:80-…`.
    let unit = input.context.unit().filter(|_| parent.pid == 1)?;
    let instance = unit.split_once('@')?.1;
    let number = instance.split_once('-')?.0;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| unit.to_owned())
}

const fn lowered(severity: Severity) -> Severity {
    match severity {
        Severity::Critical => Severity::Medium,
        Severity::High => Severity::Low,
        Severity::Medium | Severity::Low | Severity::Info => Severity::Info,
    }
}
