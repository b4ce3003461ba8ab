//! One module a signal: the layouts that its kernel programs write and the daemon reads.

pub mod activity;
pub mod block_io;
pub mod exec;
pub mod exec_kill;
pub mod l7;
pub mod process;
pub mod protect;
pub mod syscalls;
pub mod tcp;
