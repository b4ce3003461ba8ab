//! One module a signal, as everywhere.

mod syscalls;
