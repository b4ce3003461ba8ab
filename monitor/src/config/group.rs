//! `[[group]]`: the rules that name groups of processes.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::field::{Raw, Wrong, names};
use super::file::Document;
use super::keys::{GROUP_KEYS, GroupKey};
use super::load::Draft;
use super::mistake::{nearest, quoted, suggestion};
use super::model::GroupRule;
use super::origin::Origin;

/// Most rules: each is tried for each new process.
const RULES: usize = 1_000;
/// Longest name, in bytes; it is a label of every series of the group.
const NAME: usize = 128;

/// Takes over the rules of the file.
pub(super) fn apply(draft: &mut Draft, document: &Document<'_>, array: &DeArray<'_>) {
    for value in array.iter() {
        let origin = document.origin(&value.span());
        let DeValue::Table(table) = value.get_ref() else {
            draft.mistake(origin, "group is a list of tables: write [[group]]");
            continue;
        };
        if draft.is_full() {
            return;
        }
        if draft.config.groups.len() >= RULES {
            draft.mistake(origin, format!("more than {RULES} groups"));
            return;
        }
        if let Some(rule) = read(draft, document, &origin, table) {
            draft.config.groups.push(rule);
            draft.group_origins.push(origin);
        }
    }
}

/// One rule, if it is right.
fn read(draft: &mut Draft, document: &Document<'_>, origin: &Origin, table: &DeTable<'_>) -> Option<GroupRule> {
    let (mut name, mut exe) = (None, None);
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "name" => name = Some(read_name(draft, document, value)),
            "exe" => exe = Some(read_exe(draft, document, value)),
            other => {
                let near = nearest(other, GROUP_KEYS.iter().map(|key| key.name));
                let text = format!("unknown key {} in [[group]]{}", quoted(other), suggestion(near));
                draft.mistake(document.origin(&key.span()), text);
            }
        }
    }
    for (key, given) in GROUP_KEYS.iter().zip([name.is_some(), exe.is_some()]) {
        if !given {
            draft.mistake(origin.clone(), format!("a group has no {}; example: {0} = {}", key.name, key.example));
        }
    }
    Some(GroupRule { name: name??, exe: exe?? })
}

fn read_name(draft: &mut Draft, document: &Document<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
    let origin = document.origin(&value.span());
    let DeValue::String(name) = value.get_ref() else {
        return wrong(draft, origin, &GROUP_KEYS[0], value, Wrong::default());
    };
    let detail = match name.as_ref() {
        "" => "it is empty",
        name if name.len() > NAME => "it is too long",
        name if name.starts_with('_') => "names with _ are the daemon's own",
        name if name.chars().any(char::is_control) => "it has control characters",
        name if draft.config.groups.iter().any(|rule| rule.name == name) => "another group has this name",
        name => return Some(name.to_owned()),
    };
    wrong(draft, origin, &GROUP_KEYS[0], value, detail.into())
}

fn read_exe(draft: &mut Draft, document: &Document<'_>, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    let origin = document.origin(&value.span());
    match names(Raw::Toml(value.get_ref()), check_exe) {
        Ok(list) if list.is_empty() => wrong(draft, origin, &GROUP_KEYS[1], value, "it is empty".into()),
        Ok(list) => Some(list),
        Err(error) => {
            let place = error.entry.as_ref().map_or(origin, |(_, span)| document.origin(span));
            wrong(draft, place, &GROUP_KEYS[1], value, error)
        }
    }
}

fn check_exe(entry: &str) -> Result<(), Wrong> {
    match entry {
        "" => Err("an entry is empty".into()),
        entry if entry.contains('\0') || entry.len() > 4096 => Err("no file has such a name".into()),
        entry if entry.contains('/') && !entry.starts_with(['/', '*']) => {
            Err("a path begins with / or *: processes are known by absolute paths".into())
        }
        _ => Ok(()),
    }
}

fn wrong<T>(
    draft: &mut Draft,
    origin: Origin,
    key: &GroupKey,
    value: &Spanned<DeValue<'_>>,
    wrong: Wrong,
) -> Option<T> {
    let found = match wrong.entry {
        Some((entry, _)) => format!("{} of a group has the entry {entry}", key.name),
        None => format!("{} of a group is {}", key.name, Raw::Toml(value.get_ref()).describe()),
    };
    let detail = if wrong.detail.is_empty() { String::new() } else { format!(" ({})", wrong.detail) };
    draft.mistake(
        origin,
        format!("{found}{detail}, it has to be {}; example: {} = {}", key.accepts, key.name, key.example),
    );
    None
}
