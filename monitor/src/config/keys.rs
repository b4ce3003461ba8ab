//! Every key of the configuration, except those of `[[group]]`, which are in [`GROUP_KEYS`].

use monitor_common::limits;

use super::field::{Field, Item, Lens};
use super::mistake::nearest;
use super::model::Config;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Table and name, such as `http.listen`.
    pub name: &'static str,
    /// Its place in [`Config`], its type and what is accepted.
    pub field: Field,
    /// When a change takes effect.
    pub reload: Reload,
    /// A value other than the default, as TOML.
    pub example: &'static str,
    /// What it is for; a sentence or two.
    pub help: &'static str,
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// With the next reload.
    Live,
    /// With the next start.
    Restart,
}

impl Key {
    /// The table's name: `http` of `http.listen`.
    pub fn table(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(table, _)| table)
    }

    /// The name inside its table: `listen` of `http.listen`.
    pub fn short(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, short)| short)
    }

    /// The environment variable that sets it: `MONITOR_HTTP_LISTEN` for `http.listen`.
    pub fn variable(&self) -> String {
        format!("MONITOR_{}", self.name.to_uppercase().replace('.', "_"))
    }
}

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that somebody who wrote `name` may have meant.
pub(super) fn suggest(name: &str) -> Option<&'static str> {
    let (table, short) = name.rsplit_once('.').unwrap_or(("", name));
    let in_table = |table: &str| {
        let keys: Vec<&Key> = KEYS.iter().filter(|key| key.table() == table).collect();
        let near = nearest(short, keys.iter().map(|key| key.short()));
        keys.into_iter().find(|key| Some(key.short()) == near)
    };
    in_table(table)
        .or_else(|| KEYS.iter().find(|key| key.short() == short))
        .or_else(|| nearest(table, TABLES.iter().map(|(table, _)| *table)).and_then(in_table))
        .or_else(|| {
            nearest(short, KEYS.iter().map(Key::short)).and_then(|near| KEYS.iter().find(|key| key.short() == near))
        })
        .map(|key| key.name)
}

/// The tables with what each is about, in the order of the documentation.
pub const TABLES: &[(&str, &str)] = &[
    ("log", "The daemon's own log, written to stderr."),
    ("http", "The HTTP server: metrics, health, API."),
    ("metrics", "What the metrics show. Every cap keeps the number of series bounded."),
    ("processes", "The process table."),
    ("kernel", "The kernel programs."),
    ("signals", "Which signals are collected."),
    ("l7", "How requests and answers are heard."),
    ("syscalls", "How system calls are observed."),
    ("activity", "What processes ask of the kernel that security rules look at. Rules say themselves what they need."),
    ("budget", "What the daemon may cost."),
    ("host", "The numbers of the whole machine."),
    ("events", "Where security events go, beside the HTTP API."),
    ("rules", "The security rules."),
    (
        "respond",
        "What is done about alerts (docs/RESPONSE.md). Nothing, unless `enabled` is true, `dry_run` is false, and a rule is named.",
    ),
    ("protect", "What others may not do to the daemon, root included."),
    ("audit", "The audit trail: what the daemon found, was told and did, in a chain of hashes (docs/AUDIT.md)."),
];

/// A key of `[[group]]`.
#[derive(Debug)]
pub struct GroupKey {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// What is accepted.
    pub accepts: &'static str,
    /// A value, as TOML.
    pub example: &'static str,
}

/// What `[[group]]` is for.
pub const GROUP_HELP: &str = "Names the group of processes that are in no systemd service and no container. It may stand \
     many times; the first that matches wins.";

/// The keys of `[[group]]`; both are needed.
pub const GROUP_KEYS: &[GroupKey] = &[
    GroupKey {
        name: "name",
        help: "Name of the group, the value of the label `group`.",
        accepts: "a name of 1 to 128 printable characters that does not begin with _",
        example: r#""database""#,
    },
    GroupKey {
        name: "exe",
        help: "Programs that belong to it: base names, or globs of the whole path where the text contains a slash.",
        accepts: "a list of base names and of globs of absolute paths",
        example: r#"["postgres", "/opt/db/bin/*"]"#,
    },
];

/// A row of [`KEYS`]: the field of [`Config`] gives the name, so the two cannot differ.
macro_rules! key {
    ($table:ident.$name:ident: $kind:ident $(($limits:expr))?, $reload:ident, $example:literal, $help:literal) => {
        Key {
            name: concat!(stringify!($table), ".", stringify!($name)),
            field: Field::$kind(
                Lens { get: |config: &Config| &config.$table.$name, get_mut: |config| &mut config.$table.$name }
                $(, $limits)?
            ),
            reload: Reload::$reload,
            example: $example,
            help: $help,
        }
    };
}

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// Every key, in the order of the documentation. Durations are limited in milliseconds, sizes in bytes.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key!(log.level: Filter, Live, r#""info,monitor::http=debug""#,
        "What is logged: off, error, warn, info, debug or trace, for everything or for single modules."),
    key!(log.format: LogFormat, Restart, r#""json""#,
        "How a line looks."),
    key!(log.kernel: KernelLevel, Restart, r#""debug""#,
        "How much of the kernel programs' own log is taken over. More costs time in the kernel."),

    key!(http.listen: Address, Restart, r#""0.0.0.0:19435""#,
        "Address and port of the server; port 0 takes a free one. There is no authentication: whoever reaches it reads everything."),
    key!(http.reload: Switch, Live, "false",
        "Whether POST /-/reload reads the configuration again. SIGHUP always does."),
    key!(http.max_connections: Count(1..=65_536), Live, "1024",
        "Most connections at one time; further ones are refused with status 503."),

    key!(metrics.groups: Count(1..=10_000), Live, "200",
        "Most groups of processes with series of their own; the rest is in group _other."),
    key!(metrics.group_idle: Duration(SECOND..=30 * DAY), Live, r#""1h""#,
        "A group without activity for so long gives its place away."),
    key!(metrics.per_process: Names(Item::Glob), Live, r#"["database", "build-*"]"#,
        "Groups whose processes get series of their own, with label pid: names, or globs with *."),
    key!(metrics.max_processes: Count(1..=10_000), Live, "500",
        "Most processes with series of their own."),

    key!(processes.table: Count(64..=4_194_304), Restart, "131072",
        "Most entries of the process table, living and recently ended; not less than processes.slots."),
    key!(processes.keep_exited: Duration(0..=DAY), Live, r#""5m""#,
        "How long an ended process stays known, so that a late event still finds its name."),
    key!(processes.slots: Count(64..=limits::PROCESS_SLOTS_MAX), Restart, "16384",
        "Processes with counters of their own in the kernel at one time; the rest is counted together."),

    key!(kernel.btf: Path, Restart, r#""/usr/lib/debug/vmlinux.btf""#,
        "File with the BTF of the running kernel, where structure offsets are read."),
    key!(kernel.disable_hooks: Names(Item::Word), Restart, r#"["sock_send_length"]"#,
        "Hooks to do without. `monitor doctor` lists their names and what is lost without each."),
    // A power of two from 64 KiB on is a multiple of every page size that Linux has on the machines we build for.
    key!(kernel.security_ring: Ring(128 * KIB..=GIB), Restart, r#""32MiB""#,
        "Memory between the kernel and the daemon for what security rules need. The largest record takes 72 KiB."),
    key!(kernel.telemetry_ring: Ring(64 * KIB..=GIB), Restart, r#""16MiB""#,
        "Memory between the kernel and the daemon for births and deaths of processes."),
    key!(kernel.bulk_ring: Ring(64 * KIB..=GIB), Restart, r#""8MiB""#,
        "Memory between the kernel and the daemon for activities that anybody can cause by the million, such as opening files."),

    key!(kernel.requests_ring: Ring(64 * KIB..=GIB), Restart, r#""16MiB""#,
        "Memory between the kernel and the daemon for what clients and servers say to each other."),

    key!(signals.syscalls: Switch, Restart, "false",
        "System calls: count, latency and errors."),
    key!(signals.tcp: Switch, Restart, "false",
        "TCP: connections, latency, bytes, retransmits."),
    key!(signals.l7: Switch, Restart, "false",
        "Requests and answers over TCP, and DNS over UDP: response times of endpoints and queries."),
    key!(signals.l7_tls: Switch, Restart, "false",
        "With signals.l7: what is said inside TLS, too, by kernel programs on functions of OpenSSL and GnuTLS. They are put on each file of these libraries that a process has in memory, and cost each call of its functions some microseconds."),
    key!(signals.block_io: Switch, Restart, "false",
        "Block I/O: latency, queue time, size, errors."),
    key!(signals.process: Switch, Restart, "false",
        "Processes: exec, fork, exit. Without it the metrics of processes are missing; rules work all the same."),
    key!(signals.host: Switch, Restart, "false",
        "The machine: CPU, memory, disks, network, load."),

    key!(l7.rate: Count(0..=10_000_000), Restart, "200000",
        "Pieces of conversations that one CPU may tell of in a second; 0 for no limit. A piece is a request or an answer of HTTP/1, or 64 bytes of another protocol, and client and server tell each for itself. Requests beyond the rate are left out, with their answers: monitor_lost_total tells how many."),
    key!(l7.routes: Names(Item::Route), Live, r#"["/users/{id}", "/static/**"]"#,
        "Routes of HTTP servers under which requests are counted, the first that fits. Other routes are learnt: numbers, ids and whatever takes many values become *."),

    key!(syscalls.timing: Timing, Restart, r#""adaptive""#,
        "How many system calls are timed: every one (full); the first 64 of each thread in each 64 ms and the first of each family, then a random one in 16, which stands for the others (adaptive); none (counts). All are counted with their errors, but those that never return, such as exit, are not where none is timed."),

    key!(activity.kinds: Names(Item::Act), Live, r#"["mount", "ptrace"]"#,
        "Kinds of activity that are observed in any case, not only where rules need them. Each is logged at level debug (monitor::activity)."),
    key!(activity.watch: Names(Item::Place), Live, r#"["/etc/shadow", "/etc/cron.d/"]"#,
        "Files, and directories with everything below them, of which each opening and change is observed. A path that ends with a slash is a directory."),
    key!(activity.bulk_rate: Count(0..=10_000_000), Live, "10000",
        "Activities of kinds that anybody can cause by the million (files opened and changed where nothing is watched, sockets) that one control group may send in a second; 0 for no limit. Above it they are only counted, and an event tells of it."),

    key!(budget.cpu: Share, Live, r#""1%""#,
        "CPU time that the daemon may cost, its kernel programs included, as a share of one CPU. Above it detail is given up step by step, and taken back later; what security rules need is never given up. Kernel programs are measured with CAP_SYS_ADMIN only. Where there was no budget at the start, timing only some system calls is left out of the steps."),
    key!(budget.interval: Duration(SECOND..=10 * MINUTE), Live, r#""10s""#,
        "Time between two measurements, each followed by at most one step."),

    key!(host.interval: Duration(SECOND..=10 * MINUTE), Live, r#""15s""#,
        "Time between two readings."),

    key!(events.output: Output, Restart, r#""file""#,
        "Where events are written as JSON lines. With none they are still in the HTTP API."),
    key!(events.format: EventFormat, Restart, r#""ecs""#,
        "How events are written there: our own schema (native), Elastic Common Schema 8 (ecs), OCSF 1.3 Detection Finding (ocsf). The HTTP API and the audit trail always have our own. docs/FORMATS.md has the mappings."),
    key!(events.file: Path, Restart, r#""/srv/log/events.jsonl""#,
        "The file of output = \"file\". Its directory is made if need be; the file is readable by its owner only."),
    key!(events.rotate_size: Size(64 * KIB..=64 * GIB), Restart, r#""256MiB""#,
        "The file is set aside, with a number added to its name, when it would grow larger."),
    key!(events.rotate_keep: Count(0..=1_000), Restart, "10",
        "How many files set aside are kept."),
    key!(events.store: Count(1..=1_000_000), Restart, "50000",
        "Events kept in memory for the HTTP API; the oldest is given up first."),

    key!(rules.defaults: Switch, Live, "false",
        "Whether the rules that come with the daemon are used. `monitor rules list` shows them, docs/RULES.md explains them."),
    key!(rules.directory: Path, Live, r#""/srv/monitor/rules.d""#,
        "Directory of rule files, *.yaml and *.yml in Falco's language or Sigma's, loaded in the order of their names behind the default rules, which they may change. It may be absent."),
    key!(rules.files: Names(Item::Place), Live, r#"["/etc/falco/falco_rules.yaml", "/srv/sigma/rules/linux/"]"#,
        "More rule files, and directories of them, loaded before those of the directory."),
    key!(rules.disable: Names(Item::Title), Live, r#"["exec_tmp", "Terminal shell in container"]"#,
        "Names of rules that are off."),
    key!(rules.alert_burst: Count(1..=1_000_000), Live, "500",
        "Alerts of one rule that are published at once, whatever they are about. What is beyond is counted, and told together every ten seconds."),
    key!(rules.alert_rate: Count(1..=1_000_000), Live, "50",
        "Alerts of one rule that are published in a second after rules.alert_burst at once."),
    key!(rules.state: Path, Restart, r#""/srv/monitor/seen""#,
        "File of what rules with first_seen have seen on this host, so that a restart makes nothing new. Its directory is made if need be; the file is readable by its owner only, replaced as a whole within seconds of something new, and put aside when it is damaged. One daemon at a time keeps it."),

    key!(respond.enabled: Switch, Live, "true",
        "Whether anything is decided at all."),
    key!(respond.dry_run: Switch, Live, "false",
        "Everything is decided and told as if, but nothing is done."),
    key!(respond.kill: Names(Item::Glob), Live, r#"["exec_memfd"]"#,
        "Rules whose process is killed."),
    key!(respond.stop: Names(Item::Glob), Live, r#"["exec_deleted"]"#,
        "Rules whose process is stopped (SIGSTOP), to be looked at."),
    key!(respond.freeze: Names(Item::Glob), Live, r#"["revshell_*"]"#,
        "Rules whose process's control group is frozen, with everything in it."),
    key!(respond.run: Names(Item::Glob), Live, r#"["*"]"#,
        "Rules about which `program` is run, with the alert as JSON on its standard input."),
    key!(respond.program: OptionalPath, Live, r#""/usr/local/sbin/on-alert""#,
        "The program. It gets no arguments, no environment but PATH, and no more than `timeout`; at most 4 run at a time."),
    key!(respond.timeout: Duration(100..=10 * MINUTE), Live, r#""1m""#,
        "How long it may run; then it is killed, with what it started."),
    key!(respond.rate: Count(1..=10_000), Live, "60",
        "Most actions in a minute; what is more is refused and told."),
    key!(respond.allow: Names(Item::Glob), Live, r#"["/usr/sbin/sshd", "/opt/db/bin/*"]"#,
        "Paths of programs to which nothing is ever done: globs."),

    key!(protect.enabled: Switch, Restart, "true",
        "Whether the kernel forbids others to end, stop or trace the daemon and to open its kernel maps and programs. SIGTERM, SIGINT and SIGHUP are let through, and from the first process (systemd) every signal. Needs a kernel with bpf among its security modules (lsm= on its command line; /sys/kernel/security/lsm tells); on others the daemon says so and runs without."),

    key!(audit.enabled: Switch, Restart, "false",
        "Whether an audit trail is kept."),
    key!(audit.required: Switch, Restart, "true",
        "Without a trail that can be written the daemon does not start. Otherwise it says so in its log and in monitor_audit_up, and observes all the same."),
    key!(audit.directory: Path, Restart, r#""/srv/monitor/audit""#,
        "Its directory, made if need be and readable by its owner only. One daemon at a time writes there."),
    key!(audit.sync: AuditSync, Restart, r#""always""#,
        "When records are forced to disk: each at once (always); alerts from high on, starts, stops and responses at once and the others within a second (interval); when the kernel likes (never). Until then a loss of power takes them; a kill of the daemon does not."),
    key!(audit.segment_size: Size(64 * KIB..=GIB), Restart, r#""64MiB""#,
        "A file of the trail that would grow larger is closed, and the next one begun."),
    key!(audit.total_size: Size(256 * KIB..=64 * GIB), Restart, r#""10GiB""#,
        "Most room that the trail may take; the oldest files are removed, and the trail says so."),
    key!(audit.key_file: OptionalPath, Restart, r#""/etc/monitor/audit.key""#,
        "File with 32 to 4096 secret bytes. With it records are sealed by HMAC-SHA-256: who can write the trail but not read the key cannot make a chain anew. Another key needs another directory."),
];
