//! Loads the kernel object for the running kernel and attaches what it can: a hook that is missing costs its signal
//! something, never the others.

mod attach;
mod demand;
mod libraries;
mod switch;

use std::{
    collections::HashMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, Map, MapData, MapError, Queue},
};
use monitor_common::{
    knobs::{Knobs, SIGNAL_ACTIVITY, SIGNAL_L7, SIGNAL_L7_TLS, SIGNAL_SYSCALLS, SIGNAL_TCP},
    limits::{self, SLOT_FIRST, SLOT_OTHER, SLOT_UNKNOWN},
    process_slot::{LIVE, ProcessSlot},
    signals::{activity::Class, l7::QUOTA_WINDOW_NS, syscalls::PACE_WINDOW_NS},
};
use serde::Serialize;
use tracing::{debug, warn};
use zerocopy::IntoBytes as _;

use attach::{Attached, Place, attach_signal, enlist};

use super::{BpfError, OBJECT, kernel::Kernel, maps, programs};
use crate::signals::{
    Need, SIGNALS, Timing, activity::table::activity_table, l7::table::shape_table, syscalls::table::call_table,
};

/// What the kernel programs are loaded with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names of the signals that are wanted.
    pub signals: Vec<&'static str>,
    /// How many system calls are timed.
    pub timing: Timing,
    /// Whether what is said inside TLS is wanted, too.
    pub tls: bool,
    /// Whether it may be fewer later, to keep a budget.
    pub may_shed: bool,
    /// Process slots.
    pub slots: u32,
    /// Bytes of the security ring.
    pub security_ring: u32,
    /// Bytes of the telemetry ring.
    pub telemetry_ring: u32,
    /// Bytes of the bulk ring.
    pub bulk_ring: u32,
    /// Bytes of the ring of requests.
    pub requests_ring: u32,
    /// Pieces of conversations that one CPU may tell of in a second; 0 for no limit.
    pub l7_rate: u32,
    /// Level of the kernel programs' own log, as `aya_log::Level` counts.
    pub log_level: u8,
}

/// Bytes of a ring that is not used: a power of two that is a multiple of every page size.
const NO_RING: u32 = 64 << 10;

/// How a hook fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum HookState {
    /// Its program runs there.
    Attached,
    /// Not needed here.
    Unused(String),
    /// It cannot be used.
    Failed(String),
}

/// One hook, for `doctor` and metrics.
#[derive(Clone, Debug, Serialize)]
pub struct HookReport {
    /// The hook's name, as the kernel calls it.
    pub hook: &'static str,
    /// The program for it.
    pub program: &'static str,
    /// How it fares.
    #[serde(flatten)]
    pub state: HookState,
    /// What is lost without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<&'static str>,
}

/// How a signal fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum SignalState {
    /// All of it.
    Full,
    /// Some of it: this is lost.
    Degraded(String),
    /// None of it, for this reason.
    Off(String),
}

impl SignalState {
    /// The word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Degraded(_) => "degraded",
            Self::Off(_) => "off",
        }
    }
}

/// One signal, for `doctor` and metrics.
#[derive(Clone, Debug, Serialize)]
pub struct SignalReport {
    /// Its name.
    pub signal: &'static str,
    /// What it tells.
    pub summary: &'static str,
    /// How it fares.
    #[serde(flatten)]
    pub state: SignalState,
    /// Its hooks.
    pub hooks: Vec<HookReport>,
}

/// The loaded object. Dropping it detaches everything.
pub struct Loaded {
    /// The object with its links.
    pub ebpf: Ebpf,
    /// How each signal fares.
    pub signals: Vec<SignalReport>,
    /// What the programs were told.
    pub knobs: Knobs,
    /// Shards of the hot counters.
    pub shards: u32,
    /// How much of the system calls is timed now.
    timing: Timing,
    attached: Attached,
}

impl Loaded {
    /// Does `signal` run, at least in part?
    pub fn runs(&self, signal: &str) -> bool {
        self.signals.iter().any(|report| report.signal == signal && !matches!(report.state, SignalState::Off(_)))
    }

    /// Why the program on `sys_exit` was refused although the hook is there. On some machines no program may have both
    /// functions of its own and tail calls (arm64 before Linux 6.0): system calls must not be lost over that.
    fn refuses_tail_calls(&self) -> Option<String> {
        let report = self.signals.iter().find(|report| report.signal == ACTIVITY)?;
        let hook = report.hooks.iter().find(|hook| hook.program == programs::SYS_EXIT.name)?;
        match (&hook.state, self.attached.get(hook.program)) {
            (HookState::Failed(reason), Some(Err(_))) => Some(reason.clone()),
            _ => None,
        }
    }

    /// The classes of activities whose programs run.
    pub fn classes(&self) -> Vec<Class> {
        let runs = self.runs(ACTIVITY);
        let classes = SIGNALS.iter().flat_map(|signal| signal.hooks).filter_map(|hook| match hook.need {
            Need::TailCall(class, _) if matches!(self.attached.get(hook.program.name), Some(Ok(_))) => Some(class),
            _ => None,
        });
        classes.filter(|_| runs).collect()
    }

    /// How many programs are attached: as many links must be open.
    pub fn links(&self) -> usize {
        self.attached.values().filter(|place| matches!(place, Ok(Place::Hook(_) | Place::Lsm))).count()
    }

    /// Puts the programs behind tail calls back where they belong, wherever somebody has taken them out.
    pub fn restore_tail_calls(&mut self) {
        for hook in SIGNALS.iter().flat_map(|signal| signal.hooks) {
            let Need::TailCall(class, _) = hook.need else { continue };
            if let Some(Ok(Place::TailCall)) = self.attached.get(hook.program.name)
                && let Err(error) = enlist(hook.program, class, &mut self.ebpf)
            {
                warn!(program = hook.program.name, error = %chain(&error), "cannot be put back");
            }
        }
    }

    /// A signal that was attached does not do its work: it is off from now on, for this reason.
    pub fn switch_off(&mut self, signal: &str, reason: String) {
        for report in self.signals.iter_mut().filter(|report| report.signal == signal) {
            report.state = SignalState::Off(reason.clone());
        }
    }

    /// How often the kernel left a program out, because on that CPU it was running already: where programs may be
    /// preempted (Linux 7), by the task that took the CPU from it. `None`: the program is not loaded, or the kernel
    /// does not tell (before 5.12).
    pub fn misses(&self, program: &str) -> Option<u64> {
        let fd = self.ebpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        info.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
    }

    /// Takes a map out of the object.
    ///
    /// # Errors
    /// When it is not there, or of another type.
    pub fn take<M>(&mut self, name: &'static str) -> Result<M, BpfError>
    where
        M: TryFrom<Map, Error = MapError>,
    {
        let map = self.ebpf.take_map(name).ok_or(BpfError::NoMap(name))?;
        M::try_from(map).map_err(|source| BpfError::Map { name, source })
    }

    /// A map's data, for those that are read through mapped memory.
    ///
    /// # Errors
    /// When it is not there.
    pub fn data(&mut self, name: &'static str) -> Result<MapData, BpfError> {
        match self.ebpf.take_map(name) {
            Some(Map::Array(data)) => Ok(data),
            _ => Err(BpfError::NoMap(name)),
        }
    }
}

/// The signal whose programs are behind tail calls.
const ACTIVITY: &str = "activity";
/// The signal whose programs are parts of those of `tcp`.
const L7: &str = "l7";
/// The signal that forbids.
pub const PROTECT: &str = "protect";

/// Hooks whose presence decides what the programs on other hooks do.
const DECIDING: [&str; 3] = ["sock_send_length", "sock_recv_length", "block_io_start"];

/// Loads and attaches.
///
/// # Errors
/// Only when nothing can be loaded at all; a hook that fails is in the report.
pub fn load(kernel: &mut Kernel, settings: &Settings) -> Result<Loaded, BpfError> {
    let loaded = load_once(kernel, settings)?;
    if let Some(reason) = loaded.refuses_tail_calls() {
        warn!(reason, "the kernel refuses the program on sys_exit with tail calls; loading again without activities");
        drop(loaded);
        let mut rest = settings.clone();
        rest.signals.retain(|signal| *signal != ACTIVITY);
        let mut loaded = load(kernel, &rest)?;
        if let Some(report) = loaded.signals.iter_mut().find(|report| report.signal == ACTIVITY) {
            report.state = SignalState::Off(format!("sys_exit: {reason}"));
        }
        return Ok(loaded);
    }
    // That a hook is there does not mean that its program is let in; and the others have been told already that it works.
    let refused: Vec<(&'static str, String)> = loaded
        .signals
        .iter()
        .flat_map(|signal| &signal.hooks)
        .filter_map(|hook| refused_after_all(kernel, hook))
        .collect();
    if refused.is_empty() {
        return Ok(loaded);
    }
    // Programs on what sockets move are much larger where they hear requests, too: without that they may be let in.
    let too_large = refused.iter().find(|(hook, _)| matches!(*hook, "sock_send_length" | "sock_recv_length"));
    if let Some((hook, reason)) = too_large.filter(|_| settings.signals.contains(&L7)) {
        let reason = format!("{hook}: {reason}");
        warn!(reason, "the kernel refuses programs that hear requests; loading again without them");
        drop(loaded);
        let mut rest = settings.clone();
        rest.signals.retain(|signal| *signal != L7);
        let mut loaded = load(kernel, &rest)?;
        if let Some(report) = loaded.signals.iter_mut().find(|report| report.signal == L7) {
            report.state = SignalState::Off(reason);
        }
        return Ok(loaded);
    }
    warn!(?refused, "the kernel refused programs that others count on; loading again without them");
    drop(loaded);
    kernel.refused.extend(refused);
    load_once(kernel, settings)
}

/// The hook and the reason, if it decides what others do and could not be used against expectation.
fn refused_after_all(kernel: &Kernel, hook: &HookReport) -> Option<(&'static str, String)> {
    match &hook.state {
        HookState::Failed(reason) if DECIDING.contains(&hook.hook) && kernel.has_hook(hook.hook) => {
            Some((hook.hook, reason.clone()))
        }
        _ => None,
    }
}

fn load_once(kernel: &Kernel, settings: &Settings) -> Result<Loaded, BpfError> {
    let shards = kernel.cpus.next_power_of_two().min(limits::SHARDS_MAX);
    let knobs = knobs(kernel, settings, shards);
    let (calls, activities, shapes) = (call_table(), activity_table(), shape_table());
    let level = [settings.log_level];
    // What nobody uses needs no room.
    let tls = |entries| if hears_tls(settings) { entries } else { 1 };
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&kernel.aya))
        .verifier_log_level(verifier_log())
        .override_global("KNOBS", knobs.as_bytes(), true)
        .override_global("OFFSETS", kernel.offsets.as_bytes(), true)
        .override_global("CALL_TABLE", calls.as_slice(), true)
        .override_global("ACTIVITY_TABLE", activities.as_bytes(), true)
        .override_global("L7_TABLE", shapes.as_slice(), true)
        .override_global(aya_log::LEVEL, level.as_slice(), false)
        .map_max_entries(maps::PROCESS_SLOTS, settings.slots)
        .map_max_entries(maps::SLOT_OF, 2 * settings.slots)
        .map_max_entries(maps::FREE_SLOTS, settings.slots)
        .map_max_entries(maps::TCP_STATS, settings.slots)
        .map_max_entries(maps::SYSCALL_STATS, settings.slots * shards)
        .map_max_entries(maps::SECURITY, settings.security_ring)
        .map_max_entries(maps::TELEMETRY, settings.telemetry_ring)
        .map_max_entries(maps::BULK, settings.bulk_ring)
        .map_max_entries(maps::REQUESTS, requests_ring(settings))
        .map_max_entries(maps::TLS_CALLS, tls(limits::TLS_CALLS))
        .map_max_entries(maps::TLS_CONVERSATIONS, tls(limits::TLS_CONVERSATIONS))
        .map_max_entries(maps::TLS_SCRATCHES, tls(limits::TLS_SCRATCHES))
        .load(OBJECT)
        .map_err(refused)?;
    hand_out_slots(&mut ebpf, settings.slots)?;

    let mut attached = HashMap::new();
    let mut signals: Vec<SignalReport> = Vec::new();
    for signal in SIGNALS {
        let report = attach_signal(signal, kernel, settings, &mut ebpf, &mut attached, &signals);
        match &report.state {
            SignalState::Full => debug!(signal = signal.name, "runs"),
            SignalState::Degraded(lost) => warn!(signal = signal.name, lost, "runs without some of its hooks"),
            SignalState::Off(reason) if settings.signals.contains(&signal.name) => {
                warn!(signal = signal.name, reason, "is off");
            }
            SignalState::Off(_) => {}
        }
        signals.push(report);
    }
    match forbidden(&attached) {
        Some(reason) => Err(BpfError::Permission(reason)),
        None => Ok(Loaded { ebpf, signals, knobs, shards, timing: settings.timing, attached }),
    }
}

/// The reason, when maps could be made but no program loaded for want of a capability: CAP_BPF alone gets that far.
/// EPERM only: EACCES also stands for a program that the verifier refuses.
fn forbidden(attached: &Attached) -> Option<String> {
    let refusal = |(program, result): (&&str, &Result<_, String>)| match result {
        Err(reason) if reason.contains("Operation not permitted") => Some(format!("program {program}: {reason}")),
        _ => None,
    };
    let refusals: Option<Vec<String>> = attached.iter().map(refusal).collect();
    refusals?.into_iter().next()
}

fn refused(error: aya::EbpfError) -> BpfError {
    let text = chain(&error);
    if text.contains("Operation not permitted") || text.contains("Permission denied") {
        BpfError::Permission(text)
    } else {
        BpfError::Load(Box::new(error))
    }
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn knobs(kernel: &Kernel, settings: &Settings, shards: u32) -> Knobs {
    let wanted = |signal: &str| settings.signals.contains(&signal);
    let compat_mask = if cfg!(target_arch = "x86_64") {
        0x2 // TS_COMPAT, arch/x86/include/asm/thread_info.h
    } else if cfg!(target_arch = "aarch64") {
        1 << 22 // TIF_32BIT, arch/arm64/include/asm/thread_info.h
    } else {
        0
    };
    Knobs {
        self_tgid: u64::from(std::process::id()),
        shard_mask: u64::from(shards - 1),
        slots: u64::from(settings.slots),
        atomic_shards: u64::from(kernel.cpus > shards),
        has_current_task_btf: u64::from(kernel.btf.has_function("bpf_get_current_task_btf")),
        compat_mask: if kernel.offsets.get("task_compat").is_some() { compat_mask } else { 0 },
        traffic_by_call: u64::from(kernel.has_hook("sock_send_length") && kernel.has_hook("sock_recv_length")),
        exit_tells_group: u64::from(kernel.btf.tracepoint_arguments("sched_process_exit") >= Some(2)),
        block_io_start: u64::from(kernel.has_hook("block_io_start")),
        block_request_argument: u64::from(kernel.btf.tracepoint_arguments("block_rq_issue") == Some(2)),
        block_errors_are_errno: u64::from(
            kernel.btf.tracepoint_argument_type("block_rq_complete", 1).as_deref() == Some("int"),
        ),
        ring_request_argument: u64::from(kernel.btf.tracepoint_arguments("io_uring_submit_sqe") > Some(2)),
        security_wake: u64::from(settings.security_ring / 2),
        telemetry_wake: u64::from(settings.telemetry_ring / 2),
        bulk_wake: u64::from(settings.bulk_ring / 2),
        requests_wake: u64::from(requests_ring(settings) / 2),
        l7_quota: per_window(settings.l7_rate),
        l7_window_shift: window_shift(QUOTA_WINDOW_NS),
        pacing: u64::from(settings.timing == Timing::Adaptive || settings.may_shed),
        pace_shift: window_shift(PACE_WINDOW_NS),
        signals: [("syscalls", SIGNAL_SYSCALLS), ("tcp", SIGNAL_TCP), (ACTIVITY, SIGNAL_ACTIVITY), ("l7", SIGNAL_L7)]
            .into_iter()
            .filter(|(signal, _)| wanted(signal))
            .fold(if hears_tls(settings) { SIGNAL_L7_TLS } else { 0 }, |bits, (_, bit)| bits | bit),
    }
}

/// Is what is said inside TLS wanted?
fn hears_tls(settings: &Settings) -> bool {
    settings.tls && settings.signals.contains(&"l7")
}

/// The ring that nobody fills is as small as one may be.
fn requests_ring(settings: &Settings) -> u32 {
    if settings.signals.contains(&"l7") { settings.requests_ring } else { NO_RING }
}

/// Nanoseconds of the kernel's tick: the coarse clock moves once in it. Not more than `most`.
fn tick_ns(most: u64) -> u64 {
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    u64::try_from(tick.tv_nsec).unwrap_or(0).clamp(1, most)
}

/// How many of the kernel's ticks make a window of at most `window_ns`, as a power of two.
fn window_shift(window_ns: u64) -> u64 {
    u64::from((window_ns / tick_ns(window_ns)).ilog2())
}

/// What a rate in a second is in a window of [`QUOTA_WINDOW_NS`]; 0 for no limit.
fn per_window(rate: u32) -> u64 {
    let window_ns = tick_ns(QUOTA_WINDOW_NS) << window_shift(QUOTA_WINDOW_NS);
    (u64::from(rate) * window_ns).div_ceil(1_000_000_000)
}

/// Fills the queue of free slots, and marks the two that stand for nobody as taken.
fn hand_out_slots(ebpf: &mut Ebpf, slots: u32) -> Result<(), BpfError> {
    let open = |source| BpfError::Map { name: maps::FREE_SLOTS, source };
    let map = ebpf.map_mut(maps::FREE_SLOTS).ok_or(BpfError::NoMap(maps::FREE_SLOTS))?;
    let mut free: Queue<_, u32> = Queue::try_from(map).map_err(open)?;
    for slot in SLOT_FIRST..slots {
        free.push(slot, 0).map_err(open)?;
    }
    let open = |source| BpfError::Map { name: maps::PROCESS_SLOTS, source };
    let map = ebpf.map_mut(maps::PROCESS_SLOTS).ok_or(BpfError::NoMap(maps::PROCESS_SLOTS))?;
    let mut owners: Array<_, [u8; size_of::<ProcessSlot>()]> = Array::try_from(map).map_err(open)?;
    for slot in [SLOT_OTHER, SLOT_UNKNOWN] {
        let owner: [u8; size_of::<ProcessSlot>()] =
            zerocopy::transmute!(ProcessSlot { state: LIVE, ..ProcessSlot::default() });
        owners.set(slot, owner, 0).map_err(open)?;
    }
    Ok(())
}

/// How much the kernel is to say about a program that it refuses. With each instruction in it the log has megabytes, for
/// which the kernel checks the program again and again, seconds each time: that is for those who debug.
fn verifier_log() -> VerifierLogLevel {
    if tracing::enabled!(tracing::Level::TRACE) { VerifierLogLevel::default() } else { VerifierLogLevel::STATS }
}

#[cfg(test)]
mod tests;
