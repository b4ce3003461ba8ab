//! Storms: as much of one thing as the machine can do in a given time. Each step prints how often it did it.
//!
//! They call the kernel directly, so that what they did beside the thing itself is the same for every length of time: a
//! storm of no time tells it.

use std::{
    ffi::CString,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use crate::{calls, checked, life, net, number, say};

/// Calls between two looks at the clock.
const BATCH: u64 = 500;
/// Bytes of each file.
const BYTES: usize = 100;

/// Whether there is such a step.
pub(crate) fn step(name: &str, words: &[&str]) -> bool {
    let Some(kind) = name.strip_prefix("storm-") else { return false };
    match (kind, words) {
        ("calls", [milliseconds]) => each(milliseconds, || {
            calls::getppid(BATCH);
            calls::fsync_nothing(BATCH / 100);
        }),
        ("forks", [milliseconds]) => each(milliseconds, || life::fork(1)),
        ("execs", [milliseconds]) => execs(milliseconds),
        ("connections", [milliseconds]) => connections(milliseconds),
        ("files", [milliseconds, directory]) => files(milliseconds, directory),
        _ => return false,
    }
    true
}

/// Does it again and again for so long, and prints how often.
fn each(milliseconds: &str, mut once: impl FnMut()) {
    let (begin, time) = (Instant::now(), Duration::from_millis(number(milliseconds)));
    let mut count = 0_u64;
    while begin.elapsed() < time {
        once();
        count += 1;
    }
    say(&count.to_string());
}

/// This program, to end at once.
fn execs(milliseconds: &str) {
    let program = std::env::current_exe().expect("this process has an executable");
    each(milliseconds, || {
        let status = Command::new(&program).args(["exit", "0"]).status().expect("start a process");
        assert!(status.success());
    });
}

/// Connects to itself, one byte from the client to the server; the client closes with a reset, so that no port is busy for
/// a minute.
fn connections(milliseconds: &str) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let address = listener.local_addr().expect("it is bound");
    each(milliseconds, || {
        let mut client = TcpStream::connect(address).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        net::send(&mut client, 1);
        net::receive(&mut server, 1);
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("set SO_LINGER");
        drop(client);
        drop(server);
    });
    drop(listener);
}

/// Makes a file of some bytes, and removes it.
fn files(milliseconds: &str, directory: &str) {
    let path = CString::new(format!("{directory}/{}", std::process::id())).expect("no zero byte");
    let bytes = [b'f'; BYTES];
    each(milliseconds, || {
        // SAFETY: the path ends with a zero byte, and the bytes outlive the call.
        unsafe {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_EXCL;
            let fd = checked("openat", libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600));
            assert_eq!(libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), BYTES), BYTES as i64);
            checked("close", libc::syscall(libc::SYS_close, fd));
            checked("unlinkat", libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0));
        }
    });
}
