//! What the kernel programs and the daemon agree on: records, map layouts, bounds and the arithmetic on them.
//!
//! Every type here is read on one side and written on the other, so each is `repr(C)`, without padding (a compile
//! error by `zerocopy`), and holds plain integers and bytes only: every bit pattern is a value, none can be invalid.
#![no_std]
#![forbid(unsafe_code)]

pub mod histogram;
pub mod knobs;
pub mod limits;
pub mod loss;
pub mod offsets;
pub mod process_slot;
pub mod record;
pub mod signals;
