//! The reference pages that are generated: `monitor docs NAME`.

use crate::config;

/// A page's name and what writes it.
type Page = (&'static str, fn() -> String);

const PAGES: &[Page] = &[("config", config::docs::markdown)];

/// Names of the pages.
pub(super) fn names() -> Vec<&'static str> {
    PAGES.iter().map(|(name, _)| *name).collect()
}

/// The page of this name.
pub(super) fn page(name: &str) -> String {
    PAGES.iter().filter(|(other, _)| *other == name).map(|(_, write)| write()).collect()
}
