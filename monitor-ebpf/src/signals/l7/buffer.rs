//! Where the running system call has the bytes that it moves.

use core::ptr;

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf,
        generated::{bpf_probe_read_user, bpf_task_pt_regs},
    },
    macros::map,
    maps::LruHashMap,
};
use monitor_common::{
    loss::Loss,
    offsets::MISSING,
    signals::{
        l7::{CAPTURE, Shape},
        syscalls::call_index,
    },
};

use crate::{
    emit::lost,
    kernel::read::direct,
    settings::{call_shape, knob, offset},
};

/// Parts of a message that are put together.
const PARTS: u64 = 32;
/// `struct iovec`.
const IOVEC: u64 = 16;
/// `struct mmsghdr`: a `struct msghdr` and its length.
const MMSGHDR: u64 = 64;
/// Where in a `struct msghdr` the address of its parts is, followed by their number.
const MSG_IOV: u64 = 16;

/// Which message of several the call in progress is at.
#[repr(C)]
struct Messages {
    array: u64,
    index: u64,
}

/// By thread, which may go on on another CPU between two messages.
#[map]
static L7_MESSAGES: LruHashMap<u64, Messages> = LruHashMap::with_max_entries(1024, 0);

/// Number, second and third argument of the running system call.
#[inline(always)]
fn call() -> (u32, u64, u64) {
    // SAFETY: helpers that the verifier checks; what they return may be read directly. A branch on what this processor's
    // registers are not called is pruned.
    unsafe {
        let task = bpf_get_current_task_btf();
        let regs = bpf_task_pt_regs(task.cast()) as *const u8;
        let number = direct::<u32>(regs, offset!(regs_orig_ax));
        if knob!(compat_mask) != 0 {
            let status: u32 = direct(task.cast::<u8>().cast_const(), offset!(task_compat));
            if u64::from(status) & knob!(compat_mask) != 0 {
                return (call_index(u64::from(number), true), 0, 0);
            }
        }
        let index = call_index(u64::from(number), false);
        if offset!(regs_array) != MISSING {
            (index, direct(regs, offset!(regs_array) + 8), direct(regs, offset!(regs_array) + 16))
        } else {
            (index, direct(regs, offset!(regs_si)), direct(regs, offset!(regs_dx)))
        }
    }
}

/// Copies the beginning of what the running system call has moved, `length` bytes; how many were copied. They are counted
/// in `copied`: what the verifier reads from there may be any number, so that it goes through the parts of a message once
/// and not in every way that they can be long.
///
/// # Safety
/// There is room for [`CAPTURE`] bytes at `to`, in a map value; and `copied` is in one.
#[inline(always)]
pub(super) unsafe fn copy(to: *mut u8, copied: *mut u32, length: u32) -> u32 {
    let (index, argument, count) = call();
    let shape = call_shape(index);
    if shape == Shape::Unseen as u8 || shape >= Shape::File as u8 {
        lost(unseen(shape));
        return 0;
    }
    let mut vector = argument;
    // SAFETY: the caller vouches for the room; the helper checks the source.
    let result = unsafe {
        if shape == Shape::Buffer as u8 {
            return whole(part(to, 0, argument, length));
        }
        let mut parts = count;
        if shape == Shape::Message as u8 || shape == Shape::Messages as u8 {
            let at =
                if shape == Shape::Messages as u8 { argument + MMSGHDR * message(argument, count) } else { argument };
            let [iov, number] = words(at + MSG_IOV);
            (vector, parts) = (iov, number);
        }
        ptr::write_volatile(copied, 0);
        for index in 0..PARTS {
            let before = ptr::read_volatile(copied);
            if index >= parts || before >= length || before >= CAPTURE as u32 {
                break;
            }
            let [base, size] = words(vector + index * IOVEC);
            let rest = length - before;
            let size = if size < u64::from(rest) { size as u32 } else { rest };
            let got = part(to, ptr::read_volatile(copied), base, size);
            ptr::write_volatile(copied, before + got);
            if got < size {
                break;
            }
        }
        ptr::read_volatile(copied)
    };
    whole(result)
}

/// Why nothing is seen of what a call of this shape moves.
#[inline(always)]
fn unseen(shape: u8) -> Loss {
    if shape == Shape::Uring as u8 {
        Loss::L7Uring
    } else if shape == Shape::File as u8 {
        Loss::L7File
    } else if shape == Shape::Compat as u8 {
        Loss::L7Compat
    } else {
        Loss::L7Memory
    }
}

/// Counts where nothing could be copied.
#[inline(always)]
fn whole(copied: u32) -> u32 {
    if copied == 0 {
        lost(Loss::L7Memory);
    }
    copied
}

/// Copies one part to `at`.
#[inline(always)]
unsafe fn part(to: *mut u8, at: u32, from: u64, length: u32) -> u32 {
    let at = at & (CAPTURE as u32 - 1);
    let room = CAPTURE as u32 - at;
    let length = if length < room { length } else { room };
    // Read back: any number to the compiler, which would take the mask away; the verifier needs it.
    // SAFETY: a local; as `copy` says, and `at` and the length end within the room.
    let result = unsafe {
        let length = ptr::read_volatile(&raw const length) & (2 * CAPTURE as u32 - 1);
        bpf_probe_read_user(to.add(at as usize).cast(), length, from as *const _)
    };
    if result == 0 { length } else { 0 }
}

/// Two words of user memory; zeroes where they cannot be read.
#[inline(always)]
fn words(at: u64) -> [u64; 2] {
    let mut words = [0_u64; 2];
    // SAFETY: a local of the size given; the helper checks the source.
    unsafe { bpf_probe_read_user(words.as_mut_ptr().cast(), 16, at as *const _) };
    words
}

/// Which of the `count` messages at `array` is moved now: the kernel does not say, so they are counted. A call that was
/// not finished may put the next one wrong.
#[inline(always)]
fn message(array: u64, count: u64) -> u64 {
    if count <= 1 {
        return 0;
    }
    let thread = bpf_get_current_pid_tgid();
    let Some(messages) = L7_MESSAGES.get_ptr_mut(&thread) else {
        // A table that is full gives the oldest away.
        let _ = L7_MESSAGES.insert(&thread, &Messages { array, index: 0 }, 0);
        return 0;
    };
    // SAFETY: a map value; no other thread uses it.
    unsafe {
        let same = (*messages).array == array && (*messages).index + 1 < count;
        (*messages).index = if same { (*messages).index + 1 } else { 0 };
        (*messages).array = array;
        (*messages).index & 1023
    }
}
