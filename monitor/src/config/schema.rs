//! A JSON schema of the configuration file, so that editors complete and check keys.

use serde_json::{Map, Value, json};

use super::field::Field;
use super::keys::{GROUP_HELP, GROUP_KEYS, KEYS, Key, TABLES};
use super::model::{Choice, KernelLevel, LogFormat, Output};
use super::show::default_of;
use crate::signals::Timing;

/// The schema (draft 2020-12), with a newline at its end.
pub fn schema() -> String {
    let mut tables = Map::new();
    for (table, help) in TABLES {
        let keys = KEYS.iter().filter(|key| key.table() == *table);
        let keys: Map<String, Value> = keys.map(|key| (key.short().to_owned(), describe(key))).collect();
        let table_schema =
            json!({"type": "object", "description": help, "properties": keys, "additionalProperties": false});
        tables.insert((*table).to_owned(), table_schema);
    }
    tables.insert("group".to_owned(), groups());
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of monitor",
        "type": "object",
        "properties": tables,
        "additionalProperties": false,
    });
    format!("{schema:#}\n")
}

fn groups() -> Value {
    let names: Vec<&str> = GROUP_KEYS.iter().map(|key| key.name).collect();
    json!({
        "type": "array",
        "description": GROUP_HELP,
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "exe": strings()},
            "required": names,
            "additionalProperties": false,
        },
    })
}

fn strings() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn describe(key: &Key) -> Value {
    let mut schema = kind(&key.field);
    if let Some(object) = schema.as_object_mut() {
        let text = format!("{} Accepted: {}. Default: {}.", key.help, key.field.accepts(), default_of(key));
        object.insert("description".to_owned(), Value::String(text));
    }
    schema
}

fn kind(field: &Field) -> Value {
    match field {
        Field::Switch(_) => json!({"type": "boolean"}),
        Field::Count(_, limits) => json!({"type": "integer", "minimum": limits.start(), "maximum": limits.end()}),
        Field::Size(..) | Field::Ring(..) => json!({"type": ["string", "integer"]}),
        Field::Duration(..)
        | Field::Address(_)
        | Field::Path(_)
        | Field::OptionalPath(_)
        | Field::Filter(_)
        | Field::Share(_) => {
            json!({"type": "string"})
        }
        Field::Names(..) => strings(),
        Field::LogFormat(_) => words::<LogFormat>(),
        Field::KernelLevel(_) => words::<KernelLevel>(),
        Field::Output(_) => words::<Output>(),
        Field::Timing(_) => words::<Timing>(),
        Field::EventFormat(_) => words::<crate::events::Format>(),
        Field::AuditSync(_) => words::<crate::audit::Sync>(),
    }
}

fn words<T: Choice>() -> Value {
    let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
    json!({"enum": words})
}
