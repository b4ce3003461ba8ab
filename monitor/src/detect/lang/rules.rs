//! Items that define or change rules.

use super::ast::{Place, Priority};
use super::exceptions::{self, Exception};
use super::items::Items;
use super::more::{self, MoreRead};
use super::nearest::nearest;
use super::reader::{Map, Reader};
use super::text::Text;
use super::yaml::Node;

/// Falco's keys of a rule. Captures are recordings of Falco's own, which we have no use for.
const KEYS: &[&str] = &[
    "rule",
    "desc",
    "condition",
    "output",
    "priority",
    "tags",
    "enabled",
    "source",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "exceptions",
    "append",
    "override",
    "capture",
    "capture_duration",
];

const APPENDABLE: &[&str] = &["condition", "output", "desc", "tags", "exceptions", "attack"];

const REPLACEABLE: &[&str] = &[
    "condition",
    "output",
    "desc",
    "priority",
    "tags",
    "exceptions",
    "enabled",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "capture",
    "capture_duration",
];

/// A rule as it is written.
#[derive(Clone, Debug)]
pub(super) struct RuleRead {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) description: String,
    pub(super) condition: Text,
    pub(super) output: Text,
    pub(super) priority: Priority,
    pub(super) tags: Vec<String>,
    pub(super) enabled: bool,
    pub(super) source: String,
    pub(super) skip_if_unknown_filter: bool,
    pub(super) exceptions: Vec<Exception>,
    pub(super) more: MoreRead,
}

/// What an item of the file says about a rule.
struct Said {
    description: Option<String>,
    condition: Option<Text>,
    output: Option<Text>,
    priority: Option<Priority>,
    tags: Option<Vec<String>>,
    enabled: Option<bool>,
    skip_if_unknown_filter: Option<bool>,
    exceptions: Option<Vec<Exception>>,
    more: MoreRead,
}

/// Reads an item with the key `rule`.
pub(super) fn read(reader: &mut Reader<'_>, map: &Map<'_>, items: &mut Items) {
    let Some(name) = reader.needed(map, "rule").map(|name| name.value().trim().to_owned()) else { return };
    reader.begin(Some(format!("rule `{name}`")));
    reader.known(map, KEYS, more::KEYS);
    let append = reader.truth(map, "append").unwrap_or(false);
    if append && map.has("override") {
        reader.error(map.mark, "has both `append` and `override`: `override` says it all");
        return;
    }
    let update = append || map.has("override");
    let said = said(reader, map, update);
    if append {
        self::append(reader, map, items, &name, said, &["condition", "exceptions"]);
    } else if let Some(node) = map.get("override") {
        self::update(reader, map, node, items, &name, said);
    } else if ["condition", "output", "desc", "priority"].iter().any(|key| map.has(key)) {
        define(reader, map, items, name, said);
    } else {
        enable(reader, map, items, &name, said.enabled);
    }
}

fn said(reader: &mut Reader<'_>, map: &Map<'_>, update: bool) -> Said {
    reader.truth(map, "warn_evttypes");
    Said {
        description: reader.string(map, "desc"),
        condition: reader.text(map, "condition"),
        output: reader.text(map, "output"),
        priority: priority(reader, map),
        tags: reader.strings(map, "tags").map(|tags| tags.into_iter().map(|(tag, _)| tag).collect()),
        enabled: reader.truth(map, "enabled"),
        skip_if_unknown_filter: reader.truth(map, "skip-if-unknown-filter"),
        exceptions: exceptions::read(reader, map, update),
        more: more::read(reader, map),
    }
}

fn priority(reader: &mut Reader<'_>, map: &Map<'_>) -> Option<Priority> {
    let node = map.get("priority")?;
    let text = reader.scalar(node, "priority")?;
    let name = text.value().trim();
    let known = Priority::ALL.iter().find(|priority| priority.name().eq_ignore_ascii_case(name));
    if let Some(priority) = known {
        return Some(*priority);
    }
    if name.eq_ignore_ascii_case("info") {
        return Some(Priority::Informational);
    }
    let names: Vec<_> = Priority::ALL.iter().map(|priority| priority.name()).collect();
    let lower: Vec<_> = names.iter().map(|name| name.to_lowercase()).collect();
    let remedy = match nearest(&name.to_lowercase(), lower.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", names.join(" ")),
    };
    reader.error(node.mark, format!("unknown priority `{name}`: {remedy}"));
    None
}

fn define(reader: &mut Reader<'_>, map: &Map<'_>, items: &mut Items, name: String, said: Said) {
    for key in ["desc", "condition", "output", "priority"] {
        if !map.has(key) {
            reader.error(map.mark, format!("`{key}` is missing"));
        }
    }
    let source = match map.has("source") {
        true => reader.string(map, "source"),
        false => Some("syscall".to_owned()),
    };
    let (Some(description), Some(condition), Some(output), Some(priority), Some(source)) =
        (said.description, said.condition, said.output, said.priority, source)
    else {
        return;
    };
    if items.rule(&name).is_some_and(|earlier| earlier.source != source) {
        reader.error(map.mark, "was defined before for another `source`");
    }
    if !reader.is_good() {
        return;
    }
    if source != "syscall" {
        reader.warning(map.mark, format!("is for events of `{source}`, of which there are none here: left out"));
    }
    items.define_rule(RuleRead {
        place: reader.place(map.mark),
        name,
        description,
        condition,
        output,
        priority,
        tags: said.tags.unwrap_or_default(),
        enabled: said.enabled.unwrap_or(true),
        source,
        skip_if_unknown_filter: said.skip_if_unknown_filter.unwrap_or(false),
        exceptions: said.exceptions.unwrap_or_default(),
        more: said.more,
    });
}

/// An item with nothing but `enabled` switches a rule that was defined before.
fn enable(reader: &mut Reader<'_>, map: &Map<'_>, items: &mut Items, name: &str, enabled: Option<bool>) {
    if !map.has("enabled") {
        reader.error(map.mark, "`condition` is missing (or `enabled`, to switch a rule that was defined before)");
        return;
    }
    let known = unknown_rule(reader, map, items, name);
    if let (Some(rule), Some(enabled), true) = (items.rule_mut(name), enabled, known && reader.is_good()) {
        rule.enabled = enabled;
    }
}

/// Tells when there is no such rule, and says whether there is.
fn unknown_rule(reader: &mut Reader<'_>, map: &Map<'_>, items: &Items, name: &str) -> bool {
    if items.rule(name).is_some() {
        return true;
    }
    let remedy = match nearest(name, items.rule_names()) {
        Some(near) => format!(": did you mean `{near}`?"),
        None => String::new(),
    };
    reader.error(map.mark, format!("changes a rule that was not defined before{remedy}"));
    false
}

/// `override`: says of each key whether it is added or put in place of the rule's own.
fn update(reader: &mut Reader<'_>, map: &Map<'_>, node: &Node, items: &mut Items, name: &str, said: Said) {
    let Some(overrides) = reader.map(node, "`override`") else { return };
    let (mut added, mut replaced) = (Vec::new(), Vec::new());
    for (key, mark, value) in overrides.entries() {
        let (key, mark) = (*key, *mark);
        let Some(operation) = reader.scalar(value, key) else { continue };
        let allowed = match operation.value().trim() {
            "append" => {
                added.push(key);
                APPENDABLE.contains(&key)
            }
            "replace" => {
                replaced.push(key);
                REPLACEABLE.contains(&key) || more::KEYS.contains(&key)
            }
            other => {
                reader.error(value.mark, format!("`{other}` is no way to override: `append` or `replace`"));
                continue;
            }
        };
        if !allowed {
            let all = REPLACEABLE.iter().chain(more::KEYS).copied();
            let remedy = match (REPLACEABLE.contains(&key) || more::KEYS.contains(&key), nearest(key, all)) {
                (true, _) => ": use `replace`".to_owned(),
                (false, Some(near)) => format!(": did you mean `{near}`?"),
                (false, None) => String::new(),
            };
            reader.error(mark, format!("`{key}` cannot be overridden so{remedy}"));
        }
        if !map.has(key) {
            reader.error(mark, format!("overrides `{key}`, which is not there"));
        }
    }
    for (key, mark) in map.keys() {
        let changes = REPLACEABLE.contains(&key) || more::KEYS.contains(&key);
        if changes && !overrides.has(key) {
            reader.error(mark, format!("`{key}` is not under `override`: say `append` or `replace` there"));
        }
    }
    if !reader.is_good() || !unknown_rule(reader, map, items, name) {
        return;
    }
    let (first, second) = said.split(&replaced);
    append(reader, map, items, name, first, &added);
    if reader.is_good()
        && let Some(rule) = items.rule_mut(name)
    {
        second.replace(rule, &replaced);
    }
}

/// Adds to a rule what an item says under these keys.
fn append(reader: &mut Reader<'_>, map: &Map<'_>, items: &mut Items, name: &str, said: Said, keys: &[&str]) {
    if !reader.is_good() || !unknown_rule(reader, map, items, name) {
        return;
    }
    let Some(rule) = items.rule_mut(name) else { return };
    let has = |key| keys.contains(&key);
    let mut exceptions = rule.exceptions.clone();
    for new in said.exceptions.filter(|_| has("exceptions")).unwrap_or_default() {
        match exceptions.iter_mut().find(|exception| exception.name == new.name) {
            None if new.columns.is_none() => {
                reader.error(new.mark, format!("there is no exception `{}` to add values to", new.name));
            }
            None => exceptions.push(new),
            Some(_) if new.columns.is_some() => {
                reader.error(new.mark, format!("exception `{}` has its fields already: give `values` only", new.name));
            }
            Some(exception) => exception.rows.extend(new.rows),
        }
    }
    if !reader.is_good() {
        return;
    }
    rule.exceptions = exceptions;
    if let Some(condition) = said.condition.filter(|_| has("condition")) {
        rule.condition.append(&condition);
    }
    if let Some(output) = said.output.filter(|_| has("output")) {
        rule.output.append(&output);
    }
    if let Some(description) = said.description.filter(|_| has("desc")) {
        rule.description = format!("{} {description}", rule.description);
    }
    for tag in said.tags.filter(|_| has("tags")).unwrap_or_default() {
        if !rule.tags.contains(&tag) {
            rule.tags.push(tag);
        }
    }
    if has("attack") {
        rule.more.more.attack.extend(said.more.more.attack);
    }
}

impl Said {
    /// What is added, and what is put in place of something.
    fn split(self, replaced: &[&str]) -> (Self, Self) {
        let has = |key| replaced.contains(&key);
        let second = Self {
            description: self.description.clone().filter(|_| has("desc")),
            condition: self.condition.clone().filter(|_| has("condition")),
            output: self.output.clone().filter(|_| has("output")),
            priority: self.priority.filter(|_| has("priority")),
            tags: self.tags.clone().filter(|_| has("tags")),
            enabled: self.enabled.filter(|_| has("enabled")),
            skip_if_unknown_filter: self.skip_if_unknown_filter.filter(|_| has("skip-if-unknown-filter")),
            exceptions: self.exceptions.clone().filter(|_| has("exceptions")),
            more: self.more.clone(),
        };
        (self, second)
    }

    fn replace(self, rule: &mut RuleRead, keys: &[&str]) {
        fn set<T>(to: &mut T, from: Option<T>) {
            if let Some(from) = from {
                *to = from;
            }
        }
        set(&mut rule.description, self.description);
        set(&mut rule.condition, self.condition);
        set(&mut rule.output, self.output);
        set(&mut rule.priority, self.priority);
        set(&mut rule.tags, self.tags);
        set(&mut rule.enabled, self.enabled);
        set(&mut rule.skip_if_unknown_filter, self.skip_if_unknown_filter);
        set(&mut rule.exceptions, self.exceptions);
        rule.more.replace(self.more, keys);
    }
}
