//! `protect`: the daemon is kept from being stopped, entered or made blind, where the kernel asks BPF programs before it lets
//! somebody (LSM). What was forbidden is an activity of kind [`Act::Denied`](super::activity::Act::Denied): `args[0]` is a
//! [`Denial`]'s number, `args[1]` the signal, the mode of access, or the number of the map or program.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What was forbidden; also the index of its counter in `PROTECT_ASKED` and `PROTECT_DENIED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Denial {
    /// A signal that ends, stops or crashes.
    Signal = 0,
    /// Tracing; reaching into memory or descriptors.
    Ptrace = 1,
    /// A descriptor of a map.
    Map = 2,
    /// A descriptor of a kernel program.
    Program = 3,
}

impl Denial {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Signal, Self::Ptrace, Self::Map, Self::Program];

    /// The name in rules and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Ptrace => "ptrace",
            Self::Map => "map",
            Self::Program => "program",
        }
    }
}

/// Key of `PROTECTED`: an object of the daemon's, by the number that the kernel gave it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ObjectKey {
    /// [`Denial::Map`] or [`Denial::Program`]: those two are numbered apart.
    pub what: u32,
    /// The number.
    pub id: u32,
}

/// Signals that anybody who may send them by the kernel's own rules may send the daemon: none (is it there?), HUP, INT,
/// TERM, CHLD, CONT, URG, WINCH. Each is ignored, or the daemon does something about it and says so in its audit trail. Bit
/// `N` is signal `N`.
pub const SIGNALS_ALLOWED: u64 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 15 | 1 << 17 | 1 << 18 | 1 << 23 | 1 << 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_indexes() {
        for (index, denial) in Denial::ALL.iter().enumerate() {
            assert_eq!(*denial as usize, index);
        }
    }

    #[test]
    fn what_ends_or_stops_without_a_word_is_not_allowed() {
        // QUIT, ILL, TRAP, ABRT, BUS, FPE, KILL, USR1, SEGV, USR2, ALRM, STOP, TSTP, SYS.
        for signal in [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 19, 20, 31] {
            assert_eq!(SIGNALS_ALLOWED >> signal & 1, 0, "{signal}");
        }
    }
}
