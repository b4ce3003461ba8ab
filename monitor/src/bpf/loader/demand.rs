//! Programs that are attached only while there is something for them to do: they cost nothing otherwise. Each is loaded at
//! the start, so that it is known early whether this kernel takes it, and later there may be no right to.

use aya::{Ebpf, programs::ProgramError};
use tracing::debug;

use super::{
    HookState, Loaded,
    attach::{Place, short, tracepoint},
    chain,
};
use crate::bpf::{Program, kernel::Kernel};

/// Loads such a program.
pub(super) fn on_demand(program: Program, when: &str, kernel: &Kernel, ebpf: &mut Ebpf) -> HookState {
    let name = program.attach.hook();
    if let Some(reason) = kernel.refusal(name).or_else(|| kernel.disabled(name)) {
        return HookState::Failed(reason);
    }
    match tracepoint(ebpf, program).and_then(|loaded| loaded.load(name, &kernel.aya)) {
        Ok(()) => HookState::Unused(idle(when)),
        Err(error) => {
            debug!(program = program.name, error = %chain(&error), "the kernel refused a program");
            HookState::Failed(short(&error))
        }
    }
}

fn idle(when: &str) -> String {
    format!("the kernel takes it; it is attached {when}")
}

impl Loaded {
    /// Attaches such a program, or with `false` takes it off its hook again; `when` says when it is there. Nothing happens
    /// when it is so already.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn employ(&mut self, program: Program, there: bool, when: &str) -> Result<(), ProgramError> {
        let state = if there {
            if self.attached.contains_key(program.name) {
                return Ok(());
            }
            let link = tracepoint(&mut self.ebpf, program)?.attach()?;
            self.attached.insert(program.name, Ok(Place::Hook(link)));
            HookState::Attached
        } else {
            let Some(Ok(Place::Hook(link))) = self.attached.remove(program.name) else { return Ok(()) };
            tracepoint(&mut self.ebpf, program)?.detach(link)?;
            HookState::Unused(idle(when))
        };
        let hooks = self.signals.iter_mut().flat_map(|report| &mut report.hooks);
        for report in hooks.filter(|report| report.program == program.name) {
            report.state = state.clone();
        }
        Ok(())
    }
}
