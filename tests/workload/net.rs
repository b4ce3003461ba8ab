//! TCP.

use std::{
    io::{Read as _, Write as _},
    mem,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd},
    os::unix::process::CommandExt as _,
    process::Command,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use crate::{checked, life::wait_for, memcached, number, say, talk, ways};

/// Bytes that are sent or received by one call.
const PIECE: usize = 64 << 10;

/// The sockets that are open.
#[derive(Default)]
pub(crate) struct Sockets {
    listener: Option<TcpListener>,
    stream: Option<TcpStream>,
    /// The other end of a connection to itself.
    other: Option<TcpStream>,
}

impl Sockets {
    fn listener(&self) -> &TcpListener {
        self.listener.as_ref().expect("a step before this one listens")
    }

    fn stream(&mut self) -> &mut TcpStream {
        self.stream.as_mut().expect("a step before this one connects or accepts")
    }
}

pub(crate) fn step(name: &str, words: &[&str], sockets: &mut Sockets) -> bool {
    match (name, words) {
        ("listen", [address]) => listen(address, sockets),
        ("listen-mptcp", [address]) => listen_mptcp(address, sockets),
        ("connect-mptcp", [address]) => connect_mptcp(address, sockets),
        ("accept", []) => sockets.stream = Some(sockets.listener().accept().expect("accept").0),
        ("connect", [address]) => sockets.stream = Some(TcpStream::connect(address).expect("connect")),
        ("connect-in-vain", [address]) => connect_in_vain(address),
        ("connect-and-give-up", [address]) => give_up(address),
        ("send", [bytes]) => send(sockets.stream(), number(bytes)),
        ("receive", [bytes]) => receive(sockets.stream(), number(bytes)),
        ("receive-end", []) => assert_eq!(sockets.stream().read(&mut [0]).expect("receive"), 0),
        ("peek", [bytes]) => assert_eq!(sockets.stream().peek(&mut vec![0; number(bytes)]).ok(), Some(number(bytes))),
        ("serve-by-child", [bytes]) => serve_by_child(sockets, number(bytes)),
        ("close", []) => drop(sockets.stream.take()),
        ("own-net", []) => own_net(),
        ("self-pair", []) => self_pair(sockets),
        ("swap", []) => mem::swap(&mut sockets.stream, &mut sockets.other),
        ("snmp", []) => say(&snmp()),
        ("kernel-bytes", []) => say(&kernel_bytes(sockets.stream())),
        ("answer-http", [count]) => talk::answer(sockets.stream(), number(count)),
        ("ask-http", [count]) => talk::ask(sockets.stream(), number(count)),
        ("crowd-http", [count]) => talk::crowd(number(count)),
        ("dns", [count]) => talk::dns(number(count)),
        ("ask-memcached", [rounds]) => memcached::ask(sockets.stream(), number(rounds)),
        ("babble", [count]) => talk::babble(sockets.stream(), number(count), true),
        ("babble-back", [count]) => talk::babble(sockets.stream(), number(count), false),
        ("send-each-way", [bytes]) => ways::send(sockets.stream(), number(bytes)),
        ("receive-each-way", [bytes]) => ways::receive(sockets.stream(), number(bytes)),
        ("serve-by-heir", [bytes]) => serve_by_heir(sockets, number(bytes)),
        ("shut", []) => sockets.stream().shutdown(Shutdown::Write).expect("shutdown"),
        ("until-closed", []) => until_closed(sockets.stream()),
        ("reset", []) => reset(sockets),
        ("deaf", []) => filter(sockets.stream().as_raw_fd(), true),
        ("deaf-listener", []) => filter(sockets.listener().as_raw_fd(), true),
        ("hear", []) => filter(sockets.stream().as_raw_fd(), false),
        ("retransmits", []) => say(&retransmits(sockets.stream()).to_string()),
        ("shell", [program, rest @ ..]) => shell(sockets.stream(), program, rest),
        _ => return false,
    }
    true
}

fn listen(address: &str, sockets: &mut Sockets) {
    let listener = TcpListener::bind((address, 0)).expect("listen");
    say(&listener.local_addr().expect("it is bound").to_string());
    sockets.listener = Some(listener);
}

fn mptcp(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::MPTCP)).expect("make a socket")
}

fn listen_mptcp(address: &str, sockets: &mut Sockets) {
    let address = SocketAddr::new(address.parse().expect("an address"), 0);
    let socket = mptcp(address);
    rustix::net::bind(&socket, &address).and_then(|()| rustix::net::listen(&socket, 8)).expect("listen");
    let listener = TcpListener::from(socket);
    say(&listener.local_addr().expect("it is bound").to_string());
    sockets.listener = Some(listener);
}

fn connect_mptcp(address: &str, sockets: &mut Sockets) {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = mptcp(address);
    rustix::net::connect(&socket, &address).expect("connect");
    sockets.stream = Some(TcpStream::from(socket));
}

pub(crate) fn send(stream: &mut TcpStream, mut bytes: usize) {
    let piece = vec![b'x'; PIECE];
    while bytes > 0 {
        bytes -= stream.write(&piece[..bytes.min(PIECE)]).expect("send");
    }
}

pub(crate) fn receive(stream: &mut TcpStream, mut bytes: usize) {
    let mut piece = vec![0; PIECE];
    while bytes > 0 {
        let count = stream.read(&mut piece[..bytes.min(PIECE)]).expect("receive");
        assert_ne!(count, 0, "the peer closed {bytes} bytes before the end");
        bytes -= count;
    }
}

/// Accepts, and lets a child receive and send the bytes back.
fn serve_by_child(sockets: &mut Sockets, bytes: usize) {
    sockets.stream = Some(sockets.listener().accept().expect("accept").0);
    // SAFETY: there is one thread only.
    let child = unsafe { libc::fork() };
    if child == 0 {
        receive(sockets.stream(), bytes);
        send(sockets.stream(), bytes);
        // SAFETY: no memory is involved.
        unsafe { libc::_exit(0) };
    }
    wait_for(child);
    drop(sockets.stream.take());
    say(&child.to_string());
}

/// A child that was there before the connection receives and sends the bytes back.
fn serve_by_heir(sockets: &mut Sockets, bytes: usize) {
    let heir = ways::Heir::new(|stream| {
        receive(stream, bytes);
        send(stream, bytes);
    });
    let (stream, _) = sockets.listener().accept().expect("accept");
    say(&heir.inherit(&stream).to_string());
}

/// Enters a network namespace of its own, with nothing in it but the loopback interface.
fn own_net() {
    // SAFETY: no memory is involved.
    checked("unshare", unsafe { libc::unshare(libc::CLONE_NEWNET) }.into());
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).expect("a socket");
    // SAFETY: all bytes zero is a valid value; the request reads it.
    unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l'.cast_signed() as _, b'o'.cast_signed() as _]);
        request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
        checked("SIOCSIFFLAGS", libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).into());
    }
}

/// Connects to itself; the client's end first.
fn self_pair(sockets: &mut Sockets) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("it is bound");
    sockets.stream = Some(TcpStream::connect(address).expect("connect"));
    sockets.other = Some(listener.accept().expect("accept").0);
}

/// The kernel's counters of TCP in this network namespace: two lines, made one.
fn snmp() -> String {
    let all = std::fs::read_to_string("/proc/self/net/snmp").expect("/proc");
    all.lines().filter(|line| line.starts_with("Tcp:")).collect::<Vec<_>>().join(" ")
}

/// Payload bytes that the kernel sent and received on a connection, as sock_diag(7) tells, too.
fn kernel_bytes(stream: &TcpStream) -> String {
    // struct tcp_info (include/uapi/linux/tcp.h) as of Linux 4.19.
    const RECEIVED: usize = 128;
    const SENT: usize = 200;
    const AGAIN: usize = 208;
    let mut info = [0_u8; 256];
    let mut size = libc::socklen_t::try_from(info.len()).expect("it is small");
    // SAFETY: the kernel writes at most `size` bytes.
    let result = unsafe {
        let to = info.as_mut_ptr().cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut size)
    };
    checked("getsockopt", result.into());
    assert!(size as usize >= AGAIN + 8, "this kernel tells {size} bytes only");
    let number = |at: usize| u64::from_ne_bytes(info[at..at + 8].try_into().expect("eight bytes"));
    format!("{} {}", number(SENT) - number(AGAIN), number(RECEIVED))
}

/// A socket whose request to connect is repeated once only.
fn impatient(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("make a socket");
    set_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_SYNCNT, &1_i32);
    socket
}

fn set_option<T>(socket: i32, level: i32, option: i32, value: &T) {
    let size = libc::socklen_t::try_from(size_of::<T>()).expect("it is small");
    // SAFETY: the value outlives the call, which copies it.
    let result = unsafe { libc::setsockopt(socket, level, option, (&raw const *value).cast(), size) };
    checked("setsockopt", result.into());
}

/// Tries to connect, and prints the error's number and how often the kernel asked again. (Whoever waits in `connect`
/// cannot tell that number: when the call fails the kernel has cleared it.)
fn connect_in_vain(address: &str) {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = impatient(address);
    rustix::io::ioctl_fionbio(&socket, true).expect("set O_NONBLOCK");
    let error = rustix::net::connect(&socket, &address).expect_err("nobody should answer");
    if error != rustix::io::Errno::INPROGRESS {
        return say(&format!("{} 0", error.raw_os_error()));
    }
    let mut wanted = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    checked("poll", unsafe { libc::poll(&raw mut wanted, 1, -1) }.into());
    let again = retransmits(&socket);
    let error = rustix::net::sockopt::socket_error(&socket).expect("ask for the error").expect_err("it failed");
    say(&format!("{} {again}", error.raw_os_error()));
}

/// Begins to connect, and closes before anybody has answered.
fn give_up(address: &str) {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = impatient(address);
    rustix::io::ioctl_fionbio(&socket, true).expect("set O_NONBLOCK");
    assert_eq!(rustix::net::connect(&socket, &address), Err(rustix::io::Errno::INPROGRESS));
    drop(socket);
}

/// Closes in a way that tells the peer by a reset.
fn reset(sockets: &mut Sockets) {
    let stream = sockets.stream.take().expect("a stream");
    rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).expect("set SO_LINGER");
}

/// Lets a socket drop every packet that comes for it, or not any more: loss without a device that loses.
fn filter(socket: i32, drop_all: bool) {
    let mut nothing = libc::sock_filter { code: 0x06 /* BPF_RET | BPF_K */, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    let option = if drop_all { libc::SO_ATTACH_FILTER } else { libc::SO_DETACH_FILTER };
    set_option(socket, libc::SOL_SOCKET, option, &program);
}

/// Segments that were sent again, as the kernel counts for this socket.
fn retransmits(stream: &impl AsRawFd) -> u32 {
    info(stream).tcpi_total_retrans
}

/// Waits until the kernel is done with the connection, also when there is still something to be read.
fn until_closed(stream: &TcpStream) {
    const CLOSE: u8 = 7;
    while info(stream).tcpi_state != CLOSE {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// What the kernel knows of a connection.
fn info(stream: &impl AsRawFd) -> libc::tcp_info {
    // SAFETY: all bytes zero is a valid value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of_val(&info)).expect("it is small");
    // SAFETY: the kernel writes at most `size` bytes.
    let result = unsafe {
        let to = (&raw mut info).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut size)
    };
    checked("getsockopt", result.into());
    info
}

/// Becomes `program`, with the connection as its input and output.
fn shell(stream: &TcpStream, program: &str, arguments: &[&str]) {
    let end = || {
        let copy = stream.try_clone().expect("duplicate the socket");
        // SAFETY: the copy gives its descriptor up.
        unsafe { OwnedFd::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(copy)) }
    };
    let error = Command::new(program).args(arguments).stdin(end()).stdout(end()).stderr(end()).exec();
    panic!("exec {program}: {error}");
}
