//! Puts the configuration together from its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use super::field::{Raw, Wrong};
use super::keys::{self, KEYS, Key, Reload};
use super::mistake::{ConfigError, MISTAKES, Mistake, quoted, suggestion};
use super::model::Config;
use super::origin::Origin;
use super::{check, environment, file};

/// The file that is read, if it exists, where none is named.
pub const DEFAULT_FILE: &str = "/etc/monitor/monitor.toml";
/// Most bytes of a configuration file.
pub const FILE_LIMIT: u64 = 1 << 20;

/// Where to look for the configuration. A reload looks there again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The file that is named by a flag or the environment: it has to be readable.
    pub file: Option<PathBuf>,
    /// The file to read if it exists, where none is named. `None`: no file.
    pub default_file: Option<PathBuf>,
    /// Environment variables, also those that are not ours.
    pub environment: Vec<(OsString, OsString)>,
    /// Values from the command line; later ones win.
    pub flags: Vec<Flag>,
}

/// One value from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag, such as `--listen`: it is shown as the value's origin.
    pub flag: String,
    /// The key that it sets.
    pub key: String,
    /// The value; lists are separated by commas.
    pub value: String,
}

/// A configuration and where each value comes from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What to do.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    pub(super) origins: BTreeMap<&'static str, Origin>,
    pub(super) group_origins: Vec<Origin>,
    sources: Sources,
}

impl Loaded {
    /// Reads all sources and checks them.
    ///
    /// # Errors
    /// All mistakes of all sources.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let mut draft = Draft::default();
        let read = file::read(&sources, &mut draft.mistakes);
        if let Some((path, text)) = &read {
            file::apply(&mut draft, path, text);
        }
        environment::apply(&mut draft, &sources.environment);
        for flag in &sources.flags {
            let origin = Origin::Flag(flag.flag.clone());
            match keys::find(&flag.key) {
                Some(key) => draft.set(key, Raw::Text(&flag.value), origin, |_| None),
                None => draft.mistake(origin, unknown_key(&flag.key)),
            }
        }
        check::across_keys(&mut draft);
        if !draft.mistakes.is_empty() {
            return Err(ConfigError::new(draft.mistakes));
        }
        let Draft { config, origins, group_origins, .. } = draft;
        Ok(Self { config, file: read.map(|(path, _)| path), origins, group_origins, sources })
    }

    /// Reads the same sources again; the environment and the flags are those of the start.
    ///
    /// # Errors
    /// All mistakes of all sources.
    pub fn reload(&self) -> Result<Self, ConfigError> {
        Self::load(self.sources.clone())
    }

    /// Where the value of the key of this name comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or_default()
    }
}

impl Config {
    /// Names of the keys that differ and that only a new start brings into effect.
    pub fn reload_difference(&self, new: &Self) -> Vec<&'static str> {
        let needs_start = |key: &&Key| key.reload == Reload::Restart && !key.field.same(self, new);
        KEYS.iter().filter(needs_start).map(|key| key.name).collect()
    }
}

/// What an unknown key's message says.
pub(super) fn unknown_key(name: &str) -> String {
    format!("unknown key {}{}", quoted(name), suggestion(keys::suggest(name)))
}

/// The configuration while its sources are read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) origins: BTreeMap<&'static str, Origin>,
    pub(super) group_origins: Vec<Origin>,
    pub(super) mistakes: Vec<Mistake>,
    /// Keys with a mistake: what they mean together with others cannot be told.
    pub(super) wrong: BTreeSet<&'static str>,
}

impl Draft {
    /// Nobody reads on.
    pub(super) fn is_full(&self) -> bool {
        self.mistakes.len() >= MISTAKES
    }

    pub(super) fn mistake(&mut self, origin: Origin, text: impl Into<String>) {
        if !self.is_full() {
            self.mistakes.push(Mistake::new(origin, text));
        }
    }

    /// Sets a key. `entry` finds the place of a list's entry from its span.
    pub(super) fn set(
        &mut self,
        key: &'static Key,
        raw: Raw<'_>,
        origin: Origin,
        entry: impl FnOnce(std::ops::Range<usize>) -> Option<Origin>,
    ) {
        match key.field.set(&mut self.config, raw) {
            Ok(()) => {
                self.origins.insert(key.name, origin);
            }
            Err(wrong) => {
                self.wrong.insert(key.name);
                let text = wrong_value(key, raw, &wrong, &origin);
                let place = wrong.entry.and_then(|(_, span)| entry(span));
                self.mistake(place.unwrap_or(origin), text);
            }
        }
    }
}

/// What is there, what is accepted, and an example in the words of the place where it has to be repaired.
fn wrong_value(key: &Key, raw: Raw<'_>, wrong: &Wrong, origin: &Origin) -> String {
    let found = match &wrong.entry {
        Some((entry, _)) => format!("{} has the entry {entry}", key.name),
        None => format!("{} is {}", key.name, raw.describe()),
    };
    let detail = if wrong.detail.is_empty() { String::new() } else { format!(" ({})", wrong.detail) };
    let example = match origin {
        Origin::Environment(name) => format!("{name}={}", plain(key.example)),
        Origin::Flag(flag) if flag == "--set" => format!("--set {}={}", key.name, plain(key.example)),
        Origin::Flag(flag) => format!("{flag} {}", plain(key.example)),
        Origin::File { .. } | Origin::Default => format!("{} = {}", key.short(), key.example),
    };
    format!("{found}{detail}, it has to be {}; example: {example}", key.field.accepts())
}

/// A TOML value of the key table as it is written in the environment and in flags.
fn plain(example: &str) -> String {
    example.trim_matches(['[', ']']).replace('"', "").replace(", ", ",")
}
