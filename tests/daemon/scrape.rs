//! A large page of metrics, while the machine has more to do than it can.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::Duration,
};

use monitor_tests::{DEADLINE, Daemon, Samples, Workload, request, until};

/// Processes with series of their own, eleven each.
const PROCESSES: usize = 950;
const CALLS: usize = 20;
const ERRORS: usize = 3;

/// A page as Prometheus gets it: stored numbers will do.
fn page(daemon: &Daemon) -> String {
    let response = request(daemon.address(), "GET", "/metrics", &[]).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    response.text().to_owned()
}

/// Every series that must not go down.
fn counters(page: &str) -> HashMap<String, f64> {
    let mut kinds = HashSet::new();
    for line in page.lines() {
        if let Some((name, "counter" | "histogram")) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            kinds.insert(name);
        }
    }
    let counts = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"].map(|suffix| name.strip_suffix(suffix));
        kinds.contains(name) || parts.iter().flatten().any(|name| kinds.contains(name))
    };
    let samples = Samples::parse(page).0;
    let counters = samples.into_iter().filter(|sample| counts(&sample.name));
    counters.map(|sample| (format!("{} {:?}", sample.name, sample.labels), sample.value)).collect()
}

#[test]
fn ten_thousand_series_are_answered_on_a_saturated_machine_and_no_counter_goes_down() {
    let crowds = format!("w{}x*", std::process::id());
    let daemon =
        Daemon::start(&format!("[metrics]\ngroups = 2000\nper_process = [\"{crowds}\"]\nmax_processes = 10000\n"));
    let (count, calls, errors) = (PROCESSES.to_string(), CALLS.to_string(), ERRORS.to_string());
    let mut crowd = Workload::spawn(&["crowd", &count, &calls, &errors, "+", "say", "ready", "+", "wait"]);
    assert_eq!(crowd.line(), "ready");
    let group = crowd.name.clone();
    // Processes get their series when places are dealt out again.
    until(DEADLINE, || {
        let metrics = daemon.metrics();
        let (series, pids) = (metrics.0.len(), metrics.all("monitor_pid_syscalls_total", &[("group", &group)]).count());
        if series >= 10_000 && pids > PROCESSES { Ok(()) } else { Err(format!("{series} series, {pids} processes")) }
    });
    // More entries than one batch of the kernel's table of errors has: every one is there, and once.
    thread::sleep(Duration::from_millis(150));
    let answer = daemon.json(&format!("/api/v1/processes?group={group}&limit=10000"));
    let processes = answer["processes"].as_array().unwrap();
    let children = processes.iter().filter(|process| process["pid"] != crowd.pid());
    let complete = children.filter(|process| {
        let families = process["syscalls"]["families"].as_object();
        let errors =
            families.iter().flat_map(|families| families.values()).map(|family| family["errors"]["ENOENT"].as_u64());
        errors.flatten().sum::<u64>() == ERRORS as u64
    });
    assert_eq!(complete.count(), PROCESSES, "processes with all their errors, of {}", processes.len());

    let cpus = thread::available_parallelism().map_or(2, usize::from);
    let _busy: Vec<Workload> = (0..2 * cpus).map(|_| Workload::spawn(&["burn", "120000"])).collect();
    let mut before = counters(&page(&daemon));
    for _ in 0..30 {
        let page = page(&daemon);
        let now = counters(&page);
        assert!(page.lines().filter(|line| !line.starts_with('#')).count() >= 10_000);
        for (series, value) in &before {
            assert!(now.get(series).is_none_or(|now| now >= value), "{series} was {value}, is {:?}", now.get(series));
        }
        before = now;
        thread::sleep(Duration::from_millis(50));
    }
    // What is served is not for ever what was collected once.
    let calls = |page: &HashMap<String, f64>| {
        page.iter()
            .filter(|(series, _)| series.starts_with("monitor_syscalls_total "))
            .map(|(_, calls)| calls)
            .sum::<f64>()
    };
    let last = calls(&before);
    until(DEADLINE, || {
        let now = calls(&counters(&page(&daemon)));
        if now > last { Ok(()) } else { Err(format!("{now} calls, as before")) }
    });
}
