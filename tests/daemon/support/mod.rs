//! What only the tests of the daemon as a program need.

mod alert;
mod peer;
mod program;
mod stream;

pub(super) use alert::{DISGUISED, HIDDEN, alert, disguised, hidden, told};
pub(super) use monitor_tests::{held, orphans};
pub(super) use peer::Peer;
pub(super) use program::{Finished, has_exit, monitor, monitor_with, text, under};
pub(super) use stream::{Event, Stream};
