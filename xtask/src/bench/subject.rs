//! Who is measured.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::project::Project;

use super::{
    options::Options,
    process::{self, Running},
};

/// Signals that can be had alone.
const SIGNALS: [&str; 5] = ["process", "syscalls", "tcp", "block_io", "host"];

/// One observer.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    kind: Kind,
}

enum Kind {
    /// Nobody: tells the noise of the measurement.
    Bare,
    /// Programs without a daemon: their loader, the object, and which pair of it.
    Pair(PathBuf, PathBuf, &'static str),
    /// A daemon, with its settings.
    Daemon(PathBuf, Vec<String>),
}

/// Everybody that the options ask for. The empty pair is always among them: it is what others are compared with.
pub(super) fn all(project: &Project, worker: &Path, empty: &Path, options: &Options) -> Vec<Subject> {
    let subject = |name, what, kind| Subject { name, what, kind };
    let daemon = project.daemon();
    let pair = |pair| Kind::Pair(worker.into(), empty.into(), pair);
    let mut subjects = vec![
        subject("bare", "nobody, measured like the others: the noise", Kind::Bare),
        subject(EMPTY, "two empty programs on sys_enter and sys_exit", pair("empty")),
        subject("clock pair", "two that ask for the running task and the time: timing at least", pair("clock")),
        subject("default", "the daemon as it comes", Kind::Daemon(daemon.clone(), Vec::new())),
    ];
    let alone = [
        ("process", "births, deaths and execs alone; the others stand on it"),
        ("syscalls", "the signal and process"),
        ("tcp", "the signal and process"),
        ("block_io", "the signal and process"),
        ("host", "no kernel signal but execs, for the rules"),
    ];
    for (name, what) in alone {
        let off = SIGNALS.iter().filter(|signal| **signal != name).map(|signal| format!("signals.{signal}=false"));
        subjects.push(subject(name, what, Kind::Daemon(daemon.clone(), off.collect())));
    }
    if let Some(against) = &options.against {
        subjects.push(subject("against", "the other daemon as it comes", Kind::Daemon(against.clone(), Vec::new())));
    }
    let wanted = |name: &str| {
        options.only.is_empty() || name == EMPTY || name == "against" || options.only.iter().any(|only| only == name)
    };
    subjects.retain(|subject| wanted(subject.name));
    subjects
}

/// The name of the physical limit.
pub(super) const EMPTY: &str = "empty pair";

impl Subject {
    /// Starts it and waits until it works as it will from then on.
    pub(super) fn start(&self) -> Result<Observer> {
        Ok(Observer(match &self.kind {
            Kind::Bare => None,
            Kind::Pair(loader, object, pair) => Some(process::attach(loader, object, pair)?),
            Kind::Daemon(program, settings) => {
                let daemon = process::daemon(program, settings)?;
                process::settled(&daemon)?;
                Some(daemon.running)
            }
        }))
    }
}

/// A subject at work.
pub(super) struct Observer(Option<Running>);

impl Observer {
    pub(super) fn pid(&self) -> Option<u32> {
        self.0.as_ref().map(Running::pid)
    }

    pub(super) fn stop(self) -> Result<()> {
        self.0.map_or(Ok(()), Running::stop)
    }
}
