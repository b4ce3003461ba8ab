//! The default rules are whole: they load, and each says what a person needs who gets its alert.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::detect::eval::{Needs, Rules};
use crate::detect::lang::ast::Diagnostic;
use crate::detect::lang::{Loaded, load};

mod book;
mod environment;
mod exceptions;
mod logic;

/// Read once for all tests.
fn loaded() -> &'static Loaded {
    static LOADED: LazyLock<Loaded> = LazyLock::new(|| load(&default_rules()));
    &LOADED
}

/// Compiled once for all tests.
fn compiled() -> &'static (Rules, Vec<Diagnostic>) {
    static COMPILED: LazyLock<(Rules, Vec<Diagnostic>)> = LazyLock::new(|| {
        let mut diagnostics = Vec::new();
        let rules = Rules::new(loaded().rules.clone(), &mut diagnostics);
        (rules, diagnostics)
    });
    &COMPILED
}

#[test]
fn every_file_loads_without_a_complaint() {
    let loaded = loaded();
    assert_eq!(loaded.diagnostics, []);
    assert!(loaded.rules.len() > 100, "{}", loaded.rules.len());
}

/// Every field, operator and value is one that the engine knows, and every rule says which events it is for.
#[test]
fn every_rule_compiles_without_a_complaint() {
    let (compiled, diagnostics) = compiled();
    assert_eq!(*diagnostics, []);
    assert_eq!(compiled.list.len(), loaded().rules.len());
}

#[test]
fn the_page_of_rules_is_what_the_rules_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RULES.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, markdown()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == markdown(), "docs/RULES.md is out of date: UPDATE_DOCS=1 cargo test -p monitor --lib detect");
}

#[test]
fn no_file_of_the_directory_is_forgotten() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let there: BTreeSet<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let known: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(there, known);
}

#[test]
fn every_rule_says_what_it_is() {
    let mut names = BTreeSet::new();
    for rule in &loaded().rules {
        let name = rule.name.as_str();
        assert!(names.insert(rule.name.clone()), "{name} twice");
        let of_words = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(name.bytes().all(of_words), "{name}: lower case, digits and `_`");
        assert!(rule.more.title.as_ref().is_some_and(|title| !title.ends_with('.')), "{name}: title");
        assert!(rule.description.trim().ends_with('.'), "{name}: description");
        assert!(rule.more.false_positives.is_some(), "{name}: false positives");
        assert!(!rule.tags.is_empty() && rule.enabled, "{name}: tags");
        assert!(!rule.more.attack.is_empty(), "{name}: techniques");
        for id in &rule.more.attack {
            let digits = id.strip_prefix('T').unwrap_or_default();
            let shape = digits.split('.').map(str::len).collect::<Vec<_>>();
            assert!(matches!(shape.as_slice(), [4] | [4, 3]), "{name}: {id}");
        }
    }
}

/// What version 19 of ATT&CK renumbered is there under both numbers.
#[test]
fn renumbered_techniques_have_both_numbers() {
    for (new, old) in
        [("T1685", "T1562.001"), ("T1686", "T1562.004"), ("T1690", "T1562.003"), ("T1685.006", "T1070.002")]
    {
        let mut rules = 0;
        for rule in &loaded().rules {
            let has = |id: &str| rule.more.attack.iter().any(|one| one == id);
            assert_eq!(has(new), has(old), "{}: {new} and {old}", rule.name);
            rules += usize::from(has(new));
        }
        assert!(rules > 0, "{new}");
    }
}

/// The names of the nine rules that were there before rules were files: they do not change.
#[test]
fn published_names_stay() {
    let names: BTreeSet<String> = loaded().rules.iter().map(|rule| rule.name.clone()).collect();
    for name in [
        "event_loss",
        "exec_deleted",
        "exec_devshm",
        "exec_hidden",
        "exec_memfd",
        "exec_tmp",
        "kthread_masquerade",
        "revshell_stdio_socket",
        "setuid_exec",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

/// What every process does all the time leaves the kernel only where a rule watches: files read, written and made.
#[test]
fn the_kernel_is_not_asked_for_every_file() {
    let (compiled, _) = compiled();
    for rule in 0..compiled.list.len() {
        let needs = Needs::of_rule(compiled, rule);
        let all = [("read", needs.read.all), ("written", needs.write.all), ("made", needs.created.all)];
        let all: Vec<&str> = all.iter().filter(|(_, all)| *all).map(|(what, _)| *what).collect();
        assert!(all.is_empty(), "{}: every file {all:?}", compiled.list[rule].ast.name);
    }
}
