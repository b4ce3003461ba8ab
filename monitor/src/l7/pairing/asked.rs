//! Requests that wait, and answers that pass.

use std::sync::Arc;

use crate::l7::{Status, sql::Statement, stream::Loss};

/// What a request is about.
pub(in crate::l7) enum About {
    Nothing,
    /// A path or a name, at most [`super::TARGET_MAX`] bytes.
    Target(Box<str>),
    Statement(Arc<Statement>),
}

impl About {
    pub(super) fn target(&self) -> &str {
        match self {
            Self::Nothing => "",
            Self::Target(target) => target,
            Self::Statement(statement) => &statement.table,
        }
    }

    pub(super) fn statement(&self) -> &str {
        match self {
            Self::Nothing | Self::Target(_) => "",
            Self::Statement(statement) => &statement.fingerprint,
        }
    }

    pub(super) fn bytes_held(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Target(target) => target.len(),
            Self::Statement(statement) => statement.bytes_held(),
        }
    }
}

/// A request, or what a protocol has to remember between requests.
pub(in crate::l7) struct Request {
    pub(in crate::l7) operation: &'static str,
    pub(in crate::l7) about: About,
    /// For the protocol's own use.
    pub(in crate::l7) kind: u8,
    /// Whether its answer makes an exchange.
    pub(in crate::l7) counted: bool,
    /// Where it ends was seen.
    pub(in crate::l7) whole: bool,
    pub(in crate::l7) began_ns: u64,
    pub(in crate::l7) bytes: u64,
}

/// Who waits for an answer.
pub(in crate::l7) enum Asked {
    /// With the segment that it ended in.
    Known(Request, u32),
    /// Requests in bytes that were not seen.
    Unseen(Hidden),
}

/// Requests in bytes that were not seen.
#[derive(Clone, Copy)]
pub(in crate::l7) struct Hidden {
    pub(super) began_ns: u64,
    /// There cannot be more than fit into so many bytes ...
    pub(super) bytes: u64,
    /// ... and these, which were seen and did not fit into the queue.
    pub(super) surplus: u64,
    pub(super) answered: u64,
    /// How many there are if the client does what clients do; `None` where that tells nothing.
    pub(super) presumed: Option<u64>,
    pub(super) turn: u32,
    /// The last segment.
    pub(super) segment: u32,
}

/// An answer that is passing.
pub(in crate::l7) struct Answer {
    /// `None`: requests that were not seen, sent at this time.
    pub(super) request: Result<Request, u64>,
    pub(in crate::l7) status: Status,
    pub(super) first_byte_ns: u64,
    /// 0: not yet known.
    pub(super) ended_ns: u64,
    pub(in crate::l7) bytes: u64,
}

impl Answer {
    /// Whose answer it is, if that was seen.
    pub(in crate::l7) fn request(&self) -> Option<&Request> {
        self.request.as_ref().ok()
    }

    /// What an unseen request must have been.
    pub(in crate::l7) fn attribute(&mut self, operation: &'static str, about: About) {
        if let Err(began_ns) = self.request {
            let (kind, counted, whole, bytes) = (u8::MAX, true, false, 0);
            self.request = Ok(Request { operation, about, kind, counted, whole, began_ns, bytes });
        }
    }
}

/// Answers that were not read.
pub(super) struct Unread {
    pub(super) loss: Loss,
    pub(super) bytes: u64,
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
}
