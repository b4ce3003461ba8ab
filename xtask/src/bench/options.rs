//! The arguments of `cargo xtask bench`.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::workload::{self, Set, Workload};

/// For the help.
pub(crate) const USAGE: &str = "[OPTIONS]";

pub(super) const HELP: &str = "\
options of bench:
  --rounds N        how often everything is repeated (9)
  --quick           3 rounds
  --peers           also what others have for the same job; installs their packages
  --json FILE       write all numbers there
  --only A,B        these subjects only (and what they are compared with)
  --workload A,B    these workloads only
  --against FILE    another daemon's binary as one more subject, to compare two builds
  --wait SECONDS    how long to wait for the load to fall below 1.5 (60)
  --seed N          of the random order
and instead of comparing:
  --processes       cost of a call with 10 to 10000 processes, by comparison
  --programs        cost of each kernel program by the kernel's own account
  --rest            CPU, memory and wake-ups of the daemon at rest, two minutes
  --load            the same and scrapes with 10000 series on a saturated machine, two minutes
  --alerts          time from an act to its alert, at rest and while programs are built, two minutes
  --servers         what real servers still do under their own tools' load, observed and not, --rounds times
  --ring            records a second through the telemetry ring, two minutes";

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Compare,
    Programs,
    Rest,
    Load,
    Alerts,
    Servers,
    Ring,
}

/// What the command line asks for.
pub(super) struct Options {
    pub(super) mode: Mode,
    pub(super) rounds: usize,
    pub(super) peers: bool,
    pub(super) json: Option<PathBuf>,
    pub(super) only: Vec<String>,
    pub(super) workloads: Vec<&'static Workload>,
    pub(super) against: Option<PathBuf>,
    pub(super) wait: Duration,
    pub(super) seed: u64,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
        let mut options = Self {
            mode: Mode::Compare,
            rounds: 9,
            peers: false,
            json: None,
            only: Vec::new(),
            workloads: workload::of(&[Set::Calls, Set::Life, Set::Find, Set::Net, Set::Disk, Set::Build]),
            against: None,
            wait: Duration::from_secs(60),
            seed: now,
        };
        let mut modes = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{HELP}"));
            match argument.as_str() {
                "--rounds" => options.rounds = number(argument, value()?)?,
                "--quick" => options.rounds = 3,
                "--peers" => options.peers = true,
                "--json" => options.json = Some(value()?.into()),
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--workload" => options.workloads = value()?.split(',').map(known).collect::<Result<_>>()?,
                "--against" => options.against = Some(value()?.into()),
                "--wait" => options.wait = Duration::from_secs(number(argument, value()?)?),
                "--seed" => options.seed = number(argument, value()?)?,
                "--processes" => {
                    modes.push(Mode::Compare);
                    options.workloads = workload::of(&[Set::Crowd]);
                }
                "--programs" => modes.push(Mode::Programs),
                "--rest" => modes.push(Mode::Rest),
                "--load" => modes.push(Mode::Load),
                "--alerts" => modes.push(Mode::Alerts),
                "--servers" => modes.push(Mode::Servers),
                "--ring" => modes.push(Mode::Ring),
                _ => bail!("bench does not take {argument:?}\n{HELP}"),
            }
        }
        ensure!(options.rounds > 0, "--rounds: at least one\n{HELP}");
        ensure!(modes.len() < 2, "one kind of bench at a time\n{HELP}");
        options.mode = modes.first().copied().unwrap_or(Mode::Compare);
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T> {
    text.parse().ok().with_context(|| format!("{option}: {text:?} is no number\n{HELP}"))
}

fn known(name: &str) -> Result<&'static Workload> {
    let all = workload::WORKLOADS.iter().map(|workload| workload.name).collect::<Vec<_>>();
    workload::find(name).with_context(|| format!("no workload {name:?}; there are {all:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_taken_and_mistakes_are_named() {
        let options = parse("--rounds 3 --only default,tcp --workload getppid --json x.json").unwrap();
        assert_eq!((options.rounds, options.only.len()), (3, 2));
        assert_eq!(options.workloads.iter().map(|workload| workload.name).collect::<Vec<_>>(), ["getppid"]);
        assert_eq!((options.mode, options.peers), (Mode::Compare, false));
        let options = parse("--quick --peers").unwrap();
        assert_eq!((options.rounds, options.peers), (3, true));
        assert!(options.workloads.iter().all(|workload| workload.set != Set::Crowd));
        assert!(parse("--processes").unwrap().workloads.iter().all(|workload| workload.set == Set::Crowd));
        assert_eq!(parse("--alerts").unwrap().mode, Mode::Alerts);
        assert_eq!(parse("--ring").unwrap().mode, Mode::Ring);
        assert_eq!(parse("--servers --rounds 2").unwrap().mode, Mode::Servers);
        for (text, complaint) in [
            ("--rounds", "--rounds needs a value"),
            ("--rounds many", "\"many\" is no number"),
            ("--rounds 0", "at least one"),
            ("--workload getpid", "no workload \"getpid\""),
            ("--ring --rest", "one kind of bench"),
            ("--processes --load", "one kind of bench"),
            ("--fast", "does not take \"--fast\""),
        ] {
            let error = parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }
}
