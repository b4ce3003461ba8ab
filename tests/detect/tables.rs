//! The table of attacks and that of harmless look-alikes, `data/*.tsv`: number, name, line of shell, what is expected.

use std::collections::BTreeSet;

use super::scene::{Sweep, act, at_least, daemon, is_of, names, names_technique, text, turn};

const ATTACKS: &str = include_str!("data/attacks.tsv");
const BENIGN: &str = include_str!("data/benign.tsv");

/// A line of a table.
struct Row<'a> {
    id: &'a str,
    line: &'a str,
    expected: &'a str,
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let row = |line| {
        let columns: Vec<&str> = str::split(line, '\t').collect();
        let [id, _, line, expected] = columns[..] else { panic!("four columns: {line}") };
        Row { id, line, expected }
    };
    table.lines().skip(1).map(row).collect()
}

/// `rule SEVERITY T1234.001/T1235: …` tells the rule, the least severity, and techniques of which one has to be named.
fn expected(text: &str) -> (&str, &str, BTreeSet<&str>) {
    let mut words = text.split_whitespace();
    let (Some(rule), Some(severity)) = (words.next(), words.next()) else { panic!("rule and severity: {text}") };
    let is_technique = |word: &&str| {
        let digits = word.strip_prefix('T').and_then(|rest| rest.get(..4));
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    let techniques = words.map(|word| word.trim_end_matches('.')).filter(is_technique).collect();
    (rule, severity, techniques)
}

#[test]
fn every_attack_is_told_with_its_technique() {
    let (_turn, _sweep, daemon) = (turn(), Sweep::new(), daemon());
    let mut failed = Vec::new();
    for row in rows(ATTACKS) {
        let (rule, least, techniques) = expected(row.expected);
        let right = act(&daemon, row.line).wait(&daemon, |alert| {
            let named = techniques.is_empty() || techniques.iter().any(|technique| names_technique(alert, technique));
            is_of(alert, rule) && at_least(text(alert, "severity"), least) && named
        });
        if let Err(instead) = right {
            failed.push(format!("{}: {rule} {least} {techniques:?} expected, {instead}", row.id));
        }
    }
    assert!(failed.is_empty(), "{} attack(s) not told:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn what_looks_like_an_attack_gives_nothing_above_low() {
    let (_turn, _sweep, daemon) = (turn(), Sweep::new(), daemon());
    let mut failed = Vec::new();
    for row in rows(BENIGN) {
        // The one that a host may well want to be told of.
        let most = if row.expected.contains("at most MEDIUM") { "medium" } else { "low" };
        let mut alerts = act(&daemon, row.line).all(&daemon);
        alerts.retain(|alert| !at_least(most, text(alert, "severity")));
        if !alerts.is_empty() {
            failed.push(format!("{}: {:?}", row.id, names(&alerts)));
        }
    }
    assert!(failed.is_empty(), "{} false alarm(s):\n{}", failed.len(), failed.join("\n"));
}
