//! What the daemon is told: plain structs of checked values. Each part of the daemon receives only its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use monitor_common::limits;

use crate::audit;
use crate::detect::eval::Limits;
use crate::events::Format;
use crate::signals::Timing;

use super::observing::{Activity, Kernel, L7, Signals, Syscalls};

/// The whole configuration. Its [`Default`] is what the daemon does without any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The daemon's own log.
    pub log: Log,
    /// The HTTP server.
    pub http: Http,
    /// What the metrics show.
    pub metrics: Metrics,
    /// Names for groups of processes, first match first.
    pub groups: Vec<GroupRule>,
    /// The process table.
    pub processes: Processes,
    /// The kernel programs.
    pub kernel: Kernel,
    /// Which signals are collected.
    pub signals: Signals,
    /// How system calls are observed.
    pub syscalls: Syscalls,
    /// How requests and answers are heard.
    pub l7: L7,
    /// What processes ask of the kernel that security rules look at.
    pub activity: Activity,
    /// What the daemon may cost.
    pub budget: Budget,
    /// The numbers of the whole machine.
    pub host: Host,
    /// Where security events go.
    pub events: Events,
    /// The security rules.
    pub rules: Rules,
    /// The audit trail.
    pub audit: Audit,
    /// What is done about alerts.
    pub respond: Respond,
    /// What others may not do to the daemon.
    pub protect: Protect,
}

/// `[log]`: the daemon's own log, written to stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Directives of `tracing_subscriber::EnvFilter`, checked to be valid.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// How much the kernel programs say.
    pub kernel: KernelLevel,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text, kernel: KernelLevel::Warn }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How much the kernel programs say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelLevel {
    /// Nothing; the programs are loaded without their log.
    Off,
    /// What must not happen.
    Error,
    /// What makes a number wrong.
    Warn,
    /// Rare turning points.
    Info,
    /// Single events.
    Debug,
    /// Everything.
    Trace,
}

/// `[http]`: the HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether `POST /-/reload` is answered.
    pub reload: bool,
    /// Most connections at one time.
    pub max_connections: u32,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 19435)), reload: true, max_connections: 256 }
    }
}

/// `[metrics]`: what the metrics show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Most groups with series of their own.
    pub groups: u32,
    /// A group without activity for so long gives its place away.
    pub group_idle: Duration,
    /// Names of groups, or globs, whose processes get series of their own.
    pub per_process: Vec<String>,
    /// Most processes with series of their own.
    pub max_processes: u32,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { groups: 50, group_idle: Duration::from_secs(600), per_process: Vec::new(), max_processes: 100 }
    }
}

/// `[[group]]`: names a group of processes that are in no systemd service and no container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRule {
    /// Name of the group; unique, and it does not begin with `_`.
    pub name: String,
    /// Base names of programs, or globs of their paths where the text contains a slash. Not empty.
    pub exe: Vec<String>,
}

/// `[processes]`: the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes {
    /// Most entries, living and recently ended; at least `slots`.
    pub table: u32,
    /// How long an ended process stays known.
    pub keep_exited: Duration,
    /// Processes with counters of their own in the kernel at one time.
    pub slots: u32,
}

impl Default for Processes {
    fn default() -> Self {
        Self { table: 32_768, keep_exited: Duration::from_secs(60), slots: limits::PROCESS_SLOTS }
    }
}

/// `[budget]`: what the daemon may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// CPU time, in the kernel and outside.
    pub cpu: Share,
    /// Time between two measurements.
    pub interval: Duration,
}

impl Budget {
    /// Time between two measurements, if there is a budget to keep.
    pub fn measured(&self) -> Option<Duration> {
        self.cpu.ratio().map(|_| self.interval)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { cpu: Share::default(), interval: Duration::from_secs(5) }
    }
}

/// A share of one CPU, in hundredths of a percent; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share(pub u32);

impl Share {
    /// As a ratio; `None`: no limit.
    pub fn ratio(self) -> Option<f64> {
        (self.0 != 0).then(|| f64::from(self.0) / 1e4)
    }
}

/// `[host]`: the numbers of the whole machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Time between two readings.
    pub interval: Duration,
}

impl Default for Host {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5) }
    }
}

/// `[events]`: where security events go, beside the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Where they are written.
    pub output: Output,
    /// How they are written there.
    pub format: Format,
    /// The file, where `output` is [`Output::File`].
    pub file: PathBuf,
    /// Bytes after which the file is set aside.
    pub rotate_size: u64,
    /// Files set aside that are kept.
    pub rotate_keep: u32,
    /// Events kept in memory for the HTTP API.
    pub store: u32,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            output: Output::Stdout,
            format: Format::default(),
            file: PathBuf::from("/var/log/monitor/events.jsonl"),
            rotate_size: 64 << 20,
            rotate_keep: 5,
            store: 10_000,
        }
    }
}

/// Where security events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, one JSON line each.
    Stdout,
    /// A file with rotation, one JSON line each.
    File,
    /// Nowhere; they are still in the HTTP API.
    None,
}

/// `[rules]`: the security rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The rules that come with the daemon are used.
    pub defaults: bool,
    /// Directory of rule files; it may be absent.
    pub directory: PathBuf,
    /// More rule files, and directories of them.
    pub files: Vec<String>,
    /// Names of rules that are off.
    pub disable: Vec<String>,
    /// Alerts of one rule that are published at once …
    pub alert_burst: u32,
    /// … and after that in a second.
    pub alert_rate: u32,
    /// File of what `first_seen` rules have seen.
    pub state: PathBuf,
}

impl Rules {
    /// How many findings of a rule are published.
    pub fn limits(&self) -> Limits {
        Limits { burst: self.alert_burst, per_second: self.alert_rate }
    }
}

impl Default for Rules {
    fn default() -> Self {
        let Limits { burst, per_second } = Limits::default();
        Self {
            defaults: true,
            directory: PathBuf::from(crate::ruleset::DEFAULT_DIRECTORY),
            files: Vec::new(),
            disable: Vec::new(),
            alert_burst: burst,
            alert_rate: per_second,
            state: PathBuf::from("/var/lib/monitor/seen"),
        }
    }
}

/// `[audit]`: the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// It is kept.
    pub enabled: bool,
    /// The daemon does not run without it.
    pub required: bool,
    /// Its directory.
    pub directory: PathBuf,
    /// When records are forced to disk.
    pub sync: audit::Sync,
    /// Bytes after which a segment is closed.
    pub segment_size: u64,
    /// Bytes of all segments together.
    pub total_size: u64,
    /// File with the key that records are sealed with.
    pub key_file: Option<PathBuf>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            enabled: true,
            required: false,
            directory: PathBuf::from(audit::DEFAULT_DIRECTORY),
            sync: audit::Sync::default(),
            segment_size: 16 << 20,
            total_size: 1 << 30,
            key_file: None,
        }
    }
}

/// `[respond]`: what is done about alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// Anything is done at all.
    pub enabled: bool,
    /// Nothing is done, but everything is decided and told as if.
    pub dry_run: bool,
    /// Rules whose process is killed.
    pub kill: Vec<String>,
    /// Rules whose process is stopped.
    pub stop: Vec<String>,
    /// Rules whose process's control group is frozen.
    pub freeze: Vec<String>,
    /// Rules about which the program is run.
    pub run: Vec<String>,
    /// The program.
    pub program: Option<PathBuf>,
    /// How long it may run.
    pub timeout: Duration,
    /// Most actions in a minute.
    pub rate: u32,
    /// Programs to which nothing is ever done.
    pub allow: Vec<String>,
}

impl Default for Respond {
    fn default() -> Self {
        let allow = ["/usr/lib/systemd/systemd*", "/lib/systemd/systemd*", "/usr/sbin/sshd", "/usr/bin/dbus-daemon"];
        Self {
            enabled: false,
            dry_run: true,
            kill: Vec::new(),
            stop: Vec::new(),
            freeze: Vec::new(),
            run: Vec::new(),
            program: None,
            timeout: Duration::from_secs(10),
            rate: 10,
            allow: allow.map(str::to_owned).to_vec(),
        }
    }
}

/// `[protect]`: what others may not do to the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protect {
    /// They may not end, stop or trace it, nor open its kernel objects, where the kernel asks BPF programs.
    pub enabled: bool,
}

/// A value that is one word of a few.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every word with its meaning.
    const WORDS: &'static [(&'static str, Self)];
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Choice for KernelLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl Choice for Timing {
    const WORDS: &'static [(&'static str, Self)] =
        &[("full", Self::Full), ("adaptive", Self::Adaptive), ("counts", Self::Counts)];
}

impl Choice for Output {
    const WORDS: &'static [(&'static str, Self)] =
        &[("stdout", Self::Stdout), ("file", Self::File), ("none", Self::None)];
}

impl Choice for audit::Sync {
    const WORDS: &'static [(&'static str, Self)] = &[
        (Self::Always.name(), Self::Always),
        (Self::Interval.name(), Self::Interval),
        (Self::Never.name(), Self::Never),
    ];
}

impl Choice for Format {
    const WORDS: &'static [(&'static str, Self)] =
        &[(Self::Native.name(), Self::Native), (Self::Ecs.name(), Self::Ecs), (Self::Ocsf.name(), Self::Ocsf)];
}
