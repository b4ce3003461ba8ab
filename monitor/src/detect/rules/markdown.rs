//! docs/RULES.md, from the rules themselves.

use std::fmt::Write as _;

use super::{Check, RULES, Rule};

const HEAD: &str = "# Rules

<!-- Generated from monitor/src/detect/rules: UPDATE_DOCS=1 cargo test -p monitor --lib detect -->

A rule looks at one kind of thing that processes do and publishes a security event ([EVENTS.md](EVENTS.md)) when it finds
what it looks for. Rules see paths as the kernel resolved them, not as they were typed, and all arguments and variables as
they were, also where the published event hides a password.

";

const TUNING: &str = r#"
## Tuning

Each file `*.toml` in the directory of `[rules] directory` (default /etc/monitor/rules.d) may tune rules; they are read in
the order of their names. Every mistake in them is reported with file and line, and then none of them is used.

```toml
[[rule]]
id = "exec_tmp"
enabled = true                         # false: off
severity = "low"                       # instead of every severity above
except_exe = ["/tmp/build/**"]         # not for these paths
except_group = ["ci-runner.service"]   # not in these groups of processes
```

`except_exe` is compared with the path that the rule judged: the program's file, or the script where the rule looks at
scripts. `*` stands for any text without a slash, `**` for any text, `?` for one character. An exception for a path in a
directory that others can write to is an invitation to them. What is excepted is counted in
`monitor_events_excepted_total{rule}`. A second entry for the same rule adds its exceptions and replaces what else it sets.
`[rules] disable` in the configuration switches rules off by their id.

## Repetitions

The same rule, severity, user and path (for `revshell_stdio_socket` also the peer's address; for a script by descriptor its
name) are published at once ten times; after that once in ten seconds, with the number of those left out in `suppressed`.
They are counted in `monitor_events_suppressed_total{rule}`.
"#;

/// The page.
pub(in crate::detect) fn markdown() -> String {
    let mut page = String::from(HEAD);
    page.push_str("| rule | severity | ATT&CK | what |\n|---|---|---|---|\n");
    for rule in RULES {
        line(
            &mut page,
            format_args!("| [{0}](#{0}) | {1} | {2} | {3} |", rule.id, rule.severity, attack(rule), rule.title),
        );
    }
    for rule in RULES {
        section(&mut page, rule);
    }
    page.push_str(TUNING);
    page
}

fn section(page: &mut String, rule: &Rule) {
    let when = match rule.check {
        Check::Exec(_) => "at each exec",
        Check::Losses => "when a counter of losses has grown",
    };
    line(
        page,
        format_args!("\n## {}\n\n{}. Severity {}, {}; {when}.\n", rule.id, rule.title, rule.severity, attack(rule)),
    );
    line(page, format_args!("{}\n\nHarmless look-alikes: {}", rule.description, rule.false_positives));
}

fn attack(rule: &Rule) -> String {
    rule.attack.join(", ")
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}
