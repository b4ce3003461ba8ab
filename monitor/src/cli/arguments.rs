//! The command line as clap reads it.

use std::path::PathBuf;

use crate::audit::Head;
use clap::{ArgAction, Args, Parser, Subcommand};

/// These stand apart in each command's help.
const GLOBAL: &str = "Options of every command";

const AFTER_HELP: &str = "\
Examples:
  sudo monitor run                            observe this machine
  monitor events --follow                     watch security events
  curl http://127.0.0.1:19435/metrics         what Prometheus reads
  sudo monitor doctor                         what this kernel can and cannot do
  monitor config default > monitor.toml       a configuration to start from

Exit codes: 0 done, 1 failed, 64 wrong command line, 69 the kernel lacks what is needed, 77 missing privilege, \
78 wrong configuration.";

const RUN_HELP: &str = "\
Runs until SIGTERM or SIGINT. SIGHUP reads the configuration again. Needs root, or the capabilities that `monitor doctor` \
lists.

Examples:
  sudo monitor run
  sudo monitor run --listen 0.0.0.0:19435 --set events.output=none
  sudo MONITOR_METRICS_GROUPS=200 monitor run";

const EVENTS_HELP: &str = "\
Asks the running daemon; no privilege is needed.

Examples:
  monitor events                              all that the daemon keeps, oldest first
  monitor events --follow --severity high --severity critical
  monitor events --after 120 --limit 10 --json";

const PROCESSES_HELP: &str = "\
Asks the running daemon; no privilege is needed.

Examples:
  monitor processes --group nginx.service --sort cpu
  monitor processes --json | jq .";

const RECORD_HELP: &str = "\
Loads the kernel programs for itself: needs the privilege of `monitor run`; a running daemon is not disturbed. Alerts are \
printed as JSON lines. The file has arguments and environments as programs had them, secrets included.

Examples:
  sudo monitor record attack.mon --seconds 30 > live.jsonl
  monitor replay attack.mon | diff live.jsonl -";

const REPLAY_HELP: &str = "\
Prints the alerts as JSON lines, the same for the same file and rules on every machine. Exit code 1: the file was cut off \
or damaged; what is before that has been gone through.

Examples:
  monitor replay attack.mon --rules ./rules.d";

const AUDIT_HELP: &str = "\
Reads the files, so as a rule it needs root; the daemon need not run. Exit code 1: something is wrong with the trail.

Examples:
  sudo monitor audit verify
  sudo monitor audit verify --head 4711:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  monitor audit verify /mnt/backup/audit --json
  sudo monitor audit show --kind start --kind stop";

const RULES_HELP: &str = "\
Examples:
  monitor rules check /etc/monitor/rules.d    every mistake with file, line and column
  monitor rules list                          what is on by default
  monitor rules explain sensitive_read
  monitor rules test attack.rec --expect sensitive_read=1";

const CONFIG_HELP: &str = "\
Examples:
  monitor config show --origin                every value and where it comes from
  monitor config check --config new.toml      every mistake with its line; exit code 78 if there is one
  monitor config default > monitor.toml       a commented file with every key";

/// Observes a Linux host with eBPF: system-call latency, TCP traffic, block I/O and processes for Prometheus, and
/// security events when something suspicious is executed.
#[derive(Debug, Parser)]
#[command(name = "monitor", version, after_help = AFTER_HELP, max_term_width = 110, disable_help_subcommand = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Args, Debug)]
pub(super) struct Global {
    /// Configuration file; without it MONITOR_CONFIG, else /etc/monitor/monitor.toml if it exists
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set a key of the configuration, such as metrics.groups=200; lists are separated by commas. May be repeated
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(super) set: Vec<(String, String)>,
    /// Log more: -v debug, -vv trace
    #[arg(short, long, global = true, help_heading = GLOBAL, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,
    /// Log less: -q warnings, -qq errors
    #[arg(short, long, global = true, help_heading = GLOBAL, action = ArgAction::Count)]
    pub(super) quiet: u8,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
        None => Err("write KEY=VALUE, such as metrics.groups=200".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Observe this machine
    #[command(after_help = RUN_HELP)]
    Run {
        /// Address and port of the HTTP server (http.listen); port 0 takes a free one
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// Say what this kernel can and cannot do, what is lost, and the remedy
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show, check or explain the configuration
    #[command(after_help = CONFIG_HELP)]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print security events of the running daemon
    #[command(after_help = EVENTS_HELP)]
    Events(Events),
    /// Print the processes that the running daemon knows
    #[command(after_help = PROCESSES_HELP)]
    Processes(Processes),
    /// Write down what the kernel tells, to be gone through again by `monitor replay`
    #[command(after_help = RECORD_HELP)]
    Record {
        /// The file; it must not exist
        file: PathBuf,
        /// For so many seconds, or until SIGINT or SIGTERM
        #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
        /// Stop when the file has so many MiB
        #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
        max_size: u64,
        /// Directory of rule files; without it the rules as they are
        #[arg(long, value_name = "DIR")]
        rules: Option<PathBuf>,
    },
    /// Run the rules over a recording; no privilege is needed
    #[command(after_help = REPLAY_HELP)]
    Replay {
        /// The recording
        file: PathBuf,
        /// Directory of rule files; without it the rules as they are
        #[arg(long, value_name = "DIR")]
        rules: Option<PathBuf>,
        /// How alerts are printed
        #[arg(long, value_parser = ["native", "ecs", "ocsf"], default_value = "native")]
        format: String,
    },
    /// Check, list, explain or try rules
    #[command(after_help = RULES_HELP)]
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Check or print the audit trail
    #[command(after_help = AUDIT_HELP)]
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Print reference pages, for the repository
    #[command(hide = true)]
    Docs {
        /// Name of the page
        #[arg(value_parser = super::docs::names())]
        page: String,
    },
    /// Print the version
    Version,
}

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Say what is wrong or doubtful in rules; exit code 78 if something is wrong
    Check {
        /// Rule files or directories, read behind the default rules; without any those that the configuration names
        paths: Vec<PathBuf>,
    },
    /// List rules with severity and ATT&CK techniques
    List {
        /// Rule files or directories, as for check
        paths: Vec<PathBuf>,
        /// Print JSON, one rule a line
        #[arg(long)]
        json: bool,
    },
    /// Say what a rule looks for, when it is asked, and what the kernel is asked to tell for it
    Explain {
        /// Name of the rule
        rule: String,
        /// Rule files or directories, as for check
        paths: Vec<PathBuf>,
    },
    /// Go through a recording and compare how often rules fire with what is expected
    Test {
        /// The recording (`monitor record`)
        file: PathBuf,
        /// Rule file or directory instead of the default rules
        #[arg(long, value_name = "PATH")]
        rules: Option<PathBuf>,
        /// A rule and how often it has to fire; may be repeated
        #[arg(long, value_name = "RULE=COUNT", value_parser = expectation)]
        expect: Vec<(String, u64)>,
    },
}

fn expectation(text: &str) -> Result<(String, u64), String> {
    let parts = text.rsplit_once('=').and_then(|(rule, count)| Some((rule.to_owned(), count.parse().ok()?)));
    parts.ok_or_else(|| "write RULE=COUNT, such as exec_tmp=1".to_owned())
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Read the whole trail and say what was edited, removed or put elsewhere, and where
    Verify {
        #[command(flatten)]
        trail: AuditTrail,
        /// A head that was kept elsewhere: it has to be in the trail
        #[arg(long, value_name = "SEQUENCE:HASH", value_parser = head)]
        head: Option<Head>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print records, oldest first
    Show {
        #[command(flatten)]
        trail: AuditTrail,
        /// Only records of this kind, such as alert or start; may be repeated
        #[arg(long)]
        kind: Vec<String>,
        /// Only records with a larger number
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0, hide_default_value = true)]
        after: u64,
        /// Print at most so many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
        /// Print the lines as they stand in the files
        #[arg(long)]
        json: bool,
    },
}

/// Which trail.
#[derive(Args, Debug)]
pub(super) struct AuditTrail {
    /// Its directory; without it audit.directory of the configuration
    #[arg(value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// File with the key that the records are sealed with; without it audit.key_file of the configuration
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
}

fn head(text: &str) -> Result<Head, String> {
    Head::parse(text).ok_or_else(|| "write NUMBER:HASH, as GET /api/v1/audit/head told it".to_owned())
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every key with the value in effect, as TOML
    Show {
        /// Say for each value where it comes from
        #[arg(long)]
        origin: bool,
    },
    /// Check the configuration and report every mistake
    Check,
    /// Print a commented file with every key and its default
    Default,
    /// Print a JSON schema of the file, for editors
    Schema,
}

#[derive(Args, Debug)]
pub(super) struct Daemon {
    /// Address of the daemon; without it http.listen of the configuration
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) addr: Option<String>,
    /// Print JSON as the daemon answers it
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Events {
    #[command(flatten)]
    pub(super) daemon: Daemon,
    /// Keep waiting for new events
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Only events with a larger sequence number
    #[arg(long, value_name = "SEQ", default_value_t = 0, hide_default_value = true)]
    pub(super) after: u64,
    /// Only events of this severity; may be repeated
    #[arg(long, value_parser = ["info", "low", "medium", "high", "critical"])]
    pub(super) severity: Vec<String>,
    /// Only events of this rule; may be repeated
    #[arg(long)]
    pub(super) rule: Vec<String>,
    /// Print at most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
}

#[derive(Args, Debug)]
pub(super) struct Processes {
    #[command(flatten)]
    pub(super) daemon: Daemon,
    /// Only this process
    #[arg(long)]
    pub(super) pid: Option<u32>,
    /// Only processes of this group
    #[arg(long)]
    pub(super) group: Option<String>,
    /// Order: by pid, or the largest first
    #[arg(long, value_parser = ["pid", "start", "cpu", "memory", "syscalls", "network", "disk"])]
    pub(super) sort: Option<String>,
    /// Print at most so many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
}
