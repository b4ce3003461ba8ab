//! A machine's load: processes that keep a CPU busy, and processes that do a little of everything.

use std::{
    fs::File,
    hint::black_box,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;

/// Between two times that a member of a group does something.
const NAP: Duration = Duration::from_millis(500);

static ENDED: AtomicBool = AtomicBool::new(false);

/// Notes the end of standard input.
fn listen() {
    thread::spawn(|| {
        // An error is an end, too.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    });
}

/// System calls, one after the other.
pub(super) fn busy() -> Result<()> {
    listen();
    while !ENDED.load(Ordering::Relaxed) {
        for _ in 0..1_000 {
            black_box(rustix::process::getppid());
        }
    }
    Ok(())
}

/// A little of everything that is counted by group, again and again.
pub(super) fn member() -> Result<()> {
    listen();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    while !ENDED.load(Ordering::Relaxed) {
        let mut byte = [0];
        File::open("/dev/zero")?.read_exact(&mut byte)?;
        File::options().write(true).open("/dev/null")?.write_all(&byte)?;
        // An error is counted as well.
        drop(File::open("/nonexistent"));
        let mut near = TcpStream::connect(address)?;
        let (mut far, _) = listener.accept()?;
        near.write_all(&byte)?;
        far.read_exact(&mut byte)?;
        thread::sleep(NAP);
    }
    Ok(())
}
