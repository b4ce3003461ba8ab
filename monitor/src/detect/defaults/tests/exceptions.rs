//! No exception by name alone. Anybody can call a program what they like, put it where they like in a directory of their
//! own, and in a user namespace of their own mount it over any path. What a rule excepts by a program's name or path has to
//! be root's: by a field that ends with `.of_root`, or beside one (the macro `program_of_root`).

use super::*;
use crate::detect::lang::Source;
use crate::detect::lang::ast::{Check, Expr, Operand, Operator};

/// Fields by which a program, or what it calls itself, is named.
const OWN: &[&str] = &["proc.name", "proc.exe", "proc.exepath", "proc.filename", "proc.script"];

/// The same of other programs. They have fields of their own that end with `.of_root`.
const OTHERS: &[&str] = &[
    "proc.exepath_before",
    "proc.exe.writer.name",
    "proc.exe.writer.exepath",
    "proc.pname",
    "proc.pexe",
    "proc.pexepath",
    "proc.aname",
    "proc.aexe",
    "proc.aexepath",
    "proc.sname",
    "proc.sid.exe",
    "proc.sid.exepath",
    "proc.pgid.name",
    "proc.pgid.exe",
    "proc.pgid.exepath",
    "proc.vpgid.name",
    "proc.vpgid.exe",
    "proc.vpgid.exepath",
];

/// Names that look like exceptions and are none, with the reason.
const NONE: &[(&str, &str, &str)] = &[
    (
        "exec_devshm",
        "proc.script",
        "a script that is read from a descriptor has no file; the rules of pipes tell those",
    ),
    ("exec_memfd", "proc.exepath", "exec_memfd_imitation and exec_memfd_runtime tell those"),
    (
        "exec_memfd_imitation",
        "proc.pexepath",
        "what a runtime's copy starts; exec_memfd_imitation told the copy itself",
    ),
    ("renamed_shell", "proc.name", "that the name is not a shell's is what is told"),
    ("renamed_shell", "proc.exe", "that the name is not a shell's is what is told"),
    ("renamed_shell_copy", "proc.exepath", "a copy with a shell's name is a shell to every other rule"),
    ("setuid_exec", "proc.exepath", "setuid_exec_owner and setuid_exec_system tell those"),
];

/// Names in the condition that keep the rule from firing, without anything beside that says whose the program is.
fn by_name<'a>(expr: &'a Expr, excepting: bool, vouched: bool, found: &mut Vec<&'a Check>) {
    match expr {
        Expr::Not(inner) => by_name(inner, !excepting, false, found),
        // Excepted is who fulfils all of these: one of them may vouch for the others.
        Expr::And(all) if excepting => {
            let vouched = vouched || all.iter().any(vouches);
            all.iter().for_each(|each| by_name(each, excepting, vouched, found));
        }
        // Asked for is one of these, and not to be one of them excepts: `not a or not b`.
        Expr::And(each) | Expr::Or(each) => each.iter().for_each(|each| by_name(each, excepting, vouched, found)),
        Expr::Check(check) => {
            let excepting = excepting != (check.operator == Operator::NotEqual);
            // A name compared with another name says that they differ, not what they are.
            let listed = check.operator == Operator::Exists
                || check.values.iter().any(|value| matches!(value, Operand::Text(..)));
            let name = check.field.name.as_str();
            if excepting && listed && (OTHERS.contains(&name) || (OWN.contains(&name) && !vouched)) {
                found.push(check);
            }
        }
    }
}

/// Whether who fulfils this runs a program of root's.
fn vouches(expr: &Expr) -> bool {
    match expr {
        Expr::Check(check) => check.field.name == "proc.exepath.of_root" && check.operator != Operator::NotEqual,
        Expr::And(all) => all.iter().any(vouches),
        Expr::Or(each) => each.iter().all(vouches),
        Expr::Not(_) => false,
    }
}

/// What all rules of these except by name: rule, field, and the whole comparison.
fn excepted(loaded: &Loaded) -> Vec<(String, String, String)> {
    let mut excepted = Vec::new();
    for rule in &loaded.rules {
        let steps = rule.more.sequence.iter().flat_map(|sequence| &sequence.steps);
        let mut found = Vec::new();
        steps.chain([&rule.condition]).for_each(|condition| by_name(condition, false, false, &mut found));
        excepted
            .extend(found.into_iter().map(|check| (rule.name.clone(), check.field.name.clone(), check.to_string())));
    }
    excepted
}

#[test]
fn no_rule_excepts_by_name_alone() {
    let mut found = excepted(loaded());
    for (rule, field, reason) in NONE {
        let before = found.len();
        found.retain(|(of, by, _)| (of.as_str(), by.as_str()) != (*rule, *field));
        assert!(found.len() < before, "{rule} does not except by {field} any more: {reason}");
    }
    let lines: Vec<String> = found.iter().map(|(rule, _, check)| format!("{rule}: {check}")).collect();
    assert!(lines.is_empty(), "{} exception(s) by name alone:\n{}", lines.len(), lines.join("\n"));
}

/// The search finds what it is for, through macros, lists, double negation and steps of a sequence.
#[test]
fn an_exception_by_name_is_found() {
    let found = |condition: &str| {
        let text = format!(
            "- list: trusted\n  items: [/bin/a, b]\n- macro: of_root\n  condition: (proc.exepath.of_root exists)\n\
            - rule: r\n  desc: d\n  condition: evt.type=execve and ({condition})\n  output: o\n  priority: INFO\n"
        );
        let loaded = load(&[Source { path: "r.yaml".into(), text }]);
        assert_eq!(loaded.diagnostics, [], "{condition}");
        excepted(&loaded).len()
    };
    for (condition, wanted) in [
        ("proc.exepath in (trusted)", 0),
        ("not proc.exepath in (trusted)", 1),
        ("not (proc.exepath in (trusted) and of_root)", 0),
        ("not (of_root and (proc.name=a or basename(proc.exepath) in (trusted)))", 0),
        ("not (proc.exepath in (trusted) or of_root)", 1),
        ("not (proc.exepath in (trusted) and not of_root)", 1),
        ("not (proc.pexepath in (trusted) and of_root)", 1),
        ("not proc.aexepath.of_root in (trusted)", 0),
        ("proc.name != a", 1),
        ("not proc.name != a", 0),
        ("not (not proc.exepath in (trusted))", 0),
        ("proc.args contains a and (not proc.name=b or not proc.exe startswith c)", 2),
        ("not basename(proc.exepath)=val(proc.name)", 0),
    ] {
        assert_eq!(found(condition), wanted, "{condition}");
    }
}
