//! One module a signal.

mod activity;
mod block_io;
mod exec;
mod exec_kill;
mod l7;
pub(crate) mod pace;
mod process;
mod protect;
mod syscalls;
mod tcp;
