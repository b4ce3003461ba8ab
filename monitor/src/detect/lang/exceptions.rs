//! Exceptions of rules: fields, operators and rows of values. A rule does not fire when one row fits.

use super::ast::{Field, Operator, Place};
use super::nearest::nearest;
use super::parse::{Problem, Raw, RawCheck, Word, item};
use super::reader::{Map, Reader};
use super::text::Mark;
use super::yaml::{Kind, Node};

/// An exception as it is written, before another item may have added rows to it.
#[derive(Clone, Debug)]
pub(super) struct Exception {
    pub(super) name: String,
    pub(super) mark: Mark,
    pub(super) place: Place,
    /// Nothing: only rows for an exception that exists.
    pub(super) columns: Option<Columns>,
    pub(super) rows: Vec<Row>,
}

/// What is compared, and how.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// One field, whose rows are single values, and not a list of fields.
    single: bool,
    columns: Vec<(Field, Operator)>,
}

/// Values, one for each field.
#[derive(Clone, Debug)]
pub(super) struct Row {
    place: Place,
    /// The row itself is a single value.
    single: bool,
    cells: Vec<Cell>,
}

#[derive(Clone, Debug)]
enum Cell {
    One(String, Place),
    Several(Vec<(String, Place)>),
}

/// Reads `exceptions` of a rule. When `update`, they may lack what the rule's own have.
pub(super) fn read(reader: &mut Reader<'_>, rule: &Map<'_>, update: bool) -> Option<Vec<Exception>> {
    let node = rule.get("exceptions")?;
    if node.is_null() {
        return Some(Vec::new());
    }
    let items = reader.list(node, "exceptions")?;
    let mut exceptions: Vec<Exception> = Vec::new();
    for item in items {
        let Some(exception) = one(reader, item, update) else { continue };
        if exceptions.iter().any(|other| other.name == exception.name) {
            reader.error(exception.mark, format!("there are two exceptions `{}`", exception.name));
        }
        exceptions.push(exception);
    }
    Some(exceptions)
}

fn one(reader: &mut Reader<'_>, node: &Node, update: bool) -> Option<Exception> {
    let map = reader.map(node, "an exception")?;
    reader.known(&map, &["name", "fields", "comps", "values"], &[]);
    let name = reader.needed(&map, "name")?.value().trim().to_owned();
    let columns = match map.get("fields") {
        Some(fields) => Some(columns(reader, &map, fields)?),
        None => None,
    };
    if columns.is_none() && !update {
        reader.error(map.mark, format!("exception `{name}` has no `fields`"));
        return None;
    }
    if columns.is_none() && map.has("comps") {
        reader.error(map.mark, format!("exception `{name}`: `comps` without `fields` changes nothing"));
        return None;
    }
    let mut rows = Vec::new();
    match map.get("values") {
        Some(values) if !values.is_null() => {
            rows.extend(reader.list(values, "values")?.iter().filter_map(|value| row(reader, value)));
        }
        _ if update => reader.warning(map.mark, format!("exception `{name}` adds no values")),
        _ => {}
    }
    Some(Exception { name, mark: map.mark, place: reader.place(map.mark), columns, rows })
}

fn columns(reader: &mut Reader<'_>, map: &Map<'_>, fields: &Node) -> Option<Columns> {
    let single = !matches!(fields.kind, Kind::List(_));
    let fields = reader.fields(map, "fields")?;
    let mut operators = Vec::new();
    match map.get("comps") {
        None => operators.resize(fields.len(), if single { Operator::In } else { Operator::Equal }),
        Some(comps) => {
            let nodes = match &comps.kind {
                Kind::List(items) if !single => items.iter().map(AsRef::as_ref).collect(),
                _ if single && !matches!(comps.kind, Kind::List(_)) => vec![comps],
                _ => {
                    reader.error(comps.mark, "`fields` and `comps` have to be both lists or both single");
                    return None;
                }
            };
            for node in nodes {
                operators.push(operator(reader, node, single)?);
            }
        }
    }
    if operators.len() != fields.len() {
        let message = format!("there are {} `fields` and {} `comps`", fields.len(), operators.len());
        reader.error(map.mark, message);
        return None;
    }
    Some(Columns { single, columns: fields.into_iter().zip(operators).collect() })
}

fn operator(reader: &mut Reader<'_>, node: &Node, single: bool) -> Option<Operator> {
    let text = reader.scalar(node, "comps")?;
    let name = if text.value() == "==" { "=" } else { text.value() };
    let usable = |operator: &Operator| *operator != Operator::Exists && (!single || operator.takes_list());
    let usable: Vec<_> = Operator::ALL.iter().copied().filter(usable).collect();
    if let Some(operator) = usable.iter().find(|operator| operator.name() == name) {
        return Some(*operator);
    }
    let names: Vec<_> = usable.iter().map(|operator| operator.name()).collect();
    let remedy = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", names.join(" ")),
    };
    reader.error(node.mark, format!("`{name}` is no operator for this exception: {remedy}"));
    None
}

fn row(reader: &mut Reader<'_>, node: &Node) -> Option<Row> {
    let place = reader.place(node.mark);
    let Kind::List(cells) = &node.kind else {
        let (text, at) = reader.raw(node, "values")?;
        return Some(Row { place, single: true, cells: vec![Cell::One(text, at)] });
    };
    let cell = |reader: &mut Reader<'_>, cell: &Node| match &cell.kind {
        Kind::List(values) => {
            let values: Vec<_> = values.iter().map(|value| reader.raw(value, "values")).collect();
            values.into_iter().collect::<Option<_>>().map(Cell::Several)
        }
        _ => reader.raw(cell, "values").map(|(text, place)| Cell::One(text, place)),
    };
    let cells: Vec<_> = cells.iter().map(|node| cell(reader, node)).collect();
    Some(Row { place, single: false, cells: cells.into_iter().collect::<Option<_>>()? })
}

/// What a row compares; nothing when the exception has no rows.
pub(super) fn condition(exception: &Exception) -> Result<Option<Raw>, Problem> {
    let Some(columns) = &exception.columns else { return Ok(None) };
    if columns.single {
        return single(exception, columns);
    }
    let mut rows = Vec::new();
    for row in &exception.rows {
        if row.single || row.cells.len() != columns.columns.len() {
            let message = format!(
                "exception `{}` has {} fields, so each of its values is a list of {}",
                exception.name,
                columns.columns.len(),
                columns.columns.len()
            );
            return Err(Problem { place: row.place.clone(), message });
        }
        let checks: Result<Vec<_>, _> = columns
            .columns
            .iter()
            .zip(&row.cells)
            .map(|((field, operator), cell)| check(field, *operator, cell))
            .collect();
        rows.push(Raw::And(checks?));
    }
    Ok((!rows.is_empty()).then_some(Raw::Or(rows)))
}

/// A single field: all rows together are one list.
fn single(exception: &Exception, columns: &Columns) -> Result<Option<Raw>, Problem> {
    let Some((field, operator)) = columns.columns.first() else { return Ok(None) };
    let mut values = Vec::new();
    for row in &exception.rows {
        match (row.single, row.cells.as_slice()) {
            (true, [Cell::One(text, place)]) => values.push(item(text, place)?),
            _ => {
                let message =
                    format!("exception `{}` has a single field, so its values are single too", exception.name);
                return Err(Problem { place: row.place.clone(), message });
            }
        }
    }
    let check = RawCheck { field: field.clone(), operator: *operator, values, place: exception.place.clone() };
    Ok((!check.values.is_empty()).then_some(Raw::Check(check)))
}

fn check(field: &Field, operator: Operator, cell: &Cell) -> Result<Raw, Problem> {
    let (values, place) = match cell {
        Cell::One(text, place) => (vec![one_value(text, place, operator)?], place.clone()),
        Cell::Several(values) if operator.takes_list() => {
            let words: Result<Vec<_>, _> = values.iter().map(|(text, place)| item(text, place)).collect();
            (words?, values.first().map_or_else(|| field.place.clone(), |(_, place)| place.clone()))
        }
        Cell::Several(values) => {
            let place = values.first().map_or_else(|| field.place.clone(), |(_, place)| place.clone());
            let message = format!("`{operator}` compares with one value: use `in` for several");
            return Err(Problem { place, message });
        }
    };
    Ok(Raw::Check(RawCheck { field: field.clone(), operator, values, place }))
}

/// A value for one field, which may be a list's name where a list may stand.
fn one_value(text: &str, place: &Place, operator: Operator) -> Result<Word, Problem> {
    // Falco also takes `(name)` for the values of a list.
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    match inner.filter(|_| operator.takes_list()) {
        Some(inner) => item(inner.trim(), place),
        None => item(text, place),
    }
}
