//! gRPC: Google's implementation for Python on both sides.

use std::collections::BTreeMap;

use monitor_tests::{Installed, Samples, Server, alone, free_address};

use super::{Times, counted, daemon, quantiles};

const CALLS: &str = "monitor_db_query_duration_seconds";

/// Python, where it looks for its modules, whatever it is called.
fn python(program: &Installed, text: &str) -> String {
    program.write("program.py", text).to_str().unwrap().to_owned()
}

fn calls(metrics: &Samples, group: &str, role: &str, more: &[(&str, &str)]) -> f64 {
    metrics.sum(&format!("{CALLS}_count"), &[&[("group", group), ("role", role), ("system", "grpc")], more].concat())
}

#[test]
fn calls_are_as_many_as_the_client_made_and_end_as_it_says() {
    let (program, address) = (Installed::new("python3"), free_address());
    let text = python(&program, include_str!("grpc_server.py"));
    let port = address.port().to_string();
    let server = Server::listening(program, address, |command| {
        command.args([&text, &port]).env("PYTHONHOME", "/usr");
    });
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let client = Installed::new("python3");
    let text = python(&client, include_str!("grpc_client.py"));
    let output = client.output(&[&text, &port], |command| {
        command.env("PYTHONHOME", "/usr");
    });
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stdout);
    let (mut made, mut failed) = (BTreeMap::<String, f64>::new(), BTreeMap::<&str, f64>::new());
    let mut times = Vec::new();
    for line in told.lines() {
        let [method, status, seconds] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        *made.entry(format!("/test.Service/{method}")).or_default() += 1.0;
        if status != "0" {
            *failed.entry(status).or_default() += 1.0;
        }
        if method == "Slow" {
            times.push(seconds.parse().unwrap());
        }
    }
    assert_eq!(made["/test.Service/Echo"], 301.0);
    // NOT_FOUND, UNAVAILABLE, UNKNOWN, UNIMPLEMENTED.
    assert_eq!(failed, BTreeMap::from(["5", "14", "2", "12"].map(|status| (status, 20.0))));
    let failed: Vec<(&str, f64)> = failed.into_iter().collect();
    // Whoever asks for a method that there is not may have made it up.
    made.remove("/test.Service/Absent");
    let mut made: Vec<(&str, f64)> = made.iter().map(|(method, count)| (method.as_str(), *count)).collect();
    made.push(("_unmatched", 20.0));
    for (group, role) in [(client.name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &made, |metrics, method| calls(metrics, group, role, &[("table", method)]));
        counted(&daemon, &failed, |metrics, code| {
            let labels = [("group", group), ("role", role), ("system", "grpc"), ("code", code)];
            metrics.sum("monitor_db_query_errors_total", &labels)
        });
        counted(&daemon, &[(group, told.lines().count() as f64)], |metrics, group| calls(metrics, group, role, &[]));
        let labels = [("group", group), ("table", "/test.Service/Slow")];
        Times::of(&daemon.fresh_metrics(), CALLS, &labels).agree(&quantiles(&mut times));
    }
    assert!(!daemon.get("/metrics").text().contains("secret"));
}
