//! The workloads. Each is run in chunks, and the chunk at the 20th percentile speaks for the run: on a shared machine
//! the slower ones tell about the neighbours, and the fastest is an accident.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::net::sockopt::set_socket_linger;

/// A program that does nothing, to be found on every Linux.
const TRUE: &str = "/bin/true";

/// Nanoseconds an operation of the workload called `name`.
pub(super) fn run(name: &str) -> Result<f64> {
    match name {
        "getppid" => getppid(),
        "read+write" => read_write(),
        "open+close" => open_close(),
        "fork+exec" => fork_exec(),
        "tcp" => tcp(),
        _ => bail!("no workload {name:?}"),
    }
}

fn getppid() -> Result<f64> {
    chunks(300, 1_000, || {
        std::hint::black_box(rustix::process::getppid());
        Ok(())
    })
}

/// One byte from /dev/zero to /dev/null: two system calls.
fn read_write() -> Result<f64> {
    let (source, sink) = (File::open("/dev/zero")?, File::options().write(true).open("/dev/null")?);
    let mut byte = [0];
    chunks(300, 500, || {
        rustix::io::read(&source, &mut byte)?;
        rustix::io::write(&sink, &byte)?;
        Ok(())
    })
}

fn open_close() -> Result<f64> {
    chunks(200, 300, || {
        File::open(TRUE)?;
        Ok(())
    })
}

fn fork_exec() -> Result<f64> {
    chunks(30, 12, || {
        let status = Command::new(TRUE).env_clear().status().context("start /bin/true")?;
        if status.success() { Ok(()) } else { bail!("{TRUE}: {status}") }
    })
}

/// Connect, one byte there and back, reset: no connection is left waiting, so that ports do not run out.
fn tcp() -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        scope.spawn(|| serve(&listener));
        let result = chunks(100, 40, || {
            let mut peer = TcpStream::connect(address)?;
            let mut byte = [1];
            peer.write_all(&byte)?;
            peer.read_exact(&mut byte)?;
            set_socket_linger(&peer, Some(Duration::ZERO))?;
            Ok(())
        });
        // A connection without a byte ends the server.
        drop(TcpStream::connect(address));
        result
    })
}

/// Sends each connection its first byte back, until one has none.
fn serve(listener: &TcpListener) {
    let mut byte = [0];
    while let Ok((mut peer, _)) = listener.accept() {
        if peer.read_exact(&mut byte).is_err() || peer.write_all(&byte).is_err() {
            return;
        }
    }
}

/// The 20th percentile of `count` chunks of `size` operations, in nanoseconds an operation. A tenth is run before, to
/// warm caches and the observer's tables.
fn chunks(count: usize, size: usize, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(count);
    for chunk in 0..count + count / 10 {
        let begin = Instant::now();
        for _ in 0..size {
            operation()?;
        }
        if chunk >= count / 10 {
            times.push(begin.elapsed());
        }
    }
    times.sort_unstable();
    let chosen = times.get(count / 5).context("no chunks")?;
    Ok(chosen.as_nanos() as f64 / size as f64)
}
