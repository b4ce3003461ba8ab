//! Where the running system call has the bytes that it moves.

use core::ptr;

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf,
        generated::{bpf_probe_read_user, bpf_task_pt_regs},
    },
    macros::map,
    maps::PerCpuArray,
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
const PARTS: u64 = 3;
/// `struct iovec`.
const IOVEC: u64 = 16;
/// `struct mmsghdr`: a `struct msghdr` and its length.
const MMSGHDR: u64 = 64;
/// Where in a `struct msghdr` the address of its parts is, followed by their number.
const MSG_IOV: u64 = 16;

/// Which message of several the call in progress is at.
#[repr(C)]
struct Messages {
    thread: u64,
    array: u64,
    index: u64,
}

#[map]
static L7_MESSAGES: PerCpuArray<Messages> = PerCpuArray::with_max_entries(1, 0);

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

/// Copies the beginning of what the running system call has moved, `length` bytes; how many were copied.
///
/// # Safety
/// There is room for [`CAPTURE`] bytes at `to`, in a map value.
#[inline(always)]
pub(super) unsafe fn copy(to: *mut u8, length: u32) -> u32 {
    let (index, argument, count) = call();
    let shape = call_shape(index);
    if shape == Shape::Unseen as u8 || shape >= Shape::File as u8 {
        lost(unseen(shape));
        return 0;
    }
    let mut vector = argument;
    // SAFETY: the caller vouches for the room; the helper checks the source.
    let copied = unsafe {
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
        let mut copied = 0;
        for index in 0..PARTS {
            if index >= parts || copied >= length || copied >= CAPTURE as u32 {
                break;
            }
            let [base, size] = words(vector + index * IOVEC);
            let rest = length - copied;
            let size = if size < u64::from(rest) { size as u32 } else { rest };
            let got = part(to, copied, base, size);
            copied += got;
            if got < size {
                break;
            }
        }
        copied
    };
    whole(copied)
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
/// not finished, or that another CPU went on with, may put the next one wrong.
#[inline(always)]
fn message(array: u64, count: u64) -> u64 {
    let Some(messages) = L7_MESSAGES.get_ptr_mut(0) else { return 0 };
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a map value.
    unsafe {
        let same = (*messages).thread == thread && (*messages).array == array && (*messages).index + 1 < count;
        (*messages).index = if same { (*messages).index + 1 } else { 0 };
        (*messages).thread = thread;
        (*messages).array = array;
        (*messages).index & 1023
    }
}
