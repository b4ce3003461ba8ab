//! The system call of the heartbeat.

use monitor_common::signals::activity::HEARTBEAT;

/// Calls prctl(2) with an option that the kernel does not have: it does nothing and fails, and the kernel programs see it. By
/// the thread that calls this.
pub fn beat(number: u64) {
    let (option, number) = (HEARTBEAT as libc::c_ulong, number as libc::c_ulong);
    // SAFETY: the kernel refuses the option before it looks at anything else; no argument is a pointer.
    unsafe { libc::syscall(libc::SYS_prctl, option, number, 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_has_no_such_option() {
        beat(1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
    }
}
