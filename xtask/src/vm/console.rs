//! What a guest says on its console, line by line: `tests/guest/report.rs` is the other end.
//!
//! ```text
//! @@vm up 2.31 6.1.0-50-cloud-amd64
//! @@vm signal tcp degraded traffic as it happens: ...
//! @@vm run kernel
//! test signals::tcp::a_reset_is_counted_on_both_sides ... ok
//! @@vm again signals::tcp::a_reset_is_counted_on_both_sides
//! @@vm exit kernel 0 41.3
//! @@vm done
//! ```

use std::collections::BTreeMap;

/// Begins what is meant for us; the kernel writes to the same console.
const MARK: &str = "@@vm ";

/// What the kernel says when something is wrong with itself.
const COMPLAINTS: [&str; 6] =
    ["BUG: ", "WARNING: ", "Oops: ", "general protection fault", "INFO: rcu", "blocked for more"];

/// How a signal fares on a kernel, as `monitor doctor` found out there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// `full`, `degraded` or `off`.
    pub(super) word: String,
    /// What is lost, or why it is off.
    pub(super) reason: String,
}

/// What has been said so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Release of the running kernel, once its first program runs.
    pub(super) release: Option<String>,
    /// Seconds from the kernel's start to its first program.
    pub(super) boot: Option<f64>,
    /// By signal.
    pub(super) signals: BTreeMap<String, State>,
    /// Tests that passed.
    pub(super) passed: Vec<String>,
    /// Tests that failed.
    pub(super) failed: Vec<String>,
    /// Tests that failed while the kernel left out programs, and that it said so: these were tried once more.
    pub(super) again: Vec<String>,
    /// What ran, with its exit code and seconds.
    pub(super) runs: Vec<(String, i32, f64)>,
    /// What is running.
    pub(super) running: Option<String>,
    /// Mistakes of the guest itself.
    pub(super) errors: Vec<String>,
    /// Complaints of the kernel.
    pub(super) complaints: Vec<String>,
    pub(super) panicked: bool,
    /// It went through to the end.
    pub(super) done: bool,
}

impl Heard {
    pub(super) fn line(&mut self, line: &str) {
        if let Some(at) = line.find(MARK) {
            self.message(&line[at + MARK.len()..]);
        } else if let Some((name, outcome)) = test(line) {
            let list = if outcome == "ok" { &mut self.passed } else { &mut self.failed };
            list.push(name.to_owned());
        } else if line.contains("Kernel panic - not syncing") {
            self.panicked = true;
            self.complaints.push(line.trim().to_owned());
        } else if is_kernels(line) && COMPLAINTS.iter().any(|complaint| line.contains(complaint)) {
            self.complaints.push(line.trim().to_owned());
        }
    }

    fn message(&mut self, message: &str) {
        let (word, rest) = message.trim().split_once(' ').unwrap_or((message.trim(), ""));
        let words: Vec<&str> = rest.split(' ').collect();
        match (word, words.as_slice()) {
            ("up", [seconds, release]) => {
                self.boot = seconds.parse().ok();
                self.release = Some((*release).to_owned());
            }
            ("signal", [name, word, reason @ ..]) => {
                let state = State { word: (*word).to_owned(), reason: reason.join(" ") };
                self.signals.insert((*name).to_owned(), state);
            }
            ("run", [name]) => self.running = Some((*name).to_owned()),
            ("again", [name]) => {
                self.failed.retain(|failed| failed != name);
                self.again.push((*name).to_owned());
            }
            ("exit", [name, code, seconds]) => {
                self.running = None;
                let (code, seconds) = (code.parse().unwrap_or(-1), seconds.parse().unwrap_or(0.0));
                self.runs.push(((*name).to_owned(), code, seconds));
            }
            ("done", _) => self.done = true,
            _ => self.errors.push(message.trim().to_owned()),
        }
    }
}

/// A test and its outcome, in a line of Rust's test harness; the time that it took may follow.
fn test(line: &str) -> Option<(&str, &str)> {
    let (name, outcome) = line.trim().strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = outcome.split(' ').next()?;
    (matches!(outcome, "ok" | "FAILED") && !name.contains(' ')).then_some((name, outcome))
}

/// Lines of the kernel begin with its time: tests quote such words, too.
fn is_kernels(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Heard {
        let mut heard = Heard::default();
        text.lines().for_each(|line| heard.line(line));
        heard
    }

    #[test]
    fn a_run_without_faults() {
        let heard = heard(
            "SeaBIOS\n\x1b[2J@@vm up 2.50 6.1.0-50-cloud-amd64\r\n@@vm signal tcp degraded a b: c\n@@vm signal host full\n\
             @@vm run kernel\nrunning 2 tests\ntest signals::x ... ok\ntest daemon::y ... FAILED <1.250s>\ntest result: FAILED.\n\
             @@vm exit kernel 101 12.5\n@@vm done\n",
        );
        assert_eq!((heard.boot, heard.release.as_deref()), (Some(2.5), Some("6.1.0-50-cloud-amd64")));
        assert_eq!(heard.signals["tcp"], State { word: "degraded".into(), reason: "a b: c".into() });
        assert_eq!(heard.signals["host"].reason, "");
        assert_eq!((heard.passed, heard.failed), (vec!["signals::x".to_owned()], vec!["daemon::y".to_owned()]));
        assert_eq!(heard.runs, [("kernel".to_owned(), 101, 12.5)]);
        assert!(heard.done && heard.running.is_none() && heard.errors.is_empty() && heard.complaints.is_empty());
    }

    #[test]
    fn a_kernel_that_dies_is_heard() {
        let heard = heard(
            "@@vm up 2 x\n@@vm run kernel\nthread panicked: BUG: not the kernel's\n\
             [    9.1] BUG: unable to handle page fault\n[    9.2] Kernel panic - not syncing: Fatal exception\n",
        );
        assert!(heard.panicked && !heard.done);
        assert_eq!(heard.complaints.len(), 2);
        assert_eq!(heard.running.as_deref(), Some("kernel"));
    }

    #[test]
    fn a_test_that_is_tried_again_counts_by_its_second_end() {
        let said = "@@vm run kernel\ntest a ... FAILED\ntest b ... ok\n@@vm again a\ntest a ... ";
        let good = heard(&format!("{said}ok\n@@vm exit kernel 0 1\n"));
        assert_eq!((good.failed.len(), good.passed, good.again), (0, vec!["b".into(), "a".into()], vec!["a".into()]));
        let bad = heard(&format!("{said}FAILED\n@@vm exit kernel 101 1\n"));
        assert_eq!((bad.failed, bad.passed), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }

    #[test]
    fn what_is_not_understood_is_a_mistake() {
        assert_eq!(heard("@@vm error cannot mount /disk: no such device\n").errors.len(), 1);
        assert_eq!(heard("@@vm up\n").errors, ["up"]);
    }
}
