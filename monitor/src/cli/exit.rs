//! What the process's exit code says, after sysexits(3) where it has a word for it.

use std::process::ExitCode;

/// An exit code. A service manager must not restart the daemon after 64, 69, 77 and 78: it would end the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// All went well.
    pub const OK: Self = Self(0);
    /// Something failed while running.
    pub const FAILURE: Self = Self(1);
    /// The command line is wrong (`EX_USAGE`).
    pub const USAGE: Self = Self(64);
    /// This kernel lacks what is needed (`EX_UNAVAILABLE`).
    pub const UNAVAILABLE: Self = Self(69);
    /// The privilege is missing (`EX_NOPERM`).
    pub const NO_PRIVILEGE: Self = Self(77);
    /// The configuration is wrong (`EX_CONFIG`).
    pub const CONFIG: Self = Self(78);

    /// The number.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
