//! The arguments of `cargo xtask bench`.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::WORKLOADS;

/// For the help.
pub(crate) const USAGE: &str = "[OPTIONS]";

const HELP: &str = "\
options of bench:
  --rounds N        how often everything is repeated (9)
  --json FILE       write all numbers there
  --only A,B        these subjects only (and what they are compared with)
  --workload A,B    these workloads only
  --against FILE    another daemon's binary as one more subject, to compare two builds
  --wait SECONDS    how long to wait for the load to fall below 1.5 (60)
  --seed N          of the random order
  --rest            CPU, memory and wake-ups of the daemon at rest instead, two minutes";

/// What the command line asks for.
pub(super) struct Options {
    pub(super) rounds: usize,
    pub(super) json: Option<PathBuf>,
    pub(super) only: Vec<String>,
    pub(super) workloads: Vec<&'static str>,
    pub(super) against: Option<PathBuf>,
    pub(super) wait: Duration,
    pub(super) seed: u64,
    pub(super) rest: bool,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
        let mut options = Self {
            rounds: 9,
            json: None,
            only: Vec::new(),
            workloads: WORKLOADS.iter().map(|(name, _)| *name).collect(),
            against: None,
            wait: Duration::from_secs(60),
            seed: now,
            rest: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{HELP}"));
            match argument.as_str() {
                "--rounds" => options.rounds = number(argument, value()?)?,
                "--json" => options.json = Some(value()?.into()),
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--workload" => options.workloads = value()?.split(',').map(workload).collect::<Result<_>>()?,
                "--against" => options.against = Some(value()?.into()),
                "--wait" => options.wait = Duration::from_secs(number(argument, value()?)?),
                "--seed" => options.seed = number(argument, value()?)?,
                "--rest" => options.rest = true,
                _ => bail!("bench does not take {argument:?}\n{HELP}"),
            }
        }
        ensure!(options.rounds > 0, "--rounds: at least one\n{HELP}");
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T> {
    text.parse().ok().with_context(|| format!("{option}: {text:?} is no number\n{HELP}"))
}

fn workload(name: &str) -> Result<&'static str> {
    let known = WORKLOADS.map(|(name, _)| name);
    known.into_iter().find(|known| *known == name).with_context(|| format!("no workload {name:?}; there are {known:?}"))
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
        assert_eq!(options.workloads, ["getppid"]);
        assert_eq!(parse("").unwrap().workloads.len(), WORKLOADS.len());
        for (text, complaint) in [
            ("--rounds", "--rounds needs a value"),
            ("--rounds many", "\"many\" is no number"),
            ("--rounds 0", "at least one"),
            ("--workload getpid", "no workload \"getpid\""),
            ("--fast", "does not take \"--fast\""),
        ] {
            let error = parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }
}
