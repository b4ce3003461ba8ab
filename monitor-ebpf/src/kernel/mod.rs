//! The only places that know how kernel objects hang together.

pub(crate) mod file;
pub(crate) mod path;
pub(crate) mod pid;
pub(crate) mod read;
pub(crate) mod socket;
pub(crate) mod task;
