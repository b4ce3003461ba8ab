//! Which thread goes first, `sched_setattr(2)`, which rustix has no wrapper for.

use std::{io, ptr, time::Duration};

/// How long a thread may run at a time. The kernel (from Linux 6.12 on) lets a thread that wakes up run at once before one
/// that asked for a longer time; else it waits until that one's time is over, about 3 ms, at each step of an answer. It
/// gives no larger share of the CPU.
const SLICE: Duration = Duration::from_micros(100);

/// `struct sched_attr` in its first version, 48 bytes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Nanoseconds: of an ordinary thread the time that it runs at once. Ignored by older kernels.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Lets the calling thread go before ordinary work: with this priority (as nice(2) has it), and in short turns.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE`: then it has the short turns alone.
pub fn prefer_this_thread(nice: i32) -> io::Result<()> {
    set(nice).inspect_err(|_| {
        // What it has is always allowed. If this fails, too, the thread is as it was.
        let _ = rustix::process::getpriority_process(None).map(set);
    })
}

fn set(nice: i32) -> io::Result<()> {
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER.unsigned_abs(),
        nice,
        runtime: SLICE.as_nanos() as u64,
        ..Attributes::default()
    };
    // SAFETY: the kernel reads the attributes, as many bytes as they say they have. 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, ptr::from_ref(&attributes), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_be_modest() {
        let nice = std::thread::spawn(|| {
            // Less than ordinary needs no privilege.
            prefer_this_thread(5).unwrap();
            rustix::process::getpriority_process(None).unwrap()
        });
        assert_eq!(nice.join().unwrap(), 5);
        assert_eq!(size_of::<Attributes>(), 48);
    }
}
