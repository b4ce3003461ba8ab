//! Files that would blow up are refused, and quickly.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{one, rule, told};

/// Loads it in a time that no blown-up file would keep.
#[track_caller]
fn refused(text: &str, message: &str) {
    let start = Instant::now();
    let loaded = one(text);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let told = told(&loaded);
    assert!(told.iter().any(|one| one.contains(message)), "{:#?}", &told[..told.len().min(5)]);
    assert!(loaded.rules.is_empty());
}

#[test]
fn a_bomb_of_macros() {
    let mut items = "- macro: m0\n  condition: evt.type=x or evt.type=y\n".to_owned();
    for level in 1..60 {
        let inner = format!("m{}", level - 1);
        writeln!(items, "- macro: m{level}\n  condition: {inner} or {inner}").unwrap();
    }
    refused(&rule(&items, "m59"), "more than 50000 comparisons and values");
}

#[test]
fn a_bomb_of_lists() {
    let mut items = "- list: l0\n  items: [a, b]\n".to_owned();
    for level in 1..60 {
        let inner = format!("l{}", level - 1);
        writeln!(items, "- list: l{level}\n  items: [{inner}, {inner}]").unwrap();
    }
    refused(&rule(&items, "proc.name in (l59)"), "more than 50000");
}

#[test]
fn many_rules_of_which_each_is_just_small_enough() {
    let mut items = format!("- list: l\n  items: [{}]\n", "a, ".repeat(40_000));
    for index in 0..200 {
        items.push_str(&rule("", "proc.name in (l)").replace("rule: R", &format!("rule: R{index}")));
    }
    let loaded = one(&items);
    assert!(told(&loaded).iter().any(|one| one.contains("all rules together")));
    assert!(loaded.rules.len() > 10 && loaded.rules.len() < 30, "{}", loaded.rules.len());
}

#[test]
fn a_bomb_of_aliases() {
    let mut text = "- list: a\n  items: &x0 [a, a, a, a, a, a, a, a, a]\n".to_owned();
    for level in 1..20 {
        let alias = format!("*x{}, ", level - 1).repeat(9);
        writeln!(text, "- list: a{level}\n  items: &x{level} [{alias}]").unwrap();
    }
    refused(&text, "parts with its aliases");
}

#[test]
fn an_alias_of_what_it_is_in() {
    refused("- &a [*a]\n", "rules.yaml:1:7: error: this alias stands for something that has not ended yet");
}

#[test]
fn deep_nesting() {
    refused(&format!("- list: l\n  items: {}a{}\n", "[".repeat(10_000), "]".repeat(10_000)), "");
    refused(&rule("", &format!("{}evt.type=a{}", "(".repeat(5000), ")".repeat(5000))), "nested deeper than 50");
    refused(
        &rule("", &format!("{}evt.type{} = a", "tolower(".repeat(5000), ")".repeat(5000))),
        "nested deeper than 50",
    );
    let mut items = "- macro: m0\n  condition: evt.type=a\n".to_owned();
    for level in 1..400 {
        writeln!(items, "- macro: m{level}\n  condition: not (evt.type=b and m{})", level - 1).unwrap();
    }
    refused(&rule(&items, "m399"), "nested deeper than 200");
}

#[test]
fn long_chains_are_no_problem() {
    let condition = format!("{}evt.type=z", "not ".repeat(20_001)) + &" or evt.type=x".repeat(20_000);
    let loaded = one(&rule("", &condition));
    assert_eq!(loaded.rules.len(), 1, "{:#?}", told(&loaded));
    let mut items = "- macro: m0\n  condition: evt.type=a\n".to_owned();
    for level in 1..3000 {
        writeln!(items, "- macro: m{level}\n  condition: m{}", level - 1).unwrap();
    }
    assert_eq!(one(&rule(&items, "m2999")).rules.len(), 1);
}

#[test]
fn long_files_and_many_mistakes() {
    refused(&" ".repeat((4 << 20) + 1), "is longer than 4 MiB");
    let loaded = one(&"- rule: R\n  desc: d\n".repeat(2000));
    assert_eq!(loaded.diagnostics.len(), 1001);
    assert!(loaded.diagnostics[1000].message.starts_with("and "));
}
