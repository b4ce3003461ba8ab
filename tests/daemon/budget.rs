//! The cost governor: in a storm of system calls detail goes step by step, security stays, and everything comes back.

use std::{collections::BTreeSet, thread, time::Duration};

use monitor_tests::{Daemon, Samples, Workload, until};

use super::support::{HIDDEN, hidden, told};

/// What may be given up, in this order.
const STEPS: [&str; 5] = ["adaptive_timing", "slow_reading", "no_timing", "no_tcp_traffic", "no_syscalls"];
/// Long enough for every step down and up, other tests' storms included.
const LONG: Duration = Duration::from_secs(180);

fn shed(metrics: &Samples) -> Vec<&'static str> {
    let is_shed = |step: &&str| metrics.find("monitor_budget_shed", &[("step", step)]) == Some(1.0);
    STEPS.into_iter().filter(is_shed).collect()
}

fn budget(cpu: &str) -> String {
    format!("[budget]\ncpu = \"{cpu}\"\ninterval = \"1s\"\n")
}

fn reload(daemon: &Daemon, config: &str) {
    std::fs::write(daemon.directory().join("monitor.toml"), config).unwrap();
    let answer = daemon.post("/-/reload");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The steps that the log tells of in lines that contain `text`.
fn logged<'a>(log: &'a str, text: &str) -> Vec<&'a str> {
    let step = |line: &'a str| line.split("step=").nth(1)?.split('"').nth(1);
    log.lines().filter(|line| line.contains(text)).filter_map(step).collect()
}

#[test]
fn a_storm_costs_detail_and_nothing_that_security_needs() {
    // A budget that nothing exceeds, to see what the storm costs here; then a quarter of that.
    let daemon = Daemon::start(&budget("9000%"));
    assert_eq!(daemon.metrics().find("monitor_budget_cpu_limit_ratio", &[]), Some(90.0));
    let cpus = thread::available_parallelism().unwrap().get();
    let storm: Vec<Workload> = (0..cpus).map(|_| Workload::spawn(&["getppid", "100000000000"])).collect();
    let cost = until(LONG, || {
        let metrics = daemon.metrics();
        let kernel = metrics.find("monitor_budget_cpu_used_ratio", &[("part", "kernel")]);
        kernel.filter(|kernel| *kernel > 0.05).ok_or_else(|| format!("the storm costs {kernel:?} only"))
    });
    assert_eq!(shed(&daemon.metrics()), [""; 0]);
    reload(&daemon, &budget(&format!("{:.1}%", cost * 100.0 / 4.0)));
    until(LONG, || match shed(&daemon.metrics()) {
        steps if steps.contains(&"no_timing") => Ok(()),
        steps => Err(format!("only {steps:?} are given up\n{}", daemon.log())),
    });
    // What is given up is always the beginning of the list, and the log says so in this order.
    let metrics = daemon.metrics();
    let now = shed(&metrics);
    assert_eq!(now, STEPS[..now.len()]);
    let log = daemon.log();
    // Some of it may have come back for a while, when the storm had not begun.
    let mut told_so = logged(&log, "above the budget");
    let mut seen = BTreeSet::new();
    told_so.retain(|step| seen.insert(*step));
    assert_eq!(told_so[..3], STEPS[..3], "{log}");
    assert_eq!(metrics.find("monitor_syscall_timing", &[("mode", "counts")]), Some(1.0));
    assert_eq!(metrics.find("monitor_hook_attached", &[("signal", "syscalls"), ("hook", "sys_enter")]), Some(0.0));
    assert_eq!(metrics.find("monitor_hook_attached", &[("signal", "exec"), ("hook", "sched_process_exec")]), Some(1.0));
    assert!(metrics.find("monitor_budget_changes_total", &[("direction", "shed")]) >= Some(3.0));
    let used = |part| metrics.find("monitor_budget_cpu_used_ratio", &[("part", part)]);
    assert!(used("kernel") > Some(0.0) && used("daemon") > Some(0.0), "{metrics:?}");

    // The status says what is missing, and rules work.
    let status = daemon.json("/api/v1/status");
    let syscalls = status["signals"].as_array().unwrap().iter().find(|signal| signal["name"] == "syscalls").unwrap();
    assert_eq!(syscalls["state"], "partial", "{status}");
    assert!(syscalls["reason"].as_str().unwrap().contains("budget.cpu"), "{status}");
    assert!(daemon.get("/").text().contains("To keep it"));
    let pid = hidden(&[]);
    told(&daemon, pid, HIDDEN);

    for workload in storm {
        workload.kill(libc::SIGKILL);
        workload.end();
    }
    // Whatever other tests cost meanwhile.
    reload(&daemon, &budget("9000%"));
    until(LONG, || match shed(&daemon.metrics()) {
        steps if steps.is_empty() => Ok(()),
        steps => Err(format!("{steps:?} are still given up\n{}", daemon.log())),
    });
    let metrics = daemon.metrics();
    assert_eq!(metrics.find("monitor_syscall_timing", &[("mode", "full")]), Some(1.0));
    assert_eq!(metrics.find("monitor_hook_attached", &[("signal", "syscalls"), ("hook", "sys_enter")]), Some(1.0));
    // Everything works as before.
    let mut workload = Workload::spawn(&["getppid", "3000", "+", "say", "done", "+", "wait"]);
    assert_eq!(workload.line(), "done");
    let process = daemon.seen(workload.pid());
    workload.finish();
    let query = &process["syscalls"]["families"]["query"];
    assert!(query["calls"].as_u64() >= Some(3_000), "{process}");
    assert_eq!((query["untimed"].as_u64(), query["skipped"].as_u64()), (Some(0), Some(0)), "{process}");
}

#[test]
fn without_a_budget_nothing_is_given_up() {
    let metrics = Daemon::start("").metrics();
    assert_eq!(metrics.find("monitor_budget_cpu_limit_ratio", &[]), None);
    assert_eq!(metrics.all("monitor_budget_shed", &[]).count(), 0);
}
