//! Starts the real daemon, lets small programs do something, and asks the daemon what it saw.
//!
//! A test causes the thing in a process that it started itself, names that process by its pid or by a program name that
//! nobody else has, and waits by a deadline: never by a sleep that is hoped to be long enough.
//!
//! | name | what |
//! |---|---|
//! | [`Daemon`] | the real daemon with its own port, and questions to it |
//! | [`Workload`] | one process of `tests/workload/`, which does what its arguments say |
//! | [`Server`], [`Installed`] | a real server, and programs that ask it |
//! | [`Disk`] | a block device that nobody else uses |
//! | [`held`] | programs, maps and links that a process has in the kernel |
//! | [`Tables`] | what is in those maps, read from the kernel itself |
//! | [`Samples`] | a parsed page of metrics |
//! | [`Told`] | an activity that the daemon was told of |
//! | [`flood`] | storms of everything, with an account that has to come out even |
//! | [`expected`] | what the running kernel must be able to do |
//! | [`until`] | tries again until it holds, or tells why it does not |

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by a panic, with a stack that leads to the line that asked"
)]

mod daemon;
mod deadline;
mod disk;
pub mod expected;
mod flood;
mod guard;
mod http;
mod kernel;
mod missed;
mod samples;
mod servers;
mod tables;
mod told;
mod workload;

pub use daemon::{Daemon, LEFT_OUT, Shared, binary, shared};
pub use deadline::{DEADLINE, alone, patience, slowness, until};
pub use disk::Disk;
pub use flood::{flood, flood_of_execs};
pub use guard::Guard;
pub use http::{Response, get, request};
pub use kernel::{Held, held, orphans};
pub use missed::again_if_missed;
pub use samples::{Sample, Samples};
pub use servers::{Installed, NOBODY, Server, free_address};
pub use tables::Tables;
pub use told::Told;
pub use workload::{Ended, Workload, copy, directory, everywhere, program, unique};
