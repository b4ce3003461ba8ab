//! Sockets: `struct sock`.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use monitor_common::signals::{activity::SocketObject, exec::Stdio};

use super::{file, read::Object, task};
use crate::settings::offset;

pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`.
pub(crate) const TCP: u16 = 6;
/// `IPPROTO_UDP`.
pub(crate) const UDP: u16 = 17;
/// `IPPROTO_MPTCP`: TCP over several connections, which are TCP sockets of the kernel's own below this one.
pub(crate) const MPTCP: u16 = 262;

/// IPv4 or IPv6?
#[inline(always)]
pub(crate) fn is_internet(family: u16) -> bool {
    family == AF_INET || family == AF_INET6
}

/// Is it of IPv6?
#[inline(always)]
pub(crate) fn is_inet6(family: u16) -> bool {
    family == AF_INET6
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

/// Address family.
#[inline(always)]
pub(crate) fn family(sock: Object) -> u16 {
    sock.field(offset!(sock_family))
}

/// Fills in what `sock`, the socket of `file`, is; nothing when there is none.
///
/// # Safety
/// `to` is in a map value, all zero.
#[inline(always)]
pub(crate) unsafe fn fill(to: *mut SocketObject, sock: Object, file: Object) {
    if sock == Object::NONE {
        return;
    }
    // SAFETY: the caller vouches for it.
    unsafe {
        let family = family(sock);
        (*to).family = family;
        (*to).kind = kind(sock);
        (*to).protocol = sock.field(offset!(sock_protocol));
        (*to).state = u16::from(sock.field::<u8>(offset!(sock_state)));
        (*to).inode = file::inode_number(file);
        if is_internet(family) {
            (*to).local_port = local_port(sock);
            (*to).local = local(sock, family);
            (*to).peer_port = peer_port(sock);
            (*to).peer = peer(sock, family);
        }
    }
}

/// An address in user memory.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    /// Where it is; 0: nowhere.
    pub(crate) address: u64,
    /// Its bytes.
    pub(crate) length: u32,
    /// Address family.
    pub(crate) family: u16,
    /// Port of an internet address, host byte order.
    pub(crate) port: u16,
    /// IPv6 address, or the first four bytes.
    pub(crate) ip: [u8; 16],
}

impl Address {
    /// No address.
    pub(crate) const NONE: Self = Self { address: 0, length: 0, family: 0, port: 0, ip: [0; 16] };

    /// The `struct sockaddr` of `length` bytes at `address` in user memory.
    #[inline(always)]
    pub(crate) fn of_user(address: u64, length: u32) -> Self {
        // SAFETY: the helper checks the source.
        Self::read(address, length, |to, size| unsafe { bpf_probe_read_user(to.cast(), size, address as *const _) })
    }

    /// The same of the kernel's copy.
    #[inline(always)]
    pub(crate) fn of_kernel(address: u64, length: u32) -> Self {
        // SAFETY: the helper checks the source.
        Self::read(address, length, |to, size| unsafe { bpf_probe_read_kernel(to.cast(), size, address as *const _) })
    }

    #[inline(always)]
    fn read(address: u64, length: u32, copy: impl Fn(*mut u8, u32) -> i64) -> Self {
        // An IPv6 address is longest. What is shorter leaves zeroes.
        let mut bytes = [0_u8; 24];
        copy(bytes.as_mut_ptr(), 2);
        let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
        let mut address = Self { address, length, family, ..Self::NONE };
        if family == AF_INET && length >= 8 {
            copy(bytes.as_mut_ptr(), 8);
            address.ip[..4].copy_from_slice(&bytes[4..8]);
        } else if family == AF_INET6 && length >= 24 {
            // Between port and address are four bytes of flow information.
            copy(bytes.as_mut_ptr(), 24);
            address.ip.copy_from_slice(&bytes[8..24]);
        } else {
            return address;
        }
        address.port = u16::from_be_bytes([bytes[2], bytes[3]]);
        address
    }
}

/// The address in a `struct msghdr` in user memory, by the convention of 32-bit programs or the machine's own: where it is
/// and how long.
#[inline(always)]
pub(crate) fn message_name(message: u64, compat: bool) -> (u64, u64) {
    let mut words = [0_u32; 3];
    // SAFETY: a local of the size given; the helper checks the source.
    unsafe { bpf_probe_read_user(words.as_mut_ptr().cast(), 12, message as *const _) };
    if compat {
        (u64::from(words[0]), u64::from(words[1]))
    } else {
        (u64::from(words[0]) | u64::from(words[1]) << 32, u64::from(words[2]))
    }
}

/// The other end of a Unix socket.
#[inline(always)]
pub(crate) fn unix_peer(sock: Object) -> Object {
    sock.pointer(offset!(unix_peer))
}

/// The address that a Unix socket is bound to, without the family: where the kernel has it, and its bytes; 0: it has none.
#[inline(always)]
pub(crate) fn unix_name(sock: Object) -> (u64, u32) {
    let address = sock.pointer(offset!(unix_addr));
    let length = address.field::<u32>(offset!(unix_address_length));
    (address.embedded(offset!(unix_address_name)).0 + 2, length.saturating_sub(2))
}
