//! A Prometheus of Debian.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    time::Duration,
};

use monitor_tests::{Daemon, Guard, get, until};
use serde_json::Value;

/// Prometheus has to have scraped a few times before it can tell a rate.
const PATIENCE: Duration = Duration::from_secs(40);

/// A Prometheus that scrapes a daemon every second. Stopped when dropped.
pub(super) struct Prometheus {
    address: SocketAddr,
    directory: tempfile::TempDir,
    _process: Guard,
}

impl Prometheus {
    pub(super) fn start(daemon: &Daemon) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let file = |name: &str| directory.path().join(name);
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: monitor, static_configs: [{{targets: ['{}']}}]}}]\n",
            daemon.address()
        );
        fs::write(file("prometheus.yml"), config).expect("write its configuration");
        let log = fs::File::create(file("log")).expect("make its log");
        let address = free();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let process = Guard::spawn(&mut command);
        let prometheus = Self { address, directory, _process: process };
        until(PATIENCE, || match get(address, "/-/ready") {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("Prometheus is not ready: {other:?}\n{}", prometheus.log())),
        });
        prometheus
    }

    /// What it logged: warnings and errors.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).expect("its log is text")
    }

    /// The one value of a query; none if it has none, as a comparison that is not true.
    pub(super) fn value(&self, query: &str) -> Option<f64> {
        let answer = self.ask(&format!("query?query={}", encoded(query)));
        let result = answer["result"].as_array().expect("a list");
        assert!(result.len() <= 1, "{query} has more than one answer: {answer:#}");
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Waits until a query has a value.
    pub(super) fn until_true(&self, query: &str) -> f64 {
        until(PATIENCE, || self.value(query).ok_or_else(|| format!("not true: {query}")))
    }

    /// What it says of the daemon.
    pub(super) fn target(&self) -> Value {
        self.ask("targets")["activeTargets"][0].clone()
    }

    fn ask(&self, path: &str) -> Value {
        let response = get(self.address, &format!("/api/v1/{path}")).expect("Prometheus answers");
        let answer: Value = serde_json::from_slice(&response.body).expect("Prometheus answers with JSON");
        assert_eq!(answer["status"], "success", "{path}: {answer:#}");
        answer["data"].clone()
    }
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("find a free port")
}

/// As it has to be in a URL.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ =
            if byte.is_ascii_alphanumeric() { write!(all, "{}", char::from(byte)) } else { write!(all, "%{byte:02X}") };
        all
    })
}
