//! Which exposition format a scraper asks for.

/// A format that a scrape can be answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The exact `Content-Type`; Prometheus 3 fails a scrape whose type it does not know.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    const fn media_type(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain", "0.0.4"),
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
        }
    }

    /// The best format for an `Accept` header by the rules of RFC 9110 §12.5.1. Text without a header, when both are
    /// equally welcome, and when neither is: a scrape in an unwanted format says more than an error does.
    pub fn negotiate(accept: &str) -> Self {
        let ranges: Vec<Range<'_>> = accept.split(',').take(MAX_RANGES).filter_map(Range::parse).collect();
        let [text, openmetrics] = [Self::Text, Self::OpenMetrics].map(|format| preference(&ranges, format));
        if openmetrics.quality > 0.0 && openmetrics > text { Self::OpenMetrics } else { Self::Text }
    }
}

/// Far above what any scraper sends; the rest of a longer header is not read.
const MAX_RANGES: usize = 32;

/// How welcome a format is: first by quality, then by how exactly it was named.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
struct Preference {
    quality: f32,
    specificity: u8,
}

/// One element of an `Accept` header.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    version: Option<&'a str>,
    quality: f32,
}

impl<'a> Range<'a> {
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let mut range = Self { main, sub, version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => range.quality = parse_quality(value),
                name if name.eq_ignore_ascii_case("version") => range.version = Some(value),
                _ => {}
            }
        }
        Some(range)
    }

    /// How exactly this range names `format`, if at all.
    fn specificity(&self, format: Format) -> Option<u8> {
        let (main, sub, version) = format.media_type();
        match (self.main, self.sub, self.version) {
            ("*", "*", _) => Some(0),
            (m, "*", _) if m.eq_ignore_ascii_case(main) => Some(1),
            (m, s, None) if m.eq_ignore_ascii_case(main) && s.eq_ignore_ascii_case(sub) => Some(2),
            (m, s, Some(v)) if m.eq_ignore_ascii_case(main) && s.eq_ignore_ascii_case(sub) && v == version => Some(3),
            _ => None,
        }
    }
}

/// A quality that is no number says nothing about the wish behind it: least welcome, but not refused.
fn parse_quality(value: &str) -> f32 {
    value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.001)
}

/// The quality of the range that names `format` most exactly.
fn preference(ranges: &[Range<'_>], format: Format) -> Preference {
    let mut best: Option<Preference> = None;
    for range in ranges {
        let Some(specificity) = range.specificity(format) else { continue };
        if best.is_none_or(|best| specificity > best.specificity) {
            best = Some(Preference { quality: range.quality, specificity });
        }
    }
    best.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Format::{self, OpenMetrics, Text};

    #[test]
    fn what_scrapers_and_browsers_send() {
        let cases = [
            ("", Text),
            ("*/*", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text;version=1.0.0", OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics),
            ("text/plain;version=0.0.4", Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            // Prometheus 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            // Prometheus 3.5
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn quality_decides() {
        let cases = [
            ("application/openmetrics-text;q=0.3, text/plain;q=0.7", Text),
            ("application/openmetrics-text;q=0.7, text/plain;q=0.3", OpenMetrics),
            ("APPLICATION/OpenMetrics-Text;Q=0.9, text/plain;q=0.3", OpenMetrics),
            ("application/openmetrics-text;q=0, */*", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/*, text/plain;q=0.5", OpenMetrics),
            ("text/plain, application/openmetrics-text", Text),
            // The exact range decides about the format, not the wildcard beside it.
            ("application/openmetrics-text;q=0.1, */*;q=0.9", Text),
            ("text/plain;q=0.1, */*;q=0.9", OpenMetrics),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn nonsense_is_text() {
        let long = "a/b,".repeat(100_000);
        for accept in [",,;;==", "q=1", "text", "/", "*/*;q=abc", "application/openmetrics-text;q=7,text/plain", &long]
        {
            assert_eq!(Format::negotiate(accept), Text, "{accept:.60}");
        }
    }
}
