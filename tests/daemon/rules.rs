//! Rule files of the user.

use std::fs;

use monitor_tests::Daemon;

use super::support::{alert, has_exit, monitor};

/// A wrong configuration.
const CONFIG: i32 = 78;

/// A rule file that gives `exec_hidden` another priority.
fn tuned(priority: &str) -> String {
    format!("- rule: exec_hidden\n  priority: {priority}\n  override:\n    priority: replace\n")
}

#[test]
fn every_mistake_of_every_file_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write(
        "a.yaml",
        "- rule: mine\n  desc: x\n  condition: evt.type=execve and proc.nam=sh\n  output: x\n  priority: INFO\n",
    );
    write("b.yaml", "- rule: exec_tpm\n  enabled: false\n  override:\n    enabled: replace\n");
    write("c.yaml", "- rule: [\n");
    fs::create_dir(directory.path().join("d.yaml")).unwrap();
    write("ignored.txt", "- rule: [\n");
    let place = |name: &str| directory.path().join(name).display().to_string();
    let path = directory.path().display().to_string();
    has_exit(
        &monitor(&["rules", "check", &path]),
        CONFIG,
        &[
            &format!("{}:3:34: ", place("a.yaml")),
            "did you mean proc.name",
            &format!("{}:1:", place("b.yaml")),
            &format!("{}:", place("c.yaml")),
            &format!("{}:1:1: ", place("d.yaml")),
        ],
    );
}

#[test]
fn rules_are_listed_and_explained() {
    let listed = monitor(&["rules", "list"]);
    has_exit(&listed, 0, &[]);
    let text = &listed.stdout;
    for rule in ["exec_memfd", "sensitive_read", "revshell_stdio_socket"] {
        assert!(text.contains(rule), "{rule} is not in {text}");
    }
    let explained = monitor(&["rules", "explain", "sensitive_read"]);
    has_exit(&explained, 0, &[]);
    let text = &explained.stdout;
    assert!(text.contains("T1003.008") && text.contains("file_open"), "{text}");
    has_exit(&monitor(&["rules", "explain", "sensitive_raed"]), 1, &["did you mean `sensitive_read`?"]);
}

#[test]
fn a_directory_that_is_named_must_be_there_but_the_other_rules_watch() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let daemon = Daemon::start(&format!("[rules]\ndirectory = \"{}\"\n", missing.display()));
    assert!(daemon.log().contains(&format!("{}:1:1: ", missing.display())), "{}", daemon.log());
    assert_eq!(alert(&daemon)["severity"], "medium");
}

#[test]
fn a_file_changes_a_rule_also_when_it_comes_later_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&format!("[rules]\ndirectory = \"{}\"\n", directory.path().display()));
    let severity = || alert(&daemon)["severity"].clone();
    assert_eq!(severity(), "medium");
    let file = directory.path().join("local.yaml");
    fs::write(&file, tuned("NOTICE")).unwrap();
    assert_eq!(daemon.post("/-/reload").status, 200);
    assert_eq!(severity(), "low");

    fs::write(&file, tuned("NOTCIE")).unwrap();
    let answer = daemon.post("/-/reload");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains(&format!("{}:2:13: ", file.display())), "{}", answer.text());
    assert_eq!(severity(), "low", "the rules stay as they were");
    fs::remove_file(&file).unwrap();
    assert_eq!(daemon.post("/-/reload").status, 200);
    assert_eq!(severity(), "medium");
}
