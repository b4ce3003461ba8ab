//! The only place of the daemon where `unsafe` may appear.
//!
//! What is here and why: reading the kernel's mapped counter arrays. A system call for each entry costs about a
//! microsecond, a read of mapped memory about a nanosecond, and thousands of entries are read every few seconds.

mod mapped;

pub use mapped::MappedArray;
