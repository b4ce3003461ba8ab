//! Paths to routes: what a request is counted under. Configured patterns come first; what they leave is learned.
//!
//! A path has what users typed in it, and peers make up paths. So a segment that looks like a value is `*`, a place where
//! many different segments were seen becomes `*`, a service has no more than so many routes, and an answer 404 teaches
//! nothing: what scanners ask for must not push out what is there.

use std::collections::BTreeMap;

/// The route of a path that does not exist: 404 without a route that is known.
pub const UNMATCHED: &str = "_unmatched";

/// The route of everything beyond the bound.
pub const OVER_LIMIT: &str = "_other";

/// Routes that one service may have, without [`UNMATCHED`] and [`OVER_LIMIT`].
pub const ROUTES_MAX: usize = 100;

/// Segments of a path that are told apart; what comes after them is one `*`.
const DEPTH_MAX: usize = 8;

/// Different segments in one place of a path before they are taken as values.
const SEGMENTS_MAX: usize = 20;

/// Places that are remembered.
const PLACES_MAX: usize = 1_000;

/// A longer segment is a value.
const WORD_MAX: usize = 32;

/// A placeholder in a route.
const ANY: &str = "*";

/// A configured pattern: `/users/{id}/orders`, with `{name}` or `*` for one segment and `**` at the end for any number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    open_end: bool,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not a path.
    #[error("a route begins with `/`")]
    NoSlash,
    /// `{` and `}` do not enclose a whole segment.
    #[error("a placeholder is a whole segment, as in `/users/{{id}}`")]
    Braces,
    /// `**` somewhere else.
    #[error("`**` stands only at the end")]
    OpenEnd,
    /// No request is counted under something that long.
    #[error("a route has at most 256 bytes")]
    TooLong,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let path = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        if text.len() > super::TARGET_MAX {
            return Err(PatternError::TooLong);
        }
        let open_end = path == "**" || path.ends_with("/**");
        let segments = path.strip_suffix("**").filter(|_| open_end).unwrap_or(path);
        for segment in segments.split('/') {
            let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(segment);
            if inner.contains(['{', '}']) {
                return Err(PatternError::Braces);
            }
            if segment.contains("**") {
                return Err(PatternError::OpenEnd);
            }
        }
        Ok(Self { text: text.into(), open_end })
    }

    /// As it was written: the route's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a path without query is of this route. A `/` at its end makes no difference.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut path = segments(path);
        for wanted in segments(&self.text) {
            if wanted == "**" && self.open_end {
                return true;
            }
            let placeholder = wanted == ANY || (wanted.starts_with('{') && wanted.ends_with('}'));
            match path.next() {
                Some(segment) if placeholder || segment == wanted => {}
                _ => return false,
            }
        }
        path.next().is_none()
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// A place in the paths of a service.
#[derive(Debug, Default)]
struct Place {
    /// What was seen here. Empty once they are taken as values.
    next: BTreeMap<Box<str>, usize>,
    /// The place after a value.
    any: Option<usize>,
    /// Segments here are values, whatever they look like.
    values: bool,
    /// The route that ends here.
    route: Option<Box<str>>,
}

/// The routes of one service.
#[derive(Debug)]
pub struct Routes {
    places: Vec<Place>,
    routes: usize,
    limit: usize,
}

impl Default for Routes {
    fn default() -> Self {
        Self::new(ROUTES_MAX)
    }
}

impl Routes {
    /// No route is known yet; there will be at most `limit`, without those that are configured.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { places: vec![Place::default()], routes: 0, limit }
    }

    /// The route of a request for `path`, which may still have its query, and that was answered with `code`.
    pub fn route<'a>(&'a mut self, path: &str, code: Option<u32>, patterns: &'a [Pattern]) -> &'a str {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches(path)) {
            return pattern.as_str();
        }
        let found = match code {
            Some(404) => match self.find(path) {
                Some(place) => Ok(place),
                None => Err(UNMATCHED),
            },
            _ => self.learn(path).ok_or(OVER_LIMIT),
        };
        match found {
            Ok(place) => self.places.get(place).and_then(|place| place.route.as_deref()).unwrap_or(OVER_LIMIT),
            Err(name) => name,
        }
    }

    /// Memory, in bytes, about.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        // A segment is counted with its share of the map's node.
        let segments: usize = self.places.iter().flat_map(|place| place.next.keys()).map(|it| it.len() + 48).sum();
        let routes: usize = self.places.iter().filter_map(|place| place.route.as_ref()).map(|it| it.len()).sum();
        self.places.capacity() * size_of::<Place>() + segments + routes
    }

    /// The place where a path that is known already ends.
    fn find(&self, path: &str) -> Option<usize> {
        let mut at = 0;
        for segment in bounded(path) {
            let place = self.places.get(at)?;
            at = match place.next.get(segment) {
                Some(next) if segment != ANY => *next,
                _ if segment == ANY || place.values || is_value(segment) => place.any?,
                _ => return None,
            };
        }
        self.places.get(at)?.route.as_ref().map(|_| at)
    }

    /// The place where a path ends, which is known from now on. `None`: there are too many.
    fn learn(&mut self, path: &str) -> Option<usize> {
        if let Some(known) = self.find(path) {
            return Some(known);
        }
        if self.routes >= self.limit {
            return None;
        }
        let mut at = 0;
        let mut route = String::new();
        for segment in bounded(path) {
            let (next, shown) = self.step(at, segment)?;
            at = next;
            route.push('/');
            route.push_str(shown);
        }
        if route.is_empty() {
            route.push('/');
        }
        let place = self.places.get_mut(at)?;
        if place.route.is_none() {
            place.route = Some(route.into());
            self.routes += 1;
        }
        Some(at)
    }

    /// The place after `segment`, and how it is written in a route.
    fn step<'a>(&mut self, at: usize, segment: &'a str) -> Option<(usize, &'a str)> {
        let place = self.places.get(at)?;
        if segment != ANY && !place.values && !is_value(segment) {
            if let Some(next) = place.next.get(segment) {
                return Some((*next, segment));
            }
            if place.next.len() < SEGMENTS_MAX {
                let next = self.add()?;
                self.places.get_mut(at)?.next.insert(segment.into(), next);
                return Some((next, segment));
            }
            self.give_up_words(at);
        }
        if let Some(next) = self.places.get(at)?.any {
            return Some((next, ANY));
        }
        let next = self.add()?;
        self.places.get_mut(at)?.any = Some(next);
        Some((next, ANY))
    }

    fn add(&mut self) -> Option<usize> {
        (self.places.len() < PLACES_MAX).then(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        })
    }

    /// So many different segments in one place are values. The routes through them are no longer used; they keep their
    /// share of the limit, because their series exist.
    fn give_up_words(&mut self, at: usize) {
        if let Some(place) = self.places.get_mut(at) {
            place.values = true;
            place.next = BTreeMap::new();
        }
    }
}

/// The segments of a path that are told apart, and one `*` for all others.
fn bounded(path: &str) -> impl Iterator<Item = &str> {
    segments(path).take(DEPTH_MAX + 1).enumerate().map(|(at, segment)| if at < DEPTH_MAX { segment } else { ANY })
}

/// Whether a segment looks like a value: a number, an id, a token, an address, something that was escaped.
///
/// A word of letters with `-`, `_` or `.` between them is none, also with a small number at its end (`v1`, `oauth2`).
#[must_use]
pub fn is_value(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if bytes.len() > WORD_MAX || !bytes.iter().all(plain) {
        return true;
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    if letters == 0 {
        return true;
    }
    let hexadecimal = bytes.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    if digits > 2 || (hexadecimal && digits > 0 && bytes.len() > 4) {
        return true;
    }
    // Random letters of both cases have capitals in the middle of everything; camelCase has a few.
    let changes = bytes.windows(2).filter(|pair| is_change(pair)).count();
    bytes.len() >= 12 && changes * 3 > bytes.len()
}

fn is_change(pair: &[u8]) -> bool {
    matches!(pair, [first, second] if first.is_ascii_lowercase() && second.is_ascii_uppercase()
        || first.is_ascii_digit() != second.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::l7::tests::cases;

    fn patterns(all: &[&str]) -> Vec<Pattern> {
        all.iter().filter_map(|text| Pattern::new(text).ok()).collect()
    }

    #[test]
    fn values_are_placeholders_and_words_are_not() {
        let mut routes = Routes::default();
        let cases = [
            ("/users/42/orders?from=1", "/users/*/orders"),
            ("/users/42/", "/users/*"),
            ("/a/550e8400-e29b-41d4-a716-446655440000", "/a/*"),
            ("/a/deadbeef01", "/a/*"),
            ("/a/alice@example.com", "/a/*"),
            ("/a/%2e%2e", "/a/*"),
            ("/a/eyJhbGciOiJIUzI1NiIsInR5cCI6", "/a/*"),
            ("/a/2024-01-31", "/a/*"),
            ("/api/v1/health-check", "/api/v1/health-check"),
            ("/static/app.css", "/static/app.css"),
            ("/getUserByName", "/getUserByName"),
            ("/", "/"),
            ("", "/"),
            ("//double//slash", "/double/slash"),
            ("/1/2/3/4/5/6/7/8/9/10/11", "/*/*/*/*/*/*/*/*/*"),
        ];
        for (path, route) in cases {
            assert_eq!(routes.route(path, Some(200), &[]), route, "{path}");
        }
    }

    #[test]
    fn what_is_configured_comes_first() {
        let patterns = patterns(&["/users/{name}", "/files/**", "/users/{name}/keys/*"]);
        let mut routes = Routes::default();
        let mut route = |path, code| routes.route(path, Some(code), &patterns).to_owned();
        assert_eq!(route("/users/alice", 200), "/users/{name}");
        assert_eq!(route("/users/alice?x", 404), "/users/{name}");
        assert_eq!(route("/users/alice/keys/7", 500), "/users/{name}/keys/*");
        assert_eq!(route("/files/a/b/c", 200), "/files/**");
        assert_eq!(route("/files", 200), "/files/**");
        assert_eq!(route("/users", 200), "/users");
        for (text, mistake) in [
            ("users", PatternError::NoSlash),
            ("/a{id}", PatternError::Braces),
            ("/{a", PatternError::Braces),
            ("/**/a", PatternError::OpenEnd),
        ] {
            assert_eq!(Pattern::new(text), Err(mistake), "{text}");
        }
    }

    #[test]
    fn a_path_that_does_not_exist_is_unmatched_and_teaches_nothing() {
        let mut routes = Routes::default();
        assert_eq!(routes.route("/.env", Some(404), &[]), UNMATCHED);
        assert_eq!(routes.route("/users/7", Some(200), &[]), "/users/*");
        assert_eq!(routes.route("/users/8", Some(404), &[]), "/users/*");
        assert_eq!(routes.route("/users", Some(404), &[]), UNMATCHED);
        assert_eq!(routes.route("/broken", Some(500), &[]), "/broken");
        assert_eq!(routes.route("/no-status", None, &[]), "/no-status");
    }

    #[test]
    fn many_segments_in_one_place_are_values() {
        let mut routes = Routes::default();
        let names: Vec<String> = (0..26_u8).map(|at| format!("name-{}", char::from(b'a' + at))).collect();
        let shown: Vec<String> =
            names.iter().map(|name| routes.route(&format!("/users/{name}/mail"), None, &[]).to_owned()).collect();
        assert_eq!(shown[19], "/users/name-t/mail");
        assert_eq!(shown[20..], ["/users/*/mail"; 6]);
        assert_eq!(routes.route("/users/name-a/mail", None, &[]), "/users/*/mail");
        assert_eq!(routes.route("/users/7/mail", None, &[]), "/users/*/mail");
    }

    #[test]
    fn beyond_the_limit_is_other() {
        let mut routes = Routes::new(3);
        for path in ["/a", "/b", "/c/1"] {
            assert_ne!(routes.route(path, None, &[]), OVER_LIMIT);
        }
        assert_eq!(routes.route("/d", None, &[]), OVER_LIMIT);
        assert_eq!(routes.route("/c/2", None, &[]), "/c/*");
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn no_paths_make_more_routes_than_the_limit(paths in prop::collection::vec("(/[a-z0-9*%]{0,6}){0,12}", 0..400)) {
            let mut routes = Routes::default();
            let mut seen = std::collections::BTreeSet::new();
            for path in &paths {
                seen.insert(routes.route(path, None, &[]).to_owned());
            }
            prop_assert!(seen.len() <= ROUTES_MAX + 1);
            prop_assert!(routes.places.len() <= PLACES_MAX);
            // A route is for ever a route.
            for path in &paths {
                let route = routes.route(path, None, &[]).to_owned();
                prop_assert_eq!(routes.route(path, Some(404), &[]), if route == OVER_LIMIT { UNMATCHED.to_owned() } else { route });
            }
        }
    }
}
