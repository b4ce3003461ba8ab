//! Fingerprints, and that no literal survives in them.

use proptest::prelude::*;

use super::{
    reader::{KEYWORDS, OPERATIONS},
    *,
};
use crate::l7::tests::cases;

fn postgres(text: &str) -> Statement {
    Statement::read(text.as_bytes(), false, Dialect::Postgres)
}

fn mysql(text: &str) -> Statement {
    Statement::read(text.as_bytes(), false, Dialect::MySql)
}

#[test]
fn literals_and_lists_of_them_become_a_question_mark() {
    let cases = [
        ("SELECT * FROM t WHERE id=7", "select * from t where id = ?"),
        ("select  *\n from t where id = -7.5e-3", "select * from t where id = ?"),
        ("SELECT a FROM t WHERE b IN (1, 2,3)", "select a from t where b in (?)"),
        ("SELECT a FROM t WHERE b IN ($1,$2)", "select a from t where b in (?)"),
        (
            "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y'), (3, 'z') RETURNING a",
            "insert into t (a, b) values (?) returning a",
        ),
        ("INSERT INTO t VALUES (1, now()), (2, now())", "insert into t values (?, now())"),
        ("SELECT 'it''s' || E'a\\'b' || $$x'y$$ || $q$z$$z$q$ || B'01' || X'ff'", "select ? || ? || ? || ? || ? || ?"),
        ("SELECT 1 -- 'secret\nFROM t /* a /* nested */ comment */ WHERE x=.5", "select ? from t where x = ?"),
        (
            "select a.b, \"C d\".e from s.t where a->>'k' = 'v' and b::text <> ''",
            "select a.b, \"C d\".e from s.t where a ->> ? = ? and b :: text <> ?",
        ),
        (
            "SELECT count(*) FROM t WHERE a BETWEEN 1 AND 2 LIMIT 10 OFFSET 20",
            "select count(*) from t where a between ? and ? limit ? offset ?",
        ),
        ("select 5-3, a-1, (-2)", "select ? - ?, a - ?, (?)"),
    ];
    for (text, expected) in cases {
        assert_eq!(&*postgres(text).fingerprint, expected, "{text}");
    }
    let cases = [
        ("SELECT `a`.`b` FROM `t` WHERE x = \"secret\" # comment", "select `a`.`b` from `t` where x = ?"),
        ("SELECT @v, @@global.x, _utf8mb4'x', 0xFF, N'x' -- c", "select ?, _utf8mb4 ?"),
        ("SELECT 'a\\\\', 5--3", "select ? - ?"),
        (
            "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a), b = VALUES(b)",
            "insert into t values (?) on duplicate key update a = values(a), b = values(b)",
        ),
        ("/*!40101 SET NAMES utf8 */", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(&*mysql(text).fingerprint, expected, "{text}");
    }
}

#[test]
fn operation_and_table() {
    let cases = [
        ("SELECT 1", "SELECT", ""),
        ("  (SELECT a FROM t)", "SELECT", "t"),
        ("select extract(year from ts), x from Orders o join p on true", "SELECT", "Orders"),
        ("SELECT * FROM (SELECT * FROM inner_t) x", "SELECT", "inner_t"),
        ("WITH a AS (SELECT 1 FROM b), c AS (SELECT 2) UPDATE ONLY s.t SET x = 1", "UPDATE", "b"),
        ("INSERT INTO \"Users\" (id) SELECT id FROM x", "INSERT", "Users"),
        ("UPDATE t SET a = 1 FROM u", "UPDATE", "t"),
        ("DELETE FROM public.t WHERE a", "DELETE", "public.t"),
        ("CREATE TABLE IF NOT EXISTS t (id int)", "CREATE", "t"),
        ("COPY t (a, b) FROM STDIN", "COPY", "t"),
        ("TRUNCATE TABLE t", "TRUNCATE", "t"),
        ("START TRANSACTION", "BEGIN", ""),
        ("END", "COMMIT", ""),
        ("frobnicate t", "_other", ""),
        ("", "_other", ""),
        ("SELECT * FROM t, u WHERE t.a = u.b", "SELECT", "t"),
    ];
    for (text, operation, table) in cases {
        let statement = postgres(text);
        assert_eq!((statement.operation, &*statement.table), (operation, table), "{text}");
    }
    assert_eq!(mysql("REPLACE INTO `db`.`t` VALUES (1)").table, "db.t".into());
    assert_eq!(mysql("SHOW TABLES").operation, "SHOW");
}

#[test]
fn a_query_that_is_cut_ends_with_its_mark() {
    let cut = |text: &str| Statement::read(text.as_bytes(), true, Dialect::Postgres).fingerprint;
    assert_eq!(&*cut("SELECT a FROM t WHERE name = 'sec"), "select a from t where name = ? …");
    assert_eq!(&*cut("SELECT a FROM t WHERE na"), "select a from t where …");
    assert_eq!(&*cut("SELECT a FROM t WHERE x = 12"), "select a from t where x = ? …");
    assert_eq!(&*cut("SELECT a /* sec"), "select a …");
    assert_eq!(&*cut("SELECT $tag"), "select ? …");
    assert_eq!(&*cut("SELECT \"sec"), "select ? …");
    let long = postgres(&format!("SELECT {}", "column_name, ".repeat(100)));
    assert!(long.fingerprint.len() <= FINGERPRINT_MAX + CUT.len() && long.fingerprint.ends_with('…'));
    let hostile = postgres(&format!("SELECT {}", "+*".repeat(4_000)));
    assert!(hostile.fingerprint.len() <= FINGERPRINT_MAX + CUT.len());
}

#[test]
fn where_a_setting_decides_whether_a_string_ends_nothing_more_is_shown() {
    // With standard_conforming_strings the string ends here; without, it does not.
    let text = r"SELECT 'a\', ' secret ', b FROM t";
    assert_eq!(&*postgres(text).fingerprint, "select ? …");
    assert_eq!(&*mysql(text).fingerprint, "select ? …");
}

#[test]
fn the_lists_are_sorted() {
    assert!(OPERATIONS.is_sorted());
    assert!(KEYWORDS.is_sorted());
}

/// A literal with `qzq` in it, as either dialect writes it.
fn literal() -> impl Strategy<Value = (String, Dialect)> {
    let text = "[ -&(-\\[\\]-p{-~\n]{0,10}";
    let both = prop_oneof![Just(Dialect::Postgres), Just(Dialect::MySql)];
    let quoted = (text, text, both).prop_map(|(a, b, dialect)| (format!("'{a}''qzq{b}'"), dialect));
    let escaped = (text, text).prop_map(|(a, b)| (format!("E'{a}\\'qzq{b}'"), Dialect::Postgres));
    let dollar =
        ("[a-p]{0,5}", "[^$qz]{0,10}").prop_map(|(tag, a)| (format!("${tag}${a}qzq' ${tag}$"), Dialect::Postgres));
    let double = (text, text)
        .prop_map(|(a, b)| (format!("\"{}qzq{}\"", a.replace('"', ""), b.replace('"', "''")), Dialect::MySql));
    let number =
        prop_oneof![Just(Dialect::Postgres), Just(Dialect::MySql)].prop_map(|dialect| ("7qzq".to_owned(), dialect));
    let comment = prop_oneof![Just(Dialect::Postgres), Just(Dialect::MySql)]
        .prop_map(|dialect| ("/* ' qzq */ 1 -- ' qzq\n".to_owned(), dialect));
    prop_oneof![quoted, escaped, dollar, double, number, comment]
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn no_literal_survives(
        first in literal(),
        before in prop_oneof![Just("SELECT a FROM t WHERE b = "), Just("INSERT INTO t VALUES (1, "), Just("SELECT f(x,"), Just("SET a=")],
        after in prop_oneof![Just(" AND c = 1"), Just(", 2)"), Just(""), Just(";")],
        cut in any::<prop::sample::Index>(),
    ) {
        let (literal, dialect) = first;
        let text = format!("{before}{literal}{after}");
        let whole = Statement::read(text.as_bytes(), false, dialect);
        prop_assert!(!whole.fingerprint.contains('q'), "{} of {}", whole.fingerprint, text);
        prop_assert!(!whole.table.contains('q'));
        // Cut anywhere, not even a part of it.
        let part = &text.as_bytes()[..cut.index(text.len() + 1)];
        let part = Statement::read(part, true, dialect);
        prop_assert!(!part.fingerprint.contains(['q', 'z']), "{} of {}", part.fingerprint, text);
    }

    #[test]
    fn any_text_does_no_harm(text in prop::collection::vec(any::<u8>(), 0..600), cut in any::<bool>()) {
        for dialect in [Dialect::Postgres, Dialect::MySql] {
            let statement = Statement::read(&text, cut, dialect);
            prop_assert!(statement.fingerprint.len() <= FINGERPRINT_MAX + CUT.len());
            prop_assert!(statement.table.len() <= TABLE_MAX + 1);
        }
    }

    #[test]
    fn symbols_in_any_order_do_no_harm(text in "[-'\"`$a1(),;.?@#/*+ \\\\Ee\n]{0,200}", cut in any::<bool>()) {
        for dialect in [Dialect::Postgres, Dialect::MySql] {
            let statement = Statement::read(text.as_bytes(), cut, dialect);
            prop_assert!(statement.fingerprint.len() <= FINGERPRINT_MAX + CUT.len());
        }
    }
}
