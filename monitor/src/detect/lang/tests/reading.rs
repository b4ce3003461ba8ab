//! Files that are no YAML, and files that cannot be read.

use std::fs;
use std::path::Path;

use super::super::files;
use super::{one, only_message, rule, several, told};

#[test]
fn items_around_one_that_is_no_yaml_are_read() {
    let good = |name: &str| rule("", "evt.type=a").replace("rule: R", &format!("rule: {name}"));
    for (bad, line) in [
        ("- rule: Bad\n\tdesc: tab\n", 7),
        ("- rule: \"Bad\n  desc: not closed\n", 7),
        ("- rule: Bad\n  desc: [a, b\n  condition: x\n", 7),
        ("- rule: Bad\n  desc: a: b\n", 8),
        ("- @bad\n", 7),
    ] {
        let text = format!("{}{bad}{}{}", good("First"), good("Second"), good("Third"));
        let loaded = one(&text);
        let names: Vec<_> = loaded.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["First", "Second", "Third"], "{bad}: {:#?}", told(&loaded));
        assert!(told(&loaded)[0].contains("is no YAML"), "{bad}: {:#?}", told(&loaded));
        assert!(loaded.diagnostics[0].place.line >= line, "{bad}: {:#?}", told(&loaded));
        // What comes after the mistake still stands where it stands.
        let expected = text.lines().position(|line| line == "- rule: Second").unwrap() + 1;
        assert_eq!(loaded.rules[1].place.line as usize, expected, "{bad}");
        assert_eq!(loaded.rules[1].output_place.line as usize, expected + 3, "{bad}");
    }
}

#[test]
fn documents_and_empty_files() {
    assert_eq!(
        one(&format!("---\n{}---\n{}...\n", rule("", "m"), "- macro: m\n  condition: evt.type=a\n")).rules.len(),
        1
    );
    for empty in ["", "\n", "# only a comment\n", "---\n", "- \n"] {
        assert_eq!(told(&one(empty)), Vec::<String>::new(), "{empty:?}");
    }
    assert!(
        only_message(&one("rule: R\n")).contains("a rule file is a list of items (`- rule: …`), this is a mapping")
    );
    assert!(only_message(&one("just text\n")).contains("this is a single value"));
    assert!(only_message(&one("- just text\n")).contains("an item has to be a mapping"));
    assert_eq!(one(&format!("\u{feff}{}", rule("", "evt.type=a"))).rules.len(), 1);
}

#[test]
fn aliases_stand_for_what_they_name() {
    let loaded = one("- list: a\n  items: &names [x, y]\n- list: b\n  items: *names\n");
    assert_eq!((told(&loaded).len(), loaded.lists["b"].len()), (0, 2));
}

#[test]
fn mistakes_are_told_in_the_order_of_files_and_lines() {
    let loaded = several(&[&rule("", "nosuch"), &(rule("", "nosuch").replace(": R", ": Q") + "- rule: S\n")]);
    let places: Vec<_> = told(&loaded).iter().map(|one| one.split(": error").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["0.yaml:4:15", "1.yaml:4:15", "1.yaml:7:3"]);
}

#[test]
fn a_directory_is_read_by_name_and_what_cannot_be_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["20-b.yaml", "10-a.yml", ".hidden.yaml", "notes.txt"] {
        fs::write(path(name), name).unwrap();
    }
    fs::write(path("30-binary.yaml"), b"- list: a\n# \xff\n").unwrap();
    fs::create_dir(path("40-directory.yaml")).unwrap();
    fs::write(path("50-long.yaml"), vec![b' '; (4 << 20) + 1]).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("60-device.yaml")).unwrap();
    let read = files(directory.path());
    let texts: Vec<_> = read.sources.iter().map(|source| source.text.as_str()).collect();
    assert_eq!(texts, ["10-a.yml", "20-b.yaml"]);
    let told: Vec<_> = read.diagnostics.iter().map(ToString::to_string).collect();
    for (told, expected) in told.iter().zip([
        "30-binary.yaml:1:1: error: is no UTF-8 text: byte 13 in line 2",
        "40-directory.yaml:1:1: error: is a directory",
        "50-long.yaml:1:1: error: is longer than 4 MiB: split it",
        "60-device.yaml:1:1: error: is no regular file",
    ]) {
        assert!(told.ends_with(expected), "{told}");
    }
    assert_eq!(told.len(), 4);
    assert_eq!(files(&path("10-a.yml")).sources.len(), 1);
    assert!(files(Path::new("/nonexistent")).diagnostics[0].message.contains("cannot be read"));
}
