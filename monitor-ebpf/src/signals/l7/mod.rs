//! `l7`: what clients and servers say to each other over TCP.
//!
//! No hook of its own: `sock_send_length` and `sock_recv_length` come here. They run inside the system call, in the task
//! that sends or receives, when the bytes are where they belong: the caller's registers still say where that is. So a
//! connection is known by its socket, whoever has it under whichever descriptor, and files cost nothing.
//!
//! Only the beginning of a turn leaves the kernel, and of protocols that put several messages into one turn the beginning
//! of each call. What no protocol known here begins with is given up after a few turns.

mod buffer;
mod class;
mod functions;
pub(super) mod tls;

use core::{ptr, slice};

use aya_ebpf::{
    helpers::{bpf_ktime_get_boot_ns, generated::bpf_jiffies64},
    macros::map,
    maps::PerCpuArray,
};
use monitor_common::{
    loss::Loss,
    process_slot::SlotRef,
    record::{Kind, Ring},
    signals::{
        l7::{
            CAPTURE, Class, Ends, LAST_RECEIVED, LAST_SENT, SEGMENT_DATAGRAM, SEGMENT_FIRST, SEGMENT_SENT, SEGMENT_TLS,
            SEGMENT_TURN, SEGMENT_UNSEEN, SegmentHead, SegmentsEnd, TRIES, Turn,
        },
        tcp::{Role, SENT, Socket},
    },
};

use crate::{
    emit::{self, lost},
    kernel::{
        read::{self, Object},
        socket,
    },
    settings::{knob, offset},
    slots,
};

/// A record is put together here: at most its head, both ends, and the bytes.
/// The verifier sees room for more: it does not know that what is appended ends where the room does.
const TAIL: usize = size_of::<Ends>() + 4 * CAPTURE;

/// The port of DNS.
const DNS: u16 = 53;

#[repr(C)]
pub(super) struct Scratch {
    head: SegmentHead,
    tail: [u8; TAIL],
}

/// One for each direction: where programs may be preempted (Linux 7), the kernel does not start the same one again on this
/// CPU, but may start the other.
#[map]
static L7_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(2, 0);

/// One end of a conversation, that of the running task.
#[derive(Clone, Copy)]
pub(super) struct Speaker {
    /// By which the daemon knows the conversation: the address of its socket.
    pub(super) key: u64,
    /// Where the conversation is; a map value.
    pub(super) turn: *mut Turn,
    /// A [`Role`], or `ROLE_UNKNOWN`.
    pub(super) role: u32,
    /// Who speaks or hears.
    pub(super) process: SlotRef,
}

/// The running task has sent or received `length` bytes over `sock`, the socket of `speaker`. `copy` copies the beginning
/// of them to where it is told to, counts them where it is told to, and says how many they are.
///
/// # Safety
/// What `speaker` points to is a map value.
#[inline(always)]
pub(super) unsafe fn moved(
    speaker: Speaker,
    sock: Object,
    length: u32,
    direction: usize,
    scratch: impl FnOnce() -> Option<*mut Scratch>,
    copy: impl FnOnce(*mut u8, *mut u32, bool) -> u32,
) {
    // SAFETY: the caller vouches for the entry. Its turn is written by whoever uses the socket: where two threads do that at
    // the same moment, a turn may be told once too often, or go on with the one before.
    unsafe {
        let turn = speaker.turn;
        let class = (*turn).class;
        // Encrypted, or given up: nothing was told of it, and nothing will be.
        if class >= Class::Tls as u8 {
            return;
        }
        let way = if direction == SENT { LAST_SENT } else { LAST_RECEIVED };
        let turned = (*turn).last != way;
        (*turn).last = way;
        // Where it is not known who asks, any turn may be an answer.
        if knob!(l7_quota) != 0 && turned && (speaker.role & 1 != 0) != (direction == SENT) {
            (*turn).skipped = u8::from(!may_tell());
        }
        // Its bytes do not count: to the daemon the streams go on where they were.
        if (*turn).skipped != 0 {
            return;
        }
        let now = bpf_ktime_get_boot_ns();
        if turned || class >= Class::Http2 as u8 {
            spoken(speaker, sock, length, direction, turned, scratch, copy);
        }
        let at = direction & 1;
        *(&raw mut (*turn).positions).cast::<u64>().add(at) += u64::from(length);
        if (*turn).class != Class::Tls as u8 {
            *(&raw mut (*turn).ended_ns).cast::<u64>().add(at) = now;
        }
    }
}

/// Pieces that this CPU has told of in a window of time, which is counted from the machine's start.
#[repr(C)]
struct Quota {
    window: u64,
    told: u64,
}

#[map]
static L7_QUOTA: PerCpuArray<Quota> = PerCpuArray::with_max_entries(1, 0);

/// Whether one more request may be told of.
#[inline(always)]
fn may_tell() -> bool {
    let Some(quota) = L7_QUOTA.get_ptr_mut(0) else { return false };
    // SAFETY: a helper without arguments, which costs next to nothing; and a map value.
    unsafe {
        let window = bpf_jiffies64() >> knob!(l7_window_shift);
        if (*quota).window != window {
            (*quota).window = window;
            (*quota).told = 0;
        }
        if (*quota).told >= knob!(l7_quota) {
            lost(Loss::L7Rate);
            return false;
        }
    }
    true
}

/// One more segment is told of. Where several messages are in one, its length tells what it costs to read them.
#[inline(always)]
fn told(class: u8, copied: u32) {
    if knob!(l7_quota) != 0
        && let Some(quota) = L7_QUOTA.get_ptr_mut(0)
    {
        // SAFETY: a map value.
        unsafe { (*quota).told += if class == Class::Http1 as u8 { 1 } else { 1 + (u64::from(copied) >> 6) } };
    }
}

/// Where the running system call has the bytes that it moves.
///
/// # Safety
/// Of the function that is returned: there is room for [`CAPTURE`] bytes where it copies to.
#[inline(always)]
pub(super) fn by_call(length: u32) -> impl FnOnce(*mut u8, *mut u32, bool) -> u32 {
    // SAFETY: whoever calls it vouches for the room.
    move |to, copied, fresh| unsafe { buffer::copy(to, copied, length, fresh) }
}

/// Where the programs on sockets put records together.
#[inline(always)]
pub(super) fn scratch(direction: usize) -> impl FnOnce() -> Option<*mut Scratch> {
    move || L7_SCRATCH.get_ptr_mut(direction as u32 & 1)
}

#[inline(always)]
unsafe fn spoken(
    speaker: Speaker,
    sock: Object,
    length: u32,
    direction: usize,
    turned: bool,
    scratch: impl FnOnce() -> Option<*mut Scratch>,
    copy: impl FnOnce(*mut u8, *mut u32, bool) -> u32,
) {
    let Some(scratch) = scratch() else { return };
    // SAFETY: map values; the masks show the verifier that what is copied fits.
    unsafe {
        let turn = speaker.turn;
        let (head, tail) = (&raw mut (*scratch).head, (&raw mut (*scratch).tail).cast::<u8>());
        let first = (*turn).told == 0;
        let at = if first { size_of::<Ends>() } else { 0 };
        let bytes = tail.add(at);
        let copied = copy(bytes, &raw mut (*head).copied, turned);
        let mut class = (*turn).class;
        if class == Class::Unknown as u8 {
            // A message of DNS has nothing that it begins with.
            class = if socket::local_port(sock) == DNS || socket::peer_port(sock) == DNS {
                Class::Dns as u8
            } else {
                class::of(bytes, copied, length)
            };
            if class == Class::Unknown as u8 {
                (*turn).tries += 1;
                if (*turn).tries >= TRIES {
                    (*turn).class = Class::Ignored as u8;
                    not_heard(speaker.key, sock, speaker.role, speaker.process);
                }
                return;
            }
            (*turn).class = class;
            if class == Class::Tls as u8 {
                (*turn).ended_ns = [0; 2];
            }
        }
        let mut flags = if speaker.key == sock.0 { 0 } else { SEGMENT_TLS };
        if turned {
            flags |= SEGMENT_TURN;
        }
        if first {
            (*turn).told = 1;
            flags |= SEGMENT_FIRST;
            ends(tail.cast(), sock);
        }
        (*head).positions = (*turn).positions;
        (*head).ended_ns = (*turn).ended_ns;
        (*head).class = class;
        (*head).role = speaker.role as u8;
        tell(scratch, speaker.key, speaker.process, [length, copied, at as u32], direction, flags);
    }
}

/// The same of a datagram, where it is of DNS: to or from port 53.
///
/// # Safety
/// `sock` is an argument of a BTF tracepoint.
#[inline(always)]
pub(super) unsafe fn datagram(sock: *const u8, length: u32, direction: usize) {
    // SAFETY: the caller vouches for it.
    let (local, peer) = unsafe {
        (read::direct::<u16>(sock, offset!(sock_num)), u16::from_be(read::direct(sock, offset!(sock_dport))))
    };
    if local != DNS && peer != DNS {
        return;
    }
    let (Some(process), Some(scratch)) = (slots::current(), L7_SCRATCH.get_ptr_mut(direction as u32 & 1)) else {
        return;
    };
    // SAFETY: map values.
    unsafe {
        let (head, tail) = (&raw mut (*scratch).head, (&raw mut (*scratch).tail).cast::<u8>());
        let at = size_of::<Ends>();
        let copied = buffer::copy(tail.add(at), &raw mut (*head).copied, length, false);
        ends(tail.cast(), Object(sock as u64));
        (*head).positions = [0; 2];
        (*head).ended_ns = [0; 2];
        (*head).class = Class::Dns as u8;
        (*head).role = if local == DNS { Role::Server as u8 } else { Role::Client as u8 };
        tell(scratch, sock as u64, process, [length, copied, at as u32], direction, SEGMENT_DATAGRAM);
    }
}

/// Completes a record and hands it over: `sizes` are the bytes that the call moved, how many of them were copied, and what
/// stands before them.
#[inline(always)]
unsafe fn tell(scratch: *mut Scratch, sock: u64, process: SlotRef, sizes: [u32; 3], direction: usize, flags: u32) {
    let [length, copied, at] = sizes;
    // SAFETY: a map value; the masks show the verifier that what is copied fits.
    unsafe {
        let head = &raw mut (*scratch).head;
        let flags = if direction == SENT { flags | SEGMENT_SENT } else { flags };
        told((*head).class, copied);
        emit::number(Ring::Requests);
        (*head).header = emit::header(Ring::Requests, Kind::Segment);
        (*head).sock = sock;
        (*head).process = process;
        (*head).length = length;
        (*head).copied = copied;
        (*head).flags = if copied == 0 { flags | SEGMENT_UNSEEN } else { flags };
        (*head).reserved = 0;
        let size = size_of::<SegmentHead>() + (at as usize & 63) + (copied as usize & (2 * CAPTURE - 1));
        emit::output(Ring::Requests, Loss::L7Ring, slice::from_raw_parts(scratch.cast(), size));
    }
}

/// Both ends of a connection.
#[inline(always)]
unsafe fn ends(ends: *mut Ends, sock: Object) {
    let family = socket::family(sock);
    // SAFETY: a map value, says the caller.
    unsafe {
        ptr::write_unaligned(
            ends,
            Ends {
                local: socket::local(sock, family),
                peer: socket::peer(sock, family),
                local_port: socket::local_port(sock),
                peer_port: socket::peer_port(sock),
                family,
                reserved: 0,
            },
        );
    }
}

/// A connection is closed. May run in an interrupt: the record is put together in the ring.
///
/// # Safety
/// `socket` is a map value.
#[inline(always)]
pub(super) unsafe fn closed(sock: u64, socket: *const Socket) {
    // SAFETY: the caller vouches for it.
    let turn = unsafe { &raw const (*socket).turn };
    // SAFETY: as above.
    unsafe { tls::carrier_closed(turn) };
    // SAFETY: as above.
    unsafe {
        if (*turn).told != 0 {
            tell_end(sock, turn);
        } else if (*turn).class == Class::Unknown as u8 && (*turn).positions != [0; 2] {
            not_heard(sock, Object(sock), (*socket).role, (*socket).owner);
        }
    }
}

/// Two processes were connected, and nothing that is known was said: the record tells who they are, and no more.
#[inline(never)]
fn not_heard(key: u64, sock: Object, role: u32, process: SlotRef) {
    if knob!(l7_quota) != 0 && !may_tell() {
        return;
    }
    told(Class::Ignored as u8, 0);
    let Some(mut entry) = emit::reserve::<NotHeard>(Ring::Requests, Loss::L7Ring) else { return };
    let record = entry.as_mut_ptr();
    // SAFETY: the room that was reserved, all of which is written.
    unsafe {
        ptr::write_unaligned(
            &raw mut (*record).head,
            SegmentHead {
                header: emit::header(Ring::Requests, Kind::Segment),
                sock: key,
                process,
                positions: [0; 2],
                ended_ns: [0; 2],
                length: 0,
                copied: 0,
                flags: SEGMENT_FIRST | SEGMENT_UNSEEN,
                class: Class::Ignored as u8,
                role: role as u8,
                reserved: 0,
            },
        );
        ends(&raw mut (*record).ends, sock);
    }
    entry.submit(emit::submission(Ring::Requests, size_of::<NotHeard>()));
}

/// Of a connection that is not heard.
#[repr(C)]
struct NotHeard {
    head: SegmentHead,
    ends: Ends,
}

/// Tells that a conversation is over.
///
/// # Safety
/// `turn` is a map value.
#[inline(always)]
unsafe fn tell_end(key: u64, turn: *const Turn) {
    let Some(mut entry) = emit::reserve::<SegmentsEnd>(Ring::Requests, Loss::L7Ring) else { return };
    entry.write(SegmentsEnd {
        header: emit::header(Ring::Requests, Kind::SegmentsEnd),
        sock: key,
        // SAFETY: the caller vouches for it.
        positions: unsafe { (*turn).positions },
        // SAFETY: as above.
        ended_ns: unsafe { (*turn).ended_ns },
    });
    entry.submit(emit::submission(Ring::Requests, size_of::<SegmentsEnd>()));
}
