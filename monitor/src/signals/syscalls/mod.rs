//! `syscalls`: count, duration and errors of system calls per group and family.

pub mod table;
