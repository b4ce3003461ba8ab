//! Labels stay bounded, whatever runs.

use std::collections::BTreeSet;

use monitor_tests::{DEADLINE, Daemon, Samples, Workload, shared, until};

/// System calls of one workload.
const CALLS: u32 = 20_000;

fn groups(metrics: &Samples, name: &str) -> BTreeSet<String> {
    metrics.all(name, &[]).filter_map(|sample| sample.label("group")).map(str::to_owned).collect()
}

/// Workloads with names of their own, ready to go.
fn workloads(count: usize) -> Vec<Workload> {
    let steps = ["say", "ready", "+", "wait", "+", "getppid", &CALLS.to_string(), "+", "say", "done", "+", "wait"];
    let mut all: Vec<Workload> = (0..count).map(|_| Workload::spawn(&steps)).collect();
    for workload in &mut all {
        assert_eq!(workload.line(), "ready");
    }
    all
}

fn go(all: &mut [Workload]) {
    all.iter_mut().for_each(Workload::go);
    for workload in all {
        assert_eq!(workload.line(), "done");
    }
}

#[test]
fn more_programs_than_places_count_together_and_nothing_gets_lost() {
    let daemon = Daemon::start("[metrics]\ngroups = 3\n");
    let mut all = workloads(10);
    let sum = |daemon: &Daemon| daemon.fresh_metrics().sum("monitor_syscalls_total", &[("family", "query")]);
    // Another daemon with places for all looks a little longer, at the same machine with all that others do there.
    let witness = shared();
    let (wide, narrow) = (sum(&witness), sum(&daemon));
    go(&mut all);
    let narrow = sum(&daemon) - narrow;
    let wide = sum(&witness) - wide;
    let calls = f64::from(CALLS) * 10.0;
    // They see each other, but not themselves.
    assert!((calls..wide + calls / 20.0).contains(&narrow), "{narrow} counted, {calls} made, {wide} seen by the other");

    let metrics = daemon.metrics();
    assert_eq!(metrics.find("monitor_groups_limit", &[]), Some(3.0));
    assert_eq!(metrics.find("monitor_groups", &[("state", "visible")]), Some(3.0));
    assert!(metrics.find("monitor_groups", &[("state", "hidden")]) >= Some(7.0));
    assert!(metrics.find("monitor_series_dropped_total", &[("limit", "groups")]) >= Some(7.0));
    let names: BTreeSet<&str> = metrics.0.iter().map(|sample| sample.name.as_str()).collect();
    for name in names {
        let mut groups = groups(&metrics, name);
        groups.remove("_other");
        groups.remove("_unknown");
        assert!(groups.len() <= 3, "{name} has {groups:?}");
    }
    let other = metrics.sum("monitor_syscalls_total", &[("group", "_other"), ("family", "query")]);
    assert!(other >= f64::from(CALLS) * 7.0, "{other}");
    // The API knows each by name all the same.
    for workload in &all {
        let process = daemon.seen(workload.pid());
        assert_eq!(process["group"], workload.name.as_str());
        assert!(process["syscalls"]["calls"].as_u64() >= Some(u64::from(CALLS)), "{process}");
    }
}

#[test]
fn with_places_for_all_each_has_its_own_count() {
    let daemon = Daemon::start("[metrics]\ngroups = 1000\n");
    let mut all = workloads(5);
    let of = |workload: &Workload| {
        daemon.metrics().sum("monitor_syscalls_total", &[("group", &workload.name), ("family", "query")])
    };
    daemon.fresh_metrics();
    let before: Vec<f64> = all.iter().map(of).collect();
    go(&mut all);
    daemon.fresh_metrics();
    for (workload, before) in all.iter().zip(before) {
        assert_eq!(of(workload) - before, f64::from(CALLS), "{}", workload.name);
    }
}

/// Metrics once processes have been chosen for series of their own.
fn chosen(daemon: &Daemon) -> Samples {
    until(DEADLINE, || {
        let metrics = daemon.metrics();
        if metrics.all("monitor_pid_syscalls_total", &[]).count() > 0 { Ok(metrics) } else { Err("no series") }
    })
}

#[test]
fn single_processes_have_series_only_where_that_was_asked_for() {
    let asked = Workload::spawn(&["say", "ready", "+", "wait"]);
    let other = Workload::spawn(&["say", "ready", "+", "wait"]);
    let config = format!("[metrics]\nmax_processes = 1\nper_process = [\"{}*\", \"nobody\"]\n", asked.name);
    let daemon = Daemon::start(&config);
    let metrics = chosen(&daemon);
    let series: Vec<_> = metrics.0.iter().filter(|sample| sample.label("pid").is_some()).collect();
    assert!(series.len() >= 3, "{series:?}");
    for sample in &series {
        assert_eq!(sample.label("pid"), Some(asked.pid().to_string().as_str()), "{sample:?}");
        assert_eq!(sample.label("group"), Some(asked.name.as_str()), "{sample:?}");
        assert!(sample.name.starts_with("monitor_pid_"), "{sample:?}");
    }
    assert_eq!(metrics.find("monitor_series_dropped_total", &[("limit", "processes")]), Some(0.0));
    drop(other);
}

#[test]
fn the_cap_of_single_processes_is_kept_and_told() {
    let all = workloads(3);
    let names: Vec<String> = all.iter().map(|workload| format!("\"{}\"", workload.name)).collect();
    let config = format!("[metrics]\nmax_processes = 2\nper_process = [{}]\n", names.join(", "));
    let daemon = Daemon::start(&config);
    let metrics = chosen(&daemon);
    assert_eq!(metrics.all("monitor_pid_resident_memory_bytes", &[]).count(), 2);
    assert!(metrics.find("monitor_series_dropped_total", &[("limit", "processes")]) >= Some(1.0));
    // Whoever came first keeps the series.
    let youngest = all[2].pid().to_string();
    assert_eq!(metrics.all("monitor_pid_resident_memory_bytes", &[("pid", &youngest)]).count(), 0);
}
