//! Attaching and detaching programs while the daemon runs, to keep a budget.

use aya::{Ebpf, programs::ProgramError};
use tracing::warn;

use super::{
    HookState, Loaded,
    attach::{Place, short, tracepoint},
};
use crate::{
    bpf::{Program, kernel::Kernel},
    signals::Timing,
};

impl Loaded {
    /// How much of the system calls is timed now.
    pub const fn timing(&self) -> Timing {
        self.timing
    }

    /// Times system calls in another way from now on. Calls in progress are counted without a duration where none was
    /// timed before.
    ///
    /// # Errors
    /// When the kernel refuses the program; then everything is as it was.
    pub fn set_timing(&mut self, timing: Timing) -> Result<(), ProgramError> {
        if timing == self.timing || !self.runs("syscalls") {
            return Ok(());
        }
        // The new one first: a call that both see in between is counted once all the same, at its end.
        if let Some(program) = timing.program() {
            self.attach(program)?;
        }
        if let Some(program) = self.timing.program() {
            self.detach(program)?;
        }
        // They share a hook, and its report.
        if let Some(program) = timing.program() {
            self.report(program, &HookState::Attached);
        }
        self.timing = timing;
        Ok(())
    }

    /// Attaches a program that [`load`] has loaded, unless it is attached.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attach(&mut self, program: Program) -> Result<(), ProgramError> {
        // What has failed before fails again.
        if !self.attached.contains_key(program.name) {
            let link = tracepoint(&mut self.ebpf, program)?.attach()?;
            self.attached.insert(program.name, Ok(Place::Hook(link)));
            self.report(program, &HookState::Attached);
        }
        Ok(())
    }

    /// Detaches a program, which stays loaded. Nothing happens when it is not attached.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn detach(&mut self, program: Program) -> Result<(), ProgramError> {
        match self.attached.remove(program.name) {
            Some(Ok(Place::Hook(link))) => {
                self.report(program, &HookState::Unused("given up to keep the budget".to_owned()));
                tracepoint(&mut self.ebpf, program)?.detach(link)
            }
            Some(other) => {
                self.attached.insert(program.name, other);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Keeps the reports true.
    fn report(&mut self, program: Program, state: &HookState) {
        let hooks = self.signals.iter_mut().flat_map(|report| &mut report.hooks);
        for report in hooks.filter(|report| report.hook == program.attach.hook()) {
            report.state = state.clone();
        }
    }
}

/// Loads a program that may be attached later: under load there is no time for that, and maybe no right to.
pub(super) fn prepare(program: Program, kernel: &Kernel, ebpf: &mut Ebpf) {
    let name = program.attach.hook();
    if let Err(error) = tracepoint(ebpf, program).and_then(|loaded| loaded.load(name, &kernel.aya)) {
        warn!(program = program.name, error = %short(&error), "cannot be used later to keep the budget");
    }
}
