//! The tuning of rules: `*.toml` files in a directory. Every mistake in all files is reported at once.

mod parse;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::RULES;
use super::glob::Glob;
use crate::events::Severity;

/// The directory when none is configured. It alone may be missing.
pub const DEFAULT_DIRECTORY: &str = "/etc/monitor/rules.d";

/// Largest rule file, bytes: a device or a log that lies there by mistake must not fill the memory.
const MAX_FILE: u64 = 1 << 20;

/// How one rule is tuned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// It runs.
    pub enabled: bool,
    /// Instead of every severity of its own.
    pub severity: Option<Severity>,
    /// Not for these paths.
    pub except_exe: Vec<Glob>,
    /// Not in these groups.
    pub except_group: Vec<Glob>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { enabled: true, severity: None, except_exe: Vec::new(), except_group: Vec::new() }
    }
}

impl Tuning {
    pub(super) fn excepts(&self, path: &[u8], group: &str) -> bool {
        self.except_exe.iter().any(|glob| glob.matches(path))
            || self.except_group.iter().any(|glob| glob.matches(group.as_bytes()))
    }
}

/// How all rules are tuned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSettings {
    tunings: BTreeMap<&'static str, Tuning>,
}

/// A mistake in the tuning of rules.
#[derive(Debug, thiserror::Error)]
pub enum RuleFileError {
    /// The directory cannot be read.
    #[error("cannot read the rule directory {path}: {source}; correct `directory` in [rules]")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read the rule file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A mistake at a place in a file.
    #[error("{path}:{line}: {message}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// `[rules] disable` names no rule.
    #[error("`disable` in [rules]: {0}")]
    Disable(String),
}

impl RuleSettings {
    /// Reads all rule files of a directory, in the order of their names, and switches the rules of `disable` off.
    ///
    /// # Errors
    /// All mistakes there are.
    pub fn load(directory: &Path, disable: &[String]) -> Result<Self, Vec<RuleFileError>> {
        let mut settings = Self::default();
        let mut errors = Vec::new();
        for path in files(directory, &mut errors) {
            match read(&path) {
                Ok(text) => settings.add(&path, &text, &mut errors),
                Err(source) => errors.push(RuleFileError::File { path, source }),
            }
        }
        for id in disable {
            match known(id) {
                Ok(id) => settings.tunings.entry(id).or_default().enabled = false,
                Err(message) => errors.push(RuleFileError::Disable(message)),
            }
        }
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }

    /// The tuning of one rule.
    pub fn tuning(&self, id: &str) -> Tuning {
        self.tunings.get(id).cloned().unwrap_or_default()
    }

    fn add(&mut self, path: &Path, text: &str, errors: &mut Vec<RuleFileError>) {
        let (entries, mistakes) = parse::entries(text);
        for entry in entries {
            let tuning = self.tunings.entry(entry.id).or_default();
            tuning.enabled = entry.enabled.unwrap_or(tuning.enabled);
            tuning.severity = entry.severity.or(tuning.severity);
            tuning.except_exe.extend(entry.except_exe);
            tuning.except_group.extend(entry.except_group);
        }
        errors.extend(mistakes.into_iter().map(|mistake| RuleFileError::Content {
            path: path.to_owned(),
            line: mistake.line,
            message: mistake.message,
        }));
    }
}

fn files(directory: &Path, errors: &mut Vec<RuleFileError>) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>());
    match listed {
        Ok(mut paths) => {
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
            paths.sort();
            paths
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound && directory == Path::new(DEFAULT_DIRECTORY) => {
            Vec::new()
        }
        Err(source) => {
            errors.push(RuleFileError::Directory { path: directory.to_owned(), source });
            Vec::new()
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    std::fs::read_to_string(path)
}

/// The id as the rule has it, or what to say about an unknown one.
fn known(id: &str) -> Result<&'static str, String> {
    match super::rule(id) {
        Some(rule) => Ok(rule.id),
        None => Err(format!("there is no rule `{id}`{}", nearest(id, RULES.iter().map(|rule| rule.id)))),
    }
}

/// A hint at the name that was probably meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests;
