//! Stops another program when the tests are gone.

use std::{io::Read as _, thread, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Waits until stdin, which nobody writes to, is closed; then stops process `pid`.
pub(crate) fn watch(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    // A descriptor, so that it is certainly the same process that is stopped in the end.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    for signal in [Signal::CONT, Signal::TERM] {
        let _ = pidfd_send_signal(&process, signal);
    }
    thread::sleep(Duration::from_secs(5));
    let _ = pidfd_send_signal(&process, Signal::KILL);
}
