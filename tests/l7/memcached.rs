//! memcached, asked by a client of ours: what it answers, and logs, is the truth.

use std::collections::BTreeMap;

use monitor_tests::{Installed, Samples, Server, Workload, alone, free_address};

use super::{Times, counted, daemon, quantiles};

const QUERIES: &str = "monitor_db_query_duration_seconds";
const ROUNDS: usize = 200;

fn commands(metrics: &Samples, group: &str, role: &str, command: &str) -> f64 {
    let labels = [("group", group), ("role", role), ("system", "memcached"), ("operation", command)];
    metrics.sum(&format!("{QUERIES}_count"), &labels)
}

/// How often the server logged that it was asked what it has to answer: `<27 get key1`.
fn asked(server: &Server) -> BTreeMap<String, f64> {
    let mut asked = BTreeMap::new();
    for line in server.log().lines() {
        let Some((number, command)) = line.strip_prefix('<').and_then(|line| line.split_once(' ')) else { continue };
        let command = command.trim_end();
        let silent = command.ends_with(" noreply") || command.starts_with("mg absent") && command.ends_with(" q");
        let name = command.split(' ').next().unwrap();
        let of_itself = ["new", "server", "connection"].contains(&name);
        if number.parse::<u32>().is_ok() && !silent && !of_itself {
            *asked.entry(name.to_owned()).or_default() += 1.0;
        }
    }
    asked
}

#[test]
fn commands_are_as_many_as_the_server_was_asked() {
    let (program, address) = (Installed::new("memcached"), free_address());
    let server = Server::listening(program, address, |command| {
        let port = address.port().to_string();
        command.args(["-u", "nobody", "-l", "127.0.0.1", "-p", &port, "-U", "0", "-t", "2", "-vv"]);
    });
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let steps = ["connect", &address.to_string(), "+", "ask-memcached", &ROUNDS.to_string(), "+", "close"];
    let mut client = Workload::spawn(&steps);
    let line = client.line();
    let mut times: Vec<f64> = line.split(' ').map(|time| time.parse::<f64>().unwrap() / 1e9).collect();
    let name = client.name.clone();
    client.finish();
    let asked = asked(&server);
    let rounds = ROUNDS as f64;
    assert_eq!((asked["get"], asked["set"], asked["mg"]), (5.0 * rounds + 1.0, 2.0 * rounds + 1.0, 2.0 * rounds));
    let wanted: Vec<_> = asked.iter().map(|(command, count)| (command.as_str(), *count)).collect();
    for (group, role) in [(name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &wanted, |metrics, command| commands(metrics, group, role, command));
        counted(&daemon, &[(group, wanted.iter().map(|(_, count)| count).sum())], |metrics, group| {
            metrics.sum(&format!("{QUERIES}_count"), &[("group", group), ("role", role)])
        });
        counted(&daemon, &[("CLIENT_ERROR", rounds)], |metrics, code| {
            let labels = [("group", group), ("role", role), ("system", "memcached"), ("code", code)];
            metrics.sum("monitor_db_query_errors_total", &labels)
        });
    }
    let metrics = daemon.fresh_metrics();
    Times::of(&metrics, QUERIES, &[("group", &name), ("operation", "gets")]).agree(&quantiles(&mut times));
    assert!(!daemon.get("/metrics").text().contains("secret"));
}
