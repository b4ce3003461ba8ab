//! Samples of SigmaHQ's rules, unmodified (`tests/rules/sigma`).

use std::fs;

use super::foreign::Foreign;

const SIGMA: Foreign = Foreign {
    rules: "sigma",
    lines: include_str!("data/sigma.txt"),
    impossible: &[(
        "Communication To Ngrok Tunneling Service - Linux",
        "asks for the name of an address on the internet",
    )],
};

#[test]
fn every_rule_is_provoked_or_has_a_reason() {
    let files = fs::read_dir(SIGMA.place()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yml"));
    let title = |text: String| text.lines().find_map(|line| line.strip_prefix("title: ")).unwrap().to_owned();
    SIGMA.covers(&files.map(|path| title(fs::read_to_string(path).unwrap())).collect());
}

#[test]
fn every_rule_fires_that_can_be_provoked() {
    SIGMA.provoke();
}
