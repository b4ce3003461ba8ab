//! `tcp`: connections, traffic, retransmits and resets per process.
//!
//! Packets are handled by whatever task happens to run, so an owner is taken only where the owner itself runs (connect,
//! listen, accept, send, receive) and kept by the socket's address.

mod trouble;

use core::ptr;

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns},
    macros::{btf_tracepoint, map},
    maps::{Array, HashMap},
    programs::BtfTracePointContext,
};
use monitor_common::{
    histogram::{LATENCY_BUCKETS, latency_bucket, lifetime_bucket},
    knobs::SIGNAL_L7,
    limits::{self, SLOT_UNKNOWN},
    loss::Loss,
    process_slot::SlotRef,
    signals::l7::Turn,
    signals::tcp::{AcceptKey, ConnectResult, RECEIVED, ROLE_LISTENER, ROLE_UNKNOWN, Role, SENT, Socket, TcpStats},
};

use super::{l7, syscalls::count};
use crate::{
    atomic::add,
    emit::lost,
    hash::remove,
    kernel::{file, read, read::Object, socket, task},
    settings::{knob, offset},
    slots::{self, MMAPABLE},
};

// States of a TCP socket (include/net/tcp_states.h).
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const FIN_WAIT1: i32 = 4;
const CLOSE: i32 = 7;
const LAST_ACK: i32 = 9;
const LISTEN: i32 = 10;

/// Number of the bit in a socket's flags that says that the peer has ended its stream (`SOCK_DONE`, include/net/sock.h).
const SOCK_DONE: u32 = 1;

const ECONNREFUSED: i32 = 111;
const ETIMEDOUT: i32 = 110;
/// The receiver only looked: the bytes will be received again.
pub(super) const MSG_PEEK: i32 = 0x2;
/// What is received is no payload but a report.
pub(super) const MSG_ERRQUEUE: i32 = 0x2000;

#[map]
static TCP_STATS: Array<TcpStats> = Array::with_max_entries(limits::PROCESS_SLOTS, MMAPABLE);
#[map]
static TCP_SOCKETS: HashMap<u64, Socket> = HashMap::with_max_entries(limits::SOCKETS, 0);
#[map]
static TCP_ACCEPTS: HashMap<AcceptKey, u64> = HashMap::with_max_entries(limits::TCP_ACCEPTS, 0);

const UNOWNED: SlotRef = SlotRef { slot: SLOT_UNKNOWN, generation: 0 };

/// A socket of which nothing has been seen yet.
const NEW: Socket = Socket {
    owner: UNOWNED,
    since_ns: 0,
    role: 0,
    owned: 0,
    turn: Turn {
        class: 0,
        tries: 0,
        last: 0,
        told: 0,
        skipped: 0,
        reserved: [0; 3],
        positions: [0; 2],
        ended_ns: [0; 2],
    },
};

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// An index with a mask that the verifier sees: the number is read back from memory, so that the compiler does not keep it
/// on the stack after masking it. Linux 5.10 forgets the bounds of what was on the stack.
#[inline(always)]
fn bounded(index: usize, mask: usize) -> usize {
    // SAFETY: a local.
    unsafe { ptr::read_volatile(&raw const index) & mask }
}

/// The counters of `owner`, or those of nobody when the owner's slot has been given back.
#[inline(always)]
fn stats(owner: SlotRef) -> Option<*mut TcpStats> {
    TCP_STATS.get_ptr_mut(slots::checked(owner))
}

/// What is known of `sock`. Changed in place only where the socket's lock is held, as it is at each change of state: the
/// kernel gives an entry that is removed to the next socket at once.
#[inline(always)]
fn known(sock: u64) -> Option<*mut Socket> {
    TCP_SOCKETS.get_ptr_mut(&sock)
}

/// Whose `sock` is.
#[inline(always)]
fn owner(sock: u64) -> Option<SlotRef> {
    // SAFETY: a map value; it may change while it is copied, and then the count goes to one of the two owners.
    known(sock).map(|socket| unsafe { (*socket).owner })
}

#[inline(always)]
fn remember(sock: u64, socket: Socket) {
    if TCP_SOCKETS.insert(&sock, &socket, 0).is_err() {
        lost(Loss::Sockets);
    }
}

#[inline(always)]
fn forget(sock: u64) {
    remove(&TCP_SOCKETS, &sock, Loss::SocketsLocked);
}

/// The running task has a socket that nothing is known of. It may be closed at this moment, after which nothing would
/// clear the entry any more: hence the second look.
#[inline(always)]
fn found(sock: u64, socket: Socket) {
    remember(sock, socket);
    if i32::from(Object(sock).field::<u8>(offset!(sock_state))) == CLOSE {
        forget(sock);
    }
}

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`: about eight times a connection.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn tcp_state(ctx: BtfTracePointContext) -> i32 {
    let (base, old, new): (*const u8, i32, i32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    let matters = match new {
        ESTABLISHED | SYN_SENT | CLOSE | LISTEN => true,
        SYN_RECV => old == LISTEN,
        FIN_WAIT1 | LAST_ACK => knob!(traffic_by_call) == 0,
        _ => false,
    };
    // SAFETY: an argument of a BTF tracepoint.
    if !matters || unsafe { protocol(base) } != socket::TCP {
        return 0;
    }
    let sock = base as u64;
    match (old, new) {
        (_, SYN_SENT) => opened(sock, Role::Client as u32),
        (_, LISTEN) => opened(sock, ROLE_LISTENER),
        (_, ESTABLISHED) => established(sock),
        (SYN_SENT, CLOSE) => not_connected(sock),
        // A new connection at an address where another socket was before whose end was missed. To look costs less than
        // to remove what is not there.
        (LISTEN, SYN_RECV) if known(sock).is_some() => forget(sock),
        (LISTEN | SYN_RECV, CLOSE) => forget(sock),
        (_, CLOSE) => closed(sock),
        // Whoever ends a connection runs here.
        (_, FIN_WAIT1 | LAST_ACK) => ended_here(sock),
        _ => {}
    }
    0
}

/// The transport protocol of an internet socket; 0 for others.
///
/// # Safety
/// `sock` is an argument of a BTF tracepoint.
#[inline(always)]
unsafe fn protocol(sock: *const u8) -> u16 {
    // SAFETY: the caller vouches for it, and the verifier checks.
    unsafe {
        if socket::is_internet(read::direct(sock, offset!(sock_family))) {
            read::direct(sock, offset!(sock_protocol))
        } else {
            0
        }
    }
}

/// Forgets the daemon's own connections where no traffic shows that they are its.
#[inline(always)]
fn ended_here(sock: u64) {
    if bpf_get_current_pid_tgid() >> 32 != knob!(self_tgid) {
        return;
    }
    // SAFETY: a map value.
    if known(sock).is_some_and(|socket| unsafe { (*socket).owned == 0 }) {
        forget(sock);
    }
}

/// The running task connects or listens.
#[inline(always)]
fn opened(sock: u64, role: u32) {
    if let Some(owner) = slots::current() {
        remember(sock, Socket { owner, since_ns: now(), role, owned: 1, ..NEW });
    }
}

#[inline(always)]
fn established(sock: u64) {
    if let Some(socket) = known(sock) {
        // SAFETY: a map value, and the socket is locked.
        let (role, owned) = unsafe { ((*socket).role, (*socket).owned) };
        if role == Role::Client as u32 {
            // Also when both ends connected to each other at the same time.
            return connected(socket);
        }
        if role == Role::Server as u32 && owned != 0 {
            // Accepted before it was established (TCP Fast Open): the owner is known already.
            return;
        }
    }
    // A connection from outside; its owner is who accepts it.
    remember(sock, Socket { since_ns: now(), role: Role::Server as u32, ..NEW });
}

#[inline(always)]
fn connected(socket: *mut Socket) {
    let now = now();
    // SAFETY: a map value, and the socket is locked.
    let (owner, duration) = unsafe { ((*socket).owner, now - (*socket).since_ns) };
    if let Some(stats) = stats(owner) {
        // SAFETY: a map value; `latency_bucket` is below the length.
        unsafe {
            add((&raw mut (*stats).connects).cast::<u64>().add(ConnectResult::Ok as usize), 1);
            add(&raw mut (*stats).connect_sum_ns, duration);
            add((&raw mut (*stats).connect_buckets).cast::<u64>().add(bounded(latency_bucket(duration), 15)), 1);
        }
    }
    // SAFETY: as above.
    unsafe { (*socket).since_ns = now };
}

#[inline(always)]
fn not_connected(sock: u64) {
    let Some(owner) = owner(sock) else { return };
    let result = match Object(sock).field::<i32>(offset!(sock_err)) {
        0 => ConnectResult::Aborted,
        ECONNREFUSED => ConnectResult::Refused,
        ETIMEDOUT => ConnectResult::Timeout,
        _ => ConnectResult::Error,
    };
    if let Some(stats) = stats(owner) {
        // SAFETY: a map value; a result is below the length.
        unsafe { add((&raw mut (*stats).connects).cast::<u64>().add(result as usize), 1) };
    }
    forget(sock);
}

#[inline(always)]
fn closed(sock: u64) {
    let Some(socket) = known(sock) else { return };
    // SAFETY: a map value, and the socket is locked.
    unsafe {
        let (owner, since_ns, role) = ((*socket).owner, (*socket).since_ns, (*socket).role);
        if let Some(stats) = stats(owner) {
            count_close(sock, since_ns, role, stats);
        }
        if knob!(signals) & SIGNAL_L7 != 0 {
            l7::closed(sock, socket);
        }
    }
    // Last, so that as little time as possible is between this and the kernel's change of the state: see `found`.
    forget(sock);
}

#[inline(always)]
fn count_close(sock: u64, since_ns: u64, role: u32, stats: *mut TcpStats) {
    if knob!(traffic_by_call) == 0 {
        let tcp = Object(sock);
        let sent: u64 = tcp.field(offset!(tcp_bytes_sent));
        let again: u64 = tcp.field(offset!(tcp_bytes_retrans));
        // The kernel counts the end of the stream (FIN) as one more byte received.
        let end = tcp.field::<u64>(offset!(sock_flags)) >> SOCK_DONE & 1;
        let received: u64 = tcp.field(offset!(tcp_bytes_received));
        // SAFETY: a map value.
        unsafe {
            add((&raw mut (*stats).bytes).cast::<u64>().add(SENT), sent.saturating_sub(again));
            add((&raw mut (*stats).bytes).cast::<u64>().add(RECEIVED), received.saturating_sub(end));
        }
    }
    if role > Role::Server as u32 {
        return;
    }
    let role = bounded(role as usize, 1);
    let lifetime = now() - since_ns;
    // SAFETY: a map value; the role is 0 or 1, and `lifetime_bucket` is below the length.
    unsafe {
        add((&raw mut (*stats).closes).cast::<u64>().add(role), 1);
        add((&raw mut (*stats).lifetime_sum_ns).cast::<u64>().add(role), lifetime);
        add((&raw mut (*stats).lifetime_buckets[role]).cast::<u64>().add(bounded(lifetime_bucket(lifetime), 7)), 1);
    }
}

/// The running task has accepted a connection as descriptor `fd`. Called by `sys_exit`.
#[inline(never)]
pub(super) fn accepted(owner: SlotRef, fd: u32) {
    let file = file::of_task(task::current(), fd);
    // Whether it is a socket at all need not be asked where it is a connection that is known.
    let sock = file::sock_of_socket(file);
    if let Some(socket) = known(sock.0) {
        count_accept(owner, sock);
        return own(owner, socket);
    }
    let sock = file::sock(file);
    match socket::protocol(sock) {
        // Ended before it was accepted, or its first event found no room, or (Fast Open) it is not established yet.
        socket::TCP => {
            count_accept(owner, sock);
            found(sock.0, Socket { owner, since_ns: now(), role: Role::Server as u32, owned: 1, ..NEW });
        }
        socket::MPTCP => {
            count_accept(owner, sock);
            // The connection with which it began; what the kernel adds to it later nobody accepts.
            if let Some(socket) = known(sock.pointer(offset!(mptcp_first)).0) {
                own(owner, socket);
            }
        }
        _ => {}
    }
}

/// Notes who has accepted a connection. Nobody holds the socket's lock here: were it reset and another one established
/// in its entry between these lines, that one would have its owner too early.
#[inline(always)]
fn own(owner: SlotRef, socket: *mut Socket) {
    // SAFETY: a map value.
    unsafe {
        (*socket).owner = owner;
        (*socket).role = Role::Server as u32;
        (*socket).owned = 1;
    }
}

#[inline(always)]
fn count_accept(owner: SlotRef, sock: Object) {
    if let Some(stats) = stats(owner) {
        // SAFETY: a map value.
        unsafe { add(&raw mut (*stats).accepts, 1) };
    }
    let port = u32::from(socket::local_port(sock));
    count(&TCP_ACCEPTS, AcceptKey { process: owner, port }, Loss::TcpAccepts);
}

/// `sock_send_length(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_send_length")]
fn tcp_send(ctx: BtfTracePointContext) -> i32 {
    let length: i32 = ctx.arg(1);
    if length > 0 {
        traffic(&ctx, length, SENT);
    }
    0
}

/// `sock_recv_length(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_recv_length")]
fn tcp_receive(ctx: BtfTracePointContext) -> i32 {
    let (length, flags): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    if length > 0 && flags & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
        traffic(&ctx, length, RECEIVED);
    }
    0
}

#[inline(always)]
fn traffic(ctx: &BtfTracePointContext, length: i32, direction: usize) {
    let sock: *const u8 = ctx.arg(0);
    // SAFETY: an argument of a BTF tracepoint.
    let protocol = unsafe { protocol(sock) };
    if knob!(signals) & SIGNAL_L7 != 0 && protocol == socket::UDP {
        // SAFETY: an argument of a BTF tracepoint.
        return unsafe { l7::datagram(sock, length as u32, direction) };
    }
    if protocol != socket::TCP && protocol != socket::MPTCP {
        return;
    }
    let Some(owner) = slots::current() else {
        // The daemon's own connection is nobody's business, its end neither.
        forget(sock as u64);
        return;
    };
    // Where only one of the two hooks is there, `closed` counts both directions: here they would count twice.
    if knob!(traffic_by_call) != 0
        && let Some(stats) = TCP_STATS.get_ptr_mut(owner.slot)
    {
        // SAFETY: a map value; the direction is 0 or 1.
        unsafe { add((&raw mut (*stats).bytes).cast::<u64>().add(direction), length as u64) };
    }
    // The connections below an MPTCP socket are TCP's, and known by themselves.
    if protocol == socket::TCP {
        spoken(sock, owner, length, direction);
    }
}

/// The same for what is said alone, where bytes are not counted by call.
///
/// # Safety
/// `sock` is a socket whose type the verifier knows.
#[inline(always)]
pub(super) unsafe fn heard(sock: *const u8, length: i32, direction: usize) {
    // SAFETY: the caller vouches for it.
    let protocol = unsafe { protocol(sock) };
    if protocol == socket::UDP {
        // SAFETY: as above.
        return unsafe { l7::datagram(sock, length as u32, direction) };
    }
    if protocol == socket::TCP
        && let Some(owner) = slots::current()
    {
        spoken(sock, owner, length, direction);
    }
}

/// `owner` has moved bytes over a connection.
#[inline(always)]
fn spoken(sock: *const u8, owner: SlotRef, length: i32, direction: usize) {
    let known = used(sock, owner);
    if knob!(signals) & SIGNAL_L7 != 0
        && let Some(socket) = known
    {
        // SAFETY: a map value, in which there is room for what is copied.
        unsafe {
            let turn = &raw mut (*socket).turn;
            l7::tls::carry(sock as u64, turn, (*socket).role);
            let speaker = l7::Speaker { key: sock as u64, turn, role: (*socket).role, process: owner };
            let (scratch, copy) = (l7::scratch(direction), l7::by_call(length as u32));
            l7::moved(speaker, Object(sock as u64), length as u32, direction, scratch, copy);
        }
    }
}

/// Notes that `owner` uses `sock`, where its owner is not known. What is known of the socket now.
#[inline(always)]
fn used(sock: *const u8, owner: SlotRef) -> Option<*mut Socket> {
    let address = sock as u64;
    let Some(socket) = known(address) else {
        // Older than the daemon. What is read after the end has no further event that would clear it.
        // SAFETY: an argument of a BTF tracepoint.
        if i32::from(unsafe { read::direct::<u8>(sock, offset!(sock_state)) }) != CLOSE {
            found(address, Socket { owner, role: ROLE_UNKNOWN, owned: 1, ..NEW });
            return known(address);
        }
        return None;
    };
    // SAFETY: a map value.
    unsafe {
        if (*socket).owner == owner {
            return Some(socket);
        }
        if (*socket).owned == 0 {
            // Accepted in a way that was not seen (io_uring).
            count_accept(owner, Object(address));
            found(address, Socket { owner, owned: 1, ..*socket });
            return known(address);
        }
        if slots::checked((*socket).owner) == SLOT_UNKNOWN {
            // Its owner has ended; another process has it, by fork or by descriptor passing.
            found(address, Socket { owner, ..*socket });
            return known(address);
        }
    }
    Some(socket)
}

const _: () = assert!(LATENCY_BUCKETS == 15);
