//! The thread that takes what was said out of the ring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::maps::{HashMap as KernelHash, MapData, RingBuf};
use monitor_common::record::Ring;
use monitor_common::signals::{l7::Turn, tcp::Socket};
use zerocopy::FromBytes as _;

use super::conversations::Conversations;
use super::tally::Tallies;
use super::tls;
use crate::bpf::{
    BpfError,
    drain::{self, Account, Drain, Pace},
    loader::Loaded,
    maps,
    wall::since_boot,
};

/// Between two times that conversations are told the time.
const TICK_NS: u64 = 500_000_000;

/// What the thread has heard.
#[derive(Default)]
pub(super) struct Heard {
    /// Numbers since they were last taken.
    pub(super) tallies: Tallies,
    /// What came out of the ring in all.
    pub(super) account: Account,
    /// Connections listened to.
    pub(super) connections: usize,
    /// Connections that found no room.
    pub(super) refused: u64,
    /// Connections of which nothing is known.
    pub(super) unknown: u64,
    /// Connections that are encrypted.
    pub(super) encrypted: u64,
    /// Connections heard inside TLS: of known peers, and of unknown ones.
    pub(super) inside_tls: [u64; 2],
    /// Records that could not be decoded.
    pub(super) undecodable: u64,
}

/// What the kernel programs know of sockets, by address.
type Sockets = KernelHash<MapData, u64, [u8; size_of::<Socket>()]>;

fn turn(sockets: &Sockets, sock: u64) -> Option<Turn> {
    // A socket that was closed is not there any more.
    let bytes = sockets.get(&sock, 0).ok()?;
    Socket::read_from_bytes(&bytes).ok().map(|socket| socket.turn)
}

/// The thread.
pub(super) struct Listener {
    heard: Arc<Mutex<Heard>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(super) fn start(loaded: &mut Loaded) -> Result<Self, BpfError> {
        let ring: RingBuf<_> = loaded.take(drain::map(Ring::Requests))?;
        let sockets: Sockets = loaded.take(maps::TCP_SOCKETS)?;
        let inside_tls: tls::Kept = loaded.share(maps::TLS_CONVERSATIONS)?;
        let (heard, stop) = (Arc::<Mutex<Heard>>::default(), Arc::<AtomicBool>::default());
        let (of_thread, stopped) = (Arc::clone(&heard), Arc::clone(&stop));
        let run = move || listen(Drain::new(ring), &(sockets, inside_tls), &of_thread, &stopped);
        let thread = std::thread::Builder::new().name("monitor-l7".to_owned()).spawn(run).map_err(BpfError::Thread)?;
        Ok(Self { heard, stop, thread: Some(thread) })
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers since the last time.
    pub(super) fn take(&self) -> Tallies {
        self.heard().tallies.take()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panicked or it did not: nothing is left to be done about it.
            let _ = thread.join();
        }
    }
}

fn listen(mut ring: Drain, kernel: &(Sockets, tls::Kept), heard: &Mutex<Heard>, stop: &AtomicBool) {
    let mut conversations = Conversations::default();
    let (mut pace, mut ticked) = (Pace::new(), since_boot());
    while !stop.load(Ordering::Relaxed) {
        let taken = {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let tallies = &mut heard.tallies;
            let taken = ring.drain(Pace::BATCH, |header, record| conversations.take(header, record, tallies));
            let now = since_boot();
            if now - ticked >= TICK_NS {
                ticked = now;
                conversations.tick(now, tallies, |key| turn(&kernel.0, key).or_else(|| tls::turn(&kernel.1, key)));
            }
            heard.account = ring.account();
            heard.connections = conversations.len();
            (heard.refused, heard.encrypted) = (conversations.refused, conversations.encrypted);
            (heard.unknown, heard.undecodable) = (conversations.unknown, conversations.undecodable);
            heard.inside_tls = conversations.inside_tls;
            taken
        };
        let rest = pace.next(taken);
        if rest > Duration::ZERO {
            std::thread::sleep(rest);
        }
    }
}
