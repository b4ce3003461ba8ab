//! Workloads over TCP on the loopback device. Both ends are threads of one process, on one CPU.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::Result;
use rustix::net::sockopt::set_socket_linger;

use super::workloads::{Cost, chunks};

/// What bulk sends at once.
const PIECE: usize = 64 << 10;

/// Many short connections: connect, one byte there and back, reset. No connection is left waiting, so that ports do not
/// run out.
pub(super) fn connections() -> Result<Cost> {
    against(
        |mut peer| {
            let mut byte = [0];
            // A connection without a byte ends the server.
            peer.read_exact(&mut byte).and_then(|()| peer.write_all(&byte)).is_ok()
        },
        |address| {
            chunks(100, 40, || {
                let mut peer = TcpStream::connect(address)?;
                let mut byte = [1];
                peer.write_all(&byte)?;
                peer.read_exact(&mut byte)?;
                set_socket_linger(&peer, Some(Duration::ZERO))?;
                Ok(())
            })
        },
    )
}

/// One byte there and back on a connection that stays: four system calls and two wake-ups.
pub(super) fn ping_pong() -> Result<Cost> {
    against(
        |mut peer| {
            let mut byte = [0];
            let turn =
                |peer: &mut TcpStream, byte: &mut [u8]| peer.read_exact(byte).and_then(|()| peer.write_all(byte));
            peer.set_nodelay(true).is_ok_and(|()| {
                while turn(&mut peer, &mut byte).is_ok() {}
                false
            })
        },
        |address| {
            let mut peer = TcpStream::connect(address)?;
            peer.set_nodelay(true)?;
            let mut byte = [1];
            chunks(100, 100, || {
                peer.write_all(&byte)?;
                peer.read_exact(&mut byte)?;
                Ok(())
            })
        },
    )
}

/// 64 KiB there, as fast as it goes.
pub(super) fn bulk() -> Result<Cost> {
    against(
        |mut peer| {
            let mut piece = vec![0; PIECE];
            while peer.read(&mut piece).is_ok_and(|length| length > 0) {}
            false
        },
        |address| {
            let mut peer = TcpStream::connect(address)?;
            let piece = vec![1; PIECE];
            chunks(100, 40, || Ok(peer.write_all(&piece)?))
        },
    )
}

/// Runs `client` against a server that hands each connection to `serve`, until that says that it was the last.
fn against(serve: impl Fn(TcpStream) -> bool + Send, client: impl FnOnce(SocketAddr) -> Result<Cost>) -> Result<Cost> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        scope.spawn(move || while listener.accept().is_ok_and(|(peer, _)| serve(peer)) {});
        let result = client(address);
        // One that says nothing is the last.
        drop(TcpStream::connect(address));
        result
    })
}
