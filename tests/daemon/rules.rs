//! Files that tune the rules.

use std::{fs, path::Path};

use monitor_tests::Daemon;

use super::support::{Finished, alert, has_exit, monitor};

/// A wrong configuration.
const CONFIG: i32 = 78;

fn run(directory: &Path) -> Finished {
    let set = format!("rules.directory={}", directory.display());
    monitor(&["run", "--listen", "127.0.0.1:0", "--set", &set])
}

#[test]
fn every_mistake_of_every_file_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.toml"), "[[rule]]\nid = \"exec_tmp\"\nenabeld = false\n").unwrap();
    fs::write(directory.path().join("b.toml"), "\n[[rule]]\nid = \"exec_tpm\"\n").unwrap();
    fs::write(directory.path().join("c.toml"), "[[rule]\n").unwrap();
    fs::create_dir(directory.path().join("d.toml")).unwrap();
    fs::write(directory.path().join("ignored.txt"), "[[rule]\n").unwrap();
    let place = |name: &str| directory.path().join(name).display().to_string();
    has_exit(
        &run(directory.path()),
        CONFIG,
        &[
            "4 mistake(s)",
            &format!("{}:3: unknown key `enabeld`; did you mean `enabled`?", place("a.toml")),
            &format!("{}:3: ", place("b.toml")),
            "did you mean `exec_tmp`?",
            &format!("{}:1: ", place("c.toml")),
            &format!("cannot read the rule file {}", place("d.toml")),
        ],
    );
}

#[test]
fn a_directory_that_is_named_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    has_exit(&run(&missing), CONFIG, &[&format!("cannot read the rule directory {}", missing.display())]);
}

#[test]
fn a_file_tunes_a_rule_also_when_it_comes_later() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&format!("[rules]\ndirectory = \"{}\"\n", directory.path().display()));
    let severity = || alert(&daemon)["severity"].clone();
    assert_eq!(severity(), "medium");
    let file = directory.path().join("local.toml");
    fs::write(&file, "[[rule]]\nid = \"exec_hidden\"\nseverity = \"low\"\n").unwrap();
    assert_eq!(daemon.post("/-/reload").status, 200);
    assert_eq!(severity(), "low");

    fs::write(&file, "[[rule]]\nid = \"exec_hidden\"\nseverity = \"lwo\"\n").unwrap();
    let answer = daemon.post("/-/reload");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains(&format!("{}:3: ", file.display())), "{}", answer.text());
    assert_eq!(severity(), "low", "the rules stay as they were");
    fs::remove_file(&file).unwrap();
    assert_eq!(daemon.post("/-/reload").status, 200);
    assert_eq!(severity(), "medium");
}
