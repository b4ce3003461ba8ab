//! The keys that Falco does not have.

use std::time::Duration;

use super::super::ast::{Action, Dedup, FirstSeen, Respond};
use super::{one, rule, told};

fn with(keys: &str) -> String {
    rule("- macro: m\n  condition: evt.type=m\n", "evt.type=a") + keys
}

#[test]
fn all_of_them_are_read() {
    let loaded = one(&with(
        "  title: A title\n  attack: [T1059.004, T1105]\n  false_positives: [Builds., Tests.]\n  \
         sequence:\n    by: proc.pid\n    within: 10s\n    steps:\n      - m and proc.name=x\n      - evt.type=c\n  \
         count:\n    by: [user.uid, proc.name]\n    distinct: fd.sip\n    at_least: 20\n    within: 5m\n  \
         first_seen:\n    of: [proc.exepath, 'proc.aname[2]']\n    remember: 30d\n    learn: 1d\n  \
         dedup:\n    key: [proc.exepath]\n    window: 1h\n  \
         respond:\n    action: kill\n    dry_run: false\n",
    ));
    assert_eq!(told(&loaded), Vec::<String>::new());
    let more = &loaded.rules[0].more;
    assert_eq!(more.title.as_deref(), Some("A title"));
    assert_eq!(more.attack, ["T1059.004", "T1105"]);
    assert_eq!(more.false_positives.as_deref(), Some("Builds.; Tests."));
    let sequence = more.sequence.as_ref().unwrap();
    assert_eq!((sequence.by[0].to_string().as_str(), sequence.within), ("proc.pid", Duration::from_secs(10)));
    let steps: Vec<_> = sequence.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["evt.type = m and proc.name = x", "evt.type = c"]);
    let count = more.count.as_ref().unwrap();
    assert_eq!((count.by.len(), count.at_least, count.within), (2, 20, Duration::from_mins(5)));
    assert_eq!(count.distinct.as_ref().unwrap().name, "fd.sip");
    let FirstSeen { of, remember, learn } = more.first_seen.as_ref().unwrap();
    assert_eq!((of.len(), *remember, *learn), (2, Duration::from_hours(720), Duration::from_hours(24)));
    let Dedup { key, window } = more.dedup.as_ref().unwrap();
    assert_eq!((key.len(), *window), (1, Duration::from_hours(1)));
    assert_eq!(more.respond, Some(Respond { action: Action::Kill, dry_run: false }));
}

#[test]
fn what_is_left_out_has_its_usual_value() {
    let loaded = one(&with("  respond: {action: {run: [/usr/bin/logger, alert]}}\n  first_seen: {of: proc.name}\n"));
    assert_eq!(told(&loaded), Vec::<String>::new());
    let more = &loaded.rules[0].more;
    let action = Action::Run(vec!["/usr/bin/logger".to_owned(), "alert".to_owned()]);
    assert_eq!(more.respond, Some(Respond { action, dry_run: true }), "nothing is done unless it is said twice");
    let first = more.first_seen.as_ref().unwrap();
    assert_eq!((first.remember, first.learn), (Duration::from_hours(720), Duration::ZERO));
}

#[test]
fn falcos_rules_have_none() {
    assert_eq!(one(&with("")).rules[0].more, super::super::ast::More::default());
}

#[test]
fn mistakes_in_them_leave_the_rule_out() {
    for (keys, message) in [
        ("  attack: T105\n", "`T105` is no technique"),
        ("  attack: [T1059.04]\n", "no technique"),
        ("  sequence: {by: proc.pid, within: 10s}\n", "`steps` is missing"),
        ("  sequence: {by: proc.pid, within: 10s, steps: []}\n", "1 to 8 `steps`"),
        ("  sequence: {by: proc.pid, steps: [m]}\n", "`within` is missing"),
        ("  sequence: {within: 10s, steps: [m]}\n", "`by` is missing"),
        ("  sequence: {by: proc.pid, within: 10s, steps: [nosuch]}\n", "unknown macro `nosuch`"),
        ("  sequence: {by: proc.pid, within: ten, steps: [m]}\n", "a time such as 10s"),
        ("  sequence: {by: proc.pid, within: 0s, steps: [m]}\n", "longer than nothing"),
        ("  sequence: {by: proc.pid, within: 2d, steps: [m]}\n", "longer than a day"),
        ("  sequence: {by: pid, within: 2s, steps: [m]}\n", "expected the name of a field"),
        ("  sequence: [m]\n", "has to be a mapping"),
        ("  count: {by: proc.pid, within: 2s}\n", "`at_least` is missing"),
        ("  count: {by: proc.pid, within: 2s, at_least: 1}\n", "from 2 to"),
        ("  count: {by: proc.pid, within: 2s, atleast: 2}\n", "did you mean `at_least`?"),
        ("  first_seen: {of: []}\n", "names no field"),
        ("  dedup: {key: proc.name}\n", "`window` is missing"),
        ("  respond: {action: kil}\n", "did you mean `kill`?"),
        ("  respond: {action: {run: [logger]}}\n", "absolute path"),
        ("  respond: {dry_run: true}\n", "`action` is missing"),
        ("  respond: {action: kill, dry_run: perhaps}\n", "true or false"),
    ] {
        let loaded = one(&with(keys));
        let told = told(&loaded);
        assert!(told.iter().any(|one| one.contains("error: rule `R`: ") && one.contains(message)), "{keys}{told:#?}");
        assert!(loaded.rules.is_empty(), "{keys}");
    }
}

#[test]
fn the_example_of_the_document_loads() {
    let document = include_str!("../../../../docs/RULE-LANGUAGE.md");
    let example = document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("there is one");
    let loaded = one(example);
    assert_eq!(told(&loaded), Vec::<String>::new());
    let more = &loaded.rules[0].more;
    assert!(more.sequence.is_some() && more.count.is_some() && more.first_seen.is_some() && more.dedup.is_some());
}
