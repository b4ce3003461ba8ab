//! What is said inside TLS: programs on functions of OpenSSL and GnuTLS, which have the bytes as the programs above them
//! mean them. The daemon finds the libraries and attaches these programs to them.
//!
//! A function's arguments are only there when it is entered, and what it moved is only known when it returns: between the
//! two [`TLS_CALLS`] keeps them. Who returns takes the entry out, so a function that calls another one of these, or that
//! has two programs on it, tells its bytes once.
//!
//! A library knows no addresses. What a thread sends and receives over a socket while it is inside of such a function is
//! that function's: so the two are joined, where the library does the socket's work itself. Who uses it on memory only
//! (`BIO_s_mem`: Python's asyncio, Node.js) is heard, but whom it speaks to is not known.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_attach_cookie, bpf_probe_read_user},
    },
    macros::{map, uprobe, uretprobe},
    maps::{Array, HashMap, Queue},
    programs::{ProbeContext, RetProbeContext},
};
use monitor_common::{
    knobs::SIGNAL_L7_TLS,
    limits,
    loss::Loss,
    signals::{
        l7::{CAPTURE, Class, TlsConversation, TlsFunction, Turn, tls_key},
        tcp::{RECEIVED, ROLE_UNKNOWN, SENT},
    },
};

use super::{Scratch, Speaker, moved, tell_end};
use crate::{emit::lost, hash::remove, kernel::read::Object, settings::knob, slots};

/// A function that a thread is inside of.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    /// The library's object: `SSL *`, `gnutls_session_t`.
    object: u64,
    /// The bytes, where it moves any.
    buffer: u64,
    /// Where it writes how many it has moved, if it does.
    moved: u64,
    /// What it does.
    function: u64,
    /// The socket that this thread has used meanwhile.
    sock: u64,
    /// The role of that socket.
    role: u64,
}

/// By thread.
#[map]
static TLS_CALLS: HashMap<u64, Call> = HashMap::with_max_entries(limits::TLS_CALLS, 0);
/// By [`tls_key`].
#[map]
static TLS_CONVERSATIONS: HashMap<u64, TlsConversation> = HashMap::with_max_entries(limits::TLS_CONVERSATIONS, 0);
#[map]
static TLS_SCRATCHES: Array<Scratch> = Array::with_max_entries(limits::TLS_SCRATCHES, 0);
/// Those that nobody uses, by index. Filled by the daemon.
#[map]
static TLS_FREE: Queue<u32> = Queue::with_max_entries(limits::TLS_SCRATCHES, 0);

const NEW: TlsConversation = TlsConversation {
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
    sock: 0,
    role: ROLE_UNKNOWN,
    reserved: 0,
};

/// The running thread uses `sock`, whose conversation `turn` is. Is it inside of a library's function? Then the socket
/// carries what that one says.
///
/// # Safety
/// `turn` is a map value.
#[inline(always)]
pub(crate) unsafe fn carry(sock: u64, turn: *mut Turn, role: u32) {
    // SAFETY: the caller vouches for it.
    let class = unsafe { (*turn).class };
    // Others cannot turn into TLS, or cost a look-up for each call: where they do, as PostgreSQL and MySQL, the handshake
    // is recognised.
    let may = class == Class::Unknown as u8
        || class == Class::Tls as u8
        || class == Class::Postgres as u8
        || class == Class::Mysql as u8;
    if knob!(signals) & SIGNAL_L7_TLS == 0 || !may {
        return;
    }
    let thread = bpf_get_current_pid_tgid();
    let Some(call) = TLS_CALLS.get_ptr_mut(&thread) else { return };
    // SAFETY: map values; only the running thread uses its call.
    unsafe {
        (*call).sock = sock;
        (*call).role = u64::from(role);
        if class != Class::Tls as u8 && (*turn).told != 0 {
            // They agreed upon it in the clear: that conversation is over.
            tell_end(sock, turn);
            (*turn).told = 0;
        }
        (*turn).class = Class::Tls as u8;
        (*turn).ended_ns = [tls_key((thread >> 32) as u32, (*call).object), 0];
    }
}

/// A socket was closed that carried what a library says. May run in an interrupt.
///
/// # Safety
/// `turn` is a map value.
#[inline(always)]
pub(super) unsafe fn carrier_closed(turn: *const Turn) {
    if knob!(signals) & SIGNAL_L7_TLS == 0 {
        return;
    }
    // SAFETY: the caller vouches for it.
    let (class, key) = unsafe { ((*turn).class, (*turn).ended_ns[0]) };
    if class == Class::Tls as u8 && key != 0 {
        end(key);
    }
}

/// A conversation is over.
#[inline(always)]
fn end(key: u64) {
    let Some(conversation) = TLS_CONVERSATIONS.get_ptr(&key) else { return };
    // SAFETY: a map value.
    unsafe {
        let turn = &raw const (*conversation).turn;
        if (*turn).told != 0 {
            tell_end(key, turn);
        }
    }
    remove(&TLS_CONVERSATIONS, &key, Loss::TlsLocked);
}

/// The call that the running thread comes back from.
#[inline(always)]
fn left() -> Option<Call> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a map value, which only this thread writes.
    let call = unsafe { *TLS_CALLS.get_ptr(&thread)? };
    remove(&TLS_CALLS, &thread, Loss::TlsLocked);
    Some(call)
}

/// A function is entered; the cookie says which: a [`TlsFunction`].
/// `int SSL_read(SSL *ssl, void *buf, int num)`, `int SSL_read_ex(SSL *ssl, void *buf, size_t num, size_t *readbytes)`,
/// `ssize_t gnutls_record_recv(gnutls_session_t session, void *data, size_t data_size)` and those that write in the same way;
/// of others only the first argument matters.
#[uprobe]
fn tls_enter(ctx: ProbeContext) -> u32 {
    // SAFETY: the helper wants what the program was started with.
    let function = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let (Some(object), Some(buffer), Some(moved)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1), ctx.arg::<u64>(3)) else {
        return 0;
    };
    if function == TlsFunction::Free as u64 {
        end(tls_key((bpf_get_current_pid_tgid() >> 32) as u32, object));
        return 0;
    }
    let call = Call { object, buffer, moved, function, sock: 0, role: u64::from(ROLE_UNKNOWN) };
    if TLS_CALLS.insert(&bpf_get_current_pid_tgid(), &call, 0).is_err() {
        lost(Loss::TlsCalls);
    }
    0
}

/// It returns.
#[uretprobe]
fn tls_return(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret::<i32>());
    0
}

#[inline(always)]
fn returned(result: i32) {
    let Some(call) = left() else { return };
    if result <= 0 || call.function == TlsFunction::Handshake as u64 {
        return;
    }
    let reads = call.function == TlsFunction::Read as u64 || call.function == TlsFunction::ReadEx as u64;
    let direction = if reads { RECEIVED } else { SENT };
    let mut length = result as u64;
    if call.function == TlsFunction::ReadEx as u64 || call.function == TlsFunction::WriteEx as u64 {
        if result != 1 {
            return;
        }
        // SAFETY: a local of the size given; the helper checks the source.
        if unsafe { bpf_probe_read_user((&raw mut length).cast(), 8, call.moved as *const _) } != 0 {
            return;
        }
    }
    // The kernel moves no more at a time, and neither does TLS.
    if length == 0 || length > i32::MAX as u64 {
        return;
    }
    if let Some(process) = slots::current()
        && let Some(conversation) = conversation(&call)
    {
        // SAFETY: a map value.
        let speaker = unsafe {
            let turn = &raw mut (*conversation).turn;
            Speaker { key: key(&call), turn, role: (*conversation).role, process }
        };
        // SAFETY: as above.
        let sock = Object(unsafe { (*conversation).sock });
        let Ok(Some(index)) = TLS_FREE.pop() else {
            lost(Loss::TlsScratches);
            return;
        };
        let scratch = || TLS_SCRATCHES.get_ptr_mut(index);
        // SAFETY: a map value, and room for what is copied.
        unsafe {
            moved(speaker, sock, length as u32, direction, scratch, |to, _| copy(to, call.buffer, length as u32))
        };
        let _ = TLS_FREE.push(&index, 0);
    }
}

#[inline(always)]
fn key(call: &Call) -> u64 {
    tls_key((bpf_get_current_pid_tgid() >> 32) as u32, call.object)
}

/// What is known of a call's conversation, with the socket that it has shown.
#[inline(always)]
fn conversation(call: &Call) -> Option<*mut TlsConversation> {
    let key = key(call);
    if let Some(known) = TLS_CONVERSATIONS.get_ptr_mut(&key) {
        // SAFETY: a map value.
        unsafe {
            if call.sock != 0 {
                (*known).sock = call.sock;
                (*known).role = call.role as u32;
            }
        }
        return Some(known);
    }
    let role = if call.sock != 0 { call.role as u32 } else { ROLE_UNKNOWN };
    if TLS_CONVERSATIONS.insert(&key, &TlsConversation { sock: call.sock, role, ..NEW }, 0).is_err() {
        lost(Loss::TlsConversations);
        return None;
    }
    TLS_CONVERSATIONS.get_ptr_mut(&key)
}

/// Copies the beginning of `length` bytes.
///
/// # Safety
/// There is room for [`CAPTURE`] bytes at `to`, in a map value.
#[inline(always)]
unsafe fn copy(to: *mut u8, from: u64, length: u32) -> u32 {
    let length = if length < CAPTURE as u32 { length } else { CAPTURE as u32 };
    // Read back: any number to the compiler, which would take the mask away; the verifier needs it.
    // SAFETY: a local; as the caller vouches for, and the length is within the room.
    let result = unsafe {
        let length = ptr::read_volatile(&raw const length) & (2 * CAPTURE as u32 - 1);
        bpf_probe_read_user(to.cast(), length, from as *const _)
    };
    if result != 0 {
        lost(Loss::L7Memory);
        return 0;
    }
    length
}
