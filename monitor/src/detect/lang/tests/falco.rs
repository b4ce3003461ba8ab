//! Falco's own rules.

use super::{one, told};
use crate::detect::eval::Rules;

pub(super) const FALCO: &str = include_str!("../../../../../tests/rules/falco/falco_rules.yaml");

#[test]
fn falcos_stable_rules_load_without_a_mistake() {
    let loaded = one(FALCO);
    assert!(!loaded.has_errors(), "{:#?}", told(&loaded));
    let count = FALCO.lines().filter(|line| line.starts_with("- rule: ")).count();
    assert_eq!(loaded.rules.len(), count);
}

#[test]
fn falcos_stable_rules_compile() {
    let loaded = one(FALCO);
    let count = loaded.rules.len();
    let mut diagnostics = Vec::new();
    let rules = Rules::new(loaded.rules, &mut diagnostics);
    let errors: Vec<_> = diagnostics.iter().filter(|one| one.error).map(ToString::to_string).collect();
    assert_eq!((rules.list.len(), errors), (count, Vec::new()));
}

#[test]
fn conditions_of_falcos_rules_are_what_falco_makes_of_them() {
    let loaded = one(FALCO);
    let rule = |name: &str| loaded.rules.iter().find(|rule| rule.name == name).expect(name);
    // Written by hand from the file, with its macros and lists put in.
    let traversal = "((evt.type in (open, openat, openat2) and evt.is_open_read = true and fd.typechar = f and fd.num >= 0) \
        or (evt.type in (open, openat, openat2) and fd.typechar = f and fd.num = -1 and evt.res startswith E)) \
        and (fd.name startswith /etc/ or (fd.name contains /.ssh/ and fd.name glob /home/*/.ssh/*) \
        or fd.name startswith /root/.ssh or fd.name contains id_rsa) \
        and fd.nameraw contains ../ and fd.nameraw glob *../*../* \
        and not proc.pname in (ash, bash, csh, ksh, sh, tcsh, zsh, dash)";
    assert_eq!(rule("Directory traversal monitored file read").condition.to_string(), traversal);
    let untrusted = rule("Read sensitive file untrusted").condition.to_string();
    // Lists in lists, and names that are quoted twice.
    assert!(untrusted.contains("login, systemd, \"(systemd)\", systemd-logind, su, "), "{untrusted}");
    assert!(untrusted.contains("yum, 75-system-updat, rhsmcertd-worke, "), "{untrusted}");
    assert!(!untrusted.contains("_binaries"), "{untrusted}");
    for rule in &loaded.rules {
        let text = rule.condition.to_string();
        assert_eq!(super::super::condition(&text).expect("is read again").to_string(), text, "{}", rule.name);
    }
}
