//! Lists, macros and rules, and how later ones change earlier ones.

use super::super::ast::Priority;
use super::{condition_of, one, only_message, rule, several, told};

#[test]
fn lists_may_be_in_lists_and_quoted_values_are_no_names() {
    let lists = "- list: a\n  items: [x, b, '\"b\"', '\"(systemd)\"', two words, 443]\n- list: b\n  items: [y, a.b]\n";
    let loaded = one(&rule(lists, r#"proc.name in (a, "a", z)"#));
    assert_eq!(condition_of(&loaded, "R"), r#"proc.name in (x, y, a.b, b, "(systemd)", "two words", 443, a, z)"#);
    assert_eq!(loaded.lists["b"], ["y", "a.b"]);
    let empty = one(&rule("- list: none\n  items: []\n", "proc.name in (none) and evt.type in none"));
    assert_eq!(condition_of(&empty, "R"), "proc.name in () and evt.type in ()");
}

#[test]
fn a_list_with_one_value_may_stand_for_it() {
    let lists = "- list: one\n  items: [x]\n- list: two\n  items: [x, y]\n";
    assert_eq!(condition_of(&one(&rule(lists, "proc.name = one")), "R"), "proc.name = x");
    let message = only_message(&one(&rule(lists, "proc.name = two")));
    assert!(message.contains("write `in (two)` instead of `=`"), "{message}");
    assert_eq!(condition_of(&one(&rule(lists, "proc.name = \"two\"")), "R"), "proc.name = two");
}

#[test]
fn macros_may_come_later_and_use_each_other() {
    let loaded = one(&rule(
        "- macro: a\n  condition: (b or evt.type=x)\n- macro: b\n  condition: proc.name=y or proc.name=z\n",
        "a and not b",
    ));
    let expected = "(proc.name = y or proc.name = z or evt.type = x) and not (proc.name = y or proc.name = z)";
    assert_eq!(condition_of(&loaded, "R"), expected);
    assert_eq!(loaded.macros["b"].to_string(), "proc.name = y or proc.name = z");
}

#[test]
fn circles_are_told_and_the_others_load() {
    let items = "- macro: a\n  condition: b\n- macro: b\n  condition: evt.type=x and c\n- macro: c\n  condition: a\n\
                 - macro: self\n  condition: self\n- list: l\n  items: [m]\n- list: m\n  items: [l]\n\
                 - list: own\n  items: [own, x]\n";
    let loaded = one(&rule(items, "a and proc.name in (l)"));
    let told = told(&loaded);
    assert!(told.iter().any(|message| message.contains("macro `a` uses itself: `a`, `b`, `c`, `a`")), "{told:#?}");
    assert!(told.iter().any(|message| message.contains("macro `self` uses itself: `self`, `self`")), "{told:#?}");
    assert!(told.iter().any(|message| message.contains("list `l` is in itself")), "{told:#?}");
    assert!(loaded.rules.is_empty());
    assert_eq!(loaded.lists["own"], ["own", "x"]);
    assert_eq!(one(&(rule(items, "a") + &rule("", "proc.name in (own)").replace("rule: R", "rule: S"))).rules.len(), 1);
}

#[test]
fn a_bad_rule_is_left_out_and_all_mistakes_are_told_at_once() {
    let text = "- macro: spawned\n  condition: evt.type=execve\n\
        - rule: Bad\n  desc: d\n  condition: spwned and nosuch and proc.name=x\n  output: o\n  priority: WARNNG\n\
        - rule: Worse\n  desc: d\n  condition: spwned and nothing_like_it\n  output: o\n  priority: INFO\n\
        - rule: Good\n  desc: d\n  condition: spawned\n  output: o\n  priority: CRITICAL\n";
    let loaded = one(text);
    assert_eq!(
        told(&loaded),
        [
            "rules.yaml:7:13: error: rule `Bad`: unknown priority `WARNNG`: did you mean `warning`?",
            "rules.yaml:10:14: error: rule `Worse`: unknown macro `spwned`: did you mean `spawned`?",
            "rules.yaml:10:25: error: rule `Worse`: unknown macro `nothing_like_it`",
        ]
    );
    assert_eq!(loaded.rules.len(), 1);
    assert_eq!((loaded.rules[0].name.as_str(), loaded.rules[0].priority), ("Good", Priority::Critical));
}

#[test]
fn what_a_rule_needs_and_what_it_may_have() {
    let loaded = one("- rule: R\n  condition: evt.type=x\n  output: ' o '\n");
    assert_eq!(
        told(&loaded),
        [
            "rules.yaml:1:3: error: rule `R`: `desc` is missing",
            "rules.yaml:1:3: error: rule `R`: `priority` is missing"
        ]
    );
    let full = "- rule: R\n  desc: d\n  condition: evt.type=x\n  output: ' o %proc.name '\n  priority: info\n  tags: [a, T1059]\n  \
                enabled: no\n  source: syscall\n  warn_evttypes: False\n  skip-if-unknown-filter: yes\n  capture: true\n  \
                capture_duration: 5\n";
    let loaded = one(full);
    assert!(told(&loaded).is_empty(), "{:#?}", told(&loaded));
    let rule = &loaded.rules[0];
    assert_eq!((rule.output.as_str(), rule.enabled, rule.skip_if_unknown_filter), ("o %proc.name", false, true));
    assert_eq!(rule.tags, ["a", "T1059"]);
    assert_eq!(rule.priority, Priority::Informational);
}

#[test]
fn rules_for_other_sources_are_left_out_with_a_warning() {
    let loaded = one(&rule("", "ka.verb=get").replace("  priority", "  source: k8s_audit\n  priority"));
    assert!(only_message(&loaded).contains("warning: rule `R`: is for events of `k8s_audit`"));
    assert!(loaded.rules.is_empty() && !loaded.has_errors());
}

#[test]
fn later_definitions_replace_earlier_ones_where_they_stand() {
    let first = rule("- list: l\n  items: [a]\n- macro: m\n  condition: evt.type=a\n", "m and proc.name in (l)")
        + &rule("", "evt.type=s").replace("rule: R", "rule: S");
    let second = "- list: l\n  items: [b]\n- macro: m\n  condition: evt.type=b\n".to_owned() + &rule("", "m or m");
    let loaded = several(&[&first, &second]);
    assert_eq!(condition_of(&loaded, "R"), "evt.type = b or evt.type = b");
    assert_eq!(loaded.rules[0].name, "R");
    assert_eq!(loaded.lists["l"], ["b"]);
}

#[test]
fn append_and_override_add_and_replace() {
    let first = rule("- list: l\n  items: [a]\n- macro: m\n  condition: evt.type=a\n", "m and proc.name in (l)");
    let old = "- list: l\n  items: [b]\n  append: true\n- macro: m\n  condition: or evt.type=b\n  append: true\n\
               - rule: R\n  condition: and evt.num=1\n  append: true\n";
    let new = "- list: l\n  items: [c]\n  override: {items: append}\n- macro: m\n  condition: or evt.type=c\n  override:\n    condition: append\n\
               - rule: R\n  output: more\n  tags: [t]\n  desc: e\n  priority: ERROR\n  enabled: false\n  title: T\n  attack: [T1059]\n  override:\n    \
               output: append\n    tags: append\n    desc: append\n    priority: replace\n    enabled: replace\n    title: replace\n    attack: append\n";
    let loaded = several(&[&first, old, new]);
    let types = "(evt.type = a or evt.type = b or evt.type = c)";
    assert_eq!(condition_of(&loaded, "R"), format!("{types} and proc.name in (a, b, c) and evt.num = 1"));
    let rule = &loaded.rules[0];
    assert_eq!((rule.output.as_str(), rule.description.as_str()), ("o more", "d e"));
    assert_eq!((rule.priority, rule.enabled, rule.tags.as_slice()), (Priority::Error, false, &["t".to_owned()][..]));
    assert_eq!((rule.more.title.as_deref(), rule.more.attack.as_slice()), (Some("T"), &["T1059".to_owned()][..]));
    let replaced = several(&[&first, "- rule: R\n  condition: evt.num=2\n  override: {condition: replace}\n"]);
    assert_eq!(condition_of(&replaced, "R"), "evt.num = 2");
    let enabled = several(&[&first, "- rule: R\n  enabled: false\n"]);
    assert!(!enabled.rules[0].enabled && told(&enabled).is_empty());
}

#[test]
fn bad_changes_are_told_and_change_nothing() {
    let first = rule("- list: some_list\n  items: [a]\n", "evt.type=a");
    for (change, message) in [
        ("- rule: Q\n  condition: and evt.num=1\n  append: true\n", "changes a rule that was not defined before"),
        (
            "- rule: R\n  priority: INFO\n  override: {priority: append}\n",
            "`priority` cannot be overridden so: use `replace`",
        ),
        ("- rule: R\n  desc: x\n  output: y\n  override: {desc: replace}\n", "`output` is not under `override`"),
        ("- rule: R\n  override: {desc: replace}\n", "overrides `desc`, which is not there"),
        ("- rule: R\n  desc: x\n  override: {desc: substitute}\n", "`substitute` is no way to override"),
        (
            "- rule: R\n  condition: x\n  append: true\n  override: {condition: append}\n",
            "both `append` and `override`",
        ),
        ("- rule: R\n  tags: [x]\n", "`condition` is missing (or `enabled`"),
        (
            "- list: sme_list\n  items: [x]\n  append: true\n",
            "adds to a list that was not defined before: did you mean `some_list`?",
        ),
        (
            "- macro: m\n  condition: x\n  override: {condition: append}\n",
            "adds to a macro that was not defined before",
        ),
        ("- list: l l\n  items: [x]\n", "the name of a list"),
        ("- macro: m-n\n  condition: evt.type=a\n", "the name of a macro"),
        ("- list: l\n", "`items` is missing"),
        ("- list: l\n  items: {a: b}\n", "`items` has to be a list, is a mapping"),
        ("- list: l\n  items: [[a]]\n", "has to be a single value, is a list"),
        ("- macro: m\n", "`condition` is missing"),
        ("- macro: m\n  condition: ''\n", "`condition` is empty"),
        (
            "- rule: R\n  source: other\n  desc: x\n  condition: evt.type=x\n  output: o\n  priority: INFO\n",
            "another `source`",
        ),
        ("- rul: R\n", "unknown item `rul`: did you mean `rule`?"),
    ] {
        let loaded = several(&[&first, change]);
        let told = told(&loaded);
        assert!(told.len() == 1 && told[0].contains(message), "{change}{told:#?}");
        assert!(loaded.has_errors());
        let rule = &loaded.rules[0];
        assert_eq!((rule.condition.to_string().as_str(), rule.description.as_str()), ("evt.type = a", "d"), "{change}");
    }
}

#[test]
fn unknown_keys_are_told() {
    let text = rule("", "evt.type=a").replace("  priority", "  prority: x\n  author: me\n  seqence: {}\n  priority");
    let loaded = one(&text);
    let told = told(&loaded);
    assert!(
        told[0].contains("warning: rule `R`: unknown key `prority` is ignored: did you mean `priority`?"),
        "{told:#?}"
    );
    assert!(told[1].contains("warning: rule `R`: unknown key `author` is ignored"), "{told:#?}");
    assert!(told[2].contains("error: rule `R`: unknown key `seqence`: did you mean `sequence`?"), "{told:#?}");
    assert!(loaded.rules.is_empty());
    let twice = one(&(rule("", "evt.type=a") + "  priority: ERROR\n"));
    assert!(only_message(&twice).contains("`priority` is there twice: the first counts"));
    assert_eq!(twice.rules[0].priority, Priority::Informational);
}

#[test]
fn versions_are_looked_at() {
    for (version, count) in
        [("10", 0), ("0.57.0", 0), ("0.31.0-rc1", 0), ("0.99.0", 1), ("120", 1), ("new", 1), ("1.2", 1)]
    {
        let loaded = one(&format!("- required_engine_version: {version}\n"));
        assert_eq!(told(&loaded).len(), count, "{version}: {:#?}", told(&loaded));
        assert_eq!(loaded.has_errors(), matches!(version, "new" | "1.2"), "{version}");
    }
    let plugins = one("- required_plugin_versions:\n  - name: container\n    version: 0.4.0\n");
    assert!(only_message(&plugins).contains("warning"));
}
