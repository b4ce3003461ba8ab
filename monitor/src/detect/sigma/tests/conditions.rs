//! Conditions that combine selections.

use super::{selection, told};

const SELECTIONS: &str = "    selection_a:\n        Image: a\n    selection_b:\n        Image: b\n    selection_c:\n        Image: c\n    filter:\n        Image: f\n    _hidden:\n        Image: h\n";

#[track_caller]
fn becomes(condition: &str, expected: &str) {
    let text = selection(&format!("{SELECTIONS}    condition: {condition}\n"));
    let short = text.replace("tolower(proc.exepath) = ", "");
    assert_eq!(short, expected, "{condition}");
}

#[test]
fn names_and_connectives() {
    becomes("selection_a", "a");
    becomes("selection_a and not filter", "a and not f");
    becomes("selection_a or selection_b and filter", "(a or (b and f))");
    becomes("(selection_a or selection_b) and filter", "(a or b) and f");
    becomes("not (selection_a or filter)", "not (a or f)");
}

#[test]
fn quantities() {
    becomes("1 of selection_*", "(a or b or c)");
    becomes("any of selection*", "(a or b or c)");
    becomes("all of selection_*", "a and b and c");
    becomes("2 of selection_*", "((a and b) or (a and c) or (b and c))");
    becomes("1 of them", "(f or a or b or c)");
    becomes("all of them", "f and a and b and c");
    becomes("1 of selection_* and not 1 of filter*", "(a or b or c) and not f");
    becomes("all of selection_a", "a");
}

#[test]
fn several_conditions_are_alternatives() {
    becomes("[selection_a, selection_b and filter]", "(a or (b and f))");
}

#[test]
fn selections_are_maps_or_lists_of_maps() {
    let text = selection(
        "    s:\n        - Image: a\n          User: u\n        - CommandLine|contains: b\n    condition: s\n",
    );
    assert_eq!(text, "((tolower(proc.exepath) = a and tolower(user.name) = u) or proc.exeline icontains b)");
}

#[test]
fn mistakes_in_conditions_are_told_where_they_stand() {
    for (condition, message) in [
        (
            "selection_x",
            "rule.yml:17:16: error: rule `T`: there is no selection `selection_x`: did you mean `selection_",
        ),
        ("1 of other_*", "rule.yml:17:16: error: rule `T`: no selection is called `other_*`"),
        ("4 of selection_*", "rule.yml:17:16: error: rule `T`: asks for 4 of 3 selections"),
        ("selection_a and", "rule.yml:17:31: error: the condition has a mistake: expected"),
        ("selection_a | count() > 5", "rule.yml:17:28: error: the condition has a mistake: expected"),
        ("'selection_a)'", "rule.yml:17:28: error: the condition has a mistake: expected"),
        (">\n        selection_a\n        AND filter\n", "rule.yml:19:9: error: the condition has a mistake: expected"),
    ] {
        let loaded = super::one(&super::rule("process_creation", &format!("{SELECTIONS}    condition: {condition}\n")));
        let told = told(&loaded);
        assert!(loaded.rules.is_empty() && told.len() == 1 && told[0].contains(message), "{condition}: {told:#?}");
    }
}
