//! One module a signal.

mod activity;
mod block_io;
mod exec;
pub(crate) mod pace;
mod process;
mod protect;
mod syscalls;
mod tcp;
