//! Tests of the configuration as a whole.

mod mistakes;
mod sources;
mod text;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Flag, Loaded, Sources};

/// A configuration file in a directory of its own.
struct Fixture {
    _directory: TempDir,
    path: PathBuf,
}

impl Fixture {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("monitor.toml");
        std::fs::write(&path, text).expect("a file");
        Self { _directory: directory, path }
    }

    fn sources(&self) -> Sources {
        Sources { file: Some(self.path.clone()), ..Sources::default() }
    }

    /// The messages, with `FILE` for the name of the file.
    fn messages(&self, sources: Sources) -> Vec<String> {
        let error = Loaded::load(sources).expect_err("a mistake");
        let file = self.path.display().to_string();
        error.mistakes.iter().map(|mistake| mistake.to_string().replace(&file, "FILE")).collect()
    }
}

/// The configuration of this file's text alone.
fn load(text: &str) -> Loaded {
    Loaded::load(Fixture::new(text).sources()).expect("a right configuration")
}

/// All mistakes of this file's text.
fn mistakes(text: impl AsRef<[u8]>) -> Vec<String> {
    let fixture = Fixture::new(text);
    fixture.messages(fixture.sources())
}

/// The one mistake of this file's text.
#[track_caller]
fn mistake(text: &str) -> String {
    let mut all = mistakes(text);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// Asserts that the one mistake of `text` has all these parts.
#[track_caller]
fn assert_mistake(text: &str, parts: &[&str]) {
    let message = mistake(text);
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Sources { environment, ..Sources::default() }
}

fn flags(values: &[(&str, &str)]) -> Sources {
    let flag = |(key, value): &(&str, &str)| Flag {
        flag: "--set".to_owned(),
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    Sources { flags: values.iter().map(flag).collect(), ..Sources::default() }
}

fn absent() -> PathBuf {
    Path::new("/nonexistent/monitor.toml").to_owned()
}
