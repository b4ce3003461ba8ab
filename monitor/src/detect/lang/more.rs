//! Keys of rules that Falco does not have.

use super::ast::{Action, Count, Dedup, Field, FirstSeen, More, Respond};
use super::nearest::nearest;
use super::reader::{Map, Reader};
use super::text::Text;
use super::yaml::{Kind, Node};
use std::time::Duration;

/// Our keys of a rule.
pub(super) const KEYS: &[&str] =
    &["title", "attack", "false_positives", "sequence", "count", "first_seen", "dedup", "respond"];

/// Most steps of a sequence before its last, and most fields that tell entities apart: state is kept for each.
const MAX_STEPS: usize = 8;
const MAX_FIELDS: usize = 8;

/// Longest time for which state is kept for a sequence or a count.
const MAX_WITHIN: Duration = Duration::from_hours(24);

/// Most occurrences that a count waits for.
const MAX_COUNT: u32 = 100_000;

/// How long a `first_seen` is remembered when it does not say.
const REMEMBER: Duration = Duration::from_hours(30 * 24);

/// What our keys say; the conditions of a sequence are not yet read, because macros may come later.
#[derive(Clone, Debug, Default)]
pub(super) struct MoreRead {
    pub(super) more: More,
    pub(super) sequence: Option<SequenceRead>,
}

#[derive(Clone, Debug)]
pub(super) struct SequenceRead {
    pub(super) by: Vec<Field>,
    pub(super) within: Duration,
    pub(super) steps: Vec<Text>,
}

impl MoreRead {
    /// Takes those keys from another that are in the list.
    pub(super) fn replace(&mut self, other: Self, keys: &[&str]) {
        let new = other.more;
        for key in keys {
            match *key {
                "title" => self.more.title.clone_from(&new.title),
                "attack" => self.more.attack.clone_from(&new.attack),
                "false_positives" => self.more.false_positives.clone_from(&new.false_positives),
                "sequence" => self.sequence.clone_from(&other.sequence),
                "count" => self.more.count.clone_from(&new.count),
                "first_seen" => self.more.first_seen.clone_from(&new.first_seen),
                "dedup" => self.more.dedup.clone_from(&new.dedup),
                "respond" => self.more.respond.clone_from(&new.respond),
                _ => {}
            }
        }
    }
}

/// Reads our keys of a rule.
pub(super) fn read(reader: &mut Reader<'_>, rule: &Map<'_>) -> MoreRead {
    let more = More {
        title: reader.string(rule, "title"),
        attack: rule.get("attack").map(|node| attack(reader, node)).unwrap_or_default(),
        false_positives: rule.get("false_positives").and_then(|node| sentences(reader, node)),
        sequence: None,
        count: rule.get("count").and_then(|node| count(reader, node)),
        first_seen: rule.get("first_seen").and_then(|node| first_seen(reader, node)),
        dedup: rule.get("dedup").and_then(|node| dedup(reader, node)),
        respond: rule.get("respond").and_then(|node| respond(reader, node)),
    };
    MoreRead { more, sequence: rule.get("sequence").and_then(|node| sequence(reader, node)) }
}

/// Whether this is an id of ATT&CK: `T1059` or `T1059.004`.
pub(in crate::detect) fn is_technique(id: &str) -> bool {
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    match id.strip_prefix('T').map(|id| id.split_once('.').ok_or(id)) {
        Some(Ok((technique, sub))) => digits(technique, 4) && digits(sub, 3),
        Some(Err(technique)) => digits(technique, 4),
        None => false,
    }
}

fn attack(reader: &mut Reader<'_>, node: &Node) -> Vec<String> {
    let ids = match &node.kind {
        Kind::List(items) => items.iter().filter_map(|item| reader.scalar(item, "attack")).collect(),
        _ => reader.scalar(node, "attack").into_iter().collect::<Vec<_>>(),
    };
    let ids: Vec<_> = ids.iter().map(|text| text.value().trim().to_owned()).collect();
    for id in &ids {
        if !is_technique(id) {
            reader.error(node.mark, format!("`{id}` is no technique of ATT&CK, such as T1059 or T1059.004"));
        }
    }
    ids
}

/// One text, or a list of them.
fn sentences(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let Kind::List(items) = &node.kind else {
        return reader.scalar(node, "false_positives").map(|text| text.value().trim().to_owned());
    };
    let texts: Vec<_> = items.iter().filter_map(|item| reader.scalar(item, "false_positives")).collect();
    let texts: Vec<_> = texts.iter().map(|text| text.value().trim()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn few(reader: &mut Reader<'_>, map: &Map<'_>, key: &str) -> Option<Vec<Field>> {
    let fields = reader.fields(map, key)?;
    if fields.len() > MAX_FIELDS {
        reader.error(map.mark, format!("`{key}` names more than {MAX_FIELDS} fields"));
        return None;
    }
    Some(fields)
}

fn within(reader: &mut Reader<'_>, map: &Map<'_>) -> Option<Duration> {
    let within = reader.needed_duration(map, "within")?;
    if within > MAX_WITHIN {
        reader.error(map.mark, "`within` is longer than a day");
        return None;
    }
    Some(within)
}

fn sequence(reader: &mut Reader<'_>, node: &Node) -> Option<SequenceRead> {
    let map = reader.map(node, "`sequence`")?;
    reader.known(&map, &[], &["by", "within", "steps"]);
    let (by, within) = (few(reader, &map, "by"), within(reader, &map));
    let Some(steps) = map.get("steps") else {
        reader.error(map.mark, "`steps` is missing: the conditions that come before the rule's own, in order");
        return None;
    };
    let list = reader.list(steps, "steps")?;
    if list.is_empty() || list.len() > MAX_STEPS {
        reader.error(steps.mark, format!("a sequence has 1 to {MAX_STEPS} `steps` before the rule's own condition"));
        return None;
    }
    let steps: Vec<_> = list.iter().filter_map(|step| reader.scalar(step, "steps")).collect();
    Some(SequenceRead { by: by?, within: within?, steps })
}

fn count(reader: &mut Reader<'_>, node: &Node) -> Option<Count> {
    let map = reader.map(node, "`count`")?;
    reader.known(&map, &[], &["by", "distinct", "at_least", "within"]);
    let (by, within) = (few(reader, &map, "by"), within(reader, &map));
    let distinct = map.get("distinct").map(|node| reader.field(node, "distinct"));
    let at_least = reader.needed(&map, "at_least")?;
    let at_least = match at_least.value().trim().parse() {
        Ok(number) if (2..=MAX_COUNT).contains(&number) => number,
        _ => {
            reader.error(map.mark, format!("`at_least` has to be a number from 2 to {MAX_COUNT}"));
            return None;
        }
    };
    let distinct = match distinct {
        Some(field) => Some(field?),
        None => None,
    };
    Some(Count { by: by?, distinct, at_least, within: within? })
}

fn first_seen(reader: &mut Reader<'_>, node: &Node) -> Option<FirstSeen> {
    let map = reader.map(node, "`first_seen`")?;
    reader.known(&map, &[], &["of", "remember", "learn"]);
    let of = few(reader, &map, "of");
    let remember = if map.has("remember") { reader.duration(&map, "remember") } else { Some(REMEMBER) };
    let learn = if map.has("learn") { reader.duration(&map, "learn") } else { Some(Duration::ZERO) };
    Some(FirstSeen { of: of?, remember: remember?, learn: learn? })
}

fn dedup(reader: &mut Reader<'_>, node: &Node) -> Option<Dedup> {
    let map = reader.map(node, "`dedup`")?;
    reader.known(&map, &[], &["key", "window"]);
    let (key, window) = (few(reader, &map, "key"), reader.needed_duration(&map, "window"));
    Some(Dedup { key: key?, window: window? })
}

/// `action: kill`, `stop`, `freeze`, or `{run: [program, arguments…]}`. Only said, not done, unless `dry_run: false`.
fn respond(reader: &mut Reader<'_>, node: &Node) -> Option<Respond> {
    let map = reader.map(node, "`respond`")?;
    reader.known(&map, &[], &["action", "dry_run"]);
    let dry_run = if map.has("dry_run") { reader.truth(&map, "dry_run") } else { Some(true) };
    let Some(node) = map.get("action") else {
        reader.error(map.mark, "`action` is missing: kill, stop, freeze or {run: [program, arguments…]}");
        return None;
    };
    let action = match &node.kind {
        Kind::Map(_) => run(reader, node)?,
        _ => match reader.scalar(node, "action")?.value() {
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            "freeze" => Action::Freeze,
            other => {
                let remedy = match nearest(other, ["kill", "stop", "freeze"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "kill, stop, freeze or {run: [program, arguments…]}".to_owned(),
                };
                reader.error(node.mark, format!("unknown action `{other}`: {remedy}"));
                return None;
            }
        },
    };
    Some(Respond { action, dry_run: dry_run? })
}

fn run(reader: &mut Reader<'_>, node: &Node) -> Option<Action> {
    let map = reader.map(node, "`action`")?;
    reader.known(&map, &[], &["run"]);
    let command: Vec<_> = reader.strings(&map, "run")?.into_iter().map(|(text, _)| text).collect();
    if command.first().is_some_and(|program| program.starts_with('/')) {
        return Some(Action::Run(command));
    }
    reader.error(node.mark, "`run` has to be a list whose first is the absolute path of a program");
    None
}
