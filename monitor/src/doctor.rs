//! `monitor doctor`: what this kernel can do for each signal, found out by really loading and attaching, what is lost
//! where it cannot, and the remedy.

use std::{fs, io::Write, process::ExitCode};

use monitor_common::{knobs::Knobs, limits};
use serde::Serialize;

use crate::{
    bpf::{
        BpfError,
        kernel::Kernel,
        loader::{self, HookState, Loaded, PROTECT, Settings, SignalReport, SignalState},
    },
    cli::Console,
    config::Config,
    signals::{SIGNALS, Signal, l7::tls, protect::Protect},
};

/// How one check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something is lost.
    Warning,
    /// The daemon is of no use like this.
    Failure,
}

/// Something about the machine that matters.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub check: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What follows from it, when it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), lost: None, remedy: None }
    }

    fn bad(check: &'static str, verdict: Verdict, found: impl Into<String>, lost: &str, remedy: &str) -> Self {
        Self { check, verdict, found: found.into(), lost: Some(lost.to_owned()), remedy: Some(remedy.to_owned()) }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Version of this program.
    pub version: &'static str,
    /// Version of the kernel, for the reader: nothing is decided by it.
    pub kernel: String,
    /// The worst of all verdicts.
    pub verdict: Verdict,
    /// The machine.
    pub checks: Vec<Check>,
    /// The signals.
    pub signals: Vec<SignalReport>,
    /// How this kernel is dealt with, where kernels differ. `None`: no program could be loaded.
    pub layout: Option<Layout>,
}

/// Which of several ways of doing a thing this kernel needs, for whoever looks for a fault.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Layout {
    /// The running thread is asked for by `bpf_get_current_task_btf`.
    pub current_task_btf: bool,
    /// `sched_process_exit` tells whether it was the last thread.
    pub exit_tells_group: bool,
    /// The request is the second argument of `block_rq_issue`.
    pub block_request_is_second: bool,
    /// `block_rq_complete` tells an errno, no `blk_status_t`.
    pub block_errors_are_errno: bool,
    /// Bytes of connections are counted at each call.
    pub traffic_by_call: bool,
    /// Block requests are seen as they are submitted.
    pub block_io_start: bool,
}

impl Layout {
    const fn of(knobs: &Knobs) -> Self {
        Self {
            current_task_btf: knobs.has_current_task_btf != 0,
            exit_tells_group: knobs.exit_tells_group != 0,
            block_request_is_second: knobs.block_request_argument == 1,
            block_errors_are_errno: knobs.block_errors_are_errno != 0,
            traffic_by_call: knobs.traffic_by_call != 0,
            block_io_start: knobs.block_io_start != 0,
        }
    }
}

/// Looks at everything. `settings.signals` should name all signals: a doctor does not spare what is switched off.
pub fn diagnose(btf: &std::path::Path, disabled: &[String], settings: &Settings) -> Diagnosis {
    let mut checks = vec![pid_namespace(), cgroups()];
    let result = Kernel::look(btf, disabled).and_then(|mut kernel| Ok((loader::load(&mut kernel, settings)?, kernel)));
    let (signals, layout) = match result {
        Ok((mut loaded, kernel)) => {
            checks.extend(of_kernel(&loaded, &kernel));
            let wanted = settings.signals.contains(&PROTECT);
            checks.push(if wanted { protected(&mut loaded) } else { unprotected(&kernel) });
            if let Some(libraries) = tls::survey(&loaded) {
                checks.push(Check::ok("TLS libraries", libraries));
            }
            (loaded.signals, Some(Layout::of(&loaded.knobs)))
        }
        Err(error) => {
            checks.push(failure(&error));
            let off = |signal: &Signal| without_kernel(signal.name, signal.summary, signal.hooks.is_empty());
            (SIGNALS.iter().map(off).collect(), None)
        }
    };
    let worst = |report: &SignalReport| match report.state {
        SignalState::Full => Verdict::Ok,
        // Nobody asked for it, or its check has said it.
        SignalState::Off(_) if report.signal == PROTECT => Verdict::Ok,
        SignalState::Degraded(_) | SignalState::Off(_) => Verdict::Warning,
    };
    let verdict = checks.iter().map(|check| check.verdict).chain(signals.iter().map(worst)).max();
    let uname = rustix::system::uname();
    Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        kernel: uname.release().to_string_lossy().into_owned(),
        verdict: verdict.unwrap_or(Verdict::Ok),
        checks,
        signals,
        layout,
    }
}

fn without_kernel(signal: &'static str, summary: &'static str, needs_none: bool) -> SignalReport {
    let state = if needs_none {
        SignalState::Full
    } else {
        SignalState::Off("no kernel program can be loaded; see the checks".to_owned())
    };
    SignalReport { signal, summary, state, hooks: Vec::new() }
}

fn failure(error: &BpfError) -> Check {
    let (lost, remedy) = match error {
        BpfError::NoBtf { .. } | BpfError::BadBtf { .. } => (
            "everything but the host's own numbers",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, or name a BTF file for this kernel by kernel.btf",
        ),
        BpfError::Permission(_) => (
            "everything but the host's own numbers",
            "run as root, or give CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; in a container also \
             --pid=host and a seccomp profile that allows bpf(2)",
        ),
        _ => ("everything but the host's own numbers", "report this with the output of `monitor doctor --json`"),
    };
    Check::bad("kernel programs", Verdict::Failure, error.to_string(), lost, remedy)
}

fn of_kernel(loaded: &Loaded, kernel: &Kernel) -> Vec<Check> {
    let known = monitor_common::offsets::FIELDS.len();
    let found = monitor_common::offsets::FIELDS.iter().filter(|field| kernel.offsets.get(field.name).is_some()).count();
    let mut checks = vec![
        Check::ok("kernel programs", "can be loaded"),
        Check::ok("kernel fields", format!("{found} of {known} found in BTF")),
    ];
    if kernel.cpus > limits::SHARDS_MAX {
        checks.push(Check::ok(
            "processors",
            format!("{}: they share {} copies of the hot counters, atomically", kernel.cpus, loaded.shards),
        ));
    }
    checks.push(if loaded.knobs.compat_mask == 0 && cfg!(target_arch = "x86_64") {
        Check::bad(
            "32-bit callers",
            Verdict::Warning,
            "thread_info.status is not in BTF",
            "system calls of 32-bit programs are counted in the wrong family",
            "none known",
        )
    } else {
        Check::ok("32-bit callers", "told apart")
    });
    checks
}

/// Whether the daemon can be protected, as protect.enabled demands.
fn protected(loaded: &mut Loaded) -> Check {
    const LOST: &str =
        "others with the rights to do so may stop, trace and blind the daemon; that is told, but not forbidden";
    const REMEDY: &str = "boot with bpf among the modules of lsm= on the kernel's command line (/sys/kernel/security/lsm lists \
                          those that are active), or set protect.enabled = false";
    // Attached is not asked: it has to be seen.
    let attempt = if loaded.runs(PROTECT) { Protect::new(loaded).map(drop) } else { Ok(()) };
    let report = loaded.signals.iter().find(|report| report.signal == PROTECT).map(|report| &report.state);
    match (attempt, report) {
        (Ok(()), Some(SignalState::Full)) => Check::ok("self-protection", "the kernel asks and forbids"),
        (Ok(()), Some(SignalState::Degraded(lost))) => {
            Check::bad("self-protection", Verdict::Warning, "in part", lost, REMEDY)
        }
        (Ok(()), Some(SignalState::Off(reason))) => {
            Check::bad("self-protection", Verdict::Warning, format!("not possible: {reason}"), LOST, REMEDY)
        }
        (Err(error), _) => Check::bad("self-protection", Verdict::Warning, error.to_string(), LOST, REMEDY),
        (Ok(()), None) => Check::bad("self-protection", Verdict::Warning, "unknown to the loader", LOST, REMEDY),
    }
}

/// It is not wanted: what could be.
fn unprotected(kernel: &Kernel) -> Check {
    let possible = match kernel.lsm_refusal("task_kill") {
        None => "bpf is among the active security modules".to_owned(),
        Some(reason) => reason,
    };
    Check::ok("self-protection", format!("off by protect.enabled; {possible}"))
}

/// Kernel programs see process ids of the first pid namespace; the daemon has to see the same.
fn pid_namespace() -> Check {
    // PROC_PID_INIT_INO, include/linux/proc_ns.h.
    const FIRST: &str = "pid:[4026531836]";
    match fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) if namespace.as_os_str() == FIRST => Check::ok("pid namespace", "the host's"),
        Ok(namespace) => Check::bad(
            "pid namespace",
            Verdict::Warning,
            namespace.display().to_string(),
            "names, arguments and groups of processes, and that the daemon leaves itself out",
            "run in the host's pid namespace (docker run --pid=host, hostPID: true)",
        ),
        Err(error) => Check::bad(
            "pid namespace",
            Verdict::Warning,
            format!("/proc/self/ns/pid: {error}"),
            "nothing, if it is the host's",
            "mount /proc",
        ),
    }
}

fn cgroups() -> Check {
    let v2 = fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false);
    let hybrid = fs::exists("/sys/fs/cgroup/unified/cgroup.procs").unwrap_or(false);
    // Which controllers there are differs; of the newest kernels, some have none of memory.
    let hierarchies = ["memory", "cpu", "pids", "systemd"];
    let there = |name: &&str| fs::exists(format!("/sys/fs/cgroup/{name}/cgroup.procs")).unwrap_or(false);
    let v1 = hierarchies.iter().any(there);
    match (v2, hybrid, v1) {
        (true, ..) => Check::ok("control groups", "version 2"),
        (_, true, _) => Check::ok("control groups", "hybrid: version 1 with a version 2 tree"),
        (_, _, true) => Check::ok("control groups", "version 1"),
        _ => Check::bad(
            "control groups",
            Verdict::Warning,
            "none mounted at /sys/fs/cgroup",
            "services and containers as groups: processes are grouped by program",
            "mount cgroup2 at /sys/fs/cgroup",
        ),
    }
}

impl Diagnosis {
    /// Exit code for scripts: 0 all well, 2 something is lost, 1 of no use.
    pub const fn exit_code(&self) -> u8 {
        match self.verdict {
            Verdict::Ok => 0,
            Verdict::Warning => 2,
            Verdict::Failure => 1,
        }
    }

    /// Writes it for a person.
    ///
    /// # Errors
    /// What the writer says.
    pub fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "monitor {} on Linux {}\n", self.version, self.kernel)?;
        for check in &self.checks {
            let mark = match check.verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warn",
                Verdict::Failure => "FAIL",
            };
            writeln!(out, "{mark:<5} {:<16} {}", check.check, check.found)?;
            advice(out, check.lost.as_deref(), check.remedy.as_deref())?;
        }
        for report in &self.signals {
            writeln!(out)?;
            let (mark, reason) = match &report.state {
                SignalState::Full => ("ok", ""),
                SignalState::Degraded(lost) => ("warn", lost.as_str()),
                SignalState::Off(reason) => ("off", reason.as_str()),
            };
            writeln!(out, "{mark:<5} {:<16} {}", report.signal, report.summary)?;
            advice(out, Some(reason).filter(|reason| !reason.is_empty()), None)?;
            for hook in &report.hooks {
                match &hook.state {
                    HookState::Attached => writeln!(out, "        {:<24} attached", hook.hook)?,
                    HookState::Unused(why) => writeln!(out, "        {:<24} not needed: {why}", hook.hook)?,
                    HookState::Failed(why) => writeln!(out, "        {:<24} FAILED: {why}", hook.hook)?,
                }
            }
        }
        Ok(())
    }
}

fn advice(out: &mut dyn Write, lost: Option<&str>, remedy: Option<&str>) -> std::io::Result<()> {
    if let Some(lost) = lost {
        writeln!(out, "      lost:   {lost}")?;
    }
    if let Some(remedy) = remedy {
        writeln!(out, "      remedy: {remedy}")?;
    }
    Ok(())
}

/// `monitor doctor`: looks, prints, and returns the exit code for scripts.
pub fn run(json: bool, config: &Config, console: &mut Console<'_>) -> ExitCode {
    let settings = Settings {
        // All that observe: a doctor does not spare what is switched off. What forbids is not put in force unasked.
        signals: SIGNALS
            .iter()
            .map(|signal| signal.name)
            .filter(|name| *name != PROTECT || config.protect.enabled)
            .collect(),
        timing: config.syscalls.timing,
        tls: config.signals.l7_tls,
        may_shed: config.budget.measured().is_some(),
        slots: config.processes.slots,
        security_ring: u32::try_from(config.kernel.security_ring).unwrap_or(u32::MAX),
        telemetry_ring: u32::try_from(config.kernel.telemetry_ring).unwrap_or(u32::MAX),
        bulk_ring: u32::try_from(config.kernel.bulk_ring).unwrap_or(u32::MAX),
        requests_ring: u32::try_from(config.kernel.requests_ring).unwrap_or(u32::MAX),
        l7_rate: config.l7.rate,
        log_level: 0,
    };
    let diagnosis = diagnose(&config.kernel.btf, &config.kernel.disable_hooks, &settings);
    let mut text = Vec::new();
    let written = if json {
        serde_json::to_writer_pretty(&mut text, &diagnosis).map_err(std::io::Error::from).and_then(|()| writeln!(text))
    } else {
        diagnosis.print(&mut text)
    };
    let printed = written.and_then(|()| console.print(&String::from_utf8_lossy(&text)));
    match printed {
        Ok(()) => ExitCode::from(diagnosis.exit_code()),
        Err(_) => console.ended(printed).into(),
    }
}
