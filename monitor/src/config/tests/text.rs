//! What is printed can be read again; what is documented is true; nothing panics.

use super::super::keys::{KEYS, TABLES};
use super::super::show::{default_file, show};
use super::super::{Config, Loaded, Sources, docs};
use super::{Fixture, environment, flags, load};

#[test]
fn the_default_file_gives_the_defaults() {
    assert_eq!(load(&default_file()).config, Config::default());
}

#[test]
fn the_default_file_gives_the_defaults_also_without_its_comment_signs() {
    let live = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key.to_owned(),
        _ => line.to_owned(),
    };
    let text = default_file().lines().map(live).collect::<Vec<_>>().join("\n");
    let loaded = load(&text);
    assert_eq!(loaded.config, Config::default());
    assert!(KEYS.iter().all(|key| loaded.origin(key.name) != super::super::Origin::Default), "{text}");
}

#[test]
fn the_committed_reference_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIG.md");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == docs::markdown(), "run: cargo run -p monitor -- docs config > monitor/docs/CONFIG.md");
}

#[test]
fn the_committed_example_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/monitor.toml");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == default_file(),
        "run: cargo run -p monitor -- config default > monitor/packaging/monitor.toml"
    );
}

#[test]
fn what_is_shown_gives_the_same_configuration_again() {
    let text = r#"
        [log]
        level = "off"
        [kernel]
        btf = "/a\"b\\c\n\u001b\u202e'ä"
        security_ring = "128KiB"
        [events]
        rotate_size = 65537
        [metrics]
        group_idle = "1h 30m 1s 5ms"
        per_process = ["a*", "ü"]
        [[group]]
        name = "x \"y\""
        exe = ["/a/*", "b c"]
    "#;
    let fixture = Fixture::new(text);
    let loaded = Loaded::load(fixture.sources()).expect("right");
    for origins in [false, true] {
        let shown = show(&loaded, origins);
        assert_eq!(load(&shown).config, loaded.config, "{shown}");
        assert!(!shown.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{shown:?}");
    }
}

#[test]
fn the_origin_of_each_value_is_shown() {
    let fixture = Fixture::new("[http]\nreload = false\n\n[[group]]\nname = \"a\"\nexe = [\"b\"]\n");
    let sources = Sources {
        environment: environment(&[("MONITOR_HTTP_LISTEN", "127.0.0.1:7")]).environment,
        flags: flags(&[("events.store", "5")]).flags,
        ..fixture.sources()
    };
    let shown = show(&Loaded::load(sources).expect("right"), true);
    let file = fixture.path.display();
    for line in [
        "listen = \"127.0.0.1:7\"  # environment MONITOR_HTTP_LISTEN".to_owned(),
        format!("reload = false  # {file}:2"),
        "store = 5  # flag --set".to_owned(),
        "max_connections = 256  # default".to_owned(),
        format!("[[group]]  # {file}:4"),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in\n{shown}");
    }
    let without = show(&load(""), false);
    assert!(!without.contains('#'), "{without}");
    assert_eq!(without.lines().filter(|line| line.contains(" = ")).count(), KEYS.len());
    assert_eq!(without.lines().filter(|line| line.starts_with('[')).count(), TABLES.len());
}

/// A small generator of numbers (xorshift64*), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).expect("31 bits") % limit
    }
}

#[test]
fn no_text_makes_it_panic() {
    let examples: String = KEYS.iter().map(|key| format!("{} = {}\n", key.name, key.example)).collect();
    let seed = format!("{examples}[[group]]\nname = \"a\"\nexe = [\"/b/*\"]\n");
    let scraps = [
        "\"",
        "[",
        "]]",
        "{",
        "=",
        "\n",
        "#",
        "'''",
        "\\u00",
        "-",
        "0x",
        "1e999",
        "é",
        "\u{0}",
        "\r",
        ".",
        "_",
        "99999999999999999999",
    ];
    let (mut numbers, mut right) = (Numbers(0x9E37_79B9_7F4A_7C15), 0);
    let fixture = Fixture::new("");
    for _ in 0..1_000 {
        let mut text: Vec<char> = seed.chars().collect();
        for _ in 0..=numbers.below(6) {
            let (at, scrap) = (numbers.below(text.len()), scraps[numbers.below(scraps.len())]);
            let end = (at + numbers.below(4)).min(text.len());
            text.splice(at..end, scrap.chars());
        }
        let text: String = text.into_iter().collect();
        std::fs::write(&fixture.path, &text).expect("a file");
        match Loaded::load(fixture.sources()) {
            Ok(loaded) => {
                right += 1;
                assert_eq!(load(&show(&loaded, true)).config, loaded.config, "{text}");
            }
            Err(error) => assert!(!error.mistakes.is_empty() && !error.to_string().is_empty()),
        }
    }
    assert!(right > 0, "every mutation broke the text: nothing was tried");
}
