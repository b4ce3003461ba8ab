//! Tests of the translation, with rules written after the specification.

use std::path::{Path, PathBuf};

use super::{is_sigma, load};
use crate::detect::eval::Rules;
use crate::detect::lang::ast::Priority;
use crate::detect::lang::{Loaded, Source, condition, files};

mod conditions;
mod mistakes;
mod values;

/// Loads one file.
fn one(text: &str) -> Loaded {
    load(&[Source { path: PathBuf::from("rule.yml"), text: text.to_owned() }])
}

fn told(loaded: &Loaded) -> Vec<String> {
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}

/// A rule of this category; its detection is indented by four.
fn rule(category: &str, detection: &str) -> String {
    format!(
        "title: T\nid: 5f2e6e0f-0000-0000-0000-000000000000\nlogsource:\n    product: linux\n    category: {category}\n\
         detection:\n{detection}level: high\n"
    )
}

/// The detection's part of the condition, of a rule about processes.
#[track_caller]
fn selection(detection: &str) -> String {
    let loaded = one(&rule("process_creation", detection));
    assert_eq!(told(&loaded), Vec::<String>::new());
    let text = loaded.rules[0].condition.to_string();
    assert_eq!(condition(&text).expect("is read again").to_string(), text);
    text.strip_prefix("evt.type in (execve, execveat) and ").expect("the events").to_owned()
}

/// The same with one entry of one selection.
#[track_caller]
fn entry(entry: &str) -> String {
    selection(&format!("    s:\n        {entry}\n    condition: s\n"))
}

#[test]
fn all_samples_of_sigmahq_load_without_a_word() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rules/sigma");
    let read = files(&directory);
    assert_eq!((read.sources.len(), read.diagnostics.len()), (22, 0));
    let loaded = load(&read.sources);
    assert_eq!(told(&loaded), Vec::<String>::new());
    assert_eq!(loaded.rules.len(), 22);
    assert!(read.sources.iter().all(|source| is_sigma(&source.text)));
    for rule in &loaded.rules {
        let text = rule.condition.to_string();
        assert_eq!(condition(&text).expect("is read again").to_string(), text, "{}", rule.name);
        let has_technique = rule.tags.iter().any(|tag| tag.starts_with("attack.t1"));
        assert_eq!(rule.more.attack.is_empty(), !has_technique, "{}", rule.name);
        assert!(rule.description.contains("\nAuthor: "), "{}", rule.name);
    }
}

#[test]
fn what_is_made_of_the_samples_compiles() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rules/sigma");
    let loaded = load(&files(&directory).sources);
    let mut diagnostics = Vec::new();
    let rules = Rules::new(loaded.rules, &mut diagnostics);
    let errors: Vec<_> = diagnostics.iter().filter(|one| one.error).map(ToString::to_string).collect();
    assert_eq!((rules.list.len(), errors), (22, Vec::new()));
}

#[test]
fn falcos_files_are_not_sigmas() {
    assert!(!is_sigma("- rule: title\n") && !is_sigma("") && !is_sigma("a: b\n"));
    assert!(is_sigma("---\n# comment\ntitle: T\n") && is_sigma("action: global\n---\ntitle: T\n"));
}

#[test]
fn what_a_rule_says_beside_its_detection() {
    let text = rule("process_creation", "    s:\n        Image: /x\n    condition: s\n")
        + "description: |\n    What 100%\nauthor: A, B\nstatus: deprecated\nfalsepositives:\n    - One\n    - Two\n\
           tags:\n    - attack.t1059.004\n    - attack.execution\n    - attack.T1105\n    - attack.s0508\n    - cve.2021-1\n";
    let loaded = one(&text.replace("title: T", "title: 100% T"));
    assert_eq!(told(&loaded), Vec::<String>::new());
    let rule = &loaded.rules[0];
    assert_eq!(rule.name, "100% T");
    assert_eq!(rule.more.title.as_deref(), Some("100% T"));
    assert!(rule.output.starts_with("100 percent T | process=%proc.name"), "{}", rule.output);
    assert_eq!(rule.description, "What 100%\nAuthor: A, B\nSigma: 5f2e6e0f-0000-0000-0000-000000000000");
    assert_eq!((rule.priority, rule.enabled, rule.source.as_str()), (Priority::Error, false, "syscall"));
    assert_eq!(rule.more.attack, ["T1059.004", "T1105"]);
    assert_eq!(rule.tags.len(), 5);
    assert_eq!(rule.more.false_positives.as_deref(), Some("One; Two"));
}

#[test]
fn levels_are_priorities() {
    for (level, priority) in [
        ("informational", Priority::Informational),
        ("low", Priority::Notice),
        ("medium", Priority::Warning),
        ("high", Priority::Error),
        ("critical", Priority::Critical),
    ] {
        let text = rule("process_creation", "    s:\n        Image: /x\n    condition: s\n");
        let loaded = one(&text.replace("level: high", &format!("level: {level}")));
        assert_eq!(loaded.rules[0].priority, priority);
    }
}

#[test]
fn the_categories_are_events() {
    let file = one(&rule("file_event", "    s:\n        TargetFilename|startswith: /etc/cron\n    condition: s\n"));
    let text = file.rules[0].condition.to_string();
    assert!(text.starts_with("evt.type in (open, openat, openat2, creat, "), "{text}");
    assert!(text.ends_with("tolower(fd.name) startswith /etc/cron"), "{text}");
    let network = one(&rule(
        "network_connection",
        "    s:\n        Initiated: 'true'\n        DestinationPort: [4444, '5555']\n        Image|startswith: /tmp/\n    condition: s\n",
    ));
    assert_eq!(
        network.rules[0].condition.to_string(),
        "evt.type in (connect, accept, accept4) and fd.type in (ipv4, ipv6) and evt.type = connect and \
         fd.sport in (4444, 5555) and tolower(proc.exepath) startswith /tmp/"
    );
}

#[test]
fn several_documents_and_equal_titles() {
    let first = rule("process_creation", "    s:\n        Image: /x\n    condition: s\n");
    let second = first.replace("Image: /x", "Image: /y").replace("5f2e6e0f", "aaaaaaaa");
    let loaded = one(&format!("{first}---\n{second}"));
    assert_eq!(told(&loaded), Vec::<String>::new());
    let names: Vec<_> = loaded.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["T", "T (aaaaaaaa-0000-0000-0000-000000000000)"]);
    let again = one(&format!("{first}---\n{first}---\n{first}"));
    assert_eq!(again.rules.len(), 2);
    assert!(told(&again)[0].contains("is there twice"), "{:#?}", told(&again));
    let global = one(
        "action: global\ntitle: G\nlogsource: {product: linux, category: process_creation}\nlevel: low\n---\n\
                      detection:\n    s: {Image: /a}\n    condition: s\n---\ntitle: H\ndetection:\n    s: {Image: /b}\n    condition: s\n",
    );
    let names: Vec<_> = global.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!((names, told(&global).len()), (vec!["G", "H"], 0));
}
