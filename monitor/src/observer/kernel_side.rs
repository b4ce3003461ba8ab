//! The kernel programs with everything that is read from them.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::maps::{PerCpuArray, RingBuf};
use monitor_common::{
    loss::Loss,
    process_slot::SlotRef,
    record::{Header, Ring},
};
use tokio::io::unix::AsyncFd;
use tracing::{debug, warn};

use super::{
    happened::Happened,
    order::{Order, Rings},
};
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
        activity::{Activities, Selection, WatchedPaths},
        block_io::BlockIo,
        exec_kill::ExecKill,
        l7::L7,
        protect::Protect,
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
    /// How many records that were.
    pub taken: usize,
    /// What happened, in the order of time. Whoever goes through it has the process table as it was at each moment, by
    /// [`Happened::apply`].
    pub happened: Vec<Happened>,
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
    /// Requests.
    pub l7: Option<L7>,
    /// Activities.
    pub activity: Option<Activities>,
    /// What kills at exec.
    pub exec_kill: Option<ExecKill>,
    /// What keeps others off.
    pub protect: Option<Protect>,
    /// The order of what comes out of the rings.
    pub order: Order,
    security: Drain,
    telemetry: Drain,
    bulk: Drain,
    lost: PerCpuArray<aya::maps::MapData, u64>,
    /// Processes that ended since the counters were added up.
    ended: usize,
}

/// Is shown each record with its ring; and when a look at a ring begins, none.
pub(super) type Tee<'a, 't> = &'a mut (dyn FnMut(Ring, Option<&[u8]>) + 't);

/// The rings of the running kernel.
struct Live<'a, 't> {
    security: &'a mut Drain,
    telemetry: &'a mut Drain,
    bulk: &'a mut Drain,
    tee: Option<Tee<'a, 't>>,
}

impl Rings for Live<'_, '_> {
    fn take(&mut self, ring: Ring, limit: usize, take: &mut dyn FnMut(&Header, &[u8])) -> usize {
        let drain = match ring {
            Ring::Security => &mut *self.security,
            Ring::Telemetry => &mut *self.telemetry,
            Ring::Bulk => &mut *self.bulk,
            // Has a thread of its own.
            Ring::Requests => return 0,
        };
        let Some(tee) = &mut self.tee else { return drain.drain(limit, take) };
        tee(ring, None);
        drain.drain(limit, |header, record| {
            tee(ring, Some(record));
            take(header, record);
        })
    }
}

impl KernelSide {
    /// Loads and attaches.
    ///
    /// # Errors
    /// When nothing can be loaded at all.
    pub fn load(btf: &Path, config: &Config) -> Result<Self, BpfError> {
        let mut kernel = Kernel::look(btf, &config.kernel.disable_hooks)?;
        let mut kernel_side = Self::open(loader::load(&mut kernel, &settings(config))?)?;
        kernel_side.select(Selection::of_config(&config.activity), config.activity.bulk_rate);
        kernel_side.set_routes(&config.l7.routes);
        Ok(kernel_side)
    }

    /// Counts HTTP requests under these routes from now on.
    pub fn set_routes(&mut self, routes: &[String]) {
        if let Some(l7) = &mut self.l7 {
            l7.set_routes(routes);
        }
    }

    fn open(mut loaded: Loaded) -> Result<Self, BpfError> {
        let slots = Slots::new(&mut loaded)?;
        let syscalls = if loaded.runs("syscalls") { Some(Syscalls::new(&mut loaded)?) } else { None };
        let tcp = if loaded.runs("tcp") { Some(Tcp::new(&mut loaded)?) } else { None };
        let block_io = if loaded.runs("block_io") { Some(BlockIo::new(&mut loaded)?) } else { None };
        let activity = if loaded.runs("activity") { Some(Activities::new(&mut loaded)?) } else { None };
        let exec_kill = if loaded.runs("exec_kill") { Some(ExecKill::new(&mut loaded)?) } else { None };
        let ring = |loaded: &mut Loaded, ring| -> Result<Drain, BpfError> {
            let map: RingBuf<_> = loaded.take(drain::map(ring))?;
            Ok(Drain::new(map))
        };
        let (security, telemetry) = (ring(&mut loaded, Ring::Security)?, ring(&mut loaded, Ring::Telemetry)?);
        let bulk = ring(&mut loaded, Ring::Bulk)?;
        let l7 = if loaded.runs("l7") { Some(L7::new(&mut loaded)?) } else { None };
        let lost = loaded.take(maps::LOST)?;
        // Last: it has to know all that was made.
        let protect = if loaded.runs("protect") { Protect::new(&mut loaded)? } else { None };
        Ok(Self {
            loaded,
            slots,
            syscalls,
            tcp,
            block_io,
            l7,
            activity,
            exec_kill,
            protect,
            order: Order::default(),
            security,
            telemetry,
            bulk,
            lost,
            ended: 0,
        })
    }

    /// Lets this leave the kernel, and nothing else. What cannot be set is logged.
    pub fn select(&mut self, selection: Selection, bulk_rate: u32) {
        if let Some(activity) = &mut self.activity
            && let Err(error) = activity.selector.apply(selection, bulk_rate)
        {
            warn!(%error, "what is observed cannot be changed");
        }
    }

    /// Which watched paths files are.
    pub fn watched(&self) -> Option<&WatchedPaths> {
        self.activity.as_ref().map(|activity| activity.selector.paths())
    }

    /// Looks again what files the watched paths are.
    pub fn rewatch(&mut self) {
        if let Some(activity) = &mut self.activity
            && let Err(error) = activity.selector.refresh()
        {
            warn!(%error, "what is watched cannot be changed");
        }
    }

    /// Does what the daemon does itself come back through the security ring?
    pub fn beats(&self) -> bool {
        self.activity.as_ref().is_some_and(|activity| activity.selector.beats())
    }

    /// Was what leaves the kernel changed by somebody else? Then it is put right.
    pub fn selection_changed(&mut self) -> bool {
        let Some(activity) = &mut self.activity else { return false };
        match activity.selector.restore() {
            Ok(changed) => changed,
            Err(error) => {
                warn!(%error, "what is selected in the kernel cannot be looked at");
                true
            }
        }
    }

    /// Becomes readable when a ring is half full, or has what rules may alert of.
    pub(super) fn waker(&self) -> Option<Waker> {
        let watch = |drain: &Drain| -> std::io::Result<AsyncFd<OwnedFd>> {
            sys::watch(drain.ring().as_fd().try_clone_to_owned()?)
        };
        let wakers = || Ok([watch(&self.security)?, watch(&self.telemetry)?, watch(&self.bulk)?]);
        match wakers() {
            Ok(wakers) => Some(wakers),
            Err::<_, std::io::Error>(error) => {
                warn!(%error, "the rings cannot be waited for: they are looked at from time to time only");
                None
            }
        }
    }

    /// Takes up to `limit` records out of each ring, in the order in which what they tell happened ([`Order::look`]). Each
    /// record is shown to `tee` as it came.
    pub fn drain(&mut self, limit: usize, tee: Option<Tee<'_, '_>>) -> Batch {
        let mut rings =
            Live { security: &mut self.security, telemetry: &mut self.telemetry, bulk: &mut self.bulk, tee };
        let batch = self.order.look(limit, &mut rings);
        for record in &batch.happened {
            self.ended += usize::from(matches!(record, Happened::Exit(_)));
            if let (Happened::Activity(activity), Some(activities)) = (record, &mut self.activity) {
                activities.note(activity);
            }
            if let (Happened::Exec(exec), Some(l7)) = (record, &self.l7) {
                l7.executed(exec.process.tgid);
            }
        }
        batch
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
        if let Some(l7) = &mut self.l7 {
            l7.fold(slots, groups);
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
        if let Some(l7) = &mut self.l7 {
            l7.expire(groups);
        }
    }

    /// What came out of a ring, and what did not.
    pub fn account(&self, ring: Ring) -> Account {
        match ring {
            Ring::Security => self.security.account(),
            Ring::Telemetry => self.telemetry.account(),
            Ring::Bulk => self.bulk.account(),
            Ring::Requests => self.l7.as_ref().map_or_else(Account::default, L7::account),
        }
    }

    /// How often the kernel programs lost something for this cause.
    pub fn lost(&self, loss: Loss) -> u64 {
        self.lost.get(&(loss as u32), 0).map_or(0, |cpus| cpus.iter().sum())
    }
}

/// The rings, to be waited for.
pub(super) type Waker = [AsyncFd<OwnedFd>; 3];

/// Waits until the daemon is woken for a ring; for ever when that cannot be told.
pub(super) async fn woken(waker: Option<&Waker>) {
    let Some([security, telemetry, bulk]) = waker else { return std::future::pending().await };
    let ready = tokio::select! {
        ready = security.readable() => ready,
        ready = telemetry.readable() => ready,
        ready = bulk.readable() => ready,
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
        "l7" => config.signals.l7,
        "protect" => config.protect.enabled,
        // What rules need is not switched off as a signal: rules are.
        _ => true,
    };
    Settings {
        signals: SIGNALS.iter().map(|signal| signal.name).filter(|name| wanted(name)).collect(),
        timing: config.syscalls.timing,
        tls: config.signals.l7_tls,
        may_shed: config.budget.measured().is_some(),
        slots: config.processes.slots,
        security_ring: u32::try_from(config.kernel.security_ring).unwrap_or(u32::MAX),
        telemetry_ring: u32::try_from(config.kernel.telemetry_ring).unwrap_or(u32::MAX),
        bulk_ring: u32::try_from(config.kernel.bulk_ring).unwrap_or(u32::MAX),
        requests_ring: u32::try_from(config.kernel.requests_ring).unwrap_or(u32::MAX),
        l7_rate: config.l7.rate,
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
