//! The schema of a published event. docs/EVENTS.md describes it; a test compares the two.

mod rendered;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::{Severity, redact, text::lossy};
use crate::processes::Process;
use crate::signals::exec::{Exec, ExecFile, Written};

pub(super) use rendered::Rendered;

/// Nanoseconds of a kernel clock tick as /proc counts them (`USER_HZ` is 100 on every architecture we run on).
const TICK_NS: u64 = 10_000_000;

/// Translates the kernel's time since boot to the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootClock {
    /// Time of day at boot, nanoseconds since 1970.
    boot_ns: i128,
}

impl BootClock {
    /// From the time of day at boot, nanoseconds since 1970.
    pub const fn new(boot_ns: i128) -> Self {
        Self { boot_ns }
    }

    /// The time of day at boot, nanoseconds since 1970.
    pub const fn boot_ns(self) -> i128 {
        self.boot_ns
    }

    /// From the two clocks as they are now. Read it anew now and then: somebody may set the time of day.
    pub fn read() -> Self {
        let nanoseconds = |clock| {
            let time = rustix::time::clock_gettime(clock);
            i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
        };
        Self::new(nanoseconds(rustix::time::ClockId::Realtime) - nanoseconds(rustix::time::ClockId::Boottime))
    }

    /// The time of day at `ns` nanoseconds since boot.
    pub fn time(self, ns: u64) -> Timestamp {
        Timestamp::from_nanosecond(self.boot_ns + i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// An event to publish.
#[derive(Clone, Debug)]
pub struct Alert {
    /// When it happened.
    pub time: Timestamp,
    /// The same by the kernel's clock, nanoseconds since boot.
    pub kernel_ns: u64,
    /// Id of the rule.
    pub rule: Cow<'static, str>,
    /// What happened, in a few words.
    pub title: Cow<'static, str>,
    /// What the rule says of this event, where it has a text of its own.
    pub output: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The rule's own word for that, where it has one.
    pub priority: Option<Cow<'static, str>>,
    /// ATT&CK techniques.
    pub attack: Vec<Cow<'static, str>>,
    /// The rule's tags.
    pub tags: Vec<String>,
    /// Where the rule stands; none: it is built in.
    pub rule_source: Option<RuleSource>,
    /// The process that did it.
    pub process: Subject,
    /// What the rule looked at, the field that matched first.
    pub evidence: Vec<(Cow<'static, str>, Value)>,
    /// What the process and its ancestors did last.
    pub recent: Vec<Recent>,
    /// How often an event like this one was seen; none: once.
    pub seen: Option<Seen>,
    /// Events like this one that were not published since the last one that was.
    pub suppressed: u64,
    /// What was lost up to now.
    pub lost: Lost,
}

impl Alert {
    /// An alert that says no more than this.
    pub fn new(time: Timestamp, rule: impl Into<Cow<'static, str>>, severity: Severity, process: Subject) -> Self {
        Self {
            time,
            kernel_ns: 0,
            rule: rule.into(),
            title: Cow::default(),
            output: None,
            severity,
            priority: None,
            attack: Vec::new(),
            tags: Vec::new(),
            rule_source: None,
            process,
            evidence: Vec::new(),
            recent: Vec::new(),
            seen: None,
            suppressed: 0,
            lost: Lost::default(),
        }
    }
}

/// Where a rule stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleSource {
    /// The file.
    pub file: String,
    /// The rule's version, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Something that a process did shortly before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recent {
    /// When, nanoseconds since boot.
    pub kernel_ns: u64,
    /// Who.
    pub pid: u32,
    /// What, in a few words.
    pub what: String,
}

/// How often events like this one were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// How often, this one included.
    pub count: u64,
    /// The first time.
    #[serde(serialize_with = "nanoseconds")]
    pub first: Timestamp,
    /// The last time.
    #[serde(serialize_with = "nanoseconds")]
    pub last: Timestamp,
}

/// Records lost since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Of the security ring.
    pub security_ring: u64,
    /// Of the telemetry ring.
    pub telemetry_ring: u64,
}

/// A process as an event shows it. All text is as published: readable, and without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Process id.
    pub pid: u32,
    /// When it started.
    #[serde(serialize_with = "milliseconds")]
    pub start_time: Timestamp,
    /// The same in clock ticks since boot, as field 22 of /proc/PID/stat has it: with `pid` its identity.
    pub start_ticks: u64,
    /// Path of its program's file.
    pub exe: String,
    /// The name that was passed to execve: of a script, the script.
    pub filename: String,
    /// `exe` interprets the script `filename`.
    pub script: bool,
    /// Arguments.
    pub argv: Vec<String>,
    /// True length of the arguments with their terminators, bytes.
    pub argv_length: u32,
    /// Not all arguments are in `argv`.
    pub argv_truncated: bool,
    /// Working directory.
    pub cwd: String,
    /// The kernel's short name.
    pub comm: String,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved user id.
    pub suid: u32,
    /// Effective capabilities, as /proc/PID/status has them.
    pub capabilities: String,
    /// Session id.
    pub session: u32,
    /// Process group id.
    pub process_group: u32,
    /// The program's file.
    pub file: ProgramFile,
    /// User who logged in.
    pub loginuid: Option<u32>,
    /// Controlling terminal.
    pub tty: Option<String>,
    /// Path of its control group.
    pub cgroup: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Container id.
    pub container: Option<String>,
    /// The `group` of its metrics.
    pub group: String,
    /// Variables that rules look at. Of one that was given twice the first.
    pub env: BTreeMap<String, String>,
    /// Variables that were given again, as `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_repeated: Vec<String>,
    /// Not the whole environment was looked through.
    pub env_truncated: bool,
    /// Its ancestors, nearest first.
    pub ancestors: Vec<Ancestor>,
}

/// The file of a program as an event shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProgramFile {
    /// Inode number.
    pub inode: u64,
    /// Device of its file system, as the kernel's dev_t.
    pub device: u32,
    /// Type and permission bits, octal.
    pub mode: String,
    /// Owner's user id.
    pub owner: u32,
    /// Hard links; 0: deleted, or it never had a name.
    pub links: u32,
    /// When its contents were last changed; absent: not known.
    #[serde(serialize_with = "optional_nanoseconds", skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// When its inode was last changed; absent: not known.
    #[serde(serialize_with = "optional_nanoseconds", skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// Who opened it for writing shortly before; absent: nobody, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_by: Option<u32>,
}

impl ProgramFile {
    fn new(file: &ExecFile, written: Option<Written>) -> Self {
        let time = |ns: u64| (ns != 0).then(|| Timestamp::from_nanosecond(i128::from(ns)).ok()).flatten();
        Self {
            inode: file.inode,
            device: file.device,
            mode: format!("{:o}", file.mode),
            owner: file.owner,
            links: file.links,
            modified: time(file.modified_ns),
            changed: time(file.changed_ns),
            written_by: written.map(|written| written.by.tgid),
        }
    }
}

/// An ancestor as an event shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// When it started.
    #[serde(serialize_with = "milliseconds")]
    pub start_time: Timestamp,
    /// The same in clock ticks since boot.
    pub start_ticks: u64,
    /// Path of its program's file.
    pub exe: String,
    /// Arguments, up to 2 KiB.
    pub argv: Vec<String>,
    /// User id, when it is known.
    pub uid: Option<u32>,
}

/// Longest arguments of an ancestor that are shown, bytes: an event has up to twenty of them.
const ANCESTOR_ARGUMENTS: usize = 2 << 10;

impl Subject {
    /// The process of an exec. What the exec does not tell (cgroup, unit, container, group, ancestors) is left empty.
    pub fn of_exec(exec: &Exec, clock: BootClock) -> Self {
        let (env, env_repeated) = environment(&exec.env);
        Self {
            pid: exec.process.tgid,
            start_time: clock.time(exec.process.start_ns),
            start_ticks: exec.process.start_ns / TICK_NS,
            exe: lossy(&exec.exe).into_owned(),
            filename: lossy(&exec.filename).into_owned(),
            script: exec.script,
            argv: arguments(&exec.args),
            argv_length: exec.args_length,
            argv_truncated: exec.args_truncated,
            cwd: lossy(&exec.cwd).into_owned(),
            comm: lossy(&exec.comm).into_owned(),
            uid: exec.uid,
            euid: exec.euid,
            gid: exec.gid,
            egid: exec.egid,
            suid: exec.suid,
            capabilities: format!("{:016x}", exec.capabilities),
            session: exec.session,
            process_group: exec.process_group,
            file: ProgramFile::new(&exec.file, exec.written),
            loginuid: exec.loginuid,
            tty: (!exec.tty.is_empty()).then(|| lossy(&exec.tty).into_owned()),
            env,
            env_repeated,
            env_truncated: exec.env_truncated,
            ..Self::default()
        }
    }
}

impl Subject {
    /// A process as the table knows it. Cgroup, unit, container, group and ancestors are left to the caller.
    pub fn of_process(process: &Process, clock: BootClock) -> Self {
        let (image, credentials) = (&process.image, &process.credentials);
        let (env, env_repeated) = environment(&image.env);
        let args: Vec<Vec<u8>> = image.argv().map(<[u8]>::to_vec).collect();
        Self {
            pid: process.id.pid,
            start_time: clock.time(process.started_ns),
            start_ticks: process.id.start_ticks,
            exe: lossy(&image.exe).into_owned(),
            filename: lossy(&image.filename).into_owned(),
            script: image.script,
            argv: arguments(&args),
            argv_length: image.args_length,
            argv_truncated: image.args_cut,
            cwd: lossy(&image.cwd).into_owned(),
            comm: lossy(process.comm.as_bytes()).into_owned(),
            uid: credentials.uid,
            euid: credentials.euid,
            gid: credentials.gid,
            egid: credentials.egid,
            suid: credentials.suid,
            capabilities: format!("{:016x}", credentials.capabilities),
            session: process.session,
            process_group: process.process_group,
            file: ProgramFile::new(&image.file, image.written),
            loginuid: credentials.loginuid,
            tty: (!image.tty.is_empty()).then(|| lossy(&image.tty).into_owned()),
            env,
            env_repeated,
            ..Self::default()
        }
    }
}

impl Ancestor {
    /// From what the process table knows.
    pub fn new(pid: u32, start_ticks: u64, exe: &[u8], args: &[Vec<u8>], uid: Option<u32>, clock: BootClock) -> Self {
        let mut room = ANCESTOR_ARGUMENTS;
        let shown = args.iter().take_while(|arg| {
            let fits = arg.len() < room;
            room = room.saturating_sub(arg.len() + 1);
            fits
        });
        Self {
            pid,
            start_time: clock.time(start_ticks.saturating_mul(TICK_NS)),
            start_ticks,
            exe: lossy(exe).into_owned(),
            argv: redact::arguments(shown.map(|arg| lossy(arg)).collect()),
            uid,
        }
    }
}

fn arguments(args: &[Vec<u8>]) -> Vec<String> {
    redact::arguments(args.iter().map(|arg| lossy(arg)).collect())
}

fn environment(variables: &[(Vec<u8>, Vec<u8>)]) -> (BTreeMap<String, String>, Vec<String>) {
    let mut first = BTreeMap::new();
    let mut repeated = Vec::new();
    for (name, value) in variables {
        let (name, value) = (lossy(name).into_owned(), redact::text(&lossy(value)));
        match first.entry(name) {
            Entry::Occupied(known) => repeated.push(format!("{}={value}", known.key())),
            Entry::Vacant(place) => {
                place.insert(value);
            }
        }
    }
    (first, repeated)
}

/// The fields after `schema` and `seq`, in their order.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(serialize_with = "nanoseconds")]
    time: Timestamp,
    rule: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'a str>,
    attack: &'a [Cow<'static, str>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_source: Option<&'a RuleSource>,
    process: &'a Subject,
    #[serde(serialize_with = "pairs")]
    evidence: &'a [(Cow<'static, str>, Value)],
    kernel_ns: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    recent: &'a [Recent],
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Seen>,
    #[serde(skip_serializing_if = "is_zero")]
    suppressed: u64,
    lost: Lost,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Host<'a>>,
}

#[derive(Serialize)]
struct Host<'a> {
    name: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Always nine digits, so that times sort as text.
fn nanoseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.9}"))
}

fn optional_nanoseconds<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => nanoseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// As `/api/v1/processes` has it: the two are compared.
fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn pairs<S: Serializer>(pairs: &[(Cow<'static, str>, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests;
