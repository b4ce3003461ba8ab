//! Falco's own rules.

use super::{one, told};

pub(super) const FALCO: &str = include_str!("../../../../../tests/rules/falco/falco_rules.yaml");

#[test]
fn falcos_stable_rules_load_without_a_mistake() {
    let loaded = one(FALCO);
    assert!(!loaded.has_errors(), "{:#?}", told(&loaded));
    let count = FALCO.lines().filter(|line| line.starts_with("- rule: ")).count();
    assert_eq!(loaded.rules.len(), count);
}
