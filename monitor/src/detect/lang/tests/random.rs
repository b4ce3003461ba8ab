//! Random input: nothing panics, and what is written of a condition is read as the same. The generator is seeded, so that
//! what is found is found again.

use super::super::ast::{Check, Expr, Field, Operand, Operator, Place};
use super::super::{Source, load::nowhere};
use super::super::{condition, load};
use super::falco::FALCO;
use super::one;

/// xorshift64*: enough for tests.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % end
    }

    fn of<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}

const PIECES: &[&str] = &[
    "(",
    ")",
    "and",
    "or",
    "not",
    " ",
    "\n",
    "\t",
    "in",
    "exists",
    "=",
    "!=",
    "<=",
    "proc.name",
    "evt.arg[0]",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "\\",
    "tolower(",
    "join(",
    "concat(",
    "val(",
    "macro_x",
    "list_x",
    "/bin/sh",
    "-5",
    "0x1f",
    "1e+5",
    "é",
    "😀",
    "\u{0}",
    ":",
    "- ",
    "#",
    "|",
    ">",
    "&a",
    "*a",
    "%",
    "{",
    "}",
    "rule: R",
    "\u{feff}",
    "\r\n",
];

#[test]
fn random_conditions_do_not_panic() {
    let mut random = Random(1);
    let mut good = 0;
    for _ in 0..30_000 {
        let length = random.below(14);
        let text: String = (0..length).map(|_| *random.of(PIECES)).collect();
        if let Ok(expr) = condition(&text) {
            good += 1;
            let again = condition(&expr.to_string()).expect("what is written is read");
            assert_eq!(again.to_string(), expr.to_string(), "{text}");
        }
    }
    assert!(good > 10, "the pieces make no conditions any more: {good}");
}

#[test]
fn random_files_do_not_panic() {
    let mut random = Random(2);
    for _ in 0..3000 {
        let length = random.below(40);
        let text: String = (0..length).map(|_| *random.of(PIECES)).collect();
        one(&text);
    }
}

#[test]
fn damaged_rules_do_not_panic_and_what_is_whole_is_read() {
    let mut random = Random(3);
    let start = FALCO.find("- macro: open_write").expect("it is there");
    let end = FALCO[start..].find("- rule: Read sensitive file untrusted").expect("it is there") + start;
    let text: Vec<char> = FALCO[start..end].chars().collect();
    for _ in 0..150 {
        let mut damaged = text.clone();
        for _ in 0..=random.below(3) {
            let damaged_length = damaged.len();
            let at = random.below(damaged_length);
            match random.below(3) {
                0 => drop(damaged.drain(at..(at + random.below(30)).min(damaged_length))),
                1 => drop(damaged.splice(at..at, random.of(PIECES).chars())),
                _ => damaged.truncate(at + 1),
            }
        }
        let text = damaged.into_iter().collect::<String>();
        let loaded = load(&[Source { path: "x".into(), text: text.clone() }]);
        let lines = u32::try_from(text.lines().count()).unwrap_or(0);
        for one in &loaded.diagnostics {
            assert!(one.place.line >= 1 && one.place.line <= lines + 1 && one.place.column >= 1, "{one}\n{text}");
        }
    }
}

fn place() -> Place {
    nowhere()
}

fn text(random: &mut Random) -> String {
    let length = random.below(6);
    (0..length)
        .map(|_| *random.of(&['a', 'B', '/', '.', '-', ' ', '"', '\'', '\\', '(', ',', '=', '\n', 'é', '*', '<']))
        .collect()
}

fn field(random: &mut Random, depth: usize) -> Field {
    let names = ["proc.name", "fd.name", "proc.aname", "evt.arg.flags", "order.and"];
    let argument = (random.below(3) == 0).then(|| text(random)).filter(|text| !text.is_empty());
    let transformers = (0..random.below(3)).map(|_| (*random.of(&["tolower", "b64", "len"])).to_owned()).collect();
    if depth < 2 && random.below(6) == 0 {
        let join = random.below(2) == 0;
        let mut parts: Vec<_> = (0..1 + random.below(3)).map(|_| Operand::Field(field(random, depth + 1))).collect();
        if join {
            parts.insert(0, Operand::Text(text(random), place()));
        }
        let name = if join { "join" } else { "concat" };
        return Field { name: name.to_owned(), argument: None, transformers, parts, place: place() };
    }
    Field { name: (*random.of(&names)).to_owned(), argument, transformers, parts: Vec::new(), place: place() }
}

fn check(random: &mut Random) -> Check {
    let operator = *random.of(Operator::ALL);
    let number =
        matches!(operator, Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual);
    let values = match operator {
        Operator::Exists => Vec::new(),
        _ if random.below(5) == 0 => vec![Operand::Field(field(random, 0))],
        _ if operator.takes_list() => (0..random.below(4)).map(|_| Operand::Text(text(random), place())).collect(),
        _ if number => vec![Operand::Text(random.below(1000).to_string(), place())],
        _ => vec![Operand::Text(text(random), place())],
    };
    Check { field: field(random, 0), operator, values, place: place() }
}

/// Without a connective directly in the same one: those are never made.
fn expression(random: &mut Random, depth: usize) -> Expr {
    let kind = if depth > 4 { 0 } else { random.below(4) };
    let parts = |random: &mut Random, and: bool| {
        let mut parts = Vec::new();
        while parts.len() < 2 {
            let part = expression(random, depth + 1);
            match part {
                Expr::And(_) if and => {}
                Expr::Or(_) if !and => {}
                _ => parts.push(part),
            }
        }
        parts
    };
    match kind {
        1 => Expr::And(parts(random, true)),
        2 => Expr::Or(parts(random, false)),
        3 => match expression(random, depth + 1) {
            Expr::Not(inner) => *inner,
            other => Expr::Not(Box::new(other)),
        },
        _ => Expr::Check(check(random)),
    }
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let mut random = Random(4);
    for _ in 0..5000 {
        let expr = expression(&mut random, 0);
        let written = expr.to_string();
        let mut read = condition(&written).unwrap_or_else(|mistake| panic!("{written}\n{mistake}"));
        forget_places(&mut read);
        assert_eq!(read, expr, "{written}");
    }
}

fn forget_places(expr: &mut Expr) {
    fn in_field(field: &mut Field) {
        field.place = place();
        field.parts.iter_mut().for_each(in_operand);
    }
    fn in_operand(operand: &mut Operand) {
        match operand {
            Operand::Text(_, at) => *at = place(),
            Operand::Field(field) => in_field(field),
        }
    }
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter_mut().for_each(forget_places),
        Expr::Not(inner) => forget_places(inner),
        Expr::Check(check) => {
            check.place = place();
            in_field(&mut check.field);
            check.values.iter_mut().for_each(in_operand);
        }
    }
}
