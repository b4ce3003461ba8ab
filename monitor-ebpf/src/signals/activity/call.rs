//! The system call that ends: its number and what it was passed.

use aya_ebpf::programs::BtfTracePointContext;
use monitor_common::{
    offsets::MISSING,
    signals::activity::{Entry, Via},
    signals::syscalls::call_index,
};

use crate::{
    kernel::{read::direct, task},
    settings::{activity_entry, knob, offset},
};

/// `AT_FDCWD`: a name is relative to the working directory.
pub(super) const AT_FDCWD: i32 = -100;

/// A system call.
pub(super) struct Call {
    /// Its number.
    pub(super) number: u32,
    /// By which convention.
    pub(super) via: Via,
    /// Its arguments.
    pub(super) args: [u64; 6],
    /// What it returned.
    pub(super) result: i64,
}

impl Call {
    /// Reads it out of the registers, which the kernel keeps as they were when the call came, but for the result.
    #[inline(always)]
    pub(super) fn read(ctx: &BtfTracePointContext) -> Self {
        let regs: *const u8 = ctx.arg(0);
        // SAFETY: an argument of a BTF tracepoint; on a kernel without the field the signal is off.
        let number = unsafe { direct::<u32>(regs, offset!(regs_orig_ax)) };
        let compat = is_compat();
        // SAFETY: as above. A branch on what this processor's registers are not called is pruned.
        let args = unsafe {
            if offset!(regs_array) != MISSING {
                // arm64: 32-bit programs pass arguments in the same registers.
                let at = |index: u64| direct::<u64>(regs, offset!(regs_array) + 8 * index);
                [direct(regs, offset!(regs_orig_x0)), at(1), at(2), at(3), at(4), at(5)]
            } else if compat {
                let at = |offset: u64| u64::from(direct::<u32>(regs, offset));
                [
                    at(offset!(regs_bx)),
                    at(offset!(regs_cx)),
                    at(offset!(regs_dx)),
                    at(offset!(regs_si)),
                    at(offset!(regs_di)),
                    at(offset!(regs_bp)),
                ]
            } else {
                [
                    direct(regs, offset!(regs_di)),
                    direct(regs, offset!(regs_si)),
                    direct(regs, offset!(regs_dx)),
                    direct(regs, offset!(regs_r10)),
                    direct(regs, offset!(regs_r8)),
                    direct(regs, offset!(regs_r9)),
                ]
            }
        };
        Self { number, via: if compat { Via::Compat } else { Via::Native }, args, result: ctx.arg(1) }
    }

    /// Was it called by the convention of 32-bit programs?
    #[inline(always)]
    pub(super) fn is_compat(&self) -> bool {
        matches!(self.via, Via::Compat)
    }

    /// Argument `number`, counted from 1; 0 is none.
    #[inline(always)]
    pub(super) fn arg(&self, number: u8) -> u64 {
        match number {
            1 => self.args[0],
            2 => self.args[1],
            3 => self.args[2],
            4 => self.args[3],
            5 => self.args[4],
            6 => self.args[5],
            _ => 0,
        }
    }

    /// What `place` of [`Entry`] says: the descriptor of a directory, and the address of a name. Without a descriptor a name
    /// is relative to the working directory.
    #[inline(always)]
    pub(super) fn name(&self, place: u8) -> (i32, u64) {
        let descriptor = place >> 4;
        (if descriptor == 0 { AT_FDCWD } else { self.arg(descriptor) as i32 }, self.arg(place & 0xf))
    }

    /// What the daemon says that it is.
    #[inline(always)]
    pub(super) fn entry(&self) -> Entry {
        activity_entry(call_index(u64::from(self.number), matches!(self.via, Via::Compat)))
    }
}

/// Does the running thread call as a 32-bit program does?
#[inline(always)]
fn is_compat() -> bool {
    knob!(compat_mask) != 0 && u64::from(task::current().field::<u32>(offset!(task_compat))) & knob!(compat_mask) != 0
}
