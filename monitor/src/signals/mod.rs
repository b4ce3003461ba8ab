//! Every signal the daemon knows: one line here, one module beside this file.

pub mod exec;
pub mod host;
