//! What came out, for people (one table) and for programs (JSON).

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    console::State,
    qemu::Outcome,
    series::{Arch, Series},
};
use crate::json::{array, object, string};

/// How one kernel fared.
#[derive(Debug)]
pub(super) enum Result {
    /// It could not be fetched, or the guest could not be made.
    Unavailable(String),
    /// It was started: once for each machine that was made for it.
    Ran(Vec<Outcome>),
}

/// One kernel of the matrix.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) series: Series,
    /// Release of the package, if there is one.
    pub(super) release: String,
    pub(super) result: Result,
}

/// In one word, and in more.
fn verdict(outcome: &Outcome) -> (&'static str, String) {
    let heard = &outcome.heard;
    let where_ = heard.running.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
    if outcome.timed_out {
        let what = if heard.release.is_some() { "did not end" } else { "did not come up" };
        return ("timeout", format!("{what}{where_}"));
    }
    if heard.panicked {
        return ("panic", format!("{}{where_}", heard.complaints.last().cloned().unwrap_or_default()));
    }
    if !heard.done {
        let how = outcome.emulator.clone().unwrap_or_default();
        return ("died", format!("{how}{where_}, {} boots", outcome.boots));
    }
    if let Some(error) = heard.errors.first() {
        return ("failed", format!("the guest: {error}"));
    }
    if let Some(name) = heard.failed.first() {
        return ("failed", format!("{} of {} tests: {name} ...", heard.failed.len(), tests(outcome)));
    }
    if let Some((name, code, _)) = heard.runs.iter().find(|(_, code, _)| *code != 0) {
        return ("failed", format!("{name} ended with {code}"));
    }
    if let Some(complaint) = heard.complaints.first() {
        return ("failed", format!("the kernel complained: {complaint}"));
    }
    ("passed", String::new())
}

fn tests(outcome: &Outcome) -> usize {
    outcome.heard.passed.len() + outcome.heard.failed.len()
}

impl Row {
    /// `passed`, or what else happened; the first bad thing of several machines.
    pub(super) fn verdict(&self) -> (&'static str, String) {
        match &self.result {
            Result::Unavailable(reason) => ("unavailable", reason.clone()),
            Result::Ran(outcomes) => {
                if let Some(bad) = outcomes.iter().map(verdict).find(|(word, _)| *word != "passed") {
                    return bad;
                }
                match outcomes.iter().map(tests).sum() {
                    0 => ("failed", "not one test ran".to_owned()),
                    _ => ("passed", String::new()),
                }
            }
        }
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        let list = match &self.result {
            Result::Unavailable(_) => [].as_slice(),
            Result::Ran(outcomes) => outcomes.as_slice(),
        };
        list.iter()
    }

    /// How a signal fares: as the kernel's doctor says, unless a test of it failed.
    fn state(&self, signal: &str) -> State {
        let failed = self.outcomes().flat_map(|outcome| &outcome.heard.failed).find(|name| of_signal(name, signal));
        if let Some(name) = failed {
            return State { word: "FAILED".to_owned(), reason: format!("test {name}") };
        }
        let state = self.outcomes().find_map(|outcome| outcome.heard.signals.get(signal));
        state.cloned().unwrap_or_else(|| State { word: "-".to_owned(), reason: String::new() })
    }
}

/// Tests are in modules that are called as the signals; the one of `exec` is `security`.
fn of_signal(test: &str, signal: &str) -> bool {
    let module = if signal == "exec" { "security" } else { signal };
    test.strip_prefix("signals::").and_then(|rest| rest.strip_prefix(module)).is_some_and(|rest| rest.starts_with("::"))
}

fn signals(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().flat_map(Row::outcomes).flat_map(|outcome| outcome.heard.signals.keys().map(String::as_str)).collect()
}

/// Signals down, kernels across; below it the reasons, each once.
pub(super) fn table(rows: &[Row]) -> String {
    let mut reasons: Vec<String> = Vec::new();
    let mut note = |reason: &str| -> String {
        if reason.is_empty() {
            return String::new();
        }
        let at = reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
            reasons.push(reason.to_owned());
            reasons.len() - 1
        });
        format!(" ({})", at + 1)
    };
    let mut lines: Vec<Vec<String>> = vec![
        std::iter::once("kernel".to_owned()).chain(rows.iter().map(|row| row.series.to_string())).collect(),
        std::iter::once("release".to_owned()).chain(rows.iter().map(|row| short(&row.release))).collect(),
    ];
    for signal in signals(rows) {
        let states = rows.iter().map(|row| {
            let state = row.state(signal);
            format!("{}{}", state.word, note(&state.reason))
        });
        lines.push(std::iter::once(signal.to_owned()).chain(states.collect::<Vec<_>>()).collect());
    }
    let sum = |row: &Row, of: fn(&Outcome) -> usize| row.outcomes().map(of).sum::<usize>();
    let cell = |name: &str, text: &dyn Fn(&Row) -> String| -> Vec<String> {
        std::iter::once(name.to_owned()).chain(rows.iter().map(text)).collect()
    };
    lines.push(cell("tests passed", &|row| {
        format!("{} of {}", sum(row, |outcome| outcome.heard.passed.len()), sum(row, tests))
    }));
    lines.push(cell("seconds", &|row| format!("{:.0}", total(row, |one| one.took.as_secs_f64()))));
    lines.push(cell("of which busy", &|row| format!("{:.0}", total(row, |one| one.cpu))));
    let verdicts = rows.iter().map(|row| {
        let (word, reason) = row.verdict();
        format!("{word}{}", note(&reason))
    });
    lines.push(std::iter::once("verdict".to_owned()).chain(verdicts.collect::<Vec<_>>()).collect());
    let mut text = aligned(&lines);
    for (at, reason) in reasons.iter().enumerate() {
        let _ = write!(text, "\n  ({}) {reason}", at + 1);
    }
    text
}

/// Over all machines of a kernel. (The sum of none would be -0.)
fn total(row: &Row, of: fn(&Outcome) -> f64) -> f64 {
    row.outcomes().map(of).fold(0.0, |sum, one| sum + one)
}

/// Without what all releases have in common.
fn short(release: &str) -> String {
    let flavours = [Arch::X86, Arch::Arm64].map(Arch::flavour);
    flavours.iter().find_map(|flavour| release.strip_suffix(flavour)).unwrap_or(release).to_owned()
}

fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let row = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// All of it.
pub(super) fn json(rows: &[Row]) -> String {
    let kernels = rows.iter().map(|row| {
        let (word, reason) = row.verdict();
        let states = signals(rows).into_iter().map(|name| {
            let state = row.state(name);
            (name, object([("state", string(&state.word)), ("reason", string(&state.reason))]))
        });
        let list = |of: fn(&Outcome) -> &Vec<String>| array(row.outcomes().flat_map(of).map(|text| string(text)));
        let sum = |of| format!("{:.1}", total(row, of));
        object([
            ("kernel", string(&row.series.to_string())),
            ("release", string(&row.release)),
            ("verdict", string(word)),
            ("reason", string(&reason)),
            ("seconds", sum(|outcome| outcome.took.as_secs_f64())),
            ("cpu_seconds", sum(|outcome| outcome.cpu)),
            ("boot_seconds", sum(|outcome| outcome.heard.boot.unwrap_or(0.0))),
            ("signals", object(states)),
            ("passed", list(|outcome| &outcome.heard.passed)),
            ("failed", list(|outcome| &outcome.heard.failed)),
            ("again", list(|outcome| &outcome.heard.again)),
            ("complaints", list(|outcome| &outcome.heard.complaints)),
        ])
    });
    object([("kernels", array(kernels))]) + "\n"
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::console::Heard, *};

    fn outcome(said: &str) -> Outcome {
        let mut heard = Heard::default();
        said.lines().for_each(|line| heard.line(line));
        Outcome { heard, timed_out: false, emulator: None, took: Duration::from_secs(9), cpu: 8.0, boots: 1 }
    }

    fn row(said: &str) -> Row {
        let result = Result::Ran(vec![outcome(said)]);
        Row { series: Series::of(6, 1), release: "6.1.0-50-cloud-amd64".into(), result }
    }

    const UP: &str = "@@vm up 2 6.1\n@@vm signal tcp degraded no bytes\n@@vm signal exec full\n";

    #[test]
    fn each_way_to_end_is_told_apart() {
        let word = |said: &str| row(&format!("{UP}{said}")).verdict().0;
        assert_eq!(word("test signals::tcp::a ... ok\n@@vm exit kernel 0 1\n@@vm done\n"), "passed");
        assert_eq!(word("test signals::tcp::a ... FAILED\n@@vm exit kernel 101 1\n@@vm done\n"), "failed");
        assert_eq!(word("@@vm done\n"), "failed", "nothing was tested");
        assert_eq!(word("test a ... ok\n@@vm exit kernel 1 1\n@@vm done\n"), "failed", "the exit code counts, too");
        assert_eq!(word("test a ... ok\n@@vm error no disk\n@@vm done\n"), "failed");
        assert_eq!(word("test a ... ok\n[ 1.0] WARNING: CPU: 0\n@@vm done\n"), "failed", "the kernel complained");
        assert_eq!(word("@@vm run kernel\n[ 1.0] Kernel panic - not syncing: x\n"), "panic");
        assert_eq!(word("@@vm run kernel\n"), "died");
        let mut slow = outcome(UP);
        slow.timed_out = true;
        assert_eq!(verdict(&slow).0, "timeout");
        let gone = Row { series: Series::NEWEST, release: String::new(), result: Result::Unavailable("no".into()) };
        assert_eq!(gone.verdict(), ("unavailable", "no".to_owned()));
    }

    #[test]
    fn the_table_has_signals_kernels_and_reasons() {
        let good = row(&format!("{UP}test signals::tcp::a ... ok\n@@vm done\n"));
        let bad = row(&format!("{UP}test signals::security::a ... FAILED\n@@vm done\n"));
        let text = table(&[good, bad]);
        let line = |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).unwrap().to_owned();
        assert_eq!(line("tcp").split_whitespace().collect::<Vec<_>>(), ["tcp", "degraded", "(2)", "degraded", "(2)"]);
        assert_eq!(line("exec").split_whitespace().collect::<Vec<_>>(), ["exec", "full", "FAILED", "(1)"]);
        assert!(line("tests passed").contains("1 of 1") && line("tests passed").contains("0 of 1"));
        assert!(text.contains("(1) test signals::security::a") && text.contains("(2) no bytes"), "{text}");
    }
}
