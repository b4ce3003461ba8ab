//! A client of memcached: commands of the text protocol, each of which is answered as it has to be.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use crate::say;

/// What is asked, and what the answer ends with. `#` is the number of the round.
const COMMANDS: [(&str, &str); 16] = [
    ("set key# 7 0 12\r\nsecret value\r\n", "STORED\r\n"),
    ("get key#\r\n", "\r\nEND\r\n"),
    ("get absent#\r\n", "END\r\n"),
    ("gets key# key0 absent0 absent1\r\n", "\r\nEND\r\n"),
    ("add key# 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("append key# 0 0 3\r\n123\r\n", "STORED\r\n"),
    ("touch key# 100\r\n", "TOUCHED\r\n"),
    ("set number# 0 0 1\r\n5\r\n", "STORED\r\n"),
    ("incr number# 2\r\n", "7\r\n"),
    ("incr key# 2\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
    ("delete absent#\r\n", "NOT_FOUND\r\n"),
    ("ms meta# 4 T60\r\nmeta\r\n", "HD\r\n"),
    ("mg meta# v t\r\n", "\r\nmeta\r\n"),
    ("md meta#\r\n", "HD\r\n"),
    // Four at once; what asks for no answer gets none.
    ("get key#\r\nget absent#\r\nset quiet# 0 0 1 noreply\r\n1\r\nget quiet#\r\n", "\r\n1\r\nEND\r\n"),
    // Quiet ones are answered only where they find something.
    ("mg absent# v q\r\nmg quiet# v q\r\nmn\r\n", "MN\r\n"),
];

/// Asks all of them so often, and for a long value; prints how long each `gets` took, in nanoseconds.
pub(crate) fn ask(stream: &mut TcpStream, rounds: usize) {
    let mut times = Vec::new();
    for round in 0..rounds {
        for (command, end) in COMMANDS {
            let command = command.replace('#', &round.to_string());
            let begin = Instant::now();
            exchange(stream, command.as_bytes(), end.as_bytes());
            if command.starts_with("gets ") {
                times.push(begin.elapsed().as_nanos().to_string());
            }
        }
    }
    let long = vec![b'v'; 300_000];
    let set = [format!("set long 0 0 {}\r\n", long.len()).as_bytes(), &long, b"\r\n"].concat();
    exchange(stream, &set, b"STORED\r\n");
    exchange(stream, b"get long\r\n", b"v\r\nEND\r\n");
    say(&times.join(" "));
}

fn exchange(stream: &mut TcpStream, command: &[u8], end: &[u8]) {
    stream.write_all(command).expect("ask");
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    while !answer.ends_with(end) {
        let count = stream.read(&mut piece).expect("an answer");
        assert!(count > 0, "the server closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
}
