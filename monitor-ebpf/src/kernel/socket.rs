//! Sockets: `struct sock`.

use monitor_common::signals::exec::Stdio;

use super::read::Object;
use crate::settings::offset;

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

/// Fills in what `sock` is and whom it is connected to.
#[inline(always)]
pub(crate) fn describe(sock: Object, stdio: &mut Stdio) {
    stdio.family = sock.field(offset!(sock_family));
    if !is_internet(stdio.family) {
        return;
    }
    stdio.state = u16::from(sock.field::<u8>(offset!(sock_state)));
    stdio.local_port = local_port(sock);
    stdio.peer_port = u16::from_be(sock.field(offset!(sock_dport)));
    if stdio.family == AF_INET6 {
        stdio.peer = sock.field(offset!(sock_v6_daddr));
    } else {
        let address: [u8; 4] = sock.field(offset!(sock_daddr));
        stdio.peer = [0; 16];
        stdio.peer[0] = address[0];
        stdio.peer[1] = address[1];
        stdio.peer[2] = address[2];
        stdio.peer[3] = address[3];
    }
}
