//! `monitor rules`: checks, lists, explains and tries rules. Reads files, not the daemon; no privilege is needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::RulesCommand;
use super::console::Console;
use super::exit::Exit;
use crate::capture::{self, ReplayOptions};
use crate::config::mistake::printable;
use crate::config::{ConfigError, Loaded, Sources};
use crate::detect::eval::Engine;
use crate::detect::lang::ast::{Diagnostic, Rule};
use crate::detect::lang::nearest;
use crate::detect::severity;
use crate::observer::responses;
use crate::respond;
use crate::ruleset::RuleSet;

/// Carries it out.
pub(super) fn run(command: RulesCommand, sources: Sources, console: &mut Console<'_>) -> Result<Exit, ConfigError> {
    Ok(match command {
        RulesCommand::Check { paths } => {
            let set = set(&paths, sources)?;
            check(set, console)
        }
        RulesCommand::List { paths, json } => {
            let set = set(&paths, sources)?;
            list(&set.rules, json, console)
        }
        RulesCommand::Explain { rule, paths } if paths.is_empty() => {
            let config = Loaded::load(sources)?.config;
            explain(RuleSet::of_config(&config.rules), &rule, Some(&responses(&config)), console)
        }
        RulesCommand::Explain { rule, paths } => explain(set(&paths, sources)?, &rule, None, console),
        RulesCommand::Test { file, rules, expect } => test(&file, rules, &expect, console),
    })
}

/// The rules of these files behind the default ones, or those that the configuration names.
fn set(paths: &[PathBuf], sources: Sources) -> Result<RuleSet, ConfigError> {
    if paths.is_empty() {
        return Ok(RuleSet::of_config(&Loaded::load(sources)?.config.rules));
    }
    Ok(RuleSet::of_paths(paths, true))
}

fn check(set: RuleSet, console: &mut Console<'_>) -> Exit {
    let files = set.sources.len();
    let (engine, more) = Engine::new(set.rules);
    let all: Vec<&Diagnostic> = set.diagnostics.iter().chain(&more).collect();
    let wrong = all.iter().filter(|one| one.error).count();
    for one in &all {
        console.complain(&printable(&one.to_string()));
    }
    let rules = engine.rules().list.len();
    let text = format!("{rules} rules of {files} files are good; {wrong} mistakes, {} doubts\n", all.len() - wrong);
    let written = console.print(&text);
    match console.ended(written) {
        Exit::OK if wrong > 0 => Exit::CONFIG,
        exit => exit,
    }
}

fn list(rules: &[Rule], json: bool, console: &mut Console<'_>) -> Exit {
    let mut text = String::new();
    for rule in rules {
        let (name, severity) = (printable(&rule.name), severity(rule.priority).name());
        if json {
            let line = json!({
                "rule": rule.name, "severity": severity, "priority": rule.priority.to_string(), "enabled": rule.enabled,
                "attack": rule.more.attack, "tags": rule.tags, "description": rule.description,
                "place": rule.place.to_string(),
            });
            text.push_str(&format!("{line}\n"));
        } else {
            let state = if rule.enabled { "" } else { "  (off)" };
            let attack = printable(&rule.more.attack.join(" "));
            text.push_str(&format!("{severity:<9} {name:<34} {attack}{state}\n"));
        }
    }
    let written = console.print(&text);
    console.ended(written)
}

/// `respond`: what the configuration says about responses, if there is one.
fn explain(set: RuleSet, name: &str, respond: Option<&respond::Options>, console: &mut Console<'_>) -> Exit {
    let Some(rule) = set.rules.iter().find(|rule| rule.name == name).cloned() else {
        let known = nearest(name, set.rules.iter().map(|rule| rule.name.as_str()));
        let hint = known.map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
        console.complain(&printable(&format!("there is no rule `{name}`{hint}")));
        return Exit::FAILURE;
    };
    let (engine, _) = Engine::new(set.rules);
    let mut text = format!("{} ({}), {}\n", printable(&rule.name), severity(rule.priority).name(), rule.place);
    if let Some(title) = &rule.more.title {
        text.push_str(&format!("  {}\n", printable(title)));
    }
    text.push_str(&format!("  {}\n", printable(rule.description.trim())));
    for (what, said) in [
        ("techniques", rule.more.attack.join(", ")),
        ("false positives", rule.more.false_positives.clone().unwrap_or_default()),
        ("output", rule.output.clone()),
    ] {
        if !said.is_empty() {
            text.push_str(&format!("  {what}: {}\n", printable(said.trim())));
        }
    }
    match engine.explain(name) {
        Some(compiled) => {
            text.push_str(&compiled);
            text.push_str(&format!("  response: {}\n", printable(&killing(&engine, &rule, respond))));
        }
        None if !rule.enabled => text.push_str("  it is off\n"),
        None => text.push_str("  it is left out: `monitor rules check` says why\n"),
    }
    let written = console.print(&text);
    console.ended(written)
}

/// Where its process is killed, if it is.
fn killing(engine: &Engine, rule: &Rule, options: Option<&respond::Options>) -> String {
    match options.and_then(|options| respond::of_rule(options, engine, rule)) {
        Some(Ok(_)) => "killed in the kernel at exec, before the first instruction".to_owned(),
        Some(Err(why)) => format!("killed from user space, because {why}"),
        None => match engine.at_exec(&rule.name) {
            Ok(_) => "its process is not killed; if it were, in the kernel at exec".to_owned(),
            Err(why) => format!("its process is not killed; if it were, from user space, because {why}"),
        },
    }
}

/// Goes through a recording and compares how often each rule fired with what is expected.
fn test(file: &Path, rules: Option<PathBuf>, expect: &[(String, u64)], console: &mut Console<'_>) -> Exit {
    let options = ReplayOptions { rules, disable: Vec::new() };
    let mut fired: BTreeMap<String, u64> = BTreeMap::new();
    let replayed = capture::replay(file, &options, |_, alert| {
        *fired.entry(alert.rule.to_string()).or_default() += 1;
    });
    let replayed = match replayed {
        Ok(replayed) => replayed,
        Err(error) => {
            console.complain(&printable(&error.to_string()));
            return Exit::FAILURE;
        }
    };
    let mut text = String::new();
    for (rule, count) in &fired {
        text.push_str(&format!("{count:>6} {}\n", printable(rule)));
    }
    let mut failed = replayed.cut.is_some();
    for (rule, wanted) in expect {
        let count = fired.get(rule).copied().unwrap_or(0);
        if count != *wanted {
            failed = true;
            text.push_str(&format!("FAILED {}: {count} alerts instead of {wanted}\n", printable(rule)));
        }
    }
    if replayed.cut.is_some() {
        text.push_str("FAILED: the recording is not whole\n");
    }
    let written = console.print(&text);
    match console.ended(written) {
        Exit::OK if failed => Exit::FAILURE,
        exit => exit,
    }
}
