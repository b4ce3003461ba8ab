//! Falco's stable rules, unmodified (`tests/rules/falco`).

use std::fs;

use super::foreign::Foreign;

const FALCO: Foreign = Foreign {
    rules: "falco/falco_rules.yaml",
    lines: include_str!("data/falco.txt"),
    impossible: &[
        ("Contact K8S API Server From Container", "asks for the name of an address in a cluster"),
        ("Debugfs Launched in Privileged Container", "asks a container runtime whether the container is privileged"),
    ],
};

#[test]
fn every_rule_is_provoked_or_has_a_reason() {
    let text = fs::read_to_string(FALCO.place()).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("- rule: ")).map(str::to_owned).collect();
    FALCO.covers(&names);
}

#[test]
fn every_rule_fires_that_can_be_provoked() {
    FALCO.provoke();
}
