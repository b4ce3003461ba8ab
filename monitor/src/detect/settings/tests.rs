use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::*;

fn load(files: &[(&str, &str)], disable: &[&str]) -> Result<RuleSettings, Vec<String>> {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(root.path().join(name), text).unwrap();
    }
    let disable: Vec<String> = disable.iter().map(|id| (*id).to_owned()).collect();
    let prefix = format!("{}/", root.path().display());
    RuleSettings::load(root.path(), &disable)
        .map_err(|errors| errors.iter().map(|error| error.to_string().replace(&prefix, "")).collect())
}

#[test]
fn every_key_arrives_and_files_add_up_in_the_order_of_their_names() {
    let second = "[[rule]]\nid='exec_tmp'\nseverity='low'\nexcept_exe=['/b']\n[[rule]]\nid='exec_memfd'\nenabled=false";
    let first = "[[rule]]\nid='exec_tmp'\nseverity='high'\nexcept_exe=['/a/*']\nexcept_group=['ci*']";
    let settings =
        load(&[("20.toml", second), ("10.toml", first), ("30.conf", "not [ toml")], &["exec_hidden"]).unwrap();
    let tmp = settings.tuning("exec_tmp");
    assert_eq!((tmp.enabled, tmp.severity), (true, Some(Severity::Low)));
    assert!(tmp.excepts(b"/a/x", "g") && tmp.excepts(b"/b", "g") && tmp.excepts(b"/", "ci1"));
    assert!(!tmp.excepts(b"/a/x/y", "g"));
    assert!(!settings.tuning("exec_memfd").enabled && !settings.tuning("exec_hidden").enabled);
    assert_eq!(settings.tuning("exec_deleted"), Tuning::default());
}

#[test]
fn all_mistakes_are_reported_with_their_place() {
    let text = "[[rule]]
id = \"exec_tpm\"
enabled = 1
[[rule]]
id = \"exec_tmp\"
severty = \"low\"
severity = \"hi\"
except_exe = [\"tmp/x\", 5, \"/ok\"]
except_group = \"x\"
[[rule]]
enabled = true
[rules]
";
    let errors = load(&[("a.toml", text), ("b.toml", "x = \n"), ("c.toml", "rule = 3")], &["nothing"]).unwrap_err();
    assert_eq!(
        errors[..8],
        [
            "a.toml:2: there is no rule `exec_tpm`; did you mean `exec_tmp`?",
            "a.toml:3: `enabled` is true or false",
            "a.toml:6: unknown key `severty`; did you mean `severity`?",
            "a.toml:7: `hi` is no severity: use info, low, medium, high or critical",
            "a.toml:8: the pattern `tmp/x` of `except_exe` must begin with `/`, `**` or `memfd:`",
            "a.toml:8: `except_exe` is a text in quotes",
            "a.toml:9: `except_group` is a list of texts: [\"…\"]",
            "a.toml:10: a [[rule]] needs an `id`",
        ]
    );
    assert_eq!(errors[8], "a.toml:12: unknown key `rules`; did you mean `rule`?; a rule file has only [[rule]]");
    assert!(errors[9].starts_with("b.toml:1: "), "{}", errors[9]);
    assert_eq!(errors[10], "c.toml:1: write `[[rule]]` with two brackets");
    assert_eq!(errors[11], "`disable` in [rules]: there is no rule `nothing`");
    assert_eq!(errors.len(), 12);
}

#[test]
fn only_the_default_directory_may_be_missing() {
    let errors = RuleSettings::load(Path::new("/nowhere/rules.d"), &[]).unwrap_err();
    assert!(matches!(errors.as_slice(), [RuleFileError::Directory { .. }]));
    assert!(errors[0].to_string().contains("/nowhere/rules.d"));
    if !Path::new(DEFAULT_DIRECTORY).exists() {
        assert_eq!(RuleSettings::load(Path::new(DEFAULT_DIRECTORY), &[]).unwrap(), RuleSettings::default());
    }
}

#[test]
fn files_that_cannot_be_read_are_mistakes() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("a.toml")).unwrap();
    fs::write(root.path().join("b.toml"), b"\xff").unwrap();
    std::os::unix::fs::symlink("gone", root.path().join("c.toml")).unwrap();
    fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"\xff.toml")), "").unwrap();
    let large = fs::File::create(root.path().join("d.toml")).unwrap();
    large.set_len(MAX_FILE + 1).unwrap();
    let errors = RuleSettings::load(root.path(), &[]).unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors.iter().all(|error| matches!(error, RuleFileError::File { .. })));
}
