//! Answers go to requests in the order in which these were sent: HTTP/1, Redis, PostgreSQL, memcached.
//!
//! Where the requests were seen and the answers were not, or the other way round, the side that was seen tells how many
//! exchanges there were. Where neither was, the number is unknown, and that is counted instead.

mod asked;

use std::collections::VecDeque;

use super::{Doubt, Exchange, SETTLE_NS, Seen, Sink, Status, UNSEEN, stream::Loss};
pub(super) use asked::{About, Answer, Asked, Request};
use asked::{Hidden, Unread};

/// The most requests that may wait for their answer; more are taken as unseen. `redis-benchmark -P` is used with 16.
const OUTSTANDING_MAX: usize = 128;

/// The most bytes that waiting requests may hold.
const OUTSTANDING_BYTES_MAX: usize = 32 << 10;

/// The requests of a connection that wait, and the answer that is passing.
pub(super) struct Pairing {
    protocol: &'static str,
    /// The shortest request and the shortest answer.
    least: (u64, u64),
    queue: VecDeque<Asked>,
    queue_bytes: usize,
    /// How often the client has begun to speak.
    turn: u32,
    /// Segments of the client.
    segment: u32,
    /// The place in the answers was lost: whether a segment begins with a message is no longer sure. Until requests and
    /// answers have come out even again, or both sides were silent, answers to unseen requests are not told.
    unsure: bool,
    /// The client does not wait for answers before it speaks again, so that a segment of the server may begin anywhere.
    eager: bool,
    /// Whether a segment of the server that begins in the middle of an answer may look like one that begins with one.
    mistakable: bool,
    /// Requests were answered in this turn, and nothing was odd.
    even: bool,
    pub(super) open: Option<Answer>,
    unread: Option<Unread>,
}

impl Pairing {
    /// `least`: the shortest request and the shortest answer that there can be, in bytes. `mistakable`: whether a part of
    /// an answer may look like one.
    pub(super) fn new(protocol: &'static str, least: (u64, u64), mistakable: bool) -> Self {
        Self {
            protocol,
            least,
            queue: VecDeque::new(),
            queue_bytes: 0,
            turn: 0,
            segment: 0,
            unsure: false,
            eager: false,
            mistakable,
            even: false,
            open: None,
            unread: None,
        }
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.queue.capacity() * size_of::<Asked>()
            + self.queue_bytes
            + self.open.as_ref().and_then(|open| open.request.as_ref().ok()).map_or(0, |it| it.about.bytes_held())
    }

    /// A segment of the client. If it is `fresh`, what was not read of the answers before is over.
    pub(super) fn client_speaks(&mut self, fresh: bool, out: &mut dyn Sink) {
        self.segment = self.segment.wrapping_add(1);
        if !fresh {
            return;
        }
        if self.even && self.unread.is_none() && self.open.is_none() && self.queue.is_empty() {
            self.unsure = false;
        }
        self.even = true;
        let waiting = |asked: &Asked| matches!(asked, Asked::Known(..));
        self.eager |= self.unread.is_none() && (self.open.is_some() || self.queue.iter().any(waiting));
        self.settle_unread(out);
        // All answers up to here were read: nothing hidden before is still waiting.
        while let Some(Asked::Unseen(_)) = self.queue.front() {
            self.queue.pop_front();
        }
        self.turn = self.turn.wrapping_add(1);
        if self.queue.is_empty() && self.queue.capacity() > 16 {
            self.queue = VecDeque::new();
        }
    }

    /// A request has passed, or begins to.
    pub(super) fn ask(&mut self, request: Request, out: &mut dyn Sink) {
        let held = self.queue_bytes + request.about.bytes_held();
        if self.queue.len() >= OUTSTANDING_MAX || held > OUTSTANDING_BYTES_MAX {
            if request.counted {
                out.doubt(Doubt::OverLimit, 1);
                self.hide(request.began_ns, 0, 1, None);
            }
            return;
        }
        self.queue_bytes = held;
        self.queue.push_back(Asked::Known(request, self.segment));
    }

    /// The last request that was asked, while it waits.
    pub(super) fn last_asked(&mut self) -> Option<&mut Request> {
        match self.queue.back_mut()? {
            Asked::Known(request, _) => Some(request),
            Asked::Unseen(_) => None,
        }
    }

    /// How many requests wait, with those that were not seen as one.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of the client have passed that could not be read. `presumed`: how many requests begin in them, if that can be
    /// presumed; it decides what is a doubt, and nothing else.
    pub(super) fn requests_unseen(&mut self, bytes: u64, began_ns: u64, presumed: Option<u64>) {
        self.hide(began_ns, bytes, 0, presumed);
    }

    fn hide(&mut self, began_ns: u64, bytes: u64, surplus: u64, presumed: Option<u64>) {
        let (turn, segment, full) = (self.turn, self.segment, self.queue.len() > OUTSTANDING_MAX);
        match self.queue.back_mut() {
            Some(Asked::Unseen(hidden)) if hidden.turn == turn || full => {
                hidden.bytes = hidden.bytes.saturating_add(bytes);
                hidden.surplus = hidden.surplus.saturating_add(surplus);
                hidden.segment = segment;
            }
            _ => {
                let hidden = Hidden { began_ns, bytes, surplus, answered: 0, presumed, turn, segment };
                self.queue.push_back(Asked::Unseen(hidden));
            }
        }
    }

    /// Whose answer comes next.
    pub(super) fn next(&self) -> Option<&Asked> {
        self.queue.front()
    }

    /// Takes the one whose answer comes next. Hidden requests stay for as many answers as there can be.
    pub(super) fn take_next(&mut self) -> Option<Result<Request, u64>> {
        loop {
            if let Some(Asked::Unseen(hidden)) = self.queue.front_mut() {
                if self.unsure {
                    return None;
                }
                if hidden.answered < (hidden.bytes / self.least.0).saturating_add(hidden.surplus) {
                    hidden.answered += 1;
                    return Some(Err(hidden.began_ns));
                }
                self.queue.pop_front();
                continue;
            }
            return match self.queue.pop_front()? {
                Asked::Known(request, _) => {
                    self.queue_bytes = self.queue_bytes.saturating_sub(request.about.bytes_held());
                    Some(Ok(request))
                }
                Asked::Unseen(_) => None,
            };
        }
    }

    /// An answer begins, to whoever is next. Without anybody it is an unmatched one.
    pub(super) fn answer(&mut self, status: Status, first_byte_ns: u64, out: &mut dyn Sink) {
        self.unread = None;
        match self.take_next() {
            Some(request) => {
                self.open = Some(Answer { request, status, first_byte_ns, ended_ns: 0, bytes: 0 });
            }
            None => {
                self.open = None;
                self.even = false;
                out.doubt(Doubt::UnmatchedResponse, 1);
            }
        }
    }

    /// An answer to a request that no longer waits begins.
    pub(super) fn answer_to(&mut self, request: Request, status: Status, first_byte_ns: u64) {
        self.unread = None;
        self.open = Some(Answer { request: Ok(request), status, first_byte_ns, ended_ns: 0, bytes: 0 });
    }

    /// The answer that is passing is over.
    pub(super) fn answered(&mut self, ended_ns: u64, out: &mut dyn Sink) {
        if let Some(mut answer) = self.open.take() {
            answer.ended_ns = ended_ns;
            self.tell(&answer, Seen::Whole, out);
        }
    }

    fn tell(&self, answer: &Answer, seen: Seen, out: &mut dyn Sink) {
        let (operation, about, began_ns, request_bytes, seen) = match &answer.request {
            Ok(request) if seen == Seen::Whole && !request.whole => {
                (request.operation, &request.about, request.began_ns, request.bytes, Seen::HeadOnly)
            }
            Ok(request) => (request.operation, &request.about, request.began_ns, request.bytes, seen),
            Err(began_ns) => (UNSEEN, &About::Nothing, *began_ns, 0, Seen::ResponseOnly),
        };
        out.exchange(&Exchange {
            protocol: self.protocol,
            operation,
            target: about.target(),
            statement: about.statement(),
            status: answer.status,
            began_ns,
            first_byte_ns: answer.first_byte_ns,
            ended_ns: answer.ended_ns.max(answer.first_byte_ns),
            request_bytes,
            response_bytes: answer.bytes,
            seen,
        });
    }

    /// The place in the requests was lost.
    pub(super) fn requests_lost(&mut self, loss: Loss, out: &mut dyn Sink) {
        match loss {
            // What it leads to is counted when it is known.
            Loss::Truncated => {}
            Loss::Gap => {
                self.become_unsure();
                out.doubt(Doubt::Gap, 1);
            }
            Loss::Garbage => out.doubt(Doubt::Garbage, 1),
        }
    }

    fn become_unsure(&mut self) {
        self.unsure = true;
        self.even = false;
    }

    /// The place in the answers was lost.
    pub(super) fn answers_lost(&mut self, loss: Loss, out: &mut dyn Sink) {
        let began_ns = self.open.as_ref().map_or(0, |open| open.first_byte_ns);
        let ended_ns = self.open.as_ref().map_or(0, |open| open.ended_ns);
        if self.eager || self.mistakable {
            self.become_unsure();
        }
        match loss {
            Loss::Truncated => {}
            Loss::Garbage => out.doubt(Doubt::Garbage, 1),
            Loss::Gap => {
                out.doubt(Doubt::Gap, 1);
                if let Some(open) = self.open.take() {
                    self.tell(&open, Seen::HeadOnly, out);
                }
                self.become_unsure();
                // What is missing may be the answers to all that the client had sent before it spoke last.
                let last = self.segment;
                let before = self.queue.len();
                self.queue.retain(|asked| match asked {
                    Asked::Known(_, segment) => *segment == last,
                    Asked::Unseen(hidden) => hidden.segment == last,
                });
                self.queue_bytes = self.queue.iter().map(about_bytes).sum();
                let gone = before - self.queue.len();
                if gone > 0 {
                    out.doubt(Doubt::UnansweredRequest, gone as u64);
                }
            }
        }
        self.unread = Some(Unread { loss, bytes: 0, began_ns, ended_ns });
    }

    /// Bytes of answers have passed that could not be read.
    pub(super) fn answers_unseen(&mut self, bytes: u64, began_ns: u64, ended_ns: u64) {
        if let Some(open) = &mut self.open {
            open.bytes = open.bytes.saturating_add(bytes);
            open.ended_ns = ended_ns;
        }
        if let Some(unread) = &mut self.unread {
            unread.bytes = unread.bytes.saturating_add(bytes);
            unread.ended_ns = ended_ns;
            if unread.began_ns == 0 {
                unread.began_ns = began_ns;
            }
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now_ns: u64, out: &mut dyn Sink) {
        if self.unread.as_ref().is_some_and(|unread| now_ns.saturating_sub(unread.ended_ns) >= SETTLE_NS) {
            self.settle_unread(out);
            self.unsure = false;
        }
    }

    /// What was asked before answers that could not be read has been answered by them.
    fn settle_unread(&mut self, out: &mut dyn Sink) {
        let Some(unread) = self.unread.take() else { return };
        self.even = false;
        if let Some(open) = self.open.take() {
            self.tell(&open, Seen::HeadOnly, out);
        }
        // An eager client's requests may still be waiting.
        let mut room = if unread.loss == Loss::Truncated && !self.eager { unread.bytes / self.least.1 } else { 0 };
        let (mut unanswered, mut truncated) = (0, 0);
        while let Some(asked) = self.queue.pop_front() {
            match asked {
                Asked::Known(request, _) if request.counted && room > 0 => {
                    room -= 1;
                    let answer = Answer {
                        request: Ok(request),
                        status: Status::UNSEEN,
                        first_byte_ns: unread.began_ns,
                        ended_ns: unread.ended_ns,
                        bytes: 0,
                    };
                    self.tell(&answer, Seen::RequestOnly, out);
                }
                Asked::Known(request, _) => unanswered += u64::from(request.counted),
                Asked::Unseen(hidden) => {
                    truncated += u64::from(hidden.presumed.is_none_or(|presumed| hidden.answered > presumed));
                }
            }
        }
        self.queue_bytes = 0;
        if unanswered > 0 {
            out.doubt(Doubt::UnansweredRequest, unanswered);
        }
        if truncated > 0 {
            out.doubt(Doubt::Truncated, truncated);
        }
    }

    /// The answer that was passing has ended before it should have.
    pub(super) fn cut_short(&mut self, out: &mut dyn Sink) {
        if let Some(open) = self.open.take() {
            self.tell(&open, Seen::HeadOnly, out);
        }
    }

    /// The connection has ended.
    pub(super) fn close(&mut self, now_ns: u64, out: &mut dyn Sink) {
        self.settle_unread(out);
        if let Some(mut open) = self.open.take() {
            if open.ended_ns == 0 {
                open.ended_ns = now_ns;
            }
            self.tell(&open, Seen::HeadOnly, out);
        }
        let waiting = self.queue.drain(..).filter(|asked| matches!(asked, Asked::Known(it, _) if it.counted)).count();
        self.queue_bytes = 0;
        if waiting > 0 {
            out.doubt(Doubt::UnansweredRequest, waiting as u64);
        }
    }
}

fn about_bytes(asked: &Asked) -> usize {
    match asked {
        Asked::Known(request, _) => request.about.bytes_held(),
        Asked::Unseen(_) => 0,
    }
}
