//! Items of rule files, and what comes of them when one changes another.

use std::collections::{BTreeMap, HashMap};

use super::ast::Place;
use super::expand::List;
use super::lex::identifier_length;
use super::nearest::nearest;
use super::reader::{Map, Reader};
use super::rules::{self, RuleRead};
use super::text::Text;
use super::yaml::{Kind, Node};

/// The newest version of Falco's engine whose rules were read with this.
const ENGINE: (u32, u32, u32) = (0, 57, 0);

/// All items of all files, in the order of their definition.
#[derive(Default)]
pub(super) struct Items {
    pub(super) lists: BTreeMap<String, List>,
    pub(super) macros: BTreeMap<String, MacroRead>,
    pub(super) rules: Vec<RuleRead>,
    by_name: HashMap<String, usize>,
}

/// A macro as it is written.
pub(super) struct MacroRead {
    pub(super) place: Place,
    pub(super) condition: Text,
}

impl Items {
    pub(super) fn rule(&self, name: &str) -> Option<&RuleRead> {
        self.rules.get(*self.by_name.get(name)?)
    }

    pub(super) fn rule_mut(&mut self, name: &str) -> Option<&mut RuleRead> {
        self.rules.get_mut(*self.by_name.get(name)?)
    }

    pub(super) fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// A rule that was defined before keeps its turn.
    pub(super) fn define_rule(&mut self, rule: RuleRead) {
        match self.rule_mut(&rule.name) {
            Some(earlier) => *earlier = rule,
            None => {
                self.by_name.insert(rule.name.clone(), self.rules.len());
                self.rules.push(rule);
            }
        }
    }
}

/// Reads a document: a list of items.
pub(super) fn read(reader: &mut Reader<'_>, document: &Node, items: &mut Items) {
    if document.is_null() {
        return;
    }
    let Kind::List(list) = &document.kind else {
        reader.begin(None);
        let message = format!("a rule file is a list of items (`- rule: …`), this is {}", document.what());
        reader.error(document.mark, message);
        return;
    };
    for node in list {
        reader.begin(None);
        if node.is_null() {
            continue;
        }
        let Some(map) = reader.map(node, "an item") else { continue };
        if map.has("rule") {
            rules::read(reader, &map, items);
        } else if map.has("macro") {
            read_macro(reader, &map, items);
        } else if map.has("list") {
            read_list(reader, &map, items);
        } else if map.has("required_engine_version") {
            engine(reader, &map);
        } else if let Some(plugins) = map.get("required_plugin_versions") {
            reader.warning(plugins.mark, "plugins are Falco's own; what rules ask of them may be unknown here");
        } else {
            let known = ["rule", "macro", "list", "required_engine_version", "required_plugin_versions"];
            let key = map.keys().next().map(|(key, _)| key).unwrap_or_default();
            match nearest(key, known) {
                Some(near) => reader.error(map.mark, format!("unknown item `{key}`: did you mean `{near}`?")),
                None => reader.warning(map.mark, format!("unknown item `{key}` is ignored")),
            }
        }
    }
}

fn engine(reader: &mut Reader<'_>, map: &Map<'_>) {
    let Some(text) = reader.text(map, "required_engine_version") else { return };
    let version = text.value().trim();
    let number = |text: &str| text.parse::<u32>().ok();
    let parts: Vec<_> = version.split(['-', '+']).next().unwrap_or_default().split('.').map(number).collect();
    match parts.as_slice() {
        // Before version numbers of three parts, the engine's was the middle one.
        [Some(minor)] if (0, *minor, 0) <= ENGINE => {}
        [Some(major), Some(minor), Some(patch)] if (*major, *minor, *patch) <= ENGINE => {}
        [Some(_)] | [Some(_), Some(_), Some(_)] => {
            let (major, minor, patch) = ENGINE;
            let message =
                format!("is for engine {version}: what is newer than {major}.{minor}.{patch} may be unknown here");
            reader.warning(map.mark, message);
        }
        _ => reader.error(map.mark, format!("`{version}` is no version: a number, or three with dots")),
    }
}

/// Whether an item with one part adds to the earlier one of its name.
fn appends(reader: &mut Reader<'_>, map: &Map<'_>, part: &str) -> bool {
    let append = reader.truth(map, "append").unwrap_or(false);
    let Some(node) = map.get("override") else { return append };
    if append {
        reader.error(map.mark, "has both `append` and `override`: `override` says it all");
        return false;
    }
    let Some(overrides) = reader.map(node, "`override`") else { return false };
    let mut adds = false;
    for (key, mark, value) in overrides.entries() {
        if *key != part {
            reader.error(*mark, format!("`{key}` cannot be overridden here: only `{part}`"));
            continue;
        }
        match reader.scalar(value, part).as_ref().map(|text| text.value().trim()) {
            Some("append") => adds = true,
            Some("replace") | None => {}
            Some(other) => reader.error(value.mark, format!("`{other}` is no way to override: `append` or `replace`")),
        }
    }
    adds
}

fn unknown<'a>(reader: &mut Reader<'_>, map: &Map<'_>, kind: &str, name: &str, names: impl Iterator<Item = &'a str>) {
    let remedy = match nearest(name, names) {
        Some(near) => format!(": did you mean `{near}`?"),
        None => String::new(),
    };
    reader.error(map.mark, format!("adds to a {kind} that was not defined before{remedy}"));
}

fn read_list(reader: &mut Reader<'_>, map: &Map<'_>, items: &mut Items) {
    let Some(name) = reader.needed(map, "list").map(|name| name.value().trim().to_owned()) else { return };
    reader.begin(Some(format!("list `{name}`")));
    reader.known(map, &["list", "items", "append", "override"], &[]);
    if !name.chars().all(super::lex::is_bare) {
        reader.error(map.mark, "the name of a list has no blanks, quotes, parentheses, commas or `=`");
    }
    if !map.has("items") {
        reader.error(map.mark, "`items` is missing");
    }
    let adds = appends(reader, map, "items");
    let Some(values) = reader.strings(map, "items") else { return };
    if !reader.is_good() {
        return;
    }
    if !adds {
        items.lists.insert(name, List { place: reader.place(map.mark), items: values });
    } else if let Some(list) = items.lists.get_mut(&name) {
        list.items.extend(values);
    } else {
        unknown(reader, map, "list", &name, items.lists.keys().map(String::as_str));
    }
}

fn read_macro(reader: &mut Reader<'_>, map: &Map<'_>, items: &mut Items) {
    let Some(name) = reader.needed(map, "macro").map(|name| name.value().trim().to_owned()) else { return };
    reader.begin(Some(format!("macro `{name}`")));
    reader.known(map, &["macro", "condition", "append", "override"], &[]);
    if identifier_length(&name) != name.len() {
        reader.error(map.mark, "the name of a macro begins with a letter and has letters, digits and `_` only");
    }
    let adds = appends(reader, map, "condition");
    let Some(condition) = reader.needed(map, "condition") else { return };
    if !reader.is_good() {
        return;
    }
    if !adds {
        items.macros.insert(name, MacroRead { place: reader.place(map.mark), condition });
    } else if let Some(earlier) = items.macros.get_mut(&name) {
        earlier.condition.append(&condition);
    } else {
        unknown(reader, map, "macro", &name, items.macros.keys().map(String::as_str));
    }
}
