//! Fields as rules name them, each with its argument and transformers once: a slot.

use super::args;
use super::fields::{self, Argument, Brackets, Definition, Several};
use super::transform::{NAMES, Transformer};
use super::value::Type;
use crate::detect::lang::ast::{Field, Operand};

/// What is in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Inside {
    Nothing,
    Index(usize),
    Key(Box<str>),
}

/// A field with its argument, or one with a transformer upon it.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What it is.
    pub definition: &'static Definition,
    inside: Inside,
    /// The slot whose values are transformed, and how.
    pub upon: Option<(usize, Transformer)>,
    /// What is put together to one text.
    pub joined: Option<Joined>,
    /// The type of its values.
    pub kind: Type,
    /// As it is written.
    pub text: String,
    /// Roughly nanoseconds.
    pub cost: u32,
}

impl Slot {
    fn new(definition: &'static Definition, inside: Inside) -> Self {
        Self {
            definition,
            text: written(definition, &inside),
            inside,
            upon: None,
            joined: None,
            kind: definition.kind,
            cost: definition.cost.into(),
        }
    }

    /// What is in brackets.
    pub fn argument(&self) -> Argument<'_> {
        match &self.inside {
            Inside::Nothing => Argument::None,
            Inside::Index(index) => Argument::Index(*index),
            Inside::Key(key) => Argument::Key(key),
        }
    }

    /// How several values are compared.
    pub fn several(&self) -> Several {
        self.definition.several
    }

    /// Whether it is this field, without transformers.
    pub fn is(&self, name: &str) -> bool {
        self.upon.is_none() && self.definition.name == name
    }
}

/// Texts and fields that are put together to one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What stands between them.
    pub between: String,
    /// The slots of fields, and texts.
    pub parts: Vec<Result<usize, String>>,
}

/// What puts fields together is none itself.
static JOINED: Definition = Definition {
    name: "concat",
    kind: Type::Text,
    brackets: Brackets::Never,
    several: Several::Any,
    cost: 50,
    unknown: false,
    extract: |_, _, _| {},
};

/// All slots of a set of rules.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// In the order in which they were met.
    pub list: Vec<Slot>,
}

impl Slots {
    /// The slot of a field that a rule names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn intern(&mut self, field: &Field) -> Result<usize, String> {
        let mut at = if field.parts.is_empty() {
            let (definition, inside) = resolve(field)?;
            self.place(Slot::new(definition, inside))
        } else {
            self.join(field)?
        };
        for name in &field.transformers {
            let Some(transformer) = Transformer::find(name) else {
                let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                return Err(format!("there is no transformer `{name}`; there are {}", known.join(", ")));
            };
            let below = &self.list[at];
            let several = below.several() != Several::Any;
            let Some(kind) = transformer.result(below.kind, several) else {
                return Err(format!("`{name}` takes text, and {} is a {}", below.text, below.kind.name()));
            };
            let (text, cost) = (format!("{name}({})", below.text), below.cost + 20);
            let (definition, inside) = (below.definition, below.inside.clone());
            at = self.place(Slot { definition, inside, upon: Some((at, transformer)), joined: None, kind, text, cost });
        }
        Ok(at)
    }

    /// `concat` and `join`; of the latter the first part stands between the others.
    fn join(&mut self, field: &Field) -> Result<usize, String> {
        let mut slot = Slot::new(&JOINED, Inside::Nothing);
        let mut parts = field.parts.as_slice();
        let mut between = String::new();
        if field.name == "join" {
            let [Operand::Text(text, _), rest @ ..] = parts else {
                return Err("`join` takes first the text that stands between the others".to_owned());
            };
            (between, parts) = (text.clone(), rest);
        }
        let parts = parts.iter().map(|part| match part {
            Operand::Text(text, _) => Ok(Err(text.clone())),
            Operand::Field(field) => self.intern(field).map(Ok),
        });
        let parts = parts.collect::<Result<Vec<_>, String>>()?;
        slot.cost += parts.iter().flatten().map(|at| self.list[*at].cost).sum::<u32>();
        slot.text = field.to_string();
        slot.joined = Some(Joined { between, parts });
        Ok(self.place(slot))
    }

    /// The raw twin of an argument.
    pub fn raw(&mut self, at: usize) -> usize {
        let Some(definition) = fields::find("evt.rawarg") else { return at };
        self.place(Slot::new(definition, self.list[at].inside.clone()))
    }

    fn place(&mut self, slot: Slot) -> usize {
        let same = |known: &Slot| {
            (known.definition.name, &known.inside, known.upon, &known.joined)
                == (slot.definition.name, &slot.inside, slot.upon, &slot.joined)
        };
        self.list.iter().position(same).unwrap_or_else(|| {
            self.list.push(slot);
            self.list.len() - 1
        })
    }
}

fn written(definition: &Definition, inside: &Inside) -> String {
    let dotted = matches!(definition.name, "evt.arg" | "evt.rawarg" | "evt.abspath" | "evt.type.is" | "thread.cgroup");
    match inside {
        Inside::Nothing => definition.name.to_owned(),
        Inside::Index(index) => format!("{}[{index}]", definition.name),
        Inside::Key(key) if dotted => format!("{}.{key}", definition.name),
        Inside::Key(key) => format!("{}[{key}]", definition.name),
    }
}

/// The field itself, or the longest one that the name continues: `evt.arg.flags`, `thread.cgroup.cpu`.
fn resolve(field: &Field) -> Result<(&'static Definition, Inside), String> {
    let name = field.name.as_str();
    let argument = field.argument.as_deref();
    if let Some(definition) = fields::find(name) {
        return Ok((definition, inside(definition, argument)?));
    }
    let takes_name = |definition: &&Definition| matches!(definition.brackets, Brackets::Key | Brackets::NeedsKey);
    let longer = fields::all()
        .filter(takes_name)
        .filter_map(|definition| Some((definition, name.strip_prefix(definition.name)?.strip_prefix('.')?)))
        .max_by_key(|(definition, _)| definition.name.len());
    match (longer, argument) {
        (Some((definition, key)), None) if !key.is_empty() => Ok((definition, inside(definition, Some(key))?)),
        _ => Err(format!("there is no field `{name}`{}", suggestion(&fields::nearest(name)))),
    }
}

/// `; did you mean a, b?`
pub(super) fn suggestion(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(", ")) }
}

fn inside(definition: &'static Definition, argument: Option<&str>) -> Result<Inside, String> {
    let name = definition.name;
    let Some(argument) = argument.map(str::trim).filter(|argument| !argument.is_empty()) else {
        return match definition.brackets {
            Brackets::NeedsKey | Brackets::NeedsIndex => Err(format!(
                "`{name}` needs an argument, as in {name}{}",
                if name.starts_with("evt.arg") { ".flags" } else { "[1]" }
            )),
            _ => Ok(Inside::Nothing),
        };
    };
    let number = argument.parse::<usize>().ok();
    match (definition.brackets, number) {
        (Brackets::Never, _) => Err(format!("`{name}` takes nothing in brackets")),
        (Brackets::Index | Brackets::NeedsIndex, None) => {
            Err(format!("`{name}` takes a number in brackets, not `{argument}`"))
        }
        (_, Some(index)) => Ok(Inside::Index(index)),
        (Brackets::Key | Brackets::NeedsKey, None) => {
            if matches!(name, "evt.arg" | "evt.rawarg") && !args::exists(argument) {
                let nearest = fields::nearest_of(argument, args::names());
                return Err(format!("no event has an argument `{argument}`{}", suggestion(&nearest)));
            }
            Ok(Inside::Key(argument.into()))
        }
    }
}
