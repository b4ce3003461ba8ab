//! The only place of the daemon where `unsafe` may appear.
//!
//! What is here and why: reading the kernel's mapped counter arrays. A system call for each entry costs about a
//! microsecond, a read of mapped memory about a nanosecond, and thousands of entries are read every few seconds. For the
//! same reason hashes, which cannot be mapped, are read many entries a call. A system call that does nothing, by which the daemon
//! makes itself heard. Programs on functions of libraries, which aya does not know. And giving memory back to the kernel, which the allocator does by itself only at the end of its heap.

mod batch;
mod beat;
mod mapped;
mod priority;
mod uprobe;

pub use batch::HashReader;
pub use beat::beat;
pub use mapped::MappedArray;
pub use priority::prefer_this_thread;
pub use uprobe::{attach_to_functions, load_for_functions};

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Makes a descriptor something that can be waited for. Must be called inside a tokio runtime.
///
/// # Errors
/// What epoll_ctl(2) says.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` gives the same open descriptor for as long as it lives, which is as long as the result.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(|error| error.into_parts().1)
}

/// Gives memory that nobody uses back to the kernel: glibc keeps what lies between pieces in use. A few milliseconds
/// after much was freed, some microseconds else.
pub fn trim_heap() {
    // SAFETY: takes the allocator's own locks and touches only free memory.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
