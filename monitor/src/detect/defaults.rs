//! The rules that are there without any file: `monitor/rules/*.yaml`, part of the binary.

mod markdown;

use std::path::PathBuf;

use super::lang::Source;

pub(super) use markdown::markdown;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Name and text, in the order of loading: lists and macros first.
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../rules/", $name)))),*];
    };
}

files![
    "macros.yaml",
    "reverse_shell.yaml",
    "execution.yaml",
    "defense_evasion.yaml",
    "masquerading.yaml",
    "indicator_removal.yaml",
    "impair_defenses.yaml",
    "kernel.yaml",
    "privilege_escalation.yaml",
    "escape.yaml",
    "credential_access.yaml",
    "persistence.yaml",
    "discovery.yaml",
    "command_and_control.yaml",
    "impact.yaml",
    "self.yaml",
];

/// The default rules. Files of the user are loaded behind them and may change them. Messages name them `default/…`,
/// because there is no such file on the host.
pub fn default_rules() -> Vec<Source> {
    let source =
        |(name, text): &(&str, &str)| Source { path: PathBuf::from("default").join(name), text: (*text).to_owned() };
    FILES.iter().map(source).collect()
}

#[cfg(test)]
mod tests;
