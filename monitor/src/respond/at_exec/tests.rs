use super::*;
use crate::detect::Glob;
use crate::detect::lang::{self, Source};

fn glob(text: &str) -> Glob {
    Glob::name(text).unwrap()
}

fn engine(more: &str) -> Engine {
    let text = format!(
        "- rule: r\n  desc: x\n  condition: evt.type = execve and proc.exepath = /x\n  output: x\n  priority: INFO\n{more}"
    );
    let loaded = lang::load(&[Source { path: "test.yaml".into(), text }]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    Engine::new(loaded.rules).0
}

/// `-`: it is not killed; else why not in the kernel, or nothing.
fn said(options: &Options, more: &str) -> String {
    let engine = engine(more);
    match of_rule(options, &engine, &engine.rules().list[0].ast) {
        None => "-".to_owned(),
        Some(result) => result.err().unwrap_or_default(),
    }
}

fn kill() -> Options {
    let rules = vec![(Action::Kill, vec![glob("r")])];
    Options { enabled: true, dry_run: false, rules, ..Options::default() }
}

#[test]
fn a_rule_is_killed_by_only_if_all_say_so() {
    let by_itself = "  respond:\n    action: kill\n    dry_run: false\n";
    let rehearsed = "  respond:\n    action: kill\n";
    let nobody = Options { rules: Vec::new(), ..kill() };
    for (options, more, expected) in [
        (kill(), "", ""),
        (nobody.clone(), "", "-"),
        (nobody.clone(), by_itself, ""),
        (nobody, rehearsed, "-"),
        // What the configuration names goes before what the rule says.
        (kill(), rehearsed, ""),
        (Options { enabled: false, ..kill() }, by_itself, "-"),
        (Options { dry_run: true, ..kill() }, by_itself, "-"),
        (Options { rules: vec![(Action::Stop, vec![glob("r")])], ..kill() }, "", "-"),
    ] {
        assert_eq!(said(&options, more), expected, "{options:?} {more}");
    }
    for action in [Action::Freeze, Action::Stop] {
        let mut options = kill();
        options.rules.push((action, vec![glob("*")]));
        assert_eq!(said(&options, ""), format!("the action {} comes before", action.name()));
    }
    let mut options = kill();
    options.rules.push((Action::Run, vec![glob("*")]));
    assert_eq!(said(&options, ""), "", "a program is run afterwards");
}

#[test]
fn whoever_may_be_on_the_list_is_spared() {
    let allow = |patterns: &[&str]| Options { allow: patterns.iter().map(|text| glob(text)).collect(), ..kill() };
    let plan = plan(&allow(&["/usr/sbin/sshd", "/lib/systemd/systemd*", "/a/?b"]), &engine(""), &Guard::default());
    let begins = |text: &str| Pattern::Begins(text.into());
    let expected = [Pattern::Is(b"/usr/sbin/sshd".to_vec()), begins("/lib/systemd/systemd"), begins("/a/")];
    assert_eq!(plan.unwrap().spared, expected);
    let why = said(&allow(&["/x", "**/sshd"]), "");
    assert!(why.contains("begins with a wildcard"), "{why}");
    // One that is too long is taken for what it begins with, or its end would be left out.
    let long = format!("/{}", "l".repeat(400));
    assert_eq!(spared(&allow(&[&long])).unwrap(), [begins(&long[..TEXT - 1])]);
}

#[test]
fn without_a_rule_the_kernel_is_told_nothing() {
    let guard = Guard { own: vec![7, 8], ..Guard::default() };
    assert_eq!(plan(&Options::default(), &engine(""), &guard).unwrap(), Plan::default());
    let found = plan(&kill(), &engine(""), &guard).unwrap();
    assert_eq!((found.rules.len(), found.own), (1, vec![7, 8]));
}
