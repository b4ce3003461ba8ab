//! A peer that does what no well-behaved client does.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A connection to the daemon.
#[derive(Debug)]
pub(in crate::daemon) struct Peer {
    stream: TcpStream,
    /// Read, but not yet part of an answer.
    rest: Vec<u8>,
}

impl Peer {
    pub(in crate::daemon) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, monitor_tests::patience(Duration::from_secs(10)))
            .expect("connect to the daemon");
        stream.set_read_timeout(Some(monitor_tests::patience(Duration::from_secs(20)))).expect("set a time-out");
        Self { stream, rest: Vec::new() }
    }

    pub(in crate::daemon) fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// Sends a GET request on a connection that stays open.
    pub(in crate::daemon) fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: monitor\r\n\r\n")).expect("the daemon takes requests");
    }

    /// Asks again and again without reading any answer, until the daemon takes no more requests. How often.
    pub(in crate::daemon) fn flood(&mut self, path: &str) -> usize {
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("set a time-out");
        let request = format!("GET {path} HTTP/1.1\r\nHost: monitor\r\n\r\n").repeat(100);
        // Far more than all buffers between the two can hold.
        (1..10_000).find(|_| self.send(&request).is_err()).expect("the daemon reads requests without end") * 100
    }

    /// The next answer: status and body. Its length must be in its header.
    pub(in crate::daemon) fn answer(&mut self) -> (u16, String) {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().expect("an answer");
        };
        let head = String::from_utf8_lossy(&self.rest[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let length = length.unwrap_or_else(|| panic!("no length in the answer:\n{head}"));
        while self.rest.len() < end + length {
            self.more().expect("the rest of the answer");
        }
        let body = String::from_utf8_lossy(&self.rest[end..end + length]).into_owned();
        self.rest.drain(..end + length);
        (status, body)
    }

    /// Everything until the daemon closes the connection.
    pub(in crate::daemon) fn until_closed(mut self) -> String {
        while self.more().is_ok() {}
        String::from_utf8_lossy(&self.rest).into_owned()
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.rest.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }
}
