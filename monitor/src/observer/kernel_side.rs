//! The kernel programs with everything that is read from them.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::maps::{PerCpuArray, RingBuf};
use monitor_common::{
    loss::Loss,
    record::{Kind, Ring},
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
}

impl KernelSide {
    /// Loads and attaches.
    ///
    /// # Errors
    /// When nothing can be loaded at all.
    pub fn load(btf: &Path, config: &Config) -> Result<Self, BpfError> {
        let kernel = Kernel::look(btf, &config.kernel.disable_hooks)?;
        Self::open(loader::load(&kernel, &settings(config))?)
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
        Ok(Self { loaded, slots, syscalls, tcp, block_io, undecodable, security, telemetry, lost, ended: 0 })
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

    /// Takes up to `limit` records out of each ring. Births and deaths go into the table at once; execs, too, and to the
    /// caller.
    ///
    /// The security ring is taken first and used last: whatever was born before an exec was written is then in the
    /// table before the exec is judged.
    pub fn drain(&mut self, limit: usize, table: &mut ProcessTable) -> Batch {
        let mut execs = Vec::new();
        let undecodable = &mut self.undecodable;
        let mut records = self.security.drain(limit, |_, record| match exec::decode(record) {
            Ok(exec) => execs.push(exec),
            Err(error) => {
                undecodable[Ring::Security as usize] += 1;
                warn!(%error, "an exec record cannot be decoded");
            }
        });
        let ended = &mut self.ended;
        records += self.telemetry.drain(limit, |header, record| match Kind::from_number(header.kind) {
            Some(Kind::Fork) if let Ok((fork, _)) = ForkRecord::read_from_prefix(record) => table.on_fork(&fork),
            Some(Kind::Exit) if let Ok((exit, _)) = ExitRecord::read_from_prefix(record) => {
                *ended += 1;
                table.on_exit(&exit);
            }
            _ => {
                undecodable[Ring::Telemetry as usize] += 1;
                warn!(kind = header.kind, length = record.len(), "a record cannot be decoded");
            }
        });
        for exec in &execs {
            table.on_exec(exec);
        }
        Batch { records, execs }
    }

    /// Have so many processes ended that slots may run out before the counters are added up?
    pub fn crowded(&self) -> bool {
        self.ended > self.slots.capacity() / CROWDED
    }

    /// Adds the counters up, and takes the slots of the dead back.
    pub fn fold(&mut self, table: &mut ProcessTable) {
        self.ended = 0;
        self.slots.look(table);
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
        if let Some(syscalls) = &mut self.syscalls {
            syscalls.release(&due);
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.release(&due);
        }
        if let Some(block_io) = &mut self.block_io {
            block_io.release(&due);
        }
        for slot in due {
            slots.give_back(slot);
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
