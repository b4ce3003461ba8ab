//! Every way in which bytes get into and out of a connection, and connections from one process to another.

use std::{
    fs::File,
    io::{IoSlice, IoSliceMut, Read as _, Write as _},
    mem,
    net::TcpStream,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixDatagram,
    },
    ptr,
};

use crate::{checked, life::wait_for};

/// Sends so many bytes by each of write, writev, sendmsg, sendfile and splice.
pub(crate) fn send(stream: &mut TcpStream, bytes: usize) {
    let data = vec![b'w'; bytes];
    stream.write_all(&data).expect("write");
    let (first, second) = data.split_at(bytes / 3);
    let pieces = [IoSlice::new(first), IoSlice::new(second)];
    assert_eq!(stream.write_vectored(&pieces).expect("writev"), bytes);

    let socket = stream.as_raw_fd();
    let mut pieces = [libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: bytes }];
    let message = message(&mut pieces);
    // SAFETY: the message and what it points to outlive the call.
    let sent = unsafe { libc::sendmsg(socket, &raw const message, 0) };
    assert_eq!(sent, bytes.cast_signed(), "sendmsg");

    // Longer than that, and no special file.
    let file = File::open(std::env::current_exe().expect("its own file")).expect("open it");
    // SAFETY: without an offset the file's own is used; no memory of ours is involved in these.
    unsafe {
        assert_eq!(libc::sendfile(socket, file.as_raw_fd(), ptr::null_mut(), bytes), bytes.cast_signed(), "sendfile");
        let mut ends = [0; 2];
        checked("pipe", libc::pipe(ends.as_mut_ptr()).into());
        let none = ptr::null_mut();
        let moved = libc::splice(file.as_raw_fd(), none, ends[1], none, bytes, 0);
        assert_eq!(moved, bytes.cast_signed(), "splice into a pipe");
        assert_eq!(libc::splice(ends[0], none, socket, none, bytes, 0), moved, "splice out of it");
        ends.into_iter().for_each(|end| drop(OwnedFd::from_raw_fd(end)));
    }
}

/// Receives what [`send`] sends: so many bytes by read and by readv, the rest by recvmsg.
pub(crate) fn receive(stream: &mut TcpStream, bytes: usize) {
    let mut data = vec![0; bytes];
    stream.read_exact(&mut data).expect("read");
    let mut rest = bytes;
    while rest > 0 {
        let (first, second) = data[..rest].split_at_mut(rest / 2);
        let count = stream.read_vectored(&mut [IoSliceMut::new(first), IoSliceMut::new(second)]).expect("readv");
        assert_ne!(count, 0);
        rest -= count;
    }
    let mut rest = 3 * bytes;
    while rest > 0 {
        let mut pieces = [libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: bytes.min(rest) }];
        let mut message = message(&mut pieces);
        // SAFETY: the message and what it points to outlive the call.
        let count = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, 0) };
        assert!(count > 0, "recvmsg");
        rest -= count.unsigned_abs();
    }
}

fn message(pieces: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all bytes zero is a message without anything.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (pieces.as_mut_ptr(), pieces.len() as _);
    message
}

/// A child that is there already, and what to hand a descriptor over by.
pub(crate) struct Heir {
    child: i32,
    to: UnixDatagram,
}

impl Heir {
    /// Makes it. It waits for a connection, does `work` with it, and ends.
    pub(crate) fn new(work: impl FnOnce(&mut TcpStream)) -> Self {
        let (to, from) = UnixDatagram::pair().expect("a pair of sockets");
        // SAFETY: there is one thread only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            work(&mut TcpStream::from(taken(&from)));
            // SAFETY: no memory is involved.
            unsafe { libc::_exit(0) };
        }
        Self { child, to }
    }

    /// Hands the connection over and waits for the child's end. Its id.
    pub(crate) fn inherit(self, stream: &TcpStream) -> i32 {
        let mut room = Room::default();
        let mut byte = [b'f'];
        let mut pieces = [libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 }];
        let message = room.message(&mut pieces);
        // SAFETY: the first header is inside the room, which is aligned and large enough for one descriptor.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(stream.as_raw_fd());
            assert_eq!(libc::sendmsg(self.to.as_raw_fd(), &raw const message, 0), 1, "hand a descriptor over");
        }
        wait_for(self.child);
        self.child
    }
}

/// The descriptor that comes.
fn taken(from: &UnixDatagram) -> OwnedFd {
    let mut room = Room::default();
    let mut byte = [0];
    let mut pieces = [libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 }];
    let mut message = room.message(&mut pieces);
    // SAFETY: the kernel fills the room with one header and one descriptor, which is nobody else's.
    unsafe {
        assert_eq!(libc::recvmsg(from.as_raw_fd(), &raw mut message, 0), 1, "take a descriptor");
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!header.is_null(), "no descriptor came");
        OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned())
    }
}

/// Room for a header and a descriptor, aligned as headers are.
#[derive(Default)]
struct Room([u64; 4]);

impl Room {
    fn message(&mut self, pieces: &mut [libc::iovec]) -> libc::msghdr {
        let mut message = message(pieces);
        message.msg_control = self.0.as_mut_ptr().cast();
        // SAFETY: no memory is involved.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
        message
    }
}
