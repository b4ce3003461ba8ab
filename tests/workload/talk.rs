//! A client and a server that speak HTTP/1.1 by every system call that moves bytes.

use std::{
    io::{self, Read as _},
    mem,
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, RawFd},
};

use crate::{checked, say};

/// The calls, and the route of the requests that are sent by each.
const WAYS: [&str; 5] = ["write", "sendto", "writev", "sendmsg", "sendmmsg"];
const END: &[u8] = b"\r\n\r\n";

/// Answers requests.
pub(crate) fn answer(stream: &TcpStream, count: usize) {
    let socket = stream.as_raw_fd();
    for number in 0..count {
        receive(socket, number, END);
        send(socket, number, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
}

/// Asks as often, each time by the next way, and waits for the answer.
pub(crate) fn ask(stream: &TcpStream, count: usize) {
    let socket = stream.as_raw_fd();
    for number in 0..count {
        let way = WAYS[number % WAYS.len()];
        send(socket, number, format!("GET /{way}?secret={number} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes());
        // What comes is received by another way than it was sent.
        receive(socket, number + 2, b"ok");
    }
}

/// Opens so many connections to itself, asks and answers once over each, says `open`, and keeps them until it is told.
pub(crate) fn crowd(count: usize) {
    many_files();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("it is bound");
    let mut kept = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(address).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        send(client.as_raw_fd(), 0, b"GET /crowd HTTP/1.1\r\nHost: here\r\n\r\n");
        answer(&server, 1);
        receive(client.as_raw_fd(), 0, b"ok");
        kept.push((client, server));
    }
    say("open");
    io::stdin().read_exact(&mut [0]).expect("be told");
}

/// As many descriptors as this process may have.
fn many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives the calls.
    unsafe {
        checked("getrlimit", libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit).into());
        limit.rlim_cur = limit.rlim_max;
        checked("setrlimit", libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit).into());
    }
}

/// Sends what no protocol begins with, and takes as much, so often.
pub(crate) fn babble(stream: &TcpStream, count: usize, first: bool) {
    let socket = stream.as_raw_fd();
    for _ in 0..count {
        if first {
            send(socket, 0, b"\x01\xff\xfe nobody knows this");
        }
        receive(socket, 0, b"this");
        if !first {
            send(socket, 0, b"\x02\xff\xfe nor does anybody this");
        }
    }
}

fn pieces(bytes: &[u8]) -> [libc::iovec; 2] {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [first, second].map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
}

fn message(pieces: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all bytes zero is a message without anything.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (pieces.as_mut_ptr(), pieces.len() as _);
    message
}

fn send(socket: RawFd, way: usize, bytes: &[u8]) {
    let mut parts = pieces(bytes);
    let whole = message(&mut parts);
    let (address, length) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: everything that the calls are told of outlives them.
    let sent = unsafe {
        match WAYS[way % WAYS.len()] {
            "write" => libc::write(socket, address, length),
            "sendto" => libc::send(socket, address, length, 0),
            "writev" => libc::writev(socket, parts.as_ptr(), 2),
            "sendmsg" => libc::sendmsg(socket, &raw const whole, 0),
            _ => {
                // Two messages, one after the other.
                let [mut first, mut second] = parts.map(|part| [part]);
                let mut both =
                    [message(&mut first), message(&mut second)].map(|msg_hdr| libc::mmsghdr { msg_hdr, msg_len: 0 });
                assert_eq!(libc::sendmmsg(socket, both.as_mut_ptr(), 2, 0), 2, "sendmmsg");
                both.iter().map(|message| message.msg_len as isize).sum()
            }
        }
    };
    assert_eq!(checked("send", sent as i64), length as i64);
}

/// Receives until what came ends with this.
fn receive(socket: RawFd, way: usize, end: &[u8]) {
    let mut bytes = vec![0; 4096];
    let mut got = 0;
    while !bytes[..got].ends_with(end) {
        let mut parts = pieces(&bytes[got..]);
        let mut whole = message(&mut parts);
        let (address, length) = (bytes[got..].as_mut_ptr().cast(), bytes.len() - got);
        // SAFETY: as above.
        let count = unsafe {
            match WAYS[way % WAYS.len()] {
                "write" => libc::read(socket, address, length),
                "sendto" => libc::recv(socket, address, length, 0),
                "writev" => libc::readv(socket, parts.as_ptr(), 2),
                "sendmsg" => libc::recvmsg(socket, &raw mut whole, 0),
                _ => {
                    let mut one = [libc::mmsghdr { msg_hdr: whole, msg_len: 0 }];
                    let none = std::ptr::null_mut();
                    assert_eq!(libc::recvmmsg(socket, one.as_mut_ptr(), 1, 0, none), 1, "recvmmsg");
                    one[0].msg_len as isize
                }
            }
        };
        assert!(count > 0, "receive: {}", io::Error::last_os_error());
        got += count.unsigned_abs();
    }
}

/// Asks itself for names, so often for two types at once, in the way the C library does. One of both does not exist.
pub(crate) fn dns(count: usize) {
    let server = UdpSocket::bind("127.0.0.1:53").expect("listen");
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.connect("127.0.0.1:53").expect("connect");
    let mut room = [0; 512];
    for number in 0..count {
        let mut questions = [(2 * number, 1), (2 * number + 1, 28)].map(|(id, kind)| question(id as u16, kind));
        let mut parts = questions
            .each_mut()
            .map(|question| [libc::iovec { iov_base: question.as_mut_ptr().cast(), iov_len: question.len() }]);
        let mut both = parts.each_mut().map(|part| libc::mmsghdr { msg_hdr: message(part), msg_len: 0 });
        // SAFETY: everything that the call is told of outlives it.
        assert_eq!(unsafe { libc::sendmmsg(client.as_raw_fd(), both.as_mut_ptr(), 2, 0) }, 2, "sendmmsg");
        for code in [0, 3] {
            let (length, peer) = server.recv_from(&mut room).expect("a question");
            let answer = &mut room[..length];
            (answer[2], answer[3]) = (0x81, 0x80 | code);
            server.send_to(answer, peer).expect("answer");
        }
        receive_datagram(&client, &mut room);
        assert!(client.recv(&mut room).expect("an answer") > 12);
    }
}

fn receive_datagram(socket: &UdpSocket, room: &mut [u8]) {
    let mut parts = pieces(room);
    let mut whole = message(&mut parts);
    // SAFETY: as above.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut whole, 0) };
    assert!(count > 12, "recvmsg");
}

/// A question for an address of `secret.example` (RFC 1035, 4.1).
fn question(id: u16, kind: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let head = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&head[..], b"\x06secret\x07example\x00", &[0, kind, 0, 1]].concat()
}
