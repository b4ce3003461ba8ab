//! `fd.*` of sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use monitor_common::signals::activity::{Act, SocketObject};

use super::{Definition, Extract, Facts, Several, Type, Values, field, unknown};
use crate::signals::activity::Activity;

const fn address_field(name: &'static str, kind: Type, extract: Extract) -> Definition {
    field(name, kind, extract).cost(6)
}

pub(super) const FIELDS: &[Definition] = &[
    address_field("fd.ip", Type::Ip, |facts, _, out| both(facts, out)).several(Several::Ends),
    address_field("fd.net", Type::Net, |facts, _, out| both(facts, out)).several(Several::Ends),
    address_field("fd.cip", Type::Ip, |facts, _, out| end(facts, out, Ends::client)),
    address_field("fd.cnet", Type::Net, |facts, _, out| end(facts, out, Ends::client)),
    address_field("fd.sip", Type::Ip, |facts, _, out| end(facts, out, Ends::server)),
    address_field("fd.snet", Type::Net, |facts, _, out| end(facts, out, Ends::server)),
    address_field("fd.lip", Type::Ip, |facts, _, out| end(facts, out, |ends| ends.local)),
    address_field("fd.lnet", Type::Net, |facts, _, out| end(facts, out, |ends| ends.local)),
    address_field("fd.rip", Type::Ip, |facts, _, out| end(facts, out, |ends| ends.peer)),
    address_field("fd.rnet", Type::Net, |facts, _, out| end(facts, out, |ends| ends.peer)),
    address_field("fd.port", Type::Number, |facts, _, out| {
        if let Some(ends) = ends(facts) {
            out.number(ends.client().1);
            out.number(ends.server().1);
        }
    })
    .several(Several::Ends),
    address_field("fd.cport", Type::Number, |facts, _, out| port(facts, out, Ends::client)),
    address_field("fd.sport", Type::Number, |facts, _, out| port(facts, out, Ends::server)),
    address_field("fd.lport", Type::Number, |facts, _, out| port(facts, out, |ends| ends.local)),
    address_field("fd.rport", Type::Number, |facts, _, out| port(facts, out, |ends| ends.peer)),
    field("fd.l4proto", Type::Text, |facts, _, out| {
        let Some(socket) = socket(facts) else { return };
        let protocol = match (i32::from(socket.protocol), i32::from(socket.kind)) {
            _ if !is_inet(socket) => return,
            (libc::IPPROTO_TCP, _) => "tcp",
            (libc::IPPROTO_UDP, _) => "udp",
            (libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6, _) => "icmp",
            (_, libc::SOCK_RAW) => "raw",
            (0, libc::SOCK_STREAM) => "tcp",
            (0, libc::SOCK_DGRAM) => "udp",
            _ => return,
        };
        out.bytes(protocol.as_bytes());
    }),
    field("fd.sockfamily", Type::Text, |facts, _, out| {
        let Some(socket) = socket(facts) else { return };
        if is_inet(socket) {
            out.bytes(b"ip");
        } else if i32::from(socket.family) == libc::AF_UNIX {
            out.bytes(b"unix");
        }
    }),
    field("fd.is_server", Type::Bool, |facts, _, out| {
        if let Some(ends) = ends(facts) {
            out.bool(ends.serves);
        }
    }),
    field("fd.connected", Type::Bool, |facts, _, out| {
        let (Some(activity), Some(socket)) = (facts.activity(), socket(facts)) else { return };
        out.bool(match activity.act {
            Act::Connect => activity.result >= 0,
            // ESTABLISHED, for sockets of datagrams too.
            _ => socket.peer_asked == 0 && socket.state == 1,
        });
    }),
    field("fd.name_changed", Type::Bool, |facts, _, out| {
        let (Some(activity), Some(socket)) = (facts.activity(), socket(facts)) else { return };
        out.bool(match activity.act {
            Act::Connect | Act::Accept | Act::Bind => true,
            Act::Send => socket.peer_asked != 0,
            _ => false,
        });
    }),
    unknown("fd.proto", Type::Text),
    unknown("fd.cproto", Type::Text),
    unknown("fd.sproto", Type::Text),
    unknown("fd.lproto", Type::Text),
    unknown("fd.rproto", Type::Text),
    unknown("fd.cip.name", Type::Text),
    unknown("fd.sip.name", Type::Text),
    unknown("fd.lip.name", Type::Text),
    unknown("fd.rip.name", Type::Text),
];

type End = (IpAddr, u16);

/// Both ends of an internet socket.
pub(super) struct Ends {
    local: End,
    peer: End,
    /// The process is the one that was connected to.
    serves: bool,
}

impl Ends {
    fn client(&self) -> End {
        if self.serves { self.peer } else { self.local }
    }

    fn server(&self) -> End {
        if self.serves { self.local } else { self.peer }
    }
}

/// An address of a socket; None: of another family. IPv4 in IPv6 is IPv4.
pub(super) fn address(family: u16, bytes: &[u8; 16]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        libc::AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical()),
        _ => None,
    }
}

fn is_inet(socket: &SocketObject) -> bool {
    matches!(i32::from(socket.family), libc::AF_INET | libc::AF_INET6)
}

fn socket<'a>(facts: &Facts<'a>) -> Option<&'a SocketObject> {
    facts.activity()?.socket.as_ref()
}

fn ends_of(activity: &Activity) -> Option<Ends> {
    let socket = activity.socket.as_ref()?;
    let local = (address(socket.family, &socket.local)?, socket.local_port);
    let peer = (address(socket.family, &socket.peer)?, socket.peer_port);
    let serves = matches!(activity.act, Act::Accept | Act::Listen | Act::Bind);
    Some(Ends { local, peer, serves })
}

fn ends(facts: &Facts<'_>) -> Option<Ends> {
    ends_of(facts.activity()?)
}

fn both(facts: &Facts<'_>, out: &mut Values<'_>) {
    if let Some(ends) = ends(facts) {
        out.ip(ends.client().0);
        out.ip(ends.server().0);
    }
}

fn end(facts: &Facts<'_>, out: &mut Values<'_>, which: fn(&Ends) -> End) {
    if let Some(ends) = ends(facts) {
        out.ip(which(&ends).0);
    }
}

fn port(facts: &Facts<'_>, out: &mut Values<'_>, which: fn(&Ends) -> End) {
    if let Some(ends) = ends(facts) {
        out.number(which(&ends).1);
    }
}

/// Falco's name and letter of the socket.
pub(super) fn kind(activity: &Activity) -> Option<(&'static str, &'static str)> {
    let socket = activity.socket.as_ref()?;
    Some(match i32::from(socket.family) {
        libc::AF_INET => ("ipv4", "4"),
        libc::AF_INET6 if matches!(address(socket.family, &socket.peer), Some(IpAddr::V4(_))) => ("ipv4", "4"),
        libc::AF_INET6 => ("ipv6", "6"),
        libc::AF_UNIX => ("unix", "u"),
        libc::AF_NETLINK => ("netlink", "n"),
        _ => ("other", "o"),
    })
}

/// `client->server`; of a Unix socket its address.
pub(in crate::detect::eval) fn push_name<'a>(activity: &'a Activity, out: &mut Values<'a>) {
    use std::io::Write;
    let Some(socket) = &activity.socket else { return };
    if i32::from(socket.family) == libc::AF_UNIX {
        return out.known(&activity.path);
    }
    let Some(ends) = ends_of(activity) else { return };
    let ((from, from_port), (to, to_port)) = (ends.client(), ends.server());
    out.made(|text| {
        // Writing to a Vec does not fail.
        let _ = write!(text, "{from}:{from_port}->{to}:{to_port}");
    });
}
