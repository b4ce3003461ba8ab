//! What cannot be translated is left out with a reason, at its place; nothing panics.

use std::path::PathBuf;

use super::{one, rule, told};
use crate::detect::lang::Source;

const PLAIN: &str = "    s:\n        Image: /x\n    condition: s\n";

#[track_caller]
fn refused(text: &str, message: &str) {
    let loaded = one(text);
    let told = told(&loaded);
    assert!(told.iter().any(|one| one.contains(message)), "{text}{told:#?}");
    assert!(loaded.rules.is_empty());
}

#[test]
fn other_log_sources_are_warnings() {
    for (from, to, message) in [
        ("product: linux", "product: windows", "rule.yml:4:5: warning: rule `T`: is for windows: left out"),
        ("process_creation", "file_delete", "warning: rule `T`: category `file_delete` is not supported: left out"),
        ("process_creation", "dns_query", "category `dns_query` is not supported"),
        ("process_creation", "file_access", "category `file_access` is not supported"),
        ("category: process_creation", "service: sshd", "warning: rule `T`: asks for the log of sshd"),
        (
            "process_creation",
            "process_creaton",
            "error: rule `T`: unknown category `process_creaton`: did you mean `process_creation`?",
        ),
    ] {
        refused(&rule("process_creation", PLAIN).replace(from, to), message);
    }
    let any = one(&rule("process_creation", PLAIN).replace("    product: linux\n", ""));
    assert_eq!((any.rules.len(), told(&any).len()), (1, 0), "a rule without a product is for all of them");
}

#[test]
fn what_stands_for_nothing_here_is_told_at_its_place() {
    let entry = |entry: &str| rule("process_creation", &format!("    s:\n        {entry}\n    condition: s\n"));
    for (text, message) in [
        ("Imge: x", "rule.yml:8:9: error: rule `T`: nothing here tells the field `Imge`: did you mean `Image`?"),
        ("Hashes|contains: x", "nothing here tells the field `Hashes`: known are Image, CommandLine"),
        ("TargetFilename: x", "nothing here tells the field `TargetFilename`"),
        ("ProcessId: [1, x]", "rule.yml:8:24: error: rule `T`: `ProcessId` is a whole number"),
        ("ProcessId|contains: 1", "`contains` does not go with `ProcessId`"),
        ("CommandLine|expand|contains: '%names%'", "the placeholder in `%names%`"),
        ("Image|cidr: 10.0.0.0/8", "`Image` is no address"),
        ("Image|gt: 5", "`Image` is no number"),
        ("Image|hour: 5", "a part of a time"),
        ("Image|wide: x", "add `base64offset`"),
        ("Image|base64: 'x*'", "with wildcards cannot be encoded"),
        ("Image|fieldref: ProcessId", "cannot be compared"),
        ("Image|fieldref: Nosuch", "nothing here tells the field `Nosuch`"),
        ("Image|exists: perhaps", "true or false"),
        ("Image|containz: x", "rule.yml:8:9: error: Unknown modifier 'containz'"),
        ("Image: []", "has no values"),
    ] {
        refused(&entry(text), message);
    }
    let network = |entry: &str| rule("network_connection", &format!("    s:\n        {entry}\n    condition: s\n"));
    for (text, message) in [
        ("DestinationIp: host", "`host` is no address"),
        ("DestinationIp|cidr: 10.0.0.0/40", "is no network"),
        ("DestinationIp|startswith: '10'", "begins no network"),
        ("DestinationIp|contains: '10'", "`contains` does not go with"),
        ("DestinationIp: '1?.1.1.1'", "use `cidr`"),
        ("DestinationPort|re: '4.*'", "does not go with"),
        ("Initiated: sometimes", "true or false"),
    ] {
        refused(&network(text), message);
    }
}

#[test]
fn all_mistakes_of_a_rule_are_told_at_once() {
    let text = rule(
        "process_creation",
        "    a:\n        Imag: x\n        Hash: y\n    b:\n        Foo: z\n    condition: a or b\n",
    );
    assert_eq!(told(&one(&text)).len(), 3);
}

#[test]
fn other_documents_are_told() {
    refused(
        "title: C\ncorrelation:\n    type: event_count\n    rules: [a]\n    group-by: [User]\n    timespan: 1h\n    condition:\n        gte: 10\n",
        "rule.yml:1:1: warning: rule `C`: correlates other rules",
    );
    refused(&rule("process_creation", &format!("{PLAIN}    timeframe: 5m\n")), "counts within 5m");
    refused("title: T\n", "error: ");
    refused("detection: {condition: s, s: {Image: x}}\n", "title");
    refused("- a\n", "mapping");
    refused("title: T\n\tdetection: x\n", "is no YAML");
    refused(&" ".repeat((4 << 20) + 1), "longer than 4 MiB");
}

#[test]
fn bombs_are_refused() {
    let deep = format!("{}s{}", "(".repeat(2000), ")".repeat(2000));
    refused(&rule("process_creation", &PLAIN.replace("condition: s", &format!("condition: {deep}"))), "50 parentheses");
    let long = format!("s{}", " or s".repeat(1000));
    refused(
        &rule("process_creation", &PLAIN.replace("condition: s", &format!("condition: {long}"))),
        "4096 characters",
    );
    let nots = format!("{}s", "not ".repeat(1000));
    refused(&rule("process_creation", &PLAIN.replace("condition: s", &format!("condition: {nots}"))), "100 `not`s");
    let most = format!("{}{}s{}", "not ".repeat(99), "(".repeat(50), ")".repeat(50)) + &" or s".repeat(700);
    assert_eq!(
        one(&rule("process_creation", &PLAIN.replace("condition: s", &format!("condition: {most}")))).rules.len(),
        1
    );
    let many: String = (0..20).map(|index| format!("    s{index}:\n        Image: /{index}\n")).collect();
    refused(&rule("process_creation", &format!("{many}    condition: 10 of s*\n")), "more than 200 combinations");
    let values = "a, ".repeat(5000);
    let repeated = format!("    s:\n        Image|contains: [{values}]\n    condition: s{}\n", " or s".repeat(500));
    refused(&rule("process_creation", &repeated), "more than 50000 comparisons");
    refused(
        &format!(
            "a: &a [{0}]\nb: &b [{1}]\nc: &c [{2}]\nd: &d [{3}]\ntitle: [{4}]\n",
            "x, ".repeat(99),
            "*a, ".repeat(99),
            "*b, ".repeat(99),
            "*c, ".repeat(99),
            "*d, ".repeat(99)
        ),
        "aliases",
    );
}

#[test]
fn damaged_samples_do_not_panic() {
    let sample = include_str!("../../../../../tests/rules/sigma/proc_creation_lnx_susp_sensitive_file_access.yml");
    let characters: Vec<char> = sample.chars().collect();
    for at in (0..characters.len()).step_by(7) {
        let mut damaged = characters.clone();
        match at % 3 {
            0 => drop(damaged.remove(at)),
            1 => damaged.insert(at, *['*', '&', ':', '[', '\t', '\'', '(', '|'].get(at % 8).unwrap_or(&' ')),
            _ => damaged.truncate(at),
        }
        let text = damaged.into_iter().collect();
        super::load(&[Source { path: PathBuf::from("x"), text }]);
    }
}
