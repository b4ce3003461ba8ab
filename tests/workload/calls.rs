//! System calls, made directly: the library between us and the kernel must not add or keep any.

use std::{fs::File, os::fd::AsRawFd as _, ptr, thread};

use crate::checked;

/// Asks for the parent `count` times.
pub(crate) fn getppid(count: u64) {
    for _ in 0..count {
        // SAFETY: no arguments.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
}

/// The same as a 32-bit program asks: there the call has number 64, which is semget for a 64-bit program.
#[cfg(target_arch = "x86_64")]
pub(crate) fn getppid32(count: u64) {
    for _ in 0..count {
        let mut result: u64 = 64;
        // SAFETY: no arguments but the number; the kernel returns in rax and may clear r8 to r11.
        unsafe {
            std::arch::asm!(
                "int 0x80",
                inout("rax") result,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                options(nostack)
            );
        }
        assert!(result as i32 > 0, "this kernel takes no 32-bit calls");
    }
}

/// Other machines have no such door from 64-bit code.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn getppid32(_: u64) {
    panic!("32-bit calls can be made from 64-bit code on x86-64 only");
}

/// Reads zeroes `count` times: from 16 KiB to 4 MiB, larger from one to the next and every sixteenth the smallest again.
/// Within a sixteenth of that range the sizes are random, so that the times they take are spread without gaps.
pub(crate) fn read_zeroes(count: u32) {
    const SMALLEST: f64 = 16_384.0;
    let zero = File::open("/dev/zero").expect("open /dev/zero");
    let mut memory = vec![1; 4 << 20];
    let mut random = 1_u32;
    for index in 0..count {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let exponent = (f64::from(index % 16) + f64::from(random) / f64::from(u32::MAX)) / 2.0;
        let size = (SMALLEST * exponent.exp2()) as usize;
        // SAFETY: the memory is as large as the largest size.
        let result = unsafe { libc::syscall(libc::SYS_read, zero.as_raw_fd(), memory.as_mut_ptr(), size) };
        assert_eq!(result, i64::try_from(size).expect("it is small"));
    }
}

/// Asks for the attributes of a file that is not there.
pub(crate) fn stat_missing(count: u64) {
    for _ in 0..count {
        // SAFETY: the path ends with a zero byte; nothing is written through the second pointer when the call fails, and
        // a null pointer fails too.
        let result = unsafe {
            let path = c"/nonexistent/file".as_ptr();
            libc::syscall(libc::SYS_newfstatat, libc::AT_FDCWD, path, ptr::null_mut::<u8>(), 0)
        };
        assert_eq!(result, -1);
    }
}

/// Synchronises a descriptor that is not open.
pub(crate) fn fsync_nothing(count: u64) {
    for _ in 0..count {
        // SAFETY: no memory is involved.
        assert_eq!(unsafe { libc::syscall(libc::SYS_fsync, -1) }, -1);
    }
}

/// Sleeps once.
pub(crate) fn sleep(milliseconds: i64) {
    let time = libc::timespec { tv_sec: milliseconds / 1_000, tv_nsec: milliseconds % 1_000 * 1_000_000 };
    // SAFETY: the time outlives the call; the remaining time is not wanted.
    let result = unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, ptr::null_mut::<libc::timespec>()) };
    checked("nanosleep", result);
}

/// Lets `threads` threads ask for the parent `count` times each, all at the same time.
pub(crate) fn threads(threads: u32, count: u64) {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| getppid(count))).collect();
        // The scope waits for the closures only; the threads themselves could still be ended by the end of the process.
        for thread in threads {
            assert!(thread.join().is_ok(), "a thread panicked");
        }
    });
}

/// Ends the process while another of its threads waits in read, for what never comes.
pub(crate) fn exit_while_reading() -> ! {
    let (nothing, _end) = std::io::pipe().expect("a pipe");
    let id = std::sync::Arc::new(std::sync::atomic::AtomicI32::new(0));
    let of_thread = std::sync::Arc::clone(&id);
    thread::spawn(move || {
        // SAFETY: no arguments.
        let tid = unsafe { libc::gettid() };
        of_thread.store(tid, std::sync::atomic::Ordering::SeqCst);
        let mut byte = [0_u8];
        // SAFETY: the byte outlives the call.
        unsafe { libc::syscall(libc::SYS_read, nothing.as_raw_fd(), byte.as_mut_ptr(), 1) };
    });
    loop {
        let tid = id.load(std::sync::atomic::Ordering::SeqCst);
        // It sleeps, in call number 0 on x86-64: nothing but its read.
        let call = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
        if tid != 0 && call.starts_with(&format!("{} ", libc::SYS_read)) {
            std::process::exit(0);
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
}
