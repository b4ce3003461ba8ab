//! Patterns for paths and names: `*` is any text without a slash, `**` any text, `?` one byte that is no slash.

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<u8>);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGlob {
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// Syntax of other programs, which would silently match nothing here.
    #[error("has `{0}`, which has no meaning here: use *, ** and ?")]
    Unknown(char),
    /// Would never match, because all paths are absolute.
    #[error("must begin with `/`, `**` or `memfd:`")]
    Relative,
    /// Longer than any path.
    #[error("is longer than 4096 bytes")]
    Long,
}

/// Longest pattern: the longest path of Linux.
const MAX: usize = 4096;

impl Glob {
    /// A pattern for names.
    ///
    /// # Errors
    /// See [`BadGlob`].
    pub fn name(pattern: &str) -> Result<Self, BadGlob> {
        if pattern.is_empty() {
            return Err(BadGlob::Empty);
        }
        if pattern.len() > MAX {
            return Err(BadGlob::Long);
        }
        if let Some(unknown) = pattern.chars().find(|c| matches!(c, '[' | ']' | '{' | '}' | '\\')) {
            return Err(BadGlob::Unknown(unknown));
        }
        Ok(Self(pattern.into()))
    }

    /// A pattern for absolute paths.
    ///
    /// # Errors
    /// See [`BadGlob`].
    pub fn path(pattern: &str) -> Result<Self, BadGlob> {
        let glob = Self::name(pattern)?;
        let absolute = ["/", "**", "memfd:"].iter().any(|start| pattern.starts_with(start));
        if absolute { Ok(glob) } else { Err(BadGlob::Relative) }
    }

    /// What everything that matches begins with, and whether it is all that matches.
    pub fn start(&self) -> (&[u8], bool) {
        let end = self.0.iter().position(|byte| matches!(byte, b'*' | b'?'));
        (&self.0[..end.unwrap_or(self.0.len())], end.is_none())
    }

    /// Whether all of `text` matches. Takes at most pattern length times text length steps.
    pub fn matches(&self, text: &[u8]) -> bool {
        // reached[i]: the pattern so far matches the first i bytes of the text.
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        let mut pattern = self.0.as_slice();
        while let Some((first, rest)) = pattern.split_first() {
            pattern = rest;
            if *first == b'*' {
                let deep = rest.first() == Some(&b'*');
                pattern = if deep { &rest[1..] } else { rest };
                for index in 0..text.len() {
                    reached[index + 1] |= reached[index] && (deep || text[index] != b'/');
                }
                continue;
            }
            for index in (0..text.len()).rev() {
                let same = *first == text[index] || (*first == b'?' && text[index] != b'/');
                reached[index + 1] = reached[index] && same;
            }
            reached[0] = false;
        }
        reached[text.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::name(pattern).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        for (pattern, text, expected) in [
            ("/tmp/build/*", "/tmp/build/x", true),
            ("/tmp/build/*", "/tmp/build/", true),
            ("/tmp/build/*", "/tmp/build/x/y", false),
            ("/tmp/build/**", "/tmp/build/x/y", true),
            ("/tmp/build/*", "/tmp/build", false),
            ("/tmp/*/x", "/tmp/a/x", true),
            ("/tmp/*/x", "/tmp/a/b/x", false),
            ("**/x", "/a/b/x", true),
            ("/a?c", "/abc", true),
            ("/a?c", "/a/c", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("***", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        assert!(!matches(&"*a".repeat(500), &"a".repeat(499)));
    }

    #[test]
    fn what_would_never_match_is_refused() {
        assert_eq!(Glob::path(""), Err(BadGlob::Empty));
        assert_eq!(Glob::path("/tmp/[ab]"), Err(BadGlob::Unknown('[')));
        assert_eq!(Glob::path("tmp/x"), Err(BadGlob::Relative));
        assert_eq!(Glob::path("*x"), Err(BadGlob::Relative));
        assert_eq!(Glob::path(&"/".repeat(5000)), Err(BadGlob::Long));
        assert!(Glob::path("memfd:x").is_ok() && Glob::name("nginx.service").is_ok());
    }
}
