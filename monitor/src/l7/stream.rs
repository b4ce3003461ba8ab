//! One direction of a connection: hands a protocol the bytes where it has to look, and goes over the others.

use super::{Segment, Side, Sink};

/// The most bytes that a protocol gets to see at once, and that are kept of a message whose rest is still to come.
/// Heads of HTTP messages have no length of their own; what is longer counts as cut.
pub(super) const VIEW_MAX: usize = 4096;

/// Bytes at a place where something has to be read.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) bytes: &'a [u8],
    /// What comes after these bytes will not be seen: it is now or never.
    pub(super) cut: bool,
    /// When the first of them passed.
    pub(super) began_ns: u64,
}

/// What a protocol makes of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes from here belong to what was read; they need not have been seen. Not 0.
    Take(u64),
    /// More bytes are needed. With `View::cut` that means that the place is lost.
    More,
    /// Understood, but where it ends is in what is cut.
    Cut,
    /// This is not the protocol.
    Garbage,
    /// Nothing that follows is to be read.
    Rest,
}

/// Why a place in a stream was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It is in what was not captured of a segment.
    Truncated,
    /// A piece was not handed over.
    Gap,
    /// What is there is not the protocol.
    Garbage,
}

/// What a protocol does with both directions. `to` says who receives.
pub(super) trait Talk {
    /// Reads at a place where a part of a message begins.
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step;
    /// The bytes of the last [`Step::Take`] have all passed.
    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink);
    /// The place is lost until the other side has spoken.
    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink);
    /// Bytes passed that could not be read: after a loss, or after [`Step::Rest`].
    fn unseen(&mut self, to: Side, bytes: u64, began_ns: u64, ended_ns: u64);
    /// A segment to `to` begins. `fresh`: the other side spoke before it.
    fn begins(&mut self, to: Side, fresh: bool, out: &mut dyn Sink);
    /// A segment begins where the stream was to be gone over: whether these bytes begin a message all the same.
    fn restarts(&mut self, _to: Side, _head: &[u8], _out: &mut dyn Sink) -> bool {
        false
    }
    /// Time passes, or the connection `ended`.
    fn settle(&mut self, now_ns: u64, ended: bool, out: &mut dyn Sink);
    /// See [`super::Conversation::finished`].
    fn finished(&self) -> bool;
    /// See [`super::Conversation::bytes_held`].
    fn bytes_held(&self) -> usize;
    /// See [`super::Conversation::becomes`].
    fn becomes(&self) -> Option<&'static dyn super::Protocol> {
        None
    }
}

/// Where one direction is.
#[derive(Default)]
pub(super) struct Stream {
    /// Seen, but not enough of it to be understood.
    kept: Vec<u8>,
    kept_began_ns: u64,
    /// Where the next segment begins if nothing is missing.
    next: Option<u64>,
    /// Bytes to go over.
    skip: u64,
    /// Nothing more is read.
    rest: bool,
    lost: bool,
}

impl Stream {
    pub(super) fn bytes_held(&self) -> usize {
        self.kept.capacity()
    }

    /// Hears a segment. `fresh`: the other side spoke before it, so that a message begins here.
    pub(super) fn feed(&mut self, segment: &Segment<'_>, fresh: bool, talk: &mut impl Talk, out: &mut dyn Sink) {
        let to = segment.to;
        let Some((bytes, unseen)) = self.place(segment, talk, out) else { return };
        if fresh && self.lost {
            self.begin_anew();
        } else if fresh && (self.skip > 0 || self.rest || !self.kept.is_empty()) && talk.restarts(to, bytes, out) {
            self.rest = false;
            self.begin_anew();
        }
        let kept = self.kept.len();
        if kept == 0 {
            self.read(segment, bytes, 0, unseen, talk, out);
        } else {
            let mut joined = std::mem::take(&mut self.kept);
            joined.extend_from_slice(bytes);
            self.read(segment, &joined, kept, unseen, talk, out);
        }
    }

    fn begin_anew(&mut self) {
        self.lost = false;
        self.skip = 0;
        self.kept = Vec::new();
    }

    /// What of a segment is new: its bytes, and how many unseen ones follow them. Tells what is missing before it.
    fn place<'a>(
        &mut self,
        segment: &Segment<'a>,
        talk: &mut impl Talk,
        out: &mut dyn Sink,
    ) -> Option<(&'a [u8], u64)> {
        let expected = self.next.unwrap_or(segment.position);
        let end = segment.position.saturating_add(segment.length);
        if end <= expected {
            return None;
        }
        self.next = Some(end);
        let captured = usize::try_from(segment.length).unwrap_or(usize::MAX).min(segment.bytes.len());
        let bytes = segment.bytes.get(..captured).unwrap_or_default();
        let unseen = segment.length - bytes.len() as u64;
        if segment.position < expected {
            // Told twice: a reader that looked without taking.
            let twice = expected - segment.position;
            let (bytes, over) = go_over(bytes, twice);
            return Some((bytes, unseen - over));
        }
        let missing = segment.position - expected;
        if missing > 0 {
            self.go_over_missing(missing, segment, talk, out);
        }
        Some((bytes, unseen))
    }

    fn go_over_missing(&mut self, missing: u64, segment: &Segment<'_>, talk: &mut impl Talk, out: &mut dyn Sink) {
        if self.skip > missing {
            self.skip -= missing;
            return;
        }
        if self.skip == missing {
            self.skip = 0;
            talk.passed(segment.to, segment.began_ns, out);
            return;
        }
        // Also where the place was lost before: what is missing may have been asked, and answered, long ago.
        if !self.rest {
            self.lose(segment.to, Loss::Gap, talk, out);
        }
        talk.unseen(segment.to, missing, segment.began_ns, segment.began_ns);
    }

    /// Reads `bytes`, of which the first `kept` came with earlier segments, and goes over `unseen` ones after them.
    fn read(
        &mut self,
        segment: &Segment<'_>,
        bytes: &[u8],
        kept: usize,
        mut unseen: u64,
        talk: &mut impl Talk,
        out: &mut dyn Sink,
    ) {
        let (to, ended_ns) = (segment.to, segment.ended_ns);
        let mut rest = bytes;
        loop {
            if self.lost || self.rest {
                let passed = unseen.saturating_add(rest.len() as u64);
                if passed > 0 {
                    talk.unseen(to, passed, segment.began_ns, ended_ns);
                }
                return;
            }
            if self.skip > 0 {
                let (after, over) = go_over(rest, self.skip);
                self.skip = over.saturating_sub(unseen);
                unseen = unseen.saturating_sub(over);
                rest = after;
                if self.skip > 0 {
                    return;
                }
                talk.passed(to, ended_ns, out);
                continue;
            }
            if rest.is_empty() {
                if unseen > 0 {
                    self.lose(to, Loss::Truncated, talk, out);
                    continue;
                }
                return;
            }
            let began_ns = if bytes.len() - rest.len() < kept { self.kept_began_ns } else { segment.began_ns };
            let cut = unseen > 0 || rest.len() >= VIEW_MAX;
            let view = View { bytes: rest.get(..VIEW_MAX).unwrap_or(rest), cut, began_ns };
            match talk.look(to, view, out) {
                Step::Take(0) | Step::Garbage => self.lose(to, Loss::Garbage, talk, out),
                Step::Take(count) => self.skip = count,
                Step::More if !cut => {
                    self.kept = rest.to_vec();
                    self.kept_began_ns = began_ns;
                    return;
                }
                Step::More | Step::Cut => self.lose(to, Loss::Truncated, talk, out),
                Step::Rest => self.rest = true,
            }
        }
    }

    fn lose(&mut self, to: Side, loss: Loss, talk: &mut impl Talk, out: &mut dyn Sink) {
        self.lost = true;
        self.skip = 0;
        self.kept = Vec::new();
        talk.lost(to, loss, out);
    }
}

/// `bytes` without the first `count`, and how many of those are beyond their end.
fn go_over(bytes: &[u8], count: u64) -> (&[u8], u64) {
    let here = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
    (bytes.get(here..).unwrap_or_default(), count - here as u64)
}
