//! Query parameters: every one is known and has a legal value, or the answer says what is wrong.

use axum::extract::Query;
use axum::http::Uri;

use crate::events::{Filter, Severity};

/// Items in one answer, unless asked otherwise.
pub const DEFAULT_LIMIT: usize = 100;
/// Most items in one answer.
pub const MAX_LIMIT: usize = 10_000;

/// The order of `/api/v1/processes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By process id.
    #[default]
    Pid,
    /// The youngest first.
    Start,
    /// Most CPU time first.
    Cpu,
    /// Most resident memory first.
    Memory,
    /// Most system calls first.
    Syscalls,
    /// Most TCP bytes, both directions, first.
    Network,
    /// Most block I/O bytes, both directions, first.
    Disk,
}

impl Sort {
    /// Every order.
    pub const ALL: [Self; 7] =
        [Self::Pid, Self::Start, Self::Cpu, Self::Memory, Self::Syscalls, Self::Network, Self::Disk];

    /// The value of `sort=`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Start => "start",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Syscalls => "syscalls",
            Self::Network => "network",
            Self::Disk => "disk",
        }
    }
}

/// Which processes are wanted, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessQuery {
    /// Only this process id.
    pub pid: Option<u32>,
    /// Only of this group.
    pub group: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// In this order.
    pub sort: Sort,
}

impl Default for ProcessQuery {
    fn default() -> Self {
        Self { pid: None, group: None, limit: DEFAULT_LIMIT, sort: Sort::default() }
    }
}

/// A query parameter that is wrong; the text is for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// Not in the form `name=value&name=value`.
    #[error("the query is not in the form name=value&name=value")]
    Form,
    /// A name that this path does not know.
    #[error("{name}: unknown parameter, {}", known(.expected))]
    Unknown {
        /// The name, as it was sent.
        name: String,
        /// The names that the path knows.
        expected: &'static [&'static str],
    },
    /// A name that is there twice.
    #[error("{0}: given more than once")]
    Twice(String),
    /// A value that this parameter cannot have.
    #[error("{name}: expected {expected}, got {got:?}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it can be.
        expected: String,
        /// What was sent, or the start of it.
        got: String,
    },
}

fn known(expected: &[&str]) -> String {
    if expected.is_empty() {
        "none is known here".to_owned()
    } else {
        format!("expected one of {}", expected.join(", "))
    }
}

/// The parameters of a request, checked for names.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(uri: &Uri, expected: &'static [&'static str]) -> Result<Self, BadQuery> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| BadQuery::Form)?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !expected.contains(&name.as_str()) {
                return Err(BadQuery::Unknown { name: name.clone(), expected });
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(BadQuery::Twice(name.clone()));
            }
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn number<N: TryFrom<u64>>(&self, name: &'static str, least: u64, most: u64) -> Result<Option<N>, BadQuery> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.parse::<u64>().ok().filter(|number| (least..=most).contains(number));
        match number.and_then(|number| N::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None if most == u64::MAX => Err(bad(name, "a number", value)),
            None => Err(bad(name, &format!("a number from {least} to {most}"), value)),
        }
    }

    fn limit(&self) -> Result<usize, BadQuery> {
        Ok(self.number("limit", 1, MAX_LIMIT as u64)?.unwrap_or(DEFAULT_LIMIT))
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).into_iter().flat_map(|value| value.split(','))
    }

    fn severities(&self) -> Result<Vec<Severity>, BadQuery> {
        let names = Severity::ALL.map(Severity::name);
        let parse = |word: &str| {
            let found = Severity::ALL.into_iter().find(|severity| severity.name() == word);
            found.ok_or_else(|| bad("severity", &format!("a comma list of {}", names.join(", ")), word))
        };
        self.list("severity").map(parse).collect()
    }

    fn rules(&self) -> Result<Vec<String>, BadQuery> {
        let parse = |word: &str| {
            if word.is_empty() { Err(bad("rule", "a comma list of rule ids", word)) } else { Ok(word.to_owned()) }
        };
        self.list("rule").map(parse).collect()
    }
}

fn bad(name: &'static str, expected: &str, got: &str) -> BadQuery {
    let got = got.chars().take(100).collect();
    BadQuery::Value { name, expected: expected.to_owned(), got }
}

/// For paths without parameters.
pub(super) fn none(uri: &Uri) -> Result<(), BadQuery> {
    Parameters::of(uri, &[]).map(drop)
}

/// For `/api/v1/processes`.
pub(super) fn processes(uri: &Uri) -> Result<ProcessQuery, BadQuery> {
    let parameters = Parameters::of(uri, &["pid", "group", "limit", "sort"])?;
    let sort = parameters.get("sort").map_or(Ok(Sort::default()), |value| {
        let found = Sort::ALL.into_iter().find(|sort| sort.name() == value);
        found.ok_or_else(|| bad("sort", &format!("one of {}", Sort::ALL.map(Sort::name).join(", ")), value))
    })?;
    Ok(ProcessQuery {
        pid: parameters.number("pid", 1, u64::from(u32::MAX))?,
        group: parameters.get("group").map(str::to_owned),
        limit: parameters.limit()?,
        sort,
    })
}

/// For `/api/v1/events`.
pub(super) fn events(uri: &Uri) -> Result<Filter, BadQuery> {
    let parameters = Parameters::of(uri, &["after", "limit", "severity", "rule"])?;
    Ok(Filter {
        after: parameters.number("after", 0, u64::MAX)?.unwrap_or(0),
        limit: parameters.limit()?,
        severity: parameters.severities()?,
        rule: parameters.rules()?,
    })
}

/// For `/api/v1/events/stream`: after which event to start, if that was said, and what to send.
pub(super) fn stream(uri: &Uri) -> Result<(Option<u64>, Filter), BadQuery> {
    let parameters = Parameters::of(uri, &["after", "severity", "rule"])?;
    let filter = Filter { severity: parameters.severities()?, rule: parameters.rules()?, ..Filter::default() };
    Ok((parameters.number("after", 0, u64::MAX)?, filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> Uri {
        format!("/api?{query}").parse().unwrap()
    }

    #[test]
    fn parameters_are_read() {
        let query = processes(&uri("pid=7&group=a%20b&limit=5&sort=disk")).unwrap();
        assert_eq!(query, ProcessQuery { pid: Some(7), group: Some("a b".into()), limit: 5, sort: Sort::Disk });
        assert_eq!(processes(&uri("")).unwrap(), ProcessQuery::default());
        let filter = events(&uri("after=3&severity=high,low&rule=a,b&limit=10000")).unwrap();
        assert_eq!((filter.after, filter.limit), (3, MAX_LIMIT));
        assert_eq!(filter.severity, [Severity::High, Severity::Low]);
        assert_eq!(filter.rule, ["a", "b"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("limit=x", "limit: expected a number from 1 to 10000, got \"x\""),
            ("limit=0", "limit: expected a number from 1 to 10000, got \"0\""),
            ("limit=10001", "limit: expected a number from 1 to 10000, got \"10001\""),
            ("limit=-1", "limit: expected a number from 1 to 10000, got \"-1\""),
            ("limit=", "limit: expected a number from 1 to 10000, got \"\""),
            ("limit=1&limit=2", "limit: given more than once"),
            ("after=99999999999999999999", "after: expected a number, got \"99999999999999999999\""),
            ("severity=bad", "severity: expected a comma list of info, low, medium, high, critical, got \"bad\""),
            ("severity=high,", "severity: expected a comma list of info, low, medium, high, critical, got \"\""),
            ("rule=", "rule: expected a comma list of rule ids, got \"\""),
            ("limits=1", "limits: unknown parameter, expected one of after, limit, severity, rule"),
        ];
        for (query, message) in cases {
            assert_eq!(events(&uri(query)).unwrap_err().to_string(), message);
        }
        assert_eq!(
            processes(&uri("sort=%0a%22x")).unwrap_err().to_string(),
            "sort: expected one of pid, start, cpu, memory, syscalls, network, disk, got \"\\n\\\"x\""
        );
        assert_eq!(none(&uri("a=1")).unwrap_err().to_string(), "a: unknown parameter, none is known here");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_or_read_as_replacement_characters() {
        assert!(events(&uri("%ff=1")).is_err());
        assert!(events(&uri("limit=%ff%fe")).is_err());
        assert_eq!(processes(&uri("group=%ff")).unwrap().group.as_deref(), Some("\u{fffd}"));
    }
}
