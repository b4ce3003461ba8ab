//! How a key's value is read, checked and written, by type.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use monitor_common::signals::activity::Act;
use toml::de::DeValue;
use tracing_subscriber::filter::LevelFilter;

use super::mistake::{nearest, quoted, suggestion};
use super::model::{Choice, Config, KernelLevel, LogFormat, Output, Share};
use super::units;
use crate::audit;
use crate::events::Format;
use crate::l7::routes::Pattern;
use crate::signals::Timing;

/// Longest entry of a list, in bytes: group names and rule ids are shorter, a path is not longer (PATH_MAX).
const ITEM_LIMIT: usize = 4096;

/// The place of a value in [`Config`].
#[derive(Clone, Copy, Debug)]
pub struct Lens<T: 'static> {
    /// Looks at it.
    pub get: fn(&Config) -> &T,
    /// Changes it.
    pub get_mut: fn(&mut Config) -> &mut T,
}

/// The place of a value together with its type and what is accepted.
#[derive(Debug)]
pub enum Field {
    /// true or false.
    Switch(Lens<bool>),
    /// A whole number.
    Count(Lens<u32>, RangeInclusive<u32>),
    /// A duration; the limits are milliseconds.
    Duration(Lens<Duration>, RangeInclusive<u64>),
    /// A number of bytes.
    Size(Lens<u64>, RangeInclusive<u64>),
    /// A number of bytes that is a power of two.
    Ring(Lens<u64>, RangeInclusive<u64>),
    /// An IP address with a port.
    Address(Lens<SocketAddr>),
    /// The name of a file or directory.
    Path(Lens<PathBuf>),
    /// The name of a file, or none.
    OptionalPath(Lens<Option<PathBuf>>),
    /// Directives for the log.
    Filter(Lens<String>),
    /// A list of names.
    Names(Lens<Vec<String>>, Item),
    /// Text or JSON.
    LogFormat(Lens<LogFormat>),
    /// A level of the kernel programs' log.
    KernelLevel(Lens<KernelLevel>),
    /// Where events go.
    Output(Lens<Output>),
    /// How many system calls are timed.
    Timing(Lens<Timing>),
    /// How an event is written.
    EventFormat(Lens<Format>),
    /// When the audit trail is forced to disk.
    AuditSync(Lens<audit::Sync>),
    /// A share of one CPU, or none.
    Share(Lens<Share>),
}

/// What an entry of a list may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A name, where `*` stands for anything.
    Glob,
    /// A name of letters, digits, `_`, `-` and `.`.
    Word,
    /// A kind of activity.
    Act,
    /// An absolute path, of a directory with a slash at its end.
    Place,
    /// A name of whatever can be seen: rules may be called anything.
    Title,
    /// A pattern of paths that are counted together.
    Route,
}

/// A value before its type is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    /// From the environment or a flag: the text is whatever the key wants.
    Text(&'a str),
    /// From the file.
    Toml(&'a DeValue<'a>),
}

/// What is wrong with a value, beside that it is not what is accepted. May be empty.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    pub(super) detail: String,
    /// The wrong entry of a list: what stands there and its bytes in the file.
    pub(super) entry: Option<(String, Range<usize>)>,
}

impl From<String> for Wrong {
    fn from(detail: String) -> Self {
        Self { detail, entry: None }
    }
}

impl From<&str> for Wrong {
    fn from(detail: &str) -> Self {
        Self::from(detail.to_owned())
    }
}

impl Field {
    /// Takes `raw` over into `config`, if it is right.
    pub(super) fn set(&self, config: &mut Config, raw: Raw<'_>) -> Result<(), Wrong> {
        match self {
            Self::Switch(lens) => *(lens.get_mut)(config) = switch(raw)?,
            Self::Count(lens, limits) => *(lens.get_mut)(config) = count(raw, limits)?,
            Self::Duration(lens, limits) => *(lens.get_mut)(config) = duration(raw, limits)?,
            Self::Size(lens, limits) => *(lens.get_mut)(config) = size(raw, limits)?,
            Self::Ring(lens, limits) => *(lens.get_mut)(config) = ring(raw, limits)?,
            Self::Address(lens) => *(lens.get_mut)(config) = address(raw)?,
            Self::Path(lens) => *(lens.get_mut)(config) = path(raw)?,
            Self::OptionalPath(lens) => *(lens.get_mut)(config) = optional_path(raw)?,
            Self::Filter(lens) => *(lens.get_mut)(config) = filter(raw)?,
            Self::Names(lens, item) => *(lens.get_mut)(config) = names(raw, |entry| item.check(entry))?,
            Self::LogFormat(lens) => *(lens.get_mut)(config) = choice(raw)?,
            Self::KernelLevel(lens) => *(lens.get_mut)(config) = choice(raw)?,
            Self::Output(lens) => *(lens.get_mut)(config) = choice(raw)?,
            Self::Timing(lens) => *(lens.get_mut)(config) = choice(raw)?,
            Self::EventFormat(lens) => *(lens.get_mut)(config) = choice(raw)?,
            Self::AuditSync(lens) => *(lens.get_mut)(config) = choice(raw)?,
            Self::Share(lens) => *(lens.get_mut)(config) = share(raw)?,
        }
        Ok(())
    }

    /// The value in `config`, as TOML on one line.
    pub fn show(&self, config: &Config) -> String {
        match self {
            Self::Switch(lens) => (lens.get)(config).to_string(),
            Self::Count(lens, _) => (lens.get)(config).to_string(),
            Self::Duration(lens, _) => toml_string(&units::format_duration(*(lens.get)(config))),
            Self::Size(lens, _) | Self::Ring(lens, _) => toml_string(&units::format_size(*(lens.get)(config))),
            Self::Address(lens) => toml_string(&(lens.get)(config).to_string()),
            Self::Path(lens) => toml_string(&(lens.get)(config).to_string_lossy()),
            Self::OptionalPath(lens) => toml_string(
                &(lens.get)(config).as_ref().map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
            ),
            Self::Filter(lens) => toml_string((lens.get)(config)),
            Self::Names(lens, _) => toml_list((lens.get)(config)),
            Self::LogFormat(lens) => toml_string(word(*(lens.get)(config))),
            Self::KernelLevel(lens) => toml_string(word(*(lens.get)(config))),
            Self::Output(lens) => toml_string(word(*(lens.get)(config))),
            Self::Timing(lens) => toml_string(word(*(lens.get)(config))),
            Self::EventFormat(lens) => toml_string(word(*(lens.get)(config))),
            Self::AuditSync(lens) => toml_string(word(*(lens.get)(config))),
            Self::Share(lens) => toml_string(&units::format_share(*(lens.get)(config))),
        }
    }

    /// What is accepted, for messages and the documentation.
    pub fn accepts(&self) -> String {
        match self {
            Self::Switch(_) => "true or false".to_owned(),
            Self::Count(_, limits) => format!("a whole number from {} to {}", limits.start(), limits.end()),
            Self::Duration(_, limits) => {
                let (from, to) = (Duration::from_millis(*limits.start()), Duration::from_millis(*limits.end()));
                let (from, to) = (units::format_duration(from), units::format_duration(to));
                format!(r#"a duration from {from} to {to}, written like "500ms", "10m" or "1h30m""#)
            }
            Self::Size(_, limits) => format!("a size from {}, {SIZES}", sizes(limits)),
            Self::Ring(_, limits) => format!("a size that is a power of two from {}, {SIZES}", sizes(limits)),
            Self::Address(_) => {
                r#"an IP address with a port, written like "127.0.0.1:19435" or "[::1]:19435""#.to_owned()
            }
            Self::Path(_) => "the name of a file or directory".to_owned(),
            Self::OptionalPath(_) => r#"the name of a file, or "" for none"#.to_owned(),
            Self::Filter(_) => {
                "a level (off, error, warn, info, debug, trace), or levels of modules like \"info,monitor::http=debug\""
                    .to_owned()
            }
            Self::Names(_, Item::Glob) => "a list of names, where * stands for anything".to_owned(),
            Self::Names(_, Item::Act) => format!("a list of {}", acts().collect::<Vec<_>>().join(", ")),
            Self::Names(_, Item::Place) => {
                "a list of absolute paths, those of directories with a slash at the end".to_owned()
            }
            Self::Names(_, Item::Title) => "a list of names".to_owned(),
            Self::Names(_, Item::Route) => {
                "a list of paths, where {name} or * stands for one part, and ** at the end for all that follow"
                    .to_owned()
            }
            Self::Names(_, Item::Word) => "a list of names made of letters, digits, dots, _ and -".to_owned(),
            Self::LogFormat(_) => one_of::<LogFormat>(),
            Self::KernelLevel(_) => one_of::<KernelLevel>(),
            Self::Output(_) => one_of::<Output>(),
            Self::Timing(_) => one_of::<Timing>(),
            Self::EventFormat(_) => one_of::<Format>(),
            Self::AuditSync(_) => one_of::<audit::Sync>(),
            Self::Share(_) => {
                r#""off", or a percentage of one CPU from 0.1% to 10000%, written like "1%" or "2.5%""#.to_owned()
            }
        }
    }

    /// Whether two configurations agree in this.
    pub fn same(&self, one: &Config, other: &Config) -> bool {
        self.show(one) == self.show(other)
    }
}

const SIZES: &str = r#"written like "64KiB", "8MiB" or "1GB", or a number of bytes"#;

fn sizes(limits: &RangeInclusive<u64>) -> String {
    format!("{} to {}", units::format_size(*limits.start()), units::format_size(*limits.end()))
}

/// Names of the kinds of activity that can be chosen.
fn acts() -> impl Iterator<Item = &'static str> {
    let own = [Act::Throttle, Act::Heartbeat, Act::Denied];
    Act::ALL.iter().filter(move |act| !own.contains(act)).map(|act| act.name())
}

impl Item {
    fn check(self, entry: &str) -> Result<(), Wrong> {
        if entry.is_empty() {
            return Err("an entry is empty".into());
        }
        if entry.len() > ITEM_LIMIT || entry.chars().any(char::is_control) {
            return Err("an entry is too long or has control characters".into());
        }
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        match self {
            Self::Word if !entry.chars().all(word) => Err("a name is made of letters, digits, dots, _ and -".into()),
            Self::Act if !acts().any(|act| act == entry) => {
                Err(format!("{} is no kind of activity{}", quoted(entry), suggestion(nearest(entry, acts()))).into())
            }
            Self::Place if !entry.starts_with('/') => Err("a path begins with a slash".into()),
            Self::Route => Pattern::new(entry).map(drop).map_err(|error| error.to_string().into()),
            Self::Glob | Self::Word | Self::Act | Self::Place | Self::Title => Ok(()),
        }
    }
}

impl Raw<'_> {
    /// What stands there, for a message.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Toml(DeValue::String(text)) => quoted(text),
            Self::Toml(DeValue::Integer(number)) => quoted(number.as_str()).replace('"', ""),
            Self::Toml(DeValue::Float(number)) => quoted(number.as_str()).replace('"', ""),
            Self::Toml(DeValue::Boolean(value)) => value.to_string(),
            Self::Toml(DeValue::Datetime(_)) => "a date or time".to_owned(),
            Self::Toml(DeValue::Array(_)) => "a list".to_owned(),
            Self::Toml(DeValue::Table(_)) => "a table".to_owned(),
        }
    }

    fn text(&self) -> Result<&str, Wrong> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Toml(DeValue::String(text)) => Ok(text),
            Self::Toml(_) => Err(Wrong::default()),
        }
    }

    /// A whole number. One that no `i128` holds is out of every range.
    fn integer(&self) -> Result<i128, Wrong> {
        let (digits, radix) = match self {
            Self::Text(text) => (text.trim(), 10),
            Self::Toml(DeValue::Integer(number)) => (number.as_str(), number.radix()),
            Self::Toml(_) => return Err(Wrong::default()),
        };
        i128::from_str_radix(&digits.replace('_', ""), radix).map_err(|_| Wrong::default())
    }
}

fn switch(raw: Raw<'_>) -> Result<bool, Wrong> {
    match raw {
        Raw::Toml(DeValue::Boolean(value)) => Ok(*value),
        Raw::Text(text) => text.trim().parse().map_err(|_| Wrong::default()),
        Raw::Toml(DeValue::String(text)) if text.parse::<bool>().is_ok() => Err("write it without quotes".into()),
        Raw::Toml(_) => Err(Wrong::default()),
    }
}

fn count(raw: Raw<'_>, limits: &RangeInclusive<u32>) -> Result<u32, Wrong> {
    if let Raw::Toml(DeValue::String(text)) = raw
        && text.parse::<u32>().is_ok()
    {
        return Err("write it without quotes".into());
    }
    u32::try_from(raw.integer()?).ok().filter(|number| limits.contains(number)).ok_or_else(|| "out of range".into())
}

fn duration(raw: Raw<'_>, limits: &RangeInclusive<u64>) -> Result<Duration, Wrong> {
    if let Raw::Toml(DeValue::Integer(_)) = raw {
        return Err("no unit".into());
    }
    let duration = units::parse_duration(raw.text()?)?;
    let (from, to) = (Duration::from_millis(*limits.start()), Duration::from_millis(*limits.end()));
    if (from..=to).contains(&duration) { Ok(duration) } else { Err("out of range".into()) }
}

fn size(raw: Raw<'_>, limits: &RangeInclusive<u64>) -> Result<u64, Wrong> {
    let bytes = match raw {
        Raw::Toml(DeValue::Integer(_)) => u64::try_from(raw.integer()?).map_err(|_| Wrong::from("out of range"))?,
        _ => units::parse_size(raw.text()?)?,
    };
    if limits.contains(&bytes) { Ok(bytes) } else { Err("out of range".into()) }
}

fn ring(raw: Raw<'_>, limits: &RangeInclusive<u64>) -> Result<u64, Wrong> {
    let bytes = size(raw, limits)?;
    if bytes.is_power_of_two() {
        return Ok(bytes);
    }
    // Both are within the limits, because these are powers of two themselves.
    let above = bytes.next_power_of_two();
    let (below, above) = (units::format_size(above / 2), units::format_size(above));
    Err(format!("no power of two; the nearest right values are {below} and {above}").into())
}

fn address(raw: Raw<'_>) -> Result<SocketAddr, Wrong> {
    let text = raw.text()?.trim();
    text.parse().map_err(|_| match text.rsplit_once(':') {
        None => "no port".into(),
        Some(("", _)) => "no address; 0.0.0.0 stands for every address of this machine".into(),
        Some((_, port)) if port.parse::<u16>().is_err() => "a port is a number from 0 to 65535".into(),
        Some((host, _)) if host.matches(':').count() > 1 => "an IPv6 address stands in [ ]".into(),
        Some(_) => "a host's name is not looked up".into(),
    })
}

fn path(raw: Raw<'_>) -> Result<PathBuf, Wrong> {
    match raw.text()? {
        "" => Err("it is empty".into()),
        text if text.contains('\0') || text.len() > ITEM_LIMIT => Err("no file has such a name".into()),
        text => Ok(PathBuf::from(text)),
    }
}

fn optional_path(raw: Raw<'_>) -> Result<Option<PathBuf>, Wrong> {
    if raw.text()?.is_empty() { Ok(None) } else { path(raw).map(Some) }
}

fn share(raw: Raw<'_>) -> Result<Share, Wrong> {
    match raw {
        Raw::Toml(DeValue::Integer(_) | DeValue::Float(_)) => Err("no %".into()),
        _ => Ok(units::parse_share(raw.text()?.trim())?),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `EnvFilter` takes a word that is no level for the name of a module and logs all of it: `level = "debgu"` would be
/// accepted and log nothing. So a directive without `=` has to be a level here.
fn filter(raw: Raw<'_>) -> Result<String, Wrong> {
    let directives: Vec<&str> = raw.text()?.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if directives.is_empty() {
        return Err("it is empty".into());
    }
    for directive in directives.iter().filter(|directive| !directive.contains(['=', '['])) {
        if directive.parse::<LevelFilter>().is_err() {
            let nearest = suggestion(nearest(directive, LEVELS));
            return Err(format!("{} is no level{nearest}", quoted(directive)).into());
        }
    }
    let text = directives.join(",");
    match tracing_subscriber::EnvFilter::builder().parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(super::mistake::printable(&error.to_string()).into()),
    }
}

/// A list of texts; in the environment and in flags they are separated by commas.
pub(super) fn names(raw: Raw<'_>, check: impl Fn(&str) -> Result<(), Wrong>) -> Result<Vec<String>, Wrong> {
    let array = match raw {
        Raw::Text(text) if text.trim().is_empty() => return Ok(Vec::new()),
        Raw::Text(text) => {
            return text.split(',').map(str::trim).map(|entry| check(entry).map(|()| entry.to_owned())).collect();
        }
        Raw::Toml(DeValue::Array(array)) => array,
        Raw::Toml(DeValue::String(_)) => return Err("a list stands in [ ]".into()),
        Raw::Toml(_) => return Err(Wrong::default()),
    };
    let entry = |value: &toml::Spanned<DeValue<'_>>| {
        let raw = Raw::Toml(value.get_ref());
        let checked = raw.text().and_then(|text| check(text).map(|()| text.to_owned()));
        checked.map_err(|wrong| Wrong { entry: Some((raw.describe(), value.span())), ..wrong })
    };
    array.iter().map(entry).collect()
}

fn choice<T: Choice>(raw: Raw<'_>) -> Result<T, Wrong> {
    let text = raw.text()?.trim();
    match T::WORDS.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => Err(suggestion(nearest(text, T::WORDS.iter().map(|(word, _)| *word))).trim_start_matches("; ").into()),
    }
}

fn word<T: Choice>(value: T) -> &'static str {
    T::WORDS.iter().find(|(_, meaning)| *meaning == value).map_or("", |(word, _)| word)
}

fn one_of<T: Choice>() -> String {
    let words: Vec<String> = T::WORDS.iter().map(|(word, _)| format!("{word:?}")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// A TOML string on one line, safe to print.
pub(super) fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\'' => out.push(character),
            _ if character.escape_debug().len() == 1 => out.push(character),
            _ => out.push_str(&format!("\\U{:08X}", u32::from(character))),
        }
    }
    out + "\""
}

/// A TOML list of strings on one line.
pub(super) fn toml_list(list: &[String]) -> String {
    let entries: Vec<String> = list.iter().map(|entry| toml_string(entry)).collect();
    format!("[{}]", entries.join(", "))
}
