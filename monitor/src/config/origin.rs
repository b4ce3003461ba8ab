//! Where a value comes from.

use std::fmt;
use std::path::PathBuf;

use super::mistake::printable;

/// Where a value comes from, and so where a mistake has to be repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// The configuration file; line and column count from 1, the column in characters.
    File {
        /// The file.
        path: PathBuf,
        /// Line; 0 when the file as a whole is meant.
        line: usize,
        /// Column.
        column: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name, such as `--listen`.
    Flag(String),
}

impl Origin {
    /// The place as precise as it is known, `FILE:LINE:COLUMN` for a file: for messages.
    pub fn place(&self) -> String {
        match self {
            Self::File { line, column, .. } if *line > 0 => format!("{self}:{column}"),
            _ => self.to_string(),
        }
    }
}

/// Without the column, and on one line whatever the name of the file is.
impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File { path, line: 0, .. } => out.write_str(&printable(&path.to_string_lossy())),
            Self::File { path, line, .. } => write!(out, "{}:{line}", printable(&path.to_string_lossy())),
            Self::Environment(name) => write!(out, "environment {}", printable(name)),
            Self::Flag(name) => write!(out, "flag {}", printable(name)),
        }
    }
}
