//! Runs phases one after the other, all of them even if one fails, and sums them up.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    daemon, docs, lint,
    needs::Purpose,
    project::{Project, is_root, places},
    setup::setup,
    step::{Step, seconds},
    tidy,
    vm::{self, Series},
};

/// What has been done so far.
#[derive(Default)]
struct Suite {
    phases: Vec<Phase>,
}

struct Phase {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

enum Outcome {
    Passed,
    Failed,
    /// With the reason.
    Left(&'static str),
}

/// Arguments of `test`.
pub(crate) const USAGE: &str = "[--kernel LIST] [FILTER]";

/// What is to be tested.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Only tests whose names contain it.
    filter: Option<String>,
    /// Only the tests of kernels, on these.
    kernels: Option<Vec<Series>>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(argument) = rest.next() {
            let list = argument.strip_prefix("--kernel=");
            if argument == "--kernel" || list.is_some() {
                let list = list.or_else(|| rest.next()).context("--kernel wants a list such as 5.10,newest")?;
                options.kernels = Some(vm::list(list)?);
            } else if options.filter.is_some() || argument.starts_with('-') {
                bail!("`test` does not take {argument:?}: it takes {USAGE}");
            } else {
                options.filter = Some(argument.to_owned());
            }
        }
        Ok(options)
    }
}

/// All that a change has to pass, or the part of it that was asked for.
pub(crate) fn test(project: &Project, options: &Options) -> Result<()> {
    let filter = options.filter.as_deref();
    let mut suite = Suite::default();
    // Without these there is nothing to test.
    if suite.phase("setup", || setup(Purpose::Test)) {
        if let Some(kernels) = &options.kernels {
            // That for other processors is not built by the way that it is here.
            let here = kernels.iter().any(|series| series.is_for_here());
            if !here || suite.phase("release build", || daemon::compile(project)) {
                suite.phase("other kernels", || vm::test(project, kernels, filter));
            }
            return suite.finish();
        }
        suite.phase("unit tests", || unit_tests(project, filter));
        if suite.phase("release build", || daemon::compile(project)) {
            suite.phase("kernel tests", || kernel_tests(project, filter));
            if filter.is_none() && vm::HERE {
                suite.phase("other kernels", || vm::test(project, &vm::ENDS, None));
            } else if filter.is_none() {
                suite.left("other kernels", "the machines have x86-64 processors");
            }
        }
        if filter.is_none() {
            suite.lints(project)?;
        }
    }
    suite.finish()
}

/// The lints alone.
pub(crate) fn lint(project: &Project) -> Result<()> {
    let mut suite = Suite::default();
    if suite.phase("setup", || setup(Purpose::Test)) {
        suite.lints(project)?;
    }
    suite.finish()
}

impl Suite {
    fn lints(&mut self, project: &Project) -> Result<()> {
        self.phase("formatting", || lint::formatting(project));
        self.phase("clippy", || lint::clippy(project));
        self.phase("clippy, kernel", || lint::kernel_clippy(project));
        self.phase("tidy", || tidy::check(project));
        self.phase("documents", || docs::check(project));
        if lint::has_deny()? {
            self.phase("cargo-deny", || lint::deny(project));
        } else {
            self.left("cargo-deny", "not installed, takes minutes: cargo xtask deny");
        }
        Ok(())
    }

    fn left(&mut self, name: &'static str, reason: &'static str) {
        self.phases.push(Phase { name, outcome: Outcome::Left(reason), took: Duration::ZERO });
    }

    /// Runs a phase; whether it passed.
    fn phase(&mut self, name: &'static str, run: impl FnOnce() -> Result<()>) -> bool {
        println!("\n### {name}");
        let begin = Instant::now();
        let result = run();
        if let Err(error) = &result {
            println!("\nerror in {name}: {error:#}");
        }
        let outcome = if result.is_ok() { Outcome::Passed } else { Outcome::Failed };
        self.phases.push(Phase { name, outcome, took: begin.elapsed() });
        result.is_ok()
    }

    fn finish(&self) -> Result<()> {
        println!("\n### summary\n{}", self.summary());
        let failed: Vec<_> = self
            .phases
            .iter()
            .filter(|phase| matches!(phase.outcome, Outcome::Failed))
            .map(|phase| phase.name)
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {} (what happened is above)", failed.join(", "))
    }

    fn summary(&self) -> String {
        let lines = self.phases.iter().map(|Phase { name, outcome, took }| match outcome {
            Outcome::Passed => format!("    passed  {name:<16} {:>12}", seconds(*took)),
            Outcome::Failed => format!("    FAILED  {name:<16} {:>12}", seconds(*took)),
            Outcome::Left(reason) => format!("    left    {name:<16} {reason}"),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn unit_tests(project: &Project, filter: Option<&str>) -> Result<()> {
    let mut command = project.cargo("test");
    command.args(["--locked", "--workspace", "--exclude", "monitor-ebpf", "--exclude", "monitor-tests"]).args(filter);
    Step {
        what: "cargo test",
        why: "what needs neither root nor the kernel programs",
        remedy: "the failing test's message is above; cargo xtask test NAME repeats it alone",
    }
    .shown(command)
}

fn kernel_tests(project: &Project, filter: Option<&str>) -> Result<()> {
    if !is_root() {
        bail!(
            "these tests start the real daemon, which loads programs into the kernel: they need root.\n  \
             Run them alone: MONITOR_BIN={} CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='sudo -E' \
             cargo test --package monitor-tests",
            project.daemon().display()
        );
    }
    let mut command = project.cargo("test");
    // Where setup found a program, its user finds it too.
    let path = env::join_paths(&places()?.path).context("PATH")?;
    command.args(["--locked", "--package", "monitor-tests"]).args(filter);
    command.env("MONITOR_BIN", project.daemon()).env("PATH", path);
    Step {
        what: "cargo test",
        why: "the release daemon on the running kernel",
        remedy: "the failing test's message is above; cargo xtask test NAME repeats it alone",
    }
    .shown(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_phase_fails_the_suite_and_the_others_still_run() {
        let mut suite = Suite::default();
        assert!(suite.phase("one", || Ok(())));
        assert!(!suite.phase("two", || bail!("broken")));
        assert!(suite.phase("three", || Ok(())));
        let error = suite.finish().unwrap_err().to_string();
        assert!(error.starts_with("failed: two ("), "{error}");
        let summary = suite.summary();
        assert!(summary.contains("passed  one") && summary.contains("FAILED  two"), "{summary}");
        assert!(summary.contains("passed  three"), "{summary}");
    }

    #[test]
    fn what_was_left_out_is_said_and_is_no_failure() {
        let mut suite = Suite::default();
        suite.left("deny", "not installed");
        assert!(suite.finish().is_ok());
        assert!(suite.summary().contains("left    deny             not installed"), "{}", suite.summary());
    }

    #[test]
    fn kernels_and_a_filter_are_told_apart() {
        let parse = |text: &str| Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let kernels = Some(vec![Series::of(5, 10), Series::NEWEST]);
        assert_eq!(parse("").unwrap(), Options::default());
        assert_eq!(parse("tcp").unwrap(), Options { filter: Some("tcp".into()), kernels: None });
        for text in ["--kernel 5.10,newest tcp", "tcp --kernel=5.10,newest"] {
            assert_eq!(parse(text).unwrap(), Options { filter: Some("tcp".into()), kernels: kernels.clone() });
        }
        for wrong in ["one two", "--kernel", "--kernel old", "--kernels 6.1", "-x"] {
            assert!(parse(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
