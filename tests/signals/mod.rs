//! One module a signal, as everywhere.

mod block_io;
mod hooks;
mod loss;
mod process;
mod security;
mod syscalls;
mod tcp;
