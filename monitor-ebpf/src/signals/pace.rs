//! Which calls are timed where not all are: those that tell something new, and a random few of the many. Two clock
//! readings are most of what a timed call costs; all calls are counted, timed or not. [`Pace`] has the scheme.

use monitor_common::signals::syscalls::{FAMILIES, PACE_BUDGET, PACE_STANDS_FOR, Pace};

use crate::settings::knob;

/// Is this call to be timed? Then for how many others besides itself.
///
/// # Safety
/// `pace` is in the running thread's entry of the thread table.
#[inline(always)]
pub(super) unsafe fn next(pace: *mut Pace, family: u8, ticks: u64) -> Option<u32> {
    let family = family as usize & (FAMILIES - 1);
    let bit = 1_u16 << family;
    // SAFETY: a map value, written by the running thread only, or by another one with the same index in between: then it
    // has been cleared. The arrays have one entry a family.
    unsafe {
        let window = (ticks >> knob!(pace_shift)) as u32;
        if (*pace).window != window {
            (*pace).window = window;
            (*pace).budget = PACE_BUDGET;
            (*pace).seen = 0;
        }
        let left = (&raw mut (*pace).left).cast::<u8>().add(family);
        if *left != 0 && (*pace).seen & bit != 0 {
            *left -= 1;
            return None;
        }
        let drawn = (&raw mut (*pace).drawn).cast::<u8>().add(family);
        let others = u32::from((*drawn).wrapping_sub(*left));
        let mut gap = 0;
        if (*pace).budget != 0 {
            (*pace).budget -= 1;
        } else {
            (*pace).random = (*pace).random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            gap = ((*pace).random >> 27) as u8;
        }
        (*pace).seen |= bit;
        *drawn = gap;
        *left = gap;
        Some(others)
    }
}

/// Lets whoever has the entry now, thread `tid`, start anew: what was left out is owed to the process that had it before.
///
/// # Safety
/// As above.
#[inline(always)]
pub(crate) unsafe fn reset(pace: *mut Pace, tid: u32) {
    // SAFETY: a map value.
    unsafe {
        *pace = Pace {
            window: 0,
            budget: 0,
            seen: 0,
            // Threads that do the same at the same time draw different numbers.
            random: tid.wrapping_mul(2_654_435_761),
            reserved: 0,
            drawn: [0; FAMILIES],
            left: [0; FAMILIES],
        }
    };
}

// The upper five bits of a random number are at most this.
const _: () = assert!(PACE_STANDS_FOR == u32::MAX >> 27);
