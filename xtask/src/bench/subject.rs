//! Who is measured: one table.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::project::Project;

use super::{
    options::Options,
    peer::{self, Peer},
    process::{self, Running},
    workload::{
        Set::{self, Build, Calls, Crowd, Disk, Find, Life, Net},
        Workload,
    },
};

/// Signals that can be had alone.
const SIGNALS: [&str; 5] = ["process", "syscalls", "tcp", "block_io", "host"];

/// The name of the physical limit.
pub(super) const EMPTY: &str = "empty pair";

/// One observer.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Whose cost its own is a multiple of: programs that do nothing, on the hooks that it has under these workloads.
    pub(super) floor: &'static str,
    kind: Kind,
    /// What it is measured with; with the rest it has nothing to do, or others tell it.
    sets: &'static [Set],
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Nobody: tells the noise of the measurement.
    Bare,
    /// A program of `monitor-ebpf/src/bench.rs`, and hooks.
    Program(&'static str, &'static [&'static str]),
    /// The daemon with settings.
    Daemon(&'static [&'static str]),
    /// The daemon with one signal.
    Alone(&'static str),
    /// The daemon of another build.
    Against,
    /// A program of others.
    Peer(&'static Peer),
}

use Kind::{Alone, Bare, Daemon, Program};

const fn subject(
    name: &'static str,
    kind: Kind,
    floor: &'static str,
    sets: &'static [Set],
    what: &'static str,
) -> Subject {
    Subject { name, what, floor, kind, sets }
}

const PAIR: &[&str] = &["sys_exit", "sys_enter"];
const LIVES: &[&str] = &["sched_process_fork", "sched_process_exec", "sched_process_exit", "sched_process_free"];
const TCP: &[&str] = &["inet_sock_set_state", "sock_send_length", "sock_recv_length", "sys_exit"];
const BLOCK: &[&str] = &["block_rq_complete", "block_rq_issue", "block_io_start"];
const ALL: &[Set] = &[Calls, Life, Find, Net, Disk, Build];
const PEERS: &[Set] = &[Calls, Life, Find, Net];
const NOTHING: &[&str] =
    &["signals.process=false", "signals.syscalls=false", "signals.tcp=false", "signals.block_io=false"];
const WATCHING: &[&str] = &["activity.watch=/etc/shadow,/etc/sudoers,/etc/cron.d/,/etc/systemd/system/"];
const NO_RULES: &[&str] = &["rules.defaults=false"];
const FILES: &[&str] = &["activity.kinds=file_open,unlink,rename,link,symlink,mkdir,rmdir,chmod,chown,truncate"];

#[rustfmt::skip]
static SUBJECTS: &[Subject] = &[
    subject("bare", Bare, EMPTY, ALL, "nobody, measured like the others: the noise"),
    subject(EMPTY, Program("empty", PAIR), EMPTY, &[Calls, Life, Find, Net, Disk, Build, Crowd], "empty programs on sys_enter and sys_exit"),
    subject("empty exit", Program("empty", &["sys_exit"]), EMPTY, &[Calls], "an empty program on sys_exit alone: counting at least"),
    subject("clock pair", Program("clock", PAIR), EMPTY, &[Calls], "a pair that asks for the running task and the time: timing at least"),
    subject("empty life", Program("empty", LIVES), "empty life", &[Life], "empty programs on fork, exec, exit and free"),
    subject("empty tcp", Program("empty", TCP), "empty tcp", &[Net], "empty programs on the hooks of tcp that are called all the time"),
    subject("empty block", Program("empty", BLOCK), "empty block", &[Disk], "empty programs on the hooks of block requests"),
    subject("default", Daemon(&[]), EMPTY, ALL, "the daemon as it comes"),
    subject("adaptive", Daemon(&["syscalls.timing=adaptive"]), EMPTY, ALL, "the daemon, timing some calls"),
    subject("counts", Daemon(&["syscalls.timing=counts"]), EMPTY, ALL, "the daemon, timing no call"),
    subject("syscalls", Alone("syscalls"), EMPTY, &[Calls], "the signal alone, with process, which the others stand on"),
    subject("process", Alone("process"), "empty life", &[Calls, Life], "births, deaths and execs alone"),
    subject("exec", Daemon(NOTHING), "empty life", &[Life], "no signal but execs, for the rules"),
    subject("tcp", Alone("tcp"), "empty tcp", &[Calls, Net], "the signal alone, with process"),
    subject("block_io", Alone("block_io"), "empty block", &[Disk], "the signal alone, with process"),
    subject("no rules", Daemon(NO_RULES), EMPTY, ALL, "the daemon without rules: what these cost is the difference"),
    subject("watching", Daemon(WATCHING), EMPTY, &[Calls, Find, Build], "the daemon, looking for files that are watched at each open"),
    subject("all files", Daemon(FILES), EMPTY, &[Calls, Find, Build], "the daemon, told of every file that is opened or changed"),
    subject("16384 slots", Daemon(&["processes.slots=16384"]), EMPTY, &[Crowd], "the daemon, with room for many processes"),
    subject("against", Kind::Against, EMPTY, ALL, "the other daemon as it comes"),
    subject("bpftrace", Kind::Peer(&peer::BPFTRACE), EMPTY, PEERS, "bpftrace: count and histogram by program and call"),
    subject("syscount", Kind::Peer(&peer::SYSCOUNT), EMPTY, PEERS, "libbpf-tools' syscount -L -P: count and total time by process"),
    subject("bcc syscount", Kind::Peer(&peer::BCC), EMPTY, PEERS, "bcc's syscount -L -P"),
    subject("perf trace", Kind::Peer(&peer::PERF), EMPTY, PEERS, "perf trace -s -a: statistics by thread and call"),
    subject("sysdig", Kind::Peer(&peer::SYSDIG), EMPTY, PEERS, "sysdig's topscalls_time: calls by time"),
];

/// Where the parts are that subjects are made of.
pub(super) struct Places {
    /// `monitor-bench`.
    pub(super) loader: PathBuf,
    /// `bench-ebpf`.
    pub(super) object: PathBuf,
    pub(super) daemon: PathBuf,
    pub(super) against: Option<PathBuf>,
    /// For files of the moment.
    pub(super) scratch: PathBuf,
}

impl Places {
    pub(super) fn new(project: &Project, loader: PathBuf, object: PathBuf, scratch: &Path, options: &Options) -> Self {
        Self { loader, object, daemon: project.daemon(), against: options.against.clone(), scratch: scratch.into() }
    }
}

/// Everybody that the options ask for. Whoever somebody is compared with is among them.
pub(super) fn chosen(options: &Options) -> Result<Vec<&'static Subject>> {
    for name in &options.only {
        ensure!(SUBJECTS.iter().any(|subject| subject.name == name), "no subject {name:?}; there are {:?}", names());
    }
    let wanted = |subject: &Subject| match (subject.kind, options.only.as_slice()) {
        (Kind::Against, _) => options.against.is_some(),
        (Kind::Peer(_), []) => options.peers,
        (_, []) => true,
        (_, only) => only.iter().any(|name| name == subject.name),
    };
    let asked: Vec<&Subject> = SUBJECTS.iter().filter(|subject| wanted(subject)).collect();
    let is_floor = |subject: &Subject| asked.iter().any(|asked| asked.floor == subject.name);
    let chosen = SUBJECTS.iter().filter(|subject| wanted(subject) || is_floor(subject));
    Ok(chosen.filter(|subject| !subject.workloads(options).is_empty()).collect())
}

fn names() -> Vec<&'static str> {
    SUBJECTS.iter().map(|subject| subject.name).collect()
}

impl Subject {
    /// What it is measured with here.
    pub(super) fn workloads(&self, options: &Options) -> Vec<&'static Workload> {
        options.workloads.iter().copied().filter(|workload| self.sets.contains(&workload.set)).collect()
    }

    /// The program of others that it is.
    pub(super) fn peer(&self) -> Option<&'static Peer> {
        match self.kind {
            Kind::Peer(peer) => Some(peer),
            _ => None,
        }
    }

    /// Starts it and waits until it works as it will from then on.
    pub(super) fn start(&self, places: &Places) -> Result<Observer> {
        let daemon = |program: &Path, settings: &[String]| {
            let daemon = process::daemon(program, &places.scratch, settings)?;
            process::settled(&daemon)?;
            anyhow::Ok(Some(daemon.running))
        };
        Ok(Observer(match self.kind {
            Bare => None,
            Program(program, hooks) => Some(process::attach(&places.loader, &places.object, program, hooks)?),
            Daemon(settings) => {
                daemon(&places.daemon, &settings.iter().map(|&setting| setting.to_owned()).collect::<Vec<_>>())?
            }
            Alone(name) => daemon(&places.daemon, &alone(name))?,
            Kind::Against => daemon(places.against.as_deref().unwrap_or(&places.daemon), &[])?,
            Kind::Peer(peer) => Some(peer.start(&places.scratch)?),
        }))
    }
}

/// Settings that leave one signal.
fn alone(name: &str) -> Vec<String> {
    SIGNALS.iter().filter(|signal| **signal != name).map(|signal| format!("signals.{signal}=false")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        Options::parse(&text.split_terminator(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    fn names_of(text: &str) -> Vec<&'static str> {
        chosen(&options(text)).unwrap().iter().map(|subject| subject.name).collect()
    }

    #[test]
    fn each_floor_is_measured_with_what_stands_on_it() {
        for subject in SUBJECTS {
            let floor = SUBJECTS.iter().find(|floor| floor.name == subject.floor).unwrap();
            let common = subject.sets.iter().filter(|set| floor.sets.contains(set));
            assert!(common.count() > 0, "{} has nothing in common with {}", subject.name, floor.name);
            assert_eq!(floor.floor, floor.name, "the floor of a floor is itself");
        }
        let names = names();
        assert!(names.iter().enumerate().all(|(index, name)| !names[index + 1..].contains(name)), "{names:?}");
    }

    #[test]
    fn the_options_choose_and_floors_come_along() {
        assert_eq!(names_of("--only tcp"), ["empty tcp", "tcp"]);
        assert_eq!(names_of("--only default --workload getppid"), [EMPTY, "default"]);
        assert_eq!(names_of("--only syscount"), [EMPTY, "syscount"]);
        assert_eq!(names_of("--processes"), [EMPTY, "16384 slots"]);
        assert!(!names_of("").contains(&"bpftrace") && !names_of("").contains(&"against"));
        assert!(names_of("--peers").contains(&"bpftrace"));
        assert!(names_of("--against x").contains(&"against"));
        assert!(chosen(&options("--only nobody")).unwrap_err().to_string().contains("no subject \"nobody\""));
    }

    #[test]
    fn one_signal_alone_is_all_others_off() {
        let settings = alone("tcp");
        assert_eq!(settings.len(), SIGNALS.len() - 1);
        assert!(!settings.contains(&"signals.tcp=false".to_owned()));
    }
}
