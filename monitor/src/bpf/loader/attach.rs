//! Attaching one program after the other, and what it means for a signal that one cannot be.

use std::{collections::HashMap, os::fd::OwnedFd, time::Instant};

use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{BtfTracePoint, FExit, Lsm, ProgramError, tp_btf::BtfTracePointLinkId},
};
use monitor_common::signals::activity::Class;
use tracing::debug;

use super::{
    HookReport, HookState, PROTECT, Settings, SignalReport, SignalState, chain, demand::on_demand,
    libraries::in_libraries, switch,
};
use crate::{
    bpf::{Attach, Program, kernel::Kernel, maps},
    signals::{Need, SIGNALS, Signal},
};

/// Programs that have been tried, with the reason of a failure.
pub(super) type Attached = HashMap<&'static str, Result<Place, String>>;

/// Where a program runs.
#[derive(Debug)]
pub(super) enum Place {
    /// On its hook.
    Hook(BtfTracePointLinkId),
    /// Behind the program of its hook, by a tail call.
    TailCall,
    /// Where a function of the kernel returns.
    FunctionExit,
    /// Where the kernel asks its security modules.
    Lsm,
    /// On functions of libraries, as they are found: the program.
    Libraries(OwnedFd),
}

pub(super) fn attach_signal(
    signal: &'static Signal,
    kernel: &Kernel,
    settings: &Settings,
    ebpf: &mut Ebpf,
    attached: &mut Attached,
    before: &[SignalReport],
) -> SignalReport {
    let mut report =
        SignalReport { signal: signal.name, summary: signal.summary, state: SignalState::Full, hooks: Vec::new() };
    if let Some(reason) = impossible(signal, kernel, settings, before) {
        report.state = SignalState::Off(reason);
        return report;
    }
    let mut lost: Vec<&'static str> = Vec::new();
    for hook in signal.hooks {
        // Several tail calls are behind one hook, and functions of libraries are none of the kernel's.
        let name = match hook.need {
            Need::TailCall(..) | Need::InLibraries(_) => hook.program.name,
            _ => hook.program.attach.hook(),
        };
        let state = match hook.need {
            Need::For(timing) if timing != settings.timing => {
                if settings.may_shed && timing > settings.timing {
                    switch::prepare(hook.program, kernel, ebpf);
                }
                continue;
            }
            Need::Better(function) if !kernel.has_hook(name) && kernel.btf.has_function(function) => {
                HookState::Unused(format!("this kernel has no tracepoint {name}; the return of {function} stands in"))
            }
            Need::OrElse(better) | Need::InPlaceOf(better, _) if kernel.has_hook(better) => HookState::Unused(format!("{better} is better")),
            Need::InLibraries(_) => in_libraries(hook.program, settings, kernel, ebpf, attached),
            Need::OnDemand(when, _) => on_demand(hook.program, when, kernel, ebpf),
            Need::TailCall(class, _) => {
                try_hook(hook.program, name, kernel, attached, || put(hook.program, class, kernel, ebpf))
            }
            _ => try_hook(hook.program, name, kernel, attached, || attach(hook.program, kernel, ebpf)),
        };
        let failed = matches!(state, HookState::Failed(_));
        let missed = match hook.need {
            Need::Optional(what)
            | Need::TailCall(_, what)
            | Need::InPlaceOf(_, what)
            | Need::OnDemand(_, what)
            | Need::InLibraries(what) => Some(what).filter(|_| failed),
            _ => None,
        };
        let whole = matches!(
            hook.need,
            Need::Required | Need::Better(_) | Need::OrElse(_) | Need::For(_) | Need::OnDemand(..)
        );
        if let (true, HookState::Failed(reason)) = (whole, &state) {
            let without = missed.map_or_else(String::new, |what| format!("; {what}"));
            report.state = SignalState::Off(format!("{name}: {reason}{without}"));
        }
        if let Some(what) = missed.filter(|what| !lost.contains(what)) {
            lost.push(what);
        }
        report.hooks.push(HookReport { hook: name, program: hook.program.name, state, lost: missed });
        if matches!(report.state, SignalState::Off(_)) {
            return report;
        }
    }
    if !lost.is_empty() {
        report.state = SignalState::Degraded(lost.join("; "));
    }
    report
}

/// Why a signal need not even be tried.
pub(super) fn impossible(
    signal: &Signal,
    kernel: &Kernel,
    settings: &Settings,
    before: &[SignalReport],
) -> Option<String> {
    // What others stand on runs even when its own metrics are not wanted.
    let needed =
        SIGNALS.iter().any(|other| other.needs.contains(&signal.name) && settings.signals.contains(&other.name));
    if !settings.signals.contains(&signal.name) && !needed {
        let key =
            if signal.name == PROTECT { "protect.enabled".to_owned() } else { format!("signals.{}", signal.name) };
        return Some(format!("off by {key}"));
    }
    let missing = kernel.missing(signal.fields);
    if !missing.is_empty() {
        return Some(format!("this kernel has no {}", missing.join(", ")));
    }
    before.iter().filter(|other| signal.needs.contains(&other.signal)).find_map(|other| match &other.state {
        SignalState::Off(reason) => Some(format!("it stands on {}, which is off: {reason}", other.signal)),
        _ => None,
    })
}

pub(super) fn try_hook(
    program: Program,
    name: &str,
    kernel: &Kernel,
    attached: &mut Attached,
    attach: impl FnOnce() -> Result<Place, ProgramError>,
) -> HookState {
    let refusal = match program.attach {
        Attach::Lsm { name } => kernel.lsm_refusal(name),
        Attach::FunctionExit { name } => kernel.function_refusal(name),
        _ => kernel.refusal(program.attach.hook()),
    };
    if let Some(reason) = refusal.or_else(|| kernel.disabled(name)) {
        return HookState::Failed(reason);
    }
    let result = attached.entry(program.name).or_insert_with(|| {
        let begin = Instant::now();
        let result = attach().map_err(|error| {
            debug!(program = program.name, error = %chain(&error), "the kernel refused a program");
            short(&error)
        });
        debug!(program = program.name, ms = begin.elapsed().as_millis(), "the kernel checked a program");
        result
    });
    match result {
        Ok(_) => HookState::Attached,
        Err(reason) => HookState::Failed(reason.clone()),
    }
}

pub(super) fn attach(program: Program, kernel: &Kernel, ebpf: &mut Ebpf) -> Result<Place, ProgramError> {
    if let Attach::Lsm { name } = program.attach {
        let loaded: &mut Lsm = ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()?;
        loaded.load(name, &kernel.aya)?;
        return loaded.attach().map(|_| Place::Lsm);
    }
    if let Attach::FunctionExit { name } = program.attach {
        let loaded: &mut FExit =
            ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()?;
        loaded.load(name, &kernel.aya)?;
        return loaded.attach().map(|_| Place::FunctionExit);
    }
    let Attach::BtfTracepoint { name } = program.attach else { return Err(ProgramError::UnexpectedProgramType) };
    let loaded = tracepoint(ebpf, program)?;
    loaded.load(name, &kernel.aya)?;
    loaded.attach().map(Place::Hook)
}

/// Puts a program where `sys_exit` goes on for calls of `class`. The array belongs to the object, which keeps it open: an
/// array that nobody has open is emptied by the kernel.
pub(super) fn put(program: Program, class: Class, kernel: &Kernel, ebpf: &mut Ebpf) -> Result<Place, ProgramError> {
    let Attach::BtfTracepoint { name } = program.attach else { return Err(ProgramError::UnexpectedProgramType) };
    tracepoint(ebpf, program)?.load(name, &kernel.aya)?;
    enlist(program, class, ebpf)?;
    Ok(Place::TailCall)
}

pub(super) fn enlist(program: Program, class: Class, ebpf: &mut Ebpf) -> Result<(), ProgramError> {
    let fd = tracepoint(ebpf, program)?.fd()?.try_clone()?;
    let map = ebpf.map_mut(maps::ACTIVITY_PROGRAMS).ok_or(ProgramError::UnexpectedProgramType)?;
    ProgramArray::try_from(map)?.set(class as u32, &fd, 0)?;
    Ok(())
}

pub(super) fn tracepoint(ebpf: &mut Ebpf, program: Program) -> Result<&mut BtfTracePoint, ProgramError> {
    ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

/// The lines of a verifier's log that tell why, instead of all of its thousands; the log of level trace has the rest.
pub(super) fn short(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return chain(error) };
    last_lines(io_error, &verifier_log.to_string())
}

/// The same of a log.
pub(super) fn last_lines(error: &std::io::Error, log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let end = lines.iter().rposition(|line| !line.starts_with("processed ")).map_or(0, |last| last + 1);
    let tail = lines[end.saturating_sub(3)..end].join(" | ");
    if tail.is_empty() { error.to_string() } else { format!("{error}: {tail}") }
}
