//! The grammar of conditions.

use super::super::ast::{Expr, Operand, Operator};
use super::super::{condition, field};

/// What a condition is read as, and that it is read as the same again.
#[track_caller]
fn same(text: &str, expected: &str) {
    let expr = condition(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
    assert_eq!(expr.to_string(), expected, "{text}");
    let again = condition(expected).unwrap_or_else(|mistake| panic!("{expected}: {mistake}"));
    assert_eq!(again.to_string(), expected);
}

#[track_caller]
fn refused(text: &str, column: u32, part: &str) {
    let mistake = condition(text).expect_err(text);
    assert!(mistake.message.contains(part), "{text}: {}", mistake.message);
    assert_eq!(mistake.place.column, column, "{text}: {}", mistake.message);
}

#[test]
fn and_binds_more_than_or_and_not_most() {
    same("a.b=1 or a.c=2 and not a.d=3", "a.b = 1 or (a.c = 2 and not a.d = 3)");
    same("(a.b=1 or a.c=2) and a.d=3", "(a.b = 1 or a.c = 2) and a.d = 3");
    same("a.b=1 and(a.c=2 or a.d=3)", "a.b = 1 and (a.c = 2 or a.d = 3)");
    same("not(a.b=1)", "not a.b = 1");
    same("not not a.b=1", "a.b = 1");
    same("not not not (a.b=1 or a.c=1)", "not (a.b = 1 or a.c = 1)");
    same("not (not a.b=1)", "not (not a.b = 1)");
    same(" ( ( a.b=1 ) )\n", "a.b = 1");
}

#[test]
fn words_that_begin_with_a_connective_are_words() {
    let expr = condition("a.b=or and a.c=and or order.x exists").unwrap();
    assert_eq!(expr.to_string(), "(a.b = or and a.c = and) or order.x exists");
    refused("a.b=1 orx a.c=1", 7, "expected `and`, `or` or the end, found `orx`");
    refused("a.b=1 and", 10, "expected");
    refused("and a.b=1", 1, "before `and`");
}

#[test]
fn every_operator_is_read() {
    for operator in Operator::ALL {
        let right = match operator {
            Operator::Exists => "",
            operator if operator.takes_list() => " (1, 2)",
            _ => " 1",
        };
        let text = format!("proc.name {operator}{right}");
        let Expr::Check(check) = condition(&text).unwrap() else { panic!("{text}") };
        assert_eq!(check.operator, *operator);
        assert_eq!(check.values.len(), right.matches(char::is_numeric).count());
        same(&text, &text);
    }
    same("a.b==1", "a.b = 1");
    same("a.b>=-1.5e+3 and a.b<0xFf and a.b!=x", "a.b >= -1.5e+3 and a.b < 0xFf and a.b != x");
    same("a.b in(x)", "a.b in (x)");
    same("a.b contains\nx", "a.b contains x");
}

#[test]
fn values_are_bare_or_quoted() {
    same("proc.exe=/bin/sh", "proc.exe = /bin/sh");
    same("proc.args contains -i", "proc.args contains -i");
    same("proc.name=<NA>", "proc.name = <NA>");
    same(r#"proc.name = "(systemd)""#, r#"proc.name = "(systemd)""#);
    same("proc.args contains '@pwd = f('", r#"proc.args contains "@pwd = f(""#);
    same("fd.name glob '/home/*/.ssh/*'", "fd.name glob /home/*/.ssh/*");
    same(r#"a.b = "x\"y\\z\n\t\/" "#, r#"a.b = "x\"y\\z\n\t/""#);
    same(r"a.b = 'it\'s'", r#"a.b = "it's""#);
    same(r"a.b = c:\x\y", r#"a.b = c:\x\y"#);
    same(r#"a.b = """#, r#"a.b = """#);
    same("fd.sip in (10.0.0.0/8, ::1, \"x y\")", r#"fd.sip in (10.0.0.0/8, ::1, "x y")"#);
    same("a.b in ()", "a.b in ()");
    refused(r#"a.b = "x\d""#, 9, r"`\\`");
    refused(r#"a.b = 'x\"'"#, 9, "unknown escape");
    refused(r#"a.b = "x"#, 7, "not closed");
    refused("proc.args contains -o=x", 22, "in quotes");
    refused("a.b in (x y)", 11, "expected `,` or `)`");
    refused("a.b in (x, y", 8, "not closed");
    refused("a.b = ", 7, "expected a value after `=`");
    refused("a.b in [x]", 8, "expected `(` and values after `in`");
}

#[test]
fn numbers_are_numbers() {
    refused("a.b > 5s", 7, "compares with a number");
    refused("a.b > x", 7, "compares with a number");
    same("a.b > val(c.d)", "a.b > val(c.d)");
}

#[test]
fn fields_have_arguments() {
    for text in ["proc.aname[2] = x", "evt.arg.flags = x", "evt.arg[0] = x", "proc.env[LD_PRELOAD] exists"] {
        same(text, text);
    }
    same("proc.env[\"A B\"] exists", "proc.env[\"A B\"] exists");
    same("a.b['x[1]'] = 1", "a.b[\"x[1]\"] = 1");
    let read = field(" proc.aname[2] ").unwrap();
    assert_eq!((read.name.as_str(), read.argument.as_deref()), ("proc.aname", Some("2")));
    refused("a.b[] = 1", 5, "an index or a key");
    refused("a.b[1 = 1", 6, "expected `]`");
    assert!(field("proc.name = x").is_err() && field("proc").is_err() && field("").is_err());
}

#[test]
fn transformers_nest() {
    same("tolower(proc.name) = x", "tolower(proc.name) = x");
    same("tolower( b64( evt.arg[1] ) ) contains x", "tolower(b64(evt.arg[1])) contains x");
    same("toupper(basename(proc.exe))=val(proc.name)", "toupper(basename(proc.exe)) = val(proc.name)");
    same("len(proc.args) > 5", "len(proc.args) > 5");
    same("proc.name in val(proc.aname[2])", "proc.name in val(proc.aname[2])");
    same("proc.name = tolower(proc.pname)", "proc.name = tolower(proc.pname)");
    same(
        "concat(proc.name, \"-\", tolower(evt.type), 1) = x",
        "concat(proc.name, \"-\", tolower(evt.type), \"1\") = x",
    );
    same("tolower(join(\"/\", (proc.name, evt.type))) = x", "tolower(join(\"/\", (proc.name, evt.type))) = x");
    let Expr::Check(check) = condition("basename(tolower(proc.exe)) = val(a.b)").unwrap() else { panic!() };
    assert_eq!(check.field.transformers, ["tolower", "basename"]);
    assert!(matches!(&check.values[..], [Operand::Field(field)] if field.name == "a.b"));
    refused("tolower(x) = 1", 9, "expected a field inside `tolower(…)`");
    refused("tolower(a.b = 1", 13, "the `)` of `tolower(`");
    refused("tolwer(a.b) = 1", 1, "did you mean `tolower`?");
    refused("val(a.b) = 1", 1, "right of an operator only");
    refused("join(a.b) = x", 6, "in quotes");
}

#[test]
fn mistakes_say_what_was_meant() {
    refused("proc.name startwith x", 11, "did you mean `startswith`?");
    refused("proc.name ~ x", 11, "one of = !=");
    refused("a.b=1 && a.c=1", 7, "write `and`");
    refused("a.b=1 || a.c=1", 7, "write `or`");
    refused("! a.b=1", 1, "write `not`");
    refused("(a.b=1", 1, "not closed");
    refused("a.b=1)", 6, "expected `and`, `or` or the end, found `)`");
    refused("", 1, "empty");
    refused("a.b", 4, "expected an operator");
    refused("unknown_macro", 1, "unknown macro");
}
