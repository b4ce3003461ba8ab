//! What is said inside TLS: finds the libraries that processes use, and puts the kernel's programs on their functions. A
//! thread of its own: files are opened here, and the kernel changes every process that has a library in memory.

mod elf;
mod finder;
mod inner;
mod library;
mod maps;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    time::{Duration, Instant},
};

use aya::maps::{HashMap as KernelHash, MapData, Queue};
use monitor_common::{
    limits,
    signals::l7::{TlsConversation, Turn, tls_process},
};
use tracing::{debug, warn};
use zerocopy::FromBytes as _;

use crate::{
    bpf::{BpfError, loader::Loaded, maps as kernel_maps},
    metrics::{Families, Kind, Metric},
};

use finder::{Finder, Standing};
use library::Programs;

/// Processes that have executed a program and of which the thread has not heard yet.
const QUEUE: usize = 4_096;
/// Between two looks at processes that did nothing: who loads a library later is found so.
const WALK: Duration = Duration::from_millis(100);
/// Between two looks at who is gone.
const SWEEP: Duration = Duration::from_secs(5);
/// Of the time, the thread rests this many parts for one that it works.
const REST: u32 = 20;
/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(200);
/// The longest it works without a rest.
const WORK: Duration = Duration::from_millis(5);
/// How long the end of the thread is waited for: the kernel takes programs off one library after the other, and it may hang
/// in a file system that does not answer.
const END: Duration = Duration::from_secs(2);

static LIBRARIES: Metric = Metric {
    name: "monitor_l7_tls_libraries",
    help: "Files of TLS libraries, and programs with one in them, whose functions are listened to.",
    kind: Kind::Gauge,
    labels: &["library"],
};
static WITHOUT: Metric = Metric {
    name: "monitor_l7_tls_unattached_total",
    help: "Files of TLS libraries that cannot be listened to, and processes that were not looked at for one (not_looked_at), by reason.",
    kind: Kind::Counter,
    labels: &["reason"],
};

/// What this module publishes.
pub const METRICS: &[&Metric] = &[&LIBRARIES, &WITHOUT];

/// Conversations inside TLS in the kernel, by key.
pub(super) type Kept = KernelHash<MapData, u64, [u8; size_of::<TlsConversation>()]>;
/// Calls in progress in the kernel, by thread.
type Calls = KernelHash<MapData, u64, [u8; 48]>;

/// Where a conversation inside TLS is in the kernel.
pub(super) fn turn(kept: &Kept, key: u64) -> Option<Turn> {
    let bytes = kept.get(&key, 0).ok()?;
    TlsConversation::read_from_bytes(&bytes).ok().map(|conversation| conversation.turn)
}

/// The thread.
pub(super) struct Tls {
    executed: Option<SyncSender<u32>>,
    missed: Arc<AtomicU64>,
    standing: Arc<Mutex<Standing>>,
    ended: Receiver<()>,
}

impl Tls {
    /// Starts it; `None`: the kernel has not taken the programs, or they are not wanted.
    pub(super) fn start(loaded: &mut Loaded) -> Result<Option<Self>, BpfError> {
        let Some(programs) = Programs::of(loaded) else { return Ok(None) };
        hand_out_scratches(loaded)?;
        let calls: Calls = loaded.take(kernel_maps::TLS_CALLS)?;
        let kept: Kept = loaded.share(kernel_maps::TLS_CONVERSATIONS)?;
        let (executed, heard) = mpsc::sync_channel(QUEUE);
        let (ends, ended) = mpsc::sync_channel(1);
        let (missed, standing) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Standing>>::default());
        let work = Work {
            finder: Finder::new(programs),
            tables: Tables { calls, kept },
            heard,
            missed: Arc::clone(&missed),
            standing: Arc::clone(&standing),
        };
        let run = move || {
            work.run();
            drop(ends);
        };
        std::thread::Builder::new().name("monitor-tls".to_owned()).spawn(run).map_err(BpfError::Thread)?;
        Ok(Some(Self { executed: Some(executed), missed, standing, ended }))
    }

    /// A process has executed a program.
    pub(super) fn executed(&self, pid: u32) {
        if self.executed.as_ref().is_some_and(|to| to.try_send(pid).is_err()) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn collect(&self, families: &mut Families) {
        let standing = lock(&self.standing);
        for (library, count) in &standing.libraries {
            families.gauge(&LIBRARIES, &[library], *count as f64);
        }
        for (why, count) in &standing.without {
            families.counter(&WITHOUT, &[why.name()], *count as f64);
        }
        families.counter(&WITHOUT, &["not_looked_at"], standing.missed as f64);
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.executed = None;
        // An error: it has ended.
        if self.ended.recv_timeout(END) == Err(RecvTimeoutError::Timeout) {
            warn!("the thread that looks for TLS libraries does not end; maybe it hangs in a file system");
        }
    }
}

fn lock(standing: &Mutex<Standing>) -> MutexGuard<'_, Standing> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills the queue of what records are put together in.
fn hand_out_scratches(loaded: &mut Loaded) -> Result<(), BpfError> {
    let name = kernel_maps::TLS_FREE;
    let mut free: Queue<_, u32> = loaded.take(name)?;
    for index in 0..limits::TLS_SCRATCHES {
        free.push(index, 0).map_err(|source| BpfError::Map { name, source })?;
    }
    Ok(())
}

/// What the thread has.
struct Work {
    finder: Finder,
    tables: Tables,
    heard: Receiver<u32>,
    missed: Arc<AtomicU64>,
    standing: Arc<Mutex<Standing>>,
}

impl Work {
    fn run(mut self) {
        let mut walk = Instant::now();
        let mut sweep = walk + SWEEP;
        self.finder.look_all(walk);
        loop {
            *lock(&self.standing) = self.finder.standing();
            let next = self.finder.next().unwrap_or(walk).min(walk);
            match self.heard.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(pid) => self.finder.executed(pid, Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let begin = Instant::now();
            while let Ok(pid) = self.heard.try_recv() {
                self.finder.executed(pid, begin);
            }
            self.finder.missed(self.missed.swap(0, Ordering::Relaxed));
            while begin.elapsed() < WORK && self.finder.look_due(begin) {}
            if begin >= walk {
                self.finder.look_next(begin);
                walk = begin + WALK;
            }
            if begin >= sweep {
                self.finder.let_go(begin);
                self.tables.sweep();
                sweep = begin + SWEEP;
            }
            std::thread::sleep((begin.elapsed() * REST).min(REST_MAX));
        }
    }
}

/// The kernel's tables, from which somebody has to take what threads and processes left that were killed.
struct Tables {
    calls: Calls,
    kept: Kept,
}

impl Tables {
    fn sweep(&mut self) {
        let alive = |tgid: u32, tid: u32| std::fs::exists(format!("/proc/{tgid}/task/{tid}")).unwrap_or(true);
        let calls: HashSet<u64> = self.calls.keys().flatten().collect();
        for thread in calls.into_iter().filter(|thread| !alive((thread >> 32) as u32, *thread as u32)) {
            if let Err(error) = self.calls.remove(&thread) {
                debug!(%error, "a call that never returns is gone already");
            }
        }
        let kept: HashSet<u64> = self.kept.keys().flatten().collect();
        for key in kept.into_iter().filter(|key| !alive(tls_process(*key), tls_process(*key))) {
            if let Err(error) = self.kept.remove(&key) {
                debug!(%error, "a conversation of a process that is gone was over already");
            }
        }
    }
}

/// What can be listened to on this host, for `doctor`: attaches to all of it, once.
pub fn survey(loaded: &Loaded) -> Option<String> {
    let mut finder = Finder::new(Programs::of(loaded)?);
    finder.look_all(Instant::now());
    let standing = finder.standing();
    let libraries: Vec<String> = standing.libraries.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let without: Vec<String> = standing
        .without
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(why, count)| format!("{count} {}", why.name()))
        .collect();
    let without = if without.is_empty() { String::new() } else { format!("; not: {}", without.join(", ")) };
    Some(format!("{} can be listened to{without}", libraries.join(", ")))
}
