//! The order in which macros are expanded, and circles in them.

use std::collections::HashMap;

use super::ast::Place;
use super::expand::Names;
use super::parse::{Problem, Raw};

/// Macros, each after those that it uses; and those that close a circle, with what is wrong.
pub(super) fn order(names: &Names) -> (Vec<&str>, Vec<(&str, Problem)>) {
    #[derive(PartialEq)]
    enum Seen {
        Open,
        Done,
    }
    let mut seen: HashMap<&str, Seen> = HashMap::new();
    let (mut order, mut circles) = (Vec::new(), Vec::new());
    let uses = |name: &str| {
        let mut used = Vec::new();
        if let Some(raw) = names.macros.get(name).and_then(|definition| definition.condition.as_ref()) {
            macros_in(raw, &mut used);
        }
        used.into_iter()
    };
    for name in names.macros.keys() {
        if seen.contains_key(name.as_str()) {
            continue;
        }
        // A stack of our own: how many macros use each other must not depend on that of the thread.
        let mut open = vec![(name.as_str(), uses(name))];
        seen.insert(name, Seen::Open);
        while let Some((current, used)) = open.last_mut() {
            let current = *current;
            let Some((next, place)) = used.next() else {
                seen.insert(current, Seen::Done);
                order.push(current);
                open.pop();
                continue;
            };
            match seen.get(next) {
                Some(Seen::Done) => {}
                Some(Seen::Open) => {
                    let circle: Vec<_> = open.iter().map(|(name, _)| *name).skip_while(|name| *name != next).collect();
                    let message = format!("macro `{next}` uses itself: `{}`, `{next}`", circle.join("`, `"));
                    circles.push((current, Problem { place: place.clone(), message }));
                }
                None if names.macros.contains_key(next) => {
                    seen.insert(next, Seen::Open);
                    open.push((next, uses(next)));
                }
                None => {}
            }
        }
    }
    (order, circles)
}

fn macros_in<'a>(raw: &'a Raw, into: &mut Vec<(&'a str, &'a Place)>) {
    match raw {
        Raw::And(parts) | Raw::Or(parts) => parts.iter().for_each(|part| macros_in(part, into)),
        Raw::Not(inner) => macros_in(inner, into),
        Raw::Check(_) => {}
        Raw::Macro(name, place) => into.push((name, place)),
    }
}
