//! docs/RULES.md, from the default rules themselves.

use std::fmt::Write as _;
use std::time::Duration;

use super::default_rules;
use crate::detect::lang::ast::{Field, More, Rule};
use crate::detect::lang::load;

const HEAD: &str = "# Rules

<!-- Generated from monitor/rules: UPDATE_DOCS=1 cargo test -p monitor --lib detect -->

A rule looks at what processes do and publishes a security event ([EVENTS.md](EVENTS.md)) when it finds what it looks for.
Rules are written in [Falco's language](https://falco.org/docs/concepts/rules/); rules that you already have load as they
are, and Sigma's too. Those on this page are on by default; their files are in [monitor/rules](../rules).

Rules see what the kernel used, not what was typed: the file behind a descriptor and not its name, the socket and not the
command. A program is trusted by its path, as long as the file belongs to root and was not written to lately by anybody but a
package manager, and never by a name that a process can give itself.

| priority | severity | meaning |
|---|---|---|
| `EMERGENCY`, `ALERT`, `CRITICAL` | critical | An attack, as far as can be told. |
| `ERROR` | high | Hardly ever legitimate. |
| `WARNING` | medium | Unusual on a server; look at it when there is time. |
| `NOTICE` | low | Ordinary administration looks the same. |
| `INFO`, `DEBUG` | info | Worth knowing. |

Techniques are those of MITRE ATT&CK; where version 19 renumbered one, both ids are there. Where one thing is found in
several ways, or is worse in one case than in another, it is several rules with the same beginning of their names.

";

const TAIL: &str = r#"
## Tuning

Files `*.yaml` in the directory of `[rules] directory` (default /etc/monitor/rules.d), and those that `[rules] files` names,
are loaded behind the default rules and may change them. `monitor rules check` says what is wrong in them, with file, line
and column.

Off, by `[rules] disable = ["exec_tmp"]` in the configuration, or in a file:

```yaml
- rule: exec_tmp
  enabled: false
  override: {enabled: replace}
```

Not for these: an exception, by the path of a program, an ancestor, a unit.

```yaml
- rule: exec_tmp
  exceptions:
    - name: our_builds
      fields: [proc.exepath, proc.unit]
      comps: [startswith, =]
      values:
        - [/tmp/build/, ci-runner.service]
  override: {exceptions: append}
```

Less urgent, or with one more condition:

```yaml
- rule: packet_socket
  priority: NOTICE
  condition: and not proc.exepath=/usr/bin/tcpdump
  override: {priority: replace, condition: append}
```

More programs that are trusted, for all rules that use the list:

```yaml
- list: bpf_programs
  items: [/usr/bin/bpftrace]
  override: {items: append}
```

An exception for a path in a directory that others can write to is an invitation to them.

## Keys that Falco does not have

| key | meaning |
|---|---|
| `title` | What happened, in a few words. |
| `attack` | A list of ATT&CK techniques. |
| `false_positives` | What looks the same and is harmless. |
| `sequence` | `steps` (conditions) that come before the rule's own condition, in order, `within` a time; `by` fields that have the same value in all of them. |
| `count` | Fires when the condition has held `at_least` so often `within` a time, counted apart `by` fields; with `distinct` only once for each value of that field. |
| `first_seen` | Only the first time for a combination `of` fields; forgotten when not seen for `remember`; `learn`: for that long after the rule was first loaded everything is only learnt. |
| `dedup` | What is the same finding again: the same `key` fields within `window`. It is counted, not published. |
| `respond` | What is done about it, when responses are switched on. |
"#;

/// The page.
pub(in crate::detect) fn markdown() -> String {
    let rules = load(&default_rules()).rules;
    let mut sorted: Vec<&Rule> = rules.iter().collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    let mut page = String::from(HEAD);
    page.push_str("| rule | severity | ATT&CK | what |\n|---|---|---|---|\n");
    for rule in &sorted {
        line(
            &mut page,
            format_args!(
                "| [{0}](#{0}) | {1} | {2} | {3} |",
                rule.name,
                rule.priority.severity(),
                rule.more.attack.join(", "),
                title(rule)
            ),
        );
    }
    for rule in sorted {
        section(&mut page, rule);
    }
    page.push_str(TAIL);
    page
}

fn title(rule: &Rule) -> &str {
    rule.more.title.as_deref().unwrap_or(&rule.name)
}

fn section(page: &mut String, rule: &Rule) {
    line(page, format_args!("\n## {}\n", rule.name));
    let (severity, attack) = (rule.priority.severity(), rule.more.attack.join(", "));
    line(page, format_args!("{}. Severity {severity}, {attack}.{}\n", title(rule), memory(&rule.more)));
    line(page, format_args!("{}", rule.description.trim()));
    if let Some(harmless) = &rule.more.false_positives {
        line(page, format_args!("\nHarmless look-alikes: {}", harmless.trim()));
    }
}

/// What it remembers.
fn memory(more: &More) -> String {
    let mut text = String::new();
    if let Some(sequence) = &more.sequence {
        let (steps, by) = (sequence.steps.len() + 1, names(&sequence.by));
        let _ = write!(text, " {steps} steps by {by} within {}.", time(sequence.within));
    }
    if let Some(count) = &more.count {
        let (by, within) = (names(&count.by), time(count.within));
        let _ = match &count.distinct {
            Some(field) => write!(text, " {} values of `{}` by {by} within {within}.", count.at_least, field.name),
            None => write!(text, " {} times by {by} within {within}.", count.at_least),
        };
    }
    if let Some(first) = &more.first_seen {
        let _ = write!(text, " The first time for each {}.", names(&first.of));
    }
    text
}

fn names(fields: &[Field]) -> String {
    fields.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
}

fn time(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(page, "{text}");
}
