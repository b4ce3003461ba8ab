//! Tests of the language.

use std::path::PathBuf;

use super::{Loaded, Source, load};

mod falco;

/// Loads one file.
fn one(text: &str) -> Loaded {
    load(&[Source { path: PathBuf::from("rules.yaml"), text: text.to_owned() }])
}

/// The messages with their places.
fn told(loaded: &Loaded) -> Vec<String> {
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}
