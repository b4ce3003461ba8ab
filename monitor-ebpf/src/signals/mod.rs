//! One module a signal.

mod block_io;
mod exec;
mod process;
mod syscalls;
mod tcp;
