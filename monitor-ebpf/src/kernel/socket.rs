//! Sockets: `struct sock`.

use monitor_common::signals::exec::Stdio;

use super::{read::Object, task};
use crate::settings::offset;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`.
pub(crate) const TCP: u16 = 6;
/// `IPPROTO_MPTCP`: TCP over several connections, which are TCP sockets of the kernel's own below this one.
pub(crate) const MPTCP: u16 = 262;

/// IPv4 or IPv6?
#[inline(always)]
pub(crate) fn is_internet(family: u16) -> bool {
    family == AF_INET || family == AF_INET6
}

/// Local port, host byte order.
#[inline(always)]
pub(crate) fn local_port(sock: Object) -> u16 {
    sock.field(offset!(sock_num))
}

/// The transport protocol of an IPv4 or IPv6 socket; 0 for others.
#[inline(always)]
pub(crate) fn protocol(sock: Object) -> u16 {
    if is_internet(sock.field(offset!(sock_family))) { sock.field(offset!(sock_protocol)) } else { 0 }
}

/// An internet address: 16 bytes for IPv6, the first 4 for IPv4.
#[inline(always)]
pub(crate) fn address(sock: Object, family: u16, v4: u64, v6: u64) -> [u8; 16] {
    if family == AF_INET6 {
        return sock.field(v6);
    }
    let [a, b, c, d]: [u8; 4] = sock.field(v4);
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Whom it is connected to.
#[inline(always)]
pub(crate) fn peer(sock: Object, family: u16) -> [u8; 16] {
    address(sock, family, offset!(sock_daddr), offset!(sock_v6_daddr))
}

/// Its own address.
#[inline(always)]
pub(crate) fn local(sock: Object, family: u16) -> [u8; 16] {
    address(sock, family, offset!(sock_rcv_saddr), offset!(sock_v6_rcv_saddr))
}

/// Peer's port, host byte order.
#[inline(always)]
pub(crate) fn peer_port(sock: Object) -> u16 {
    u16::from_be(sock.field(offset!(sock_dport)))
}

/// `SOCK_STREAM`, …
#[inline(always)]
pub(crate) fn kind(sock: Object) -> u16 {
    sock.field(offset!(sock_type))
}

/// Fills in what `sock` is and whom it is connected to.
#[inline(always)]
pub(crate) fn describe(sock: Object, stdio: &mut Stdio) {
    stdio.family = sock.field(offset!(sock_family));
    stdio.socket_type = kind(sock);
    if stdio.family == AF_UNIX {
        stdio.peer_pid = task::first_number(sock.pointer(offset!(sock_peer_pid)));
    }
    if !is_internet(stdio.family) {
        return;
    }
    stdio.protocol = sock.field(offset!(sock_protocol));
    stdio.state = u16::from(sock.field::<u8>(offset!(sock_state)));
    stdio.local_port = local_port(sock);
    stdio.peer_port = peer_port(sock);
    stdio.peer = peer(sock, stdio.family);
    stdio.local = local(sock, stdio.family);
}
