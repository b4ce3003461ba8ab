//! The whole way: real programs do their work, the daemon observes them, and a real Prometheus asks.

#![expect(clippy::expect_used, reason = "a test fails by a panic, with a stack that leads to the line that asked")]

mod prometheus;

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use monitor_tests::{DEADLINE, Daemon, Workload, directory, until};

use prometheus::Prometheus;

/// Bytes of the file that is served.
const FILE: usize = 300_000;

/// A file server with a client, a program that waits for the disk, and one that starts others.
struct Load {
    server: Workload,
    client: Workload,
    journal: Workload,
    storm: Workload,
    _directory: tempfile::TempDir,
}

impl Load {
    fn start() -> Self {
        let directory = directory();
        fs::write(directory.path().join("file"), vec![b'f'; FILE]).expect("write a file to serve");
        let mut server = Workload::spawn(&["serve-files", directory.path().to_str().expect("text")]);
        let address = server.line();
        let client = Workload::spawn(&["fetch-files", &address, "file", "20"]);
        let journal = directory.path().join("journal");
        let journal = Workload::spawn(&["keep-journal", journal.to_str().expect("text"), "20"]);
        let storm = Workload::spawn(&["storm", "20"]);
        Self { server, client, journal, storm, _directory: directory }
    }
}

#[test]
fn prometheus_answers_questions_about_a_real_load() {
    let daemon = Daemon::start("[metrics]\ngroups = 1000\n");
    let prometheus = Prometheus::start(&daemon);
    let load = Load::start();
    let (server, client) = (&load.server.name, &load.client.name);
    let (journal, storm) = (&load.journal.name, &load.storm.name);

    // Each of these has to become true; whoever looks at a dashboard asks the same.
    for query in [
        "up{job=\"monitor\"} == 1".to_owned(),
        format!("sum by (group) (rate(monitor_syscalls_total{{group=\"{server}\"}}[5s])) > 50"),
        format!("sum(rate(monitor_process_syscall_duration_seconds_count{{group=\"{journal}\"}}[5s])) > 10"),
        // A file every 20 ms at most, but no less than one a second.
        format!("rate(monitor_tcp_bytes_total{{group=\"{server}\",direction=\"sent\"}}[5s]) > {FILE}"),
        format!("rate(monitor_tcp_bytes_total{{group=\"{client}\",direction=\"received\"}}[5s]) > {FILE}"),
        format!("rate(monitor_tcp_accepts_total{{group=\"{server}\"}}[5s]) > 1"),
        format!("sum(rate(monitor_tcp_connects_total{{group=\"{client}\"}}[5s])) > 1"),
        "histogram_quantile(0.5, sum by (le) (rate(monitor_tcp_connect_duration_seconds_bucket[5s]))) > 0".to_owned(),
        format!("sum(rate(monitor_process_block_io_bytes_total{{group=\"{journal}\",op=\"write\"}}[5s])) > 4096"),
        format!("sum(rate(monitor_process_block_io_operations_total{{group=\"{journal}\"}}[5s])) > 1"),
        "histogram_quantile(0.5, sum by (le) (rate(monitor_block_io_duration_seconds_bucket[5s]))) > 0".to_owned(),
        format!("rate(monitor_process_starts_total{{group=\"{storm}\"}}[5s]) > 1"),
        format!("sum(rate(monitor_process_exits_total{{group=\"{storm}\"}}[5s])) > 1"),
        format!("sum(rate(monitor_process_cpu_seconds_total{{group=\"{storm}\"}}[5s])) > 0"),
        "sum(rate(node_cpu_seconds_total[5s])) > 0.5".to_owned(),
        "rate(process_cpu_seconds_total{job=\"monitor\"}[5s]) > 0".to_owned(),
    ] {
        let value = prometheus.until_true(&query);
        println!("{value:>14} {query}");
    }
    // What one sends the other receives, as Prometheus has it.
    let received = format!(
        "rate(monitor_tcp_bytes_total{{group=\"{client}\",direction=\"received\"}}[5s]) / ignoring(group, direction) \
         rate(monitor_tcp_bytes_total{{group=\"{server}\",direction=\"sent\"}}[5s])"
    );
    prometheus.until_true(&format!("{received} > 0.8 < 1.2"));

    // Not one scrape failed, and none had anything that Prometheus had to leave out.
    let target = prometheus.target();
    assert_eq!((target["health"].as_str(), target["lastError"].as_str()), (Some("up"), Some("")), "{target:#}");
    assert_eq!(prometheus.value("min_over_time(up{job=\"monitor\"}[1h])"), Some(1.0));
    let log = prometheus.log();
    assert!(!log.contains("scrape"), "{log}");
    let metrics = daemon.metrics();
    assert!(metrics.sum("monitor_http_requests_total", &[("handler", "/metrics"), ("code", "200")]) >= 5.0);
    assert_eq!(metrics.sum("monitor_metrics_skipped_samples_total", &[]), 0.0);
}

#[test]
fn promtool_complains_of_nothing_but_names_that_are_not_ours() {
    let daemon = Daemon::start("[metrics]\nper_process = [\"*\"]\n");
    let load = Load::start();
    // A page with as much on it as there can be: of every signal, and of single processes.
    let page = until(DEADLINE, || {
        let page = daemon.get("/metrics").text().to_owned();
        let missing: Vec<_> = [
            format!("monitor_process_block_io_bytes_total{{group=\"{}\"", load.journal.name),
            format!("monitor_tcp_bytes_total{{group=\"{}\"", load.server.name),
            format!("monitor_process_exits_total{{group=\"{}\"", load.storm.name),
            "monitor_pid_syscalls_total{".to_owned(),
            "monitor_ebpf_program_runs_total{".to_owned(),
        ]
        .into_iter()
        .filter(|start| !page.contains(start))
        .collect();
        if missing.is_empty() { Ok(page) } else { Err(format!("not yet there: {missing:?}")) }
    });
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool (Debian: prometheus)");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // node_exporter chose them, every dashboard knows them.
    let theirs = |line: &&str| {
        (line.starts_with("node_memory_") || line.starts_with("node_netstat_"))
            && line.ends_with(" metric names should be written in 'snake_case' not 'camelCase'")
    };
    let ours: Vec<&str> = said.lines().filter(|line| !theirs(line)).collect();
    assert_eq!(ours, [] as [&str; 0]);
    // 3: there were complaints, and nothing worse.
    assert_eq!(output.status.code(), Some(3), "{said}");
}
