//! Other people's schemas for the same events. An event is rendered once, in our own schema; who wants another gets it
//! from that, in the thread that writes, so that the pipeline does not pay for it.

mod ecs;
mod ocsf;

use serde_json::Value;

/// How an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Our own schema, docs/EVENTS.md.
    #[default]
    Native,
    /// Elastic Common Schema 8.
    Ecs,
    /// Open Cybersecurity Schema Framework 1.3, Detection Finding.
    Ocsf,
}

impl Format {
    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ecs => "ecs",
            Self::Ocsf => "ocsf",
        }
    }

    /// An event in this format, from our own; none: it is that already.
    pub fn render(self, native: &[u8]) -> Option<Vec<u8>> {
        let map = match self {
            Self::Native => return None,
            Self::Ecs => ecs::map,
            Self::Ocsf => ocsf::map,
        };
        // What we wrote ourselves is JSON.
        let native: Value = serde_json::from_slice(native).ok()?;
        serde_json::to_vec(&map(&native)).ok()
    }
}

/// The member at a path, `null` where there is none.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or(&Value::Null)
}

/// The elements of a list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The last component of a path.
fn base(path: &Value) -> Value {
    path.as_str().and_then(|path| path.rsplit('/').next()).map_or(Value::Null, Value::from)
}

/// Arguments as one line.
fn command_line(argv: &Value) -> Value {
    let words: Vec<&str> = list(argv).iter().filter_map(Value::as_str).collect();
    if words.is_empty() { Value::Null } else { words.join(" ").into() }
}

/// Which process, on this host and for ever.
fn entity(event: &Value, process: &Value) -> Value {
    let host = at(event, "/host/name").as_str().unwrap_or_default();
    match (at(process, "/start_ticks"), at(process, "/pid")) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (start, pid) => format!("{host}-{start}-{pid}").into(),
    }
}

/// Milliseconds since 1970.
fn milliseconds(time: &Value) -> Value {
    let time = time.as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    time.map_or(Value::Null, |time| time.as_millisecond().into())
}

/// Without members that say nothing: both schemas take an absent field for an unknown one.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(name, value)| (name, without_nulls(value)));
            Value::Object(kept.filter(|(_, value)| !is_nothing(value)).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests;
