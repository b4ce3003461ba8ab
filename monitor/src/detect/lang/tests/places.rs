//! Mistakes are told with line and column, however YAML writes the condition.

use super::{one, only_message, rule, several, told};

/// A rule whose condition is written so, from line 3 on.
fn written(condition: &str) -> String {
    format!("- rule: R\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n")
}

#[test]
fn of_plain_and_quoted_text() {
    for (text, place) in [
        ("evt.type=a and nosuch", "3:29"),
        ("'evt.type=a and nosuch'", "3:30"),
        ("'proc.name=''a b'' and nosuch'", "3:37"),
        ("\"proc.name=\\\"a b\\\" and nosuch\"", "3:37"),
        ("\"evt.type=a\\nand \\x41.b=1 and nosuch\"", "3:44"),
        ("évt and nosuch", "3:14"),
    ] {
        let message = told(&one(&written(text))).remove(0);
        assert!(message.starts_with(&format!("rules.yaml:{place}: error")), "{text}: {message}");
    }
}

#[test]
fn of_text_over_several_lines() {
    for (text, place) in [
        ("evt.type=a\n    and nosuch", "4:9"),
        ("\"evt.type=a\n    and nosuch\"", "4:9"),
        ("\"evt.type=a \\\n    and nosuch\"", "4:9"),
        (">\n    evt.type=a\n    and nosuch\n", "5:9"),
        ("|\n    evt.type=a\n\n      and nosuch\n", "6:11"),
        (">-\n    evt.type=a and\n    (proc.name=x or\n      nosuch)", "6:7"),
        ("|2-\n    evt.type=a and nosuch", "4:20"),
        ("> # why\n    evt.type=a and\n    nosuch", "5:5"),
    ] {
        let message = told(&one(&written(text))).remove(0);
        assert!(message.starts_with(&format!("rules.yaml:{place}: error")), "{text}: {message}");
        assert!(message.contains("rule `R`: unknown macro `nosuch`"), "{message}");
    }
}

#[test]
fn of_lines_that_end_as_on_windows() {
    let text = written(">\n    evt.type=a\n    and nosuch\n").replace('\n', "\r\n");
    assert!(only_message(&one(&text)).starts_with("5:9: error"));
}

#[test]
fn of_what_is_appended() {
    let more = "- rule: R\n  condition: and proc.name=x\n    and nosuch\n  append: true\n";
    let loaded = several(&[&rule("", "evt.type=a"), more]);
    assert_eq!(told(&loaded), ["1.yaml:3:9: error: rule `R`: unknown macro `nosuch`"]);
}

#[test]
fn of_checks_and_values_in_what_is_loaded() {
    let loaded = one(
        "- list: l\n  items: [a,\n    b]\n- macro: m\n  condition: >\n    proc.name\n    in (x, l)\n- rule: R\n  desc: d\n  condition: evt.type=y and m\n  output: |\n\n    text %proc.name\n  priority: INFO\n",
    );
    let rule = &loaded.rules[0];
    assert_eq!(rule.place.to_string(), "rules.yaml:8:3");
    assert_eq!(rule.output_place.to_string(), "rules.yaml:13:5");
    let super::super::ast::Expr::And(parts) = &rule.condition else { panic!() };
    let super::super::ast::Expr::Check(check) = &parts[1] else { panic!() };
    assert_eq!(check.place.to_string(), "rules.yaml:6:5");
    let places: Vec<_> = check
        .values
        .iter()
        .map(|value| match value {
            super::super::ast::Operand::Text(text, place) => format!("{text} {}:{}", place.line, place.column),
            super::super::ast::Operand::Field(field) => field.to_string(),
        })
        .collect();
    assert_eq!(places, ["x 7:9", "a 2:11", "b 3:5"]);
}
