//! The rules as the configuration says: those that come with the daemon, then files, then the directory; what is switched
//! off is off. Reading never fails as a whole: what is wrong is told, with its place, and everything else is there.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;
use crate::detect::lang::ast::{Diagnostic, Place, Rule};
use crate::detect::lang::{self, Source, nearest};
use crate::detect::{default_rules, sigma};

/// The directory when none is configured. It alone may be missing.
pub const DEFAULT_DIRECTORY: &str = "/etc/monitor/rules.d";

/// Rules with where they come from.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// All that were understood, also those that are off.
    pub rules: Vec<Rule>,
    /// What is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
    /// What was read.
    pub sources: Vec<Source>,
}

impl RuleSet {
    /// Reads what the configuration names.
    pub fn of_config(config: &config::Rules) -> Self {
        let mut read = lang::Read::default();
        if config.defaults {
            read.sources = default_rules();
        }
        for path in &config.files {
            add(&mut read, Path::new(path));
        }
        match std::fs::metadata(&config.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound && config.directory == Path::new(DEFAULT_DIRECTORY) => {}
            _ => add(&mut read, &config.directory),
        }
        let mut set = Self::of_sources(read.sources);
        set.diagnostics.splice(0..0, read.diagnostics);
        set.disable(&config.disable);
        set
    }

    /// Reads only these files and directories, on top of the default rules if `defaults`.
    pub fn of_paths(paths: &[PathBuf], defaults: bool) -> Self {
        let mut read = lang::Read::default();
        if defaults {
            read.sources = default_rules();
        }
        for path in paths {
            add(&mut read, path);
        }
        let mut set = Self::of_sources(read.sources);
        set.diagnostics.splice(0..0, read.diagnostics);
        set
    }

    fn of_sources(sources: Vec<Source>) -> Self {
        let (sigmas, falcos): (Vec<Source>, Vec<Source>) =
            sources.iter().cloned().partition(|source| sigma::is_sigma(&source.text));
        let mut loaded = lang::load(&falcos);
        let mut of_sigma = sigma::load(&sigmas);
        loaded.rules.append(&mut of_sigma.rules);
        loaded.diagnostics.append(&mut of_sigma.diagnostics);
        Self { rules: loaded.rules, diagnostics: loaded.diagnostics, sources }
    }

    /// Switches rules off.
    pub fn disable(&mut self, names: &[String]) {
        for name in names {
            let mut found = false;
            for rule in self.rules.iter_mut().filter(|rule| rule.name == *name) {
                rule.enabled = false;
                found = true;
            }
            if !found {
                let known = nearest(name, self.rules.iter().map(|rule| rule.name.as_str()));
                let hint = known.map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
                let message = format!("`disable` in [rules]: there is no rule `{name}`{hint}");
                self.diagnostics.push(Diagnostic {
                    place: nowhere(Path::new("configuration")),
                    item: None,
                    error: true,
                    message,
                });
            }
        }
    }

    /// How many things are wrong, beside those that are only doubtful.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.error).count()
    }
}

fn nowhere(path: &Path) -> Place {
    Place { file: Arc::new(path.to_owned()), line: 1, column: 1 }
}

fn add(read: &mut lang::Read, path: &Path) {
    let more = lang::files(path);
    read.sources.extend(more.sources);
    read.diagnostics.extend(more.diagnostics);
}

/// Diagnostics, a line each.
pub struct Lines<'a>(pub &'a [Diagnostic]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{one}")?;
        }
        Ok(())
    }
}
