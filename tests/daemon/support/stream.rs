//! A reader of server-sent events.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// An open `/api/v1/events/stream`.
#[derive(Debug)]
pub(in crate::daemon) struct Stream {
    reader: BufReader<TcpStream>,
}

/// One event of the stream.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Event {
    /// What a reader repeats as Last-Event-ID.
    pub(in crate::daemon) id: String,
    /// `alert` or `missed`.
    pub(in crate::daemon) event: String,
    /// The event itself.
    pub(in crate::daemon) data: Value,
}

impl Stream {
    /// Opens it. HTTP/1.0 has no chunks, so that the lines are there as they were sent.
    pub(in crate::daemon) fn open(address: SocketAddr, query: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).expect("connect to the daemon");
        stream.set_read_timeout(Some(monitor_tests::patience(Duration::from_secs(20)))).expect("set a time-out");
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!("GET /api/v1/events/stream?{query} HTTP/1.0\r\nHost: monitor\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).expect("the daemon takes requests");
        let mut reader = Self { reader: BufReader::new(stream) };
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head += &(reader.line().expect("a header") + "\n");
        }
        assert!(head.contains(" 200 ") && head.contains("content-type: text/event-stream"), "no event stream:\n{head}");
        // The first thing on every stream, sent once the daemon follows it.
        while !reader.line().expect("the daemon greets").starts_with("retry:") {}
        reader
    }

    /// The next event.
    pub(in crate::daemon) fn next(&mut self) -> Event {
        let mut event = Event::default();
        loop {
            let line = self.line().expect("the stream goes on");
            match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
                Some(("id", value)) => event.id = value.to_owned(),
                Some(("event", value)) => event.event = value.to_owned(),
                Some(("data", value)) => event.data = serde_json::from_str(value).expect("events are JSON"),
                _ if line.is_empty() && !event.event.is_empty() => return event,
                // A comment, or the end of one.
                _ => {}
            }
        }
    }

    /// Reads on until the daemon closes the stream.
    pub(in crate::daemon) fn until_closed(mut self) {
        while self.line().is_some() {}
    }

    /// The next line without its end; none at the end of the stream.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_owned()),
            Err(error) => panic!("the event stream says nothing: {error}"),
        }
    }
}
