//! System calls, made directly: the library between us and the kernel must not add or keep any.

/// Asks for the parent `count` times.
pub(crate) fn getppid(count: u64) {
    for _ in 0..count {
        // SAFETY: no arguments.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
}
