//! Exceptions of rules.

use super::{condition_of, one, rule, several, told};

fn with(exceptions: &str) -> String {
    let lists = "- list: names\n  items: [x, y z]\n";
    rule(lists, "evt.type=a or evt.type=b") + "  exceptions:\n" + exceptions
}

#[track_caller]
fn becomes(exceptions: &str, expected: &str) {
    let condition = condition_of(&one(&with(exceptions)), "R");
    assert_eq!(condition, format!("(evt.type = a or evt.type = b){expected}"));
}

#[test]
fn of_several_fields() {
    becomes(
        "    - name: e\n      fields: [proc.name, fd.name]\n      values:\n        - [a, /b c]\n        - ['\"q\"', '\"r s\"']\n",
        " and not ((proc.name = a and fd.name = \"/b c\") or (proc.name = q and fd.name = \"r s\"))",
    );
    becomes(
        "    - name: e\n      fields: [proc.name, fd.name, 'proc.aname[2]']\n      comps: [in, startswith, =]\n      values:\n        - [[a, names], /etc, z]\n        - [names, /x, z]\n        - [(names), /x, z]\n",
        " and not ((proc.name in (a, x, \"y z\") and fd.name startswith /etc and proc.aname[2] = z) \
         or (proc.name in (x, \"y z\") and fd.name startswith /x and proc.aname[2] = z) \
         or (proc.name in (x, \"y z\") and fd.name startswith /x and proc.aname[2] = z))",
    );
}

#[test]
fn of_one_field() {
    becomes(
        "    - name: e\n      fields: proc.name\n      values: [a, names]\n",
        " and not proc.name in (a, x, \"y z\")",
    );
    becomes(
        "    - name: e\n      fields: fd.name\n      comps: pmatch\n      values: [/a]\n    - name: f\n      fields: tolower(proc.name)\n      values: [q]\n",
        " and not fd.name pmatch (/a) and not tolower(proc.name) in (q)",
    );
}

#[test]
fn without_values_change_nothing() {
    let exceptions =
        "    - name: e\n      fields: [proc.name, fd.name]\n    - name: f\n      fields: proc.name\n      values: []\n";
    assert_eq!(condition_of(&one(&with(exceptions)), "R"), "evt.type = a or evt.type = b");
}

#[test]
fn get_values_from_later_items() {
    let first = with("    - name: e\n      fields: [proc.name]\n      values: [[a]]\n");
    let more = "- rule: R\n  exceptions:\n    - name: e\n      values: [[b]]\n    - name: f\n      fields: fd.name\n      values: [c]\n  append: true\n";
    let loaded = several(&[&first, more]);
    let expected = "(evt.type = a or evt.type = b) and not (proc.name = a or proc.name = b) and not fd.name in (c)";
    assert_eq!(condition_of(&loaded, "R"), expected);
    let over = more.replace("append: true", "override: {exceptions: append}");
    assert_eq!(condition_of(&several(&[&first, &over]), "R"), expected);
    let replaced = "- rule: R\n  exceptions:\n    - name: g\n      fields: fd.name\n      values: [c]\n  override: {exceptions: replace}\n";
    assert_eq!(
        condition_of(&several(&[&first, replaced]), "R"),
        "(evt.type = a or evt.type = b) and not fd.name in (c)"
    );
}

#[test]
fn mistakes_in_them_are_told() {
    for (exceptions, message) in [
        ("    - fields: proc.name\n", "`name` is missing"),
        ("    - name: e\n", "has no `fields`"),
        ("    - name: e\n      fields: [proc.name, fd.name]\n      values: [[a]]\n", "a list of 2"),
        ("    - name: e\n      fields: [proc.name, fd.name]\n      values: [a]\n", "a list of 2"),
        ("    - name: e\n      fields: proc.name\n      values: [[a]]\n", "values are single"),
        ("    - name: e\n      fields: [proc.name]\n      comps: [startwith]\n", "did you mean `startswith`?"),
        ("    - name: e\n      fields: proc.name\n      comps: '='\n", "no operator for this exception"),
        ("    - name: e\n      fields: [proc.name, fd.name]\n      comps: [=]\n", "2 `fields` and 1 `comps`"),
        ("    - name: e\n      fields: [proc.name]\n      values: [[[a, b]]]\n", "use `in` for several"),
        ("    - name: e\n      fields: [name]\n", "expected the name of a field"),
        ("    - name: e\n      fields: proc.name\n    - name: e\n      fields: proc.name\n", "two exceptions `e`"),
    ] {
        let loaded = one(&with(exceptions));
        let told = told(&loaded);
        assert!(told.len() == 1 && told[0].contains(message), "{exceptions}{told:#?}");
        assert!(loaded.rules.is_empty());
    }
    let first = with("    - name: e\n      fields: [proc.name]\n      values: [[a]]\n");
    for (more, message) in [
        ("    - name: nosuch\n      values: [[a]]\n", "no exception `nosuch`"),
        ("    - name: e\n      fields: [proc.name]\n      values: [[a]]\n", "has its fields already"),
    ] {
        let loaded = several(&[&first, &format!("- rule: R\n  append: true\n  exceptions:\n{more}")]);
        assert!(told(&loaded)[0].contains(message), "{:#?}", told(&loaded));
    }
}
