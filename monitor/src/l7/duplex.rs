//! Both directions of a connection as one conversation.

use super::{
    Conversation, Protocol, Segment, Side, Sink,
    stream::{Stream, Talk},
};

/// A conversation over a stream: who spoke last, where each direction is, and what the protocol makes of it.
pub(super) struct Duplex<T> {
    to_server: Stream,
    to_client: Stream,
    last: Option<Side>,
    talk: T,
}

impl<T: Talk> Duplex<T> {
    pub(super) fn new(talk: T) -> Self {
        Self { to_server: Stream::default(), to_client: Stream::default(), last: None, talk }
    }
}

impl<T: Talk + Send> Conversation for Duplex<T> {
    fn take(&mut self, segment: &Segment<'_>, out: &mut dyn Sink) {
        if segment.length == 0 || self.talk.finished() {
            return;
        }
        let fresh = self.last != Some(segment.to);
        self.last = Some(segment.to);
        self.talk.begins(segment.to, fresh, out);
        let stream = match segment.to {
            Side::Server => &mut self.to_server,
            Side::Client => &mut self.to_client,
        };
        stream.feed(segment, fresh, &mut self.talk, out);
    }

    fn tick(&mut self, now_ns: u64, out: &mut dyn Sink) {
        self.talk.settle(now_ns, false, out);
    }

    fn close(&mut self, now_ns: u64, out: &mut dyn Sink) {
        self.talk.settle(now_ns, true, out);
    }

    fn finished(&self) -> bool {
        self.talk.finished()
    }

    fn becomes(&self) -> Option<&'static dyn Protocol> {
        self.talk.becomes()
    }

    fn bytes_held(&self) -> usize {
        size_of::<Self>() + self.to_server.bytes_held() + self.to_client.bytes_held() + self.talk.bytes_held()
    }
}
