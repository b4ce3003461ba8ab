//! Sockets: made, connected, bound, listening, accepted, sent from to an address. What a socket is and whom it is connected
//! to is taken from the kernel's `struct sock`; the address that was passed only where the call failed, or where there is
//! nothing else.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    record::Ring,
    signals::activity::{Act, BEHIND_POINTER, Class, Part, SEVERAL, SocketObject},
};

use super::{ACTIVITY_SELECT, bulk, call::Call, record::Record};
use crate::kernel::{
    file,
    read::Object,
    socket::{self, AF_INET, AF_INET6, AF_UNIX, Address},
    task,
};

const EINPROGRESS: i64 = 115;
const AF_UNSPEC: u16 = 0;
const AF_NETLINK: u16 = 16;
/// `SOCK_RAW`, and the bits of a socket's type that tell it (`SOCK_TYPE_MASK`).
const SOCK_RAW: u64 = 3;
const TYPE_MASK: u64 = 0xf;

/// `sys_exit(struct pt_regs *regs, long ret)`, reached from there.
#[btf_tracepoint(function = "sys_exit")]
fn activity_network(ctx: BtfTracePointContext) -> i32 {
    let Some(select) = ACTIVITY_SELECT.get(0) else { return 0 };
    let mut call = Call::read(&ctx);
    let entry = call.entry();
    let mut act = entry.act;
    if entry.act == SEVERAL {
        act = unpack(&mut call);
        let bit = 1_u64 << (act & 63);
        if act == SEVERAL || select.kinds & bit == 0 || call.result < 0 && select.failed & bit == 0 {
            return 0;
        }
    }
    let Some(asked) = asked(&call, act, entry.other) else { return 0 };
    let task = task::current();
    // What the call made, or what it was made with.
    let made = act == Act::Socket as u8 || act == Act::Accept as u8;
    let file = match (made, call.result < 0) {
        (true, false) => file::of_task(task, call.result as u32),
        (true, true) if act == Act::Socket as u8 => Object::NONE,
        _ => file::of_task(task, call.args[0] as u32),
    };
    let sock = file::sock(file);
    let ring = if act == Act::Socket as u8 && is_special(&call) {
        Ring::Security
    } else if bulk::allowed(select, Class::Network) {
        Ring::Bulk
    } else {
        return 0;
    };
    let Some(record) = Record::begin_as(task, &call, act) else { return 0 };
    // SAFETY: the head of a record in the making.
    unsafe {
        let to = &raw mut (*record.head()).socket;
        socket::fill(to, sock, file);
        named(to, &call, act, &asked);
    }
    if asked.family == AF_UNIX || sock != Object::NONE && socket::family(sock) == AF_UNIX {
        unix(record, &call, act, sock, &asked);
    }
    record.finish(ring);
    0
}

/// The address that was passed; none when there is nothing to tell of this call.
#[inline(always)]
fn asked(call: &Call, act: u8, form: u8) -> Option<Address> {
    let (address, length) = if act == Act::Connect as u8 || act == Act::Bind as u8 {
        (call.args[1], call.args[2])
    } else if act == Act::Send as u8 && form & BEHIND_POINTER != 0 {
        socket::message_name(call.args[1], call.is_compat())
    } else if act == Act::Send as u8 {
        (call.args[4], call.args[5])
    } else {
        return Some(Address::NONE);
    };
    // Who sends without an address sends to whom the socket is connected to, and was told of when it was. A connect to no
    // family at all ends a connection.
    if address == 0 && act == Act::Send as u8 {
        return None;
    }
    let asked = Address::of_user(address, length as u32);
    if act == Act::Connect as u8 && asked.family == AF_UNSPEC { None } else { Some(asked) }
}

/// Sockets that see or forge what is not theirs, and families that hardly anything but an exploit asks for.
#[inline(always)]
pub(super) fn is_special(call: &Call) -> bool {
    let (family, kind) = (call.args[0] as u16, call.args[1] & TYPE_MASK);
    let usual = family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
    !usual || kind == SOCK_RAW && family != AF_NETLINK
}

/// Fills in what the kernel's socket does not tell (yet).
#[inline(always)]
unsafe fn named(to: *mut SocketObject, call: &Call, act: u8, asked: &Address) {
    // SAFETY: the caller's.
    unsafe {
        if act == Act::Socket as u8 && (*to).family == 0 {
            (*to).family = call.args[0] as u16;
            (*to).kind = (call.args[1] & TYPE_MASK) as u16;
            (*to).protocol = call.args[2] as u16;
        }
        if asked.address == 0 {
            return;
        }
        if (*to).family == 0 {
            (*to).family = asked.family;
        }
        let began = call.result >= 0 || call.result == -EINPROGRESS;
        let known = act == Act::Connect as u8 && began && (*to).peer_port != 0;
        if known || act == Act::Bind as u8 && began || asked.family == AF_UNIX {
            return;
        }
        (*to).peer = asked.ip;
        (*to).peer_port = asked.port;
        (*to).peer_asked = 1;
    }
}

/// The address of a Unix socket: of the one bound, or of the one connected to, as the kernel has it; of a call that failed
/// and of a datagram the one that was passed.
#[inline(always)]
fn unix(record: Record, call: &Call, act: u8, sock: Object, asked: &Address) {
    let whose = if act == Act::Connect as u8 { socket::unix_peer(sock) } else { sock };
    let (name, length) = socket::unix_name(whose);
    if call.result >= 0 && act != Act::Send as u8 && length != 0 {
        record.unix_address(Part::Object, name, length, false);
    } else if asked.address != 0 {
        record.unix_address(Part::Object, asked.address + 2, asked.length.saturating_sub(2), true);
    }
}

/// `socketcall(int call, unsigned long *args)` of 32-bit programs: puts the arguments where the call of its own has them,
/// and its number too, and tells which kind it is.
#[inline(always)]
fn unpack(call: &mut Call) -> u8 {
    let mut args = [0_u32; 6];
    // SAFETY: a local of the size given; the helper checks the source.
    unsafe { bpf_probe_read_user(args.as_mut_ptr().cast(), 24, call.args[1] as *const _) };
    // Numbers of linux/net.h, and those of the calls of i386 that do the same.
    let (act, number) = match call.args[0] as u32 {
        1 => (Act::Socket, 359),
        2 => (Act::Bind, 361),
        3 => (Act::Connect, 362),
        4 => (Act::Listen, 363),
        5 | 18 => (Act::Accept, 364),
        11 => (Act::Send, 369),
        16 => (Act::Send, 370),
        20 => (Act::Send, 345),
        _ => return SEVERAL,
    };
    let message = number == 370 || number == 345;
    let [a, b, c, d, e, f] = args;
    call.args = [a.into(), b.into(), c.into(), d.into(), e.into(), f.into()];
    if message {
        let (address, length) = socket::message_name(call.args[1], true);
        call.args[4] = address;
        call.args[5] = length;
    }
    call.number = number;
    act as u8
}
