//! The kernel programs with everything that is read from them.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::maps::{PerCpuArray, RingBuf};
use monitor_common::{
    loss::Loss,
    process_slot::SlotRef,
    record::{Header, Kind, Ring},
    signals::process::{ExitRecord, ForkRecord},
};
use tokio::io::unix::AsyncFd;
use tracing::{debug, warn};
use zerocopy::FromBytes as _;

use crate::{
    bpf::{
        BpfError,
        drain::{self, Account, Drain},
        kernel::Kernel,
        loader::{self, Loaded, Settings},
        maps,
        wall::since_boot,
    },
    config::{Config, KernelLevel},
    processes::{GroupId, ProcessId, ProcessTable},
    signals::{
        SIGNALS,
        block_io::BlockIo,
        exec::{self, Exec},
        syscalls::Syscalls,
        tcp::Tcp,
    },
    slots::Slots,
    sys,
};

/// Part of the slots that may turn over before the counters are added up ahead of time.
const CROWDED: usize = 16;

/// What came out of the rings at one look.
pub struct Batch {
    /// Records, of all kinds.
    pub records: usize,
    /// Programs executed, to be judged.
    pub execs: Vec<Exec>,
}

/// The kernel programs with everything that is read from them. Dropping it detaches them.
pub struct KernelSide {
    /// The programs and how their signals fare.
    pub loaded: Loaded,
    /// Process slots.
    pub slots: Slots,
    /// System calls.
    pub syscalls: Option<Syscalls>,
    /// TCP.
    pub tcp: Option<Tcp>,
    /// Block requests.
    pub block_io: Option<BlockIo>,
    /// Records that were long enough for their header but not for their kind.
    pub undecodable: [u64; Ring::ALL.len()],
    security: Drain,
    telemetry: Drain,
    lost: PerCpuArray<aya::maps::MapData, u64>,
    /// Processes that ended since the counters were added up.
    ended: usize,
    /// Execs that came out of their ring before what was born before them.
    waiting: Vec<Exec>,
}

/// A birth or a death.
enum Life {
    Fork(ForkRecord),
    Exit(ExitRecord),
}

impl Life {
    fn decode(header: &Header, record: &[u8]) -> Option<Self> {
        match Kind::from_number(header.kind)? {
            Kind::Fork => ForkRecord::read_from_prefix(record).ok().map(|(fork, _)| Self::Fork(fork)),
            Kind::Exit => ExitRecord::read_from_prefix(record).ok().map(|(exit, _)| Self::Exit(exit)),
            Kind::Exec | Kind::ExecLong | Kind::Activity => None,
        }
    }

    const fn time_ns(&self) -> u64 {
        match self {
            Self::Fork(fork) => fork.header.time_ns,
            Self::Exit(exit) => exit.header.time_ns,
        }
    }

    /// Returns how many processes ended by it.
    fn apply(&self, table: &mut ProcessTable) -> usize {
        match self {
            Self::Fork(fork) => table.on_fork(fork),
            Self::Exit(exit) => {
                table.on_exit(exit);
                return 1;
            }
        }
        0
    }
}

impl KernelSide {
    /// Loads and attaches.
    ///
    /// # Errors
    /// When nothing can be loaded at all.
    pub fn load(btf: &Path, config: &Config) -> Result<Self, BpfError> {
        let mut kernel = Kernel::look(btf, &config.kernel.disable_hooks)?;
        Self::open(loader::load(&mut kernel, &settings(config))?)
    }

    fn open(mut loaded: Loaded) -> Result<Self, BpfError> {
        let slots = Slots::new(&mut loaded)?;
        let syscalls = if loaded.runs("syscalls") { Some(Syscalls::new(&mut loaded)?) } else { None };
        let tcp = if loaded.runs("tcp") { Some(Tcp::new(&mut loaded)?) } else { None };
        let block_io = if loaded.runs("block_io") { Some(BlockIo::new(&mut loaded)?) } else { None };
        let ring = |loaded: &mut Loaded, ring| -> Result<Drain, BpfError> {
            let map: RingBuf<_> = loaded.take(drain::map(ring))?;
            Ok(Drain::new(map))
        };
        let (security, telemetry) = (ring(&mut loaded, Ring::Security)?, ring(&mut loaded, Ring::Telemetry)?);
        let lost = loaded.take(maps::LOST)?;
        let undecodable = [0; Ring::ALL.len()];
        Ok(Self {
            loaded,
            slots,
            syscalls,
            tcp,
            block_io,
            undecodable,
            security,
            telemetry,
            lost,
            ended: 0,
            waiting: Vec::new(),
        })
    }

    /// Becomes readable when a ring is half full.
    pub fn waker(&self) -> Option<[AsyncFd<OwnedFd>; 2]> {
        let watch = |drain: &Drain| -> std::io::Result<AsyncFd<OwnedFd>> {
            sys::watch(drain.ring().as_fd().try_clone_to_owned()?)
        };
        match (watch(&self.security), watch(&self.telemetry)) {
            (Ok(security), Ok(telemetry)) => Some([security, telemetry]),
            (Err(error), _) | (_, Err(error)) => {
                warn!(%error, "the rings cannot be waited for: they are looked at from time to time only");
                None
            }
        }
    }

    /// Takes up to `limit` records out of each ring, and puts births, execs and deaths into the table in the order in
    /// which they happened: a child is what its parent was at that time. Execs go to the caller, too.
    ///
    /// The rings are not read at one moment. Execs are read first, so that whatever was born before one of them is known;
    /// and again last, so that whatever was executed before one of the births is known. Of the latter those that happened
    /// after all births read wait for the next time: somebody may have been born in between.
    pub fn drain(&mut self, limit: usize, table: &mut ProcessTable) -> Batch {
        let mut execs = std::mem::take(&mut self.waiting);
        let mut records = self.execs(limit, &mut execs);
        let mut lives = Vec::new();
        records += self.lives(limit, &mut lives);
        let all = lives.len() < limit;
        let mut later = Vec::new();
        records += self.execs(limit, &mut later);
        let newest = lives.iter().map(Life::time_ns).max().unwrap_or(0);
        if all {
            let (known, waiting) = later.into_iter().partition(|exec| exec.time_ns <= newest);
            (later, self.waiting) = (known, waiting);
        }
        execs.append(&mut later);
        // Each CPU's records are in order already, and so is nearly everything else.
        execs.sort_by_key(|exec| exec.time_ns);
        lives.sort_by_key(Life::time_ns);
        let mut lives = lives.into_iter().peekable();
        for exec in &execs {
            while let Some(life) = lives.next_if(|life| life.time_ns() <= exec.time_ns) {
                self.ended += life.apply(table);
            }
            table.on_exec(exec);
        }
        for life in lives {
            self.ended += life.apply(table);
        }
        Batch { records, execs }
    }

    fn execs(&mut self, limit: usize, into: &mut Vec<Exec>) -> usize {
        let undecodable = &mut self.undecodable[Ring::Security as usize];
        self.security.drain(limit, |_, record| match exec::decode(record) {
            Ok(exec) => into.push(exec),
            Err(error) => {
                *undecodable += 1;
                warn!(%error, "an exec record cannot be decoded");
            }
        })
    }

    fn lives(&mut self, limit: usize, into: &mut Vec<Life>) -> usize {
        let undecodable = &mut self.undecodable[Ring::Telemetry as usize];
        self.telemetry.drain(limit, |header, record| match Life::decode(header, record) {
            Some(life) => into.push(life),
            None => {
                *undecodable += 1;
                warn!(kind = header.kind, length = record.len(), "a record cannot be decoded");
            }
        })
    }

    /// Have so many processes ended that slots may run out before the counters are added up?
    pub fn crowded(&self) -> bool {
        self.ended > self.slots.capacity() / CROWDED
    }

    /// Has a process ended since the counters were added up? Who sees its end expects all that it did.
    pub fn behind(&self) -> bool {
        self.ended > 0
    }

    /// Adds the counters up, and takes the slots of the dead back.
    pub fn fold(&mut self, table: &mut ProcessTable) {
        self.ended = 0;
        self.slots.look(table, since_boot());
        let (slots, groups) = (&mut self.slots, table.groups_mut());
        if let Some(syscalls) = &mut self.syscalls {
            syscalls.fold(slots, groups);
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.fold(slots, groups);
        }
        if let Some(block_io) = &mut self.block_io {
            block_io.fold(slots, groups);
        }
        let due = slots.due(since_boot());
        if due.is_empty() {
            return;
        }
        debug!(count = due.len(), "takes slots back");
        let retired: Vec<SlotRef> = due.iter().map(|taken| taken.slot).collect();
        for slot in &retired {
            slots.retire(*slot);
        }
        if let Some(syscalls) = &mut self.syscalls {
            syscalls.release(&retired);
            syscalls.ended(due.iter().filter_map(|taken| taken.process));
        }
        if let Some(tcp) = &mut self.tcp {
            // Packets do not end with their process: what they counted up to now is in, the next counts for nobody.
            tcp.fold_slots(&due, groups);
            tcp.release(&retired);
        }
        if let Some(block_io) = &mut self.block_io {
            block_io.release(&retired);
        }
        for taken in &due {
            slots.give_back(taken);
        }
    }

    /// Forgets groups that lost their series, and processes that are no longer known.
    pub fn expire(&mut self, groups: &[GroupId], known: impl Fn(ProcessId) -> bool) {
        if let Some(syscalls) = &mut self.syscalls {
            syscalls.expire(groups, &known);
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.expire(groups, &known);
        }
        if let Some(block_io) = &mut self.block_io {
            block_io.expire(groups, &known);
        }
    }

    /// What came out of a ring, and what did not.
    pub fn account(&self, ring: Ring) -> Account {
        match ring {
            Ring::Security => self.security.account(),
            Ring::Telemetry => self.telemetry.account(),
        }
    }

    /// How often the kernel programs lost something for this cause.
    pub fn lost(&self, loss: Loss) -> u64 {
        self.lost.get(&(loss as u32), 0).map_or(0, |cpus| cpus.iter().sum())
    }
}

/// Waits until a ring is half full; for ever when that cannot be told.
pub(super) async fn woken(waker: Option<&[AsyncFd<OwnedFd>; 2]>) {
    let Some([security, telemetry]) = waker else { return std::future::pending().await };
    let ready = tokio::select! {
        ready = security.readable() => ready,
        ready = telemetry.readable() => ready,
    };
    match ready {
        Ok(mut guard) => guard.clear_ready(),
        // The look every few milliseconds goes on without it.
        Err(_) => std::future::pending().await,
    }
}

fn settings(config: &Config) -> Settings {
    let wanted = |signal: &str| match signal {
        "syscalls" => config.signals.syscalls,
        "tcp" => config.signals.tcp,
        "block_io" => config.signals.block_io,
        "process" => config.signals.process,
        "host" => config.signals.host,
        // What rules need is not switched off as a signal: rules are.
        _ => true,
    };
    Settings {
        signals: SIGNALS.iter().map(|signal| signal.name).filter(|name| wanted(name)).collect(),
        timing: config.syscalls.timing,
        may_shed: config.budget.measured().is_some(),
        slots: config.processes.slots,
        security_ring: u32::try_from(config.kernel.security_ring).unwrap_or(u32::MAX),
        telemetry_ring: u32::try_from(config.kernel.telemetry_ring).unwrap_or(u32::MAX),
        log_level: log_level(config.log.kernel),
    }
}

/// The level as `aya_log_common::Level` numbers it; 0 lets nothing through.
const fn log_level(level: KernelLevel) -> u8 {
    match level {
        KernelLevel::Off => 0,
        KernelLevel::Error => 1,
        KernelLevel::Warn => 2,
        KernelLevel::Info => 3,
        KernelLevel::Debug => 4,
        KernelLevel::Trace => 5,
    }
}
