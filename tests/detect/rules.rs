//! Each default rule: a line that makes it fire, and one that is nearly that and does not (`data/rules.txt`).

use std::{collections::BTreeSet, fs, path::Path};

use super::scene::{Scene, Sweep, act, daemon, names, text, turn, with_prelude};

const CASES: &str = include_str!("data/rules.txt");

/// Rules that cannot be made to fire here. Their conditions are tested with made-up events, beside the rules
/// (`detect/defaults/tests/logic.rs`); losses and throttling in `signals` and `truth`.
const ELSEWHERE: &[(&str, &str)] = &[
    ("agent_blind", "needs a daemon made blind; daemon/tampering.rs does it"),
    ("agent_tamper_denied", "needs a kernel that asks BPF programs; guest/protect.rs has one"),
    ("container_drift_exec", "needs a container's file system; falco.rs does it in a control group of one"),
    ("event_loss", "needs losses"),
    ("event_loss_throttled", "needs a flood in a control group"),
    ("exec_memfd_runtime", "needs a container runtime"),
    ("ns_change_container", "needs a container"),
    ("revshell_stdio_socket_service", "needs inetd or a unit with Accept=yes"),
    ("uid0_transition_kernel", "needs a hole in the kernel"),
];

/// What a case says.
struct Case<'a> {
    rule: &'a str,
    fires: &'a str,
    quiet: &'a str,
}

fn cases() -> Vec<Case<'static>> {
    let lines: Vec<&str> = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let part = |line: &'static str, key: &str| {
        line.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")).unwrap_or_else(|| panic!("no {key}: {line}"))
    };
    let case = |lines: &[&'static str]| {
        let [rule, fires, quiet] = lines else { panic!("three lines a case: {lines:?}") };
        Case { rule: part(rule, "rule"), fires: part(fires, "fires"), quiet: part(quiet, "quiet") }
    };
    lines.chunks(3).map(case).collect()
}

#[test]
fn every_default_rule_has_a_case_or_a_reason() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitor/rules");
    let mut rules = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        rules.extend(text.lines().filter_map(|line| line.strip_prefix("- rule: ")).map(str::to_owned));
    }
    let cases: Vec<_> = cases().into_iter().map(|case| case.rule).collect();
    let told: BTreeSet<String> =
        cases.iter().copied().chain(ELSEWHERE.iter().map(|(rule, _)| *rule)).map(str::to_owned).collect();
    assert_eq!(told.len(), cases.len() + ELSEWHERE.len(), "a rule is there twice");
    assert_eq!(rules, told);
}

/// What went wrong with the line itself.
fn broken(scene: &Scene) -> Option<String> {
    (scene.code != Some(0)).then(|| format!("the line ended with {:?}: {}", scene.code, scene.complaints))
}

#[test]
fn every_default_rule_fires() {
    let (_turn, _sweep, daemon) = (turn(), Sweep::new(), daemon());
    let mut failed = Vec::new();
    for case in cases() {
        let scene = act(&daemon, &with_prelude(&daemon, case.fires));
        let found = scene.wait(&daemon, |alert| text(alert, "rule") == case.rule);
        if let Some(problem) = broken(&scene).or_else(|| found.err()) {
            failed.push(format!("{}: {problem}", case.rule));
        }
    }
    assert!(failed.is_empty(), "{} rule(s) did not fire:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn no_default_rule_fires_at_what_is_nearly_its_case() {
    let (_turn, _sweep, daemon) = (turn(), Sweep::new(), daemon());
    let mut failed = Vec::new();
    for case in cases() {
        let scene = act(&daemon, &with_prelude(&daemon, case.quiet));
        let alerts = scene.all(&daemon);
        if let Some(problem) = broken(&scene) {
            failed.push(format!("{}: {problem}", case.rule));
        } else if alerts.iter().any(|alert| text(alert, "rule") == case.rule) {
            failed.push(format!("{}: among {:?}", case.rule, names(&alerts)));
        }
    }
    assert!(failed.is_empty(), "{} rule(s) fired:\n{}", failed.len(), failed.join("\n"));
}
