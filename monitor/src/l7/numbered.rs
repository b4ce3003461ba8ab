//! Answers go to requests by a number that both carry: MongoDB, Kafka.
//!
//! Servers of both work on one request of a connection after the other. So an answer tells that what was asked before, and
//! still waits, is not answered any more: what could not be seen of its answer, or there was none.

use std::collections::VecDeque;

use super::{Doubt, Exchange, Seen, Sink, Status, stream::Loss};

/// The most requests that may wait for their answer; more are not told.
const OUTSTANDING_MAX: usize = 128;

/// A request whose answer may have been in what was not seen is given up.
const WAITING_NS: u64 = 15_000_000_000;

/// A request that waits.
pub(super) struct Request {
    /// As the answer carries it.
    pub(super) number: u32,
    pub(super) operation: &'static str,
    /// At most [`super::TARGET_MAX`] bytes.
    pub(super) target: Box<str>,
    /// For the protocol's own use.
    pub(super) kind: u32,
    /// Whether there is certainly an answer.
    pub(super) answered: bool,
    pub(super) began_ns: u64,
    pub(super) bytes: u64,
}

struct Waiting {
    request: Request,
    /// Something of the server was not seen since this was asked, up to this time. 0: it is not yet known.
    lost_ns: Option<u64>,
}

/// The answer that is passing.
struct Open {
    request: Request,
    status: Status,
    first_byte_ns: u64,
    /// The last time that something of it is known to have passed.
    ended_ns: u64,
    bytes: u64,
}

/// The requests of a connection that wait, and the answer that is passing.
pub(super) struct Numbered {
    protocol: &'static str,
    waiting: VecDeque<Waiting>,
    open: Option<Open>,
    /// Requests passed that could not be read, and their answers may have done so, too.
    hidden: bool,
}

impl Numbered {
    pub(super) fn new(protocol: &'static str) -> Self {
        Self { protocol, waiting: VecDeque::new(), open: None, hidden: false }
    }

    pub(super) fn bytes_held(&self) -> usize {
        let targets: usize = self.waiting.iter().map(|it| it.request.target.len()).sum();
        let open = self.open.as_ref().map_or(0, |open| open.request.target.len());
        self.waiting.capacity() * size_of::<Waiting>() + targets + open
    }

    /// A request has passed, or begins to.
    pub(super) fn ask(&mut self, request: Request, out: &mut dyn Sink) {
        // A number that is used again while it waits: the answer to the first one was not seen.
        if let Some(at) = self.waiting.iter().position(|it| it.request.number == request.number) {
            let before = self.waiting.remove(at);
            unanswered(before.iter(), out);
        }
        if self.waiting.len() >= OUTSTANDING_MAX {
            // The oldest, if it may be over.
            match self.waiting.front() {
                Some(oldest) if oldest.lost_ns.is_some() || !oldest.request.answered => {
                    let oldest = self.waiting.pop_front();
                    unanswered(oldest.iter(), out);
                }
                _ => {
                    out.doubt(Doubt::OverLimit, 1);
                    return;
                }
            }
        }
        self.waiting.push_back(Waiting { request, lost_ns: None });
    }

    /// The request that waits for an answer with this number.
    pub(super) fn find(&self, number: u32) -> Option<&Request> {
        self.waiting.iter().map(|it| &it.request).find(|request| request.number == number)
    }

    /// An answer of so many bytes begins. Without anybody that waits for it, it is an unmatched one.
    pub(super) fn answer(&mut self, number: u32, status: Status, first_byte_ns: u64, bytes: u64, out: &mut dyn Sink) {
        let Some(at) = self.waiting.iter().position(|it| it.request.number == number) else {
            out.doubt(Doubt::UnmatchedResponse, 1);
            return;
        };
        let mut before = self.waiting.drain(..=at).collect::<Vec<_>>();
        let answered = before.pop();
        unanswered(before.iter(), out);
        self.open =
            answered.map(|it| Open { request: it.request, status, first_byte_ns, ended_ns: first_byte_ns, bytes });
        if self.waiting.is_empty() && self.waiting.capacity() > 16 {
            self.waiting = VecDeque::new();
        }
    }

    /// The answer that is passing is over.
    pub(super) fn answered(&mut self, ended_ns: u64, out: &mut dyn Sink) {
        if let Some(open) = self.open.take() {
            self.tell(&open, ended_ns, Seen::Whole, out);
        }
    }

    fn tell(&self, open: &Open, ended_ns: u64, seen: Seen, out: &mut dyn Sink) {
        let Open { request, status, first_byte_ns, bytes, .. } = open;
        out.exchange(&Exchange {
            protocol: self.protocol,
            operation: request.operation,
            target: &request.target,
            statement: "",
            status: *status,
            began_ns: request.began_ns,
            first_byte_ns: *first_byte_ns,
            ended_ns: ended_ns.max(*first_byte_ns),
            request_bytes: request.bytes,
            response_bytes: *bytes,
            seen,
        });
    }

    /// The place in the requests was lost.
    pub(super) fn requests_lost(&mut self, loss: Loss, out: &mut dyn Sink) {
        match loss {
            // Answers without a request, if they are seen.
            Loss::Truncated => self.hidden = true,
            Loss::Gap => out.doubt(Doubt::Gap, 1),
            Loss::Garbage => out.doubt(Doubt::Garbage, 1),
        }
    }

    /// The place in the answers was lost.
    pub(super) fn answers_lost(&mut self, loss: Loss, out: &mut dyn Sink) {
        match loss {
            Loss::Truncated if std::mem::take(&mut self.hidden) => out.doubt(Doubt::Truncated, 1),
            Loss::Truncated => {}
            Loss::Gap => out.doubt(Doubt::Gap, 1),
            Loss::Garbage => out.doubt(Doubt::Garbage, 1),
        }
        if let Some(open) = self.open.take() {
            self.tell(&open, open.ended_ns, Seen::HeadOnly, out);
        }
        self.waiting.iter_mut().for_each(|it| it.lost_ns = it.lost_ns.or(Some(0)));
    }

    /// Bytes of answers have passed that could not be read.
    pub(super) fn answers_unseen(&mut self, ended_ns: u64) {
        self.waiting.iter_mut().for_each(|it| it.lost_ns = it.lost_ns.map(|lost_ns| lost_ns.max(ended_ns)));
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now_ns: u64, out: &mut dyn Sink) {
        let over = |it: &Waiting| it.lost_ns.is_some_and(|lost_ns| now_ns.saturating_sub(lost_ns) >= WAITING_NS);
        unanswered(self.waiting.iter().filter(|it| over(it)), out);
        self.waiting.retain(|it| !over(it));
    }

    /// The connection has ended.
    pub(super) fn close(&mut self, now_ns: u64, out: &mut dyn Sink) {
        if let Some(open) = self.open.take() {
            self.tell(&open, now_ns, Seen::HeadOnly, out);
        }
        unanswered(self.waiting.iter(), out);
        self.waiting = VecDeque::new();
    }
}

/// Those of `waiting` that had to have an answer.
fn unanswered<'a>(waiting: impl Iterator<Item = &'a Waiting>, out: &mut dyn Sink) {
    let count = waiting.filter(|it| it.request.answered).count();
    if count > 0 {
        out.doubt(Doubt::UnansweredRequest, count as u64);
    }
}
