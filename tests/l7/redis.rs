//! Redis, asked by redis-benchmark and redis-cli.

use std::{collections::BTreeMap, net::SocketAddr};

use monitor_tests::{DEADLINE, Installed, Samples, Server, alone, free_address, until};

use super::{CONFIG, Times, counted, daemon, daemon_with, doubts};

/// Commands that are sent at once: in one record, if it is not lost.
const BATCH: f64 = 64.0;

const QUERIES: &str = "monitor_db_query_duration_seconds";

fn start() -> (Server, SocketAddr) {
    let (program, address) = (Installed::new("redis-server"), free_address());
    let server = Server::listening(program, address, |command| {
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
    });
    (server, address)
}

fn ask(program: &Installed, address: SocketAddr, arguments: &[&str]) -> String {
    let port = address.port().to_string();
    program.run(&[&["-h", "127.0.0.1", "-p", &port], arguments].concat())
}

/// How often the server says that it has executed each command.
fn executed(address: SocketAddr) -> BTreeMap<String, f64> {
    let told = ask(&Installed::new("redis-cli"), address, &["info", "commandstats"]);
    let mut executed = BTreeMap::new();
    for line in told.lines() {
        let Some((name, numbers)) = line.strip_prefix("cmdstat_").and_then(|line| line.split_once(":calls=")) else {
            continue;
        };
        // Parts of a command, such as `config|get`, have a line each.
        let command = name.split('|').next().unwrap().to_ascii_uppercase();
        let number = |text: &str| text.split(',').next().unwrap().parse::<f64>().unwrap();
        // What was refused before it was executed was asked and answered, too.
        let refused = numbers.split_once("rejected_calls=").map_or(0.0, |(_, rest)| number(rest));
        *executed.entry(command).or_default() += number(numbers) + refused;
    }
    executed
}

/// The column of the one row that `redis-benchmark --csv` prints for a command, in seconds.
fn quantiles(table: &str, command: &str) -> Vec<(f64, f64)> {
    let row = |start: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}: {table}"));
        line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()
    };
    let (names, cells) = (row("\"test\""), row(&format!("\"{command}")));
    let cell = |name: &str| {
        let at = names.iter().position(|column| column == name).unwrap();
        cells[at].parse::<f64>().unwrap() / 1e3
    };
    vec![(0.5, cell("p50_latency_ms")), (0.99, cell("p99_latency_ms"))]
}

fn commands(metrics: &Samples, group: &str, role: &str, command: &str) -> f64 {
    let labels = [("group", group), ("role", role), ("system", "redis"), ("operation", command)];
    metrics.sum(&format!("{QUERIES}_count"), &labels)
}

#[test]
fn commands_are_as_many_as_the_server_executed() {
    let (server, address) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let [alone, piped] = [(); 2].map(|()| Installed::new("redis-benchmark"));
    let tests = ["--csv", "-t", "set,get,incr,lpush,lrange_100,hset", "-c", "10"];
    let table = ask(&alone, address, &[&tests[..], &["-n", "2000"]].concat());
    let table_piped = ask(&piped, address, &[&tests[..], &["-n", "4000", "-P", "16"]].concat());
    let executed = executed(address);
    assert_eq!((executed["SET"], executed["GET"], executed["LRANGE"]), (6_000.0, 6_000.0, 6_000.0));
    let wanted: Vec<_> = executed.iter().map(|(command, count)| (command.as_str(), *count)).collect();
    // The question for these numbers is not in them.
    counted(&daemon, &wanted, |metrics, command| {
        commands(metrics, server.name(), "server", command) - f64::from(u8::from(command == "INFO"))
    });
    for (asker, count) in [(&alone, 2_000.0), (&piped, 4_000.0)] {
        let wanted = ["SET", "GET", "INCR", "LRANGE", "HSET"].map(|command| (command, count));
        counted(&daemon, &wanted, |metrics, command| commands(metrics, &asker.name, "client", command));
    }
    let metrics = daemon.fresh_metrics();
    for (asker, table) in [(&alone, table), (&piped, table_piped)] {
        for command in ["SET", "GET", "INCR", "HSET"] {
            let labels = [("group", asker.name.as_str()), ("operation", command)];
            Times::of(&metrics, QUERIES, &labels).agree(&quantiles(&table, command));
        }
    }
}

#[test]
fn commands_beyond_what_is_captured_are_counted_by_their_answers() {
    let (server, address) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let client = Installed::new("redis-benchmark");
    // Sixteen at once are longer than what is captured of a call; of the second kind each one is.
    ask(&client, address, &["-t", "set,mset", "-n", "1600", "-P", "16", "-d", "100", "-q"]);
    for (group, role) in [(client.name.as_str(), "client"), (server.name(), "server")] {
        // The client first asks twice for the server's settings.
        counted(&daemon, &[(group, 3_202.0)], |metrics, group| {
            metrics.sum(&format!("{QUERIES}_count"), &[("group", group), ("role", role)])
        });
        let metrics = daemon.fresh_metrics();
        let of = |command| commands(&metrics, group, role, command);
        assert_eq!(of("CONFIG") + of("SET") + of("MSET") + of("_unseen"), 3_202.0);
        assert!((100.0..=1_600.0).contains(&of("SET")) && (100.0..=1_600.0).contains(&of("MSET")), "{role}");
        assert_eq!(metrics.sum("monitor_db_query_errors_total", &[("group", group)]), 0.0);
    }
}

#[test]
fn errors_big_values_and_blocking_commands_are_counted() {
    let (server, address) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let client = Installed::new("redis-cli");
    let value = "secret".repeat(15_000);
    for _ in 0..5 {
        ask(&client, address, &["set", "text", &value]);
        assert!(ask(&client, address, &["get", "text"]).len() > 90_000);
        assert!(ask(&client, address, &["incr", "text"]).contains("ERR"));
        assert!(ask(&client, address, &["lpush", "text", "1"]).contains("WRONGTYPE"));
        ask(&client, address, &["blpop", "nothing", "0.3"]);
        // In the third version of the protocol.
        ask(&client, address, &["-3", "hgetall", "nothing"]);
        ask(&client, address, &["eval", "return {1, {2, {3}}}", "0"]);
    }
    let executed = executed(address);
    for (group, role) in [(client.name.as_str(), "client"), (server.name(), "server")] {
        let names = ["SET", "GET", "INCR", "LPUSH", "BLPOP", "HELLO", "HGETALL", "EVAL"];
        counted(&daemon, &names.map(|name| (name, executed[name])), |metrics, command| {
            commands(metrics, group, role, command)
        });
        counted(&daemon, &[("ERR", 5.0), ("WRONGTYPE", 5.0)], |metrics, code| {
            metrics.sum("monitor_db_query_errors_total", &[("group", group), ("role", role), ("code", code)])
        });
        let labels = [("group", group), ("operation", "BLPOP")];
        Times::of(&daemon.fresh_metrics(), QUERIES, &labels).agree(&[(0.5, 0.35)]);
    }
    assert!(!daemon.get("/metrics").text().contains("secret"));
}

#[test]
fn what_is_beyond_the_rate_is_left_out_whole_and_counted() {
    let (server, address) = start();
    let Some(daemon) = daemon_with(&CONFIG.replace("rate = 0", "rate = 10000")) else { return };
    let _turn = alone();
    let storm = Installed::new("redis-benchmark");
    ask(&storm, address, &["-t", "set,get", "-n", "10000", "-c", "10", "-q"]);
    // Both sides, and each of its two tests first asks for the server's settings.
    let made = 2.0 * (20_000.0 + 2.0);
    let count = |metrics: &Samples| {
        let of = |group, role| metrics.sum(&format!("{QUERIES}_count"), &[("group", group), ("role", role)]);
        of(server.name(), "server") + of(&storm.name, "client")
    };
    let left_out = |metrics: &Samples| metrics.sum("monitor_lost_total", &[("signal", "l7"), ("cause", "rate")]);
    until(DEADLINE, || {
        let metrics = daemon.fresh_metrics();
        let (counted, left_out) = (count(&metrics), left_out(&metrics));
        println!("{counted} counted, {left_out} left out, of {made}");
        // Who else uses this machine's connections may be left out, too.
        let enough = counted < made && left_out > 0.0 && counted + left_out >= made;
        if enough { Ok(()) } else { Err(format!("{counted} counted, {left_out} left out\n{}", doubts(&metrics))) }
    });
    // What was told of was understood: nothing is torn apart by what was left out.
    let metrics = daemon.fresh_metrics();
    assert_eq!(commands(&metrics, &storm.name, "client", "_unseen"), 0.0);
    assert!(commands(&metrics, &storm.name, "client", "GET") > 50.0);
}

#[test]
fn what_a_full_ring_lost_is_told_and_never_counted() {
    let (server, address) = start();
    let Some(daemon) = daemon_with(&CONFIG.replace("64MiB", "64KiB")) else { return };
    let _turn = alone();
    let [storm, after] = [(); 2].map(|()| Installed::new("redis-benchmark"));
    ask(&storm, address, &["-t", "set,get", "-n", "50000", "-P", &BATCH.to_string(), "-c", "10", "-q"]);
    let lost = |metrics: &Samples| metrics.sum("monitor_lost_total", &[("signal", "l7"), ("cause", "ring_full")]);
    until(DEADLINE, || if lost(&daemon.fresh_metrics()) > 0.0 { Ok(()) } else { Err("nothing was lost") });
    // Those that come afterwards are all heard.
    ask(&after, address, &["-t", "set", "-n", "50", "-c", "2", "-q"]);
    counted(&daemon, &[(&after.name, 50.0)], |metrics, group| commands(metrics, group, "client", "SET"));
    let metrics = daemon.fresh_metrics();
    let (lost, mut missing) = (lost(&metrics), 0.0);
    for (group, role, more) in [(server.name(), "server", 50.0), (&storm.name, "client", 0.0)] {
        for (command, made) in [("SET", 50_000.0 + more), ("GET", 50_000.0)] {
            let counted = commands(&metrics, group, role, command);
            println!("{role}: {counted} of {made} {command} counted, {lost} records lost");
            assert!(counted < made, "{role}: {counted} of {made} {command}, and {lost} records were lost");
        }
        let all = metrics.sum(&format!("{QUERIES}_count"), &[("group", group), ("role", role)]);
        // Each client first asks twice for the server's settings.
        let made = 100_000.0 + more + if role == "server" { 4.0 } else { 2.0 };
        assert!(all < made, "{role}: {all} of {made}");
        missing += made - all;
    }
    assert!(missing <= lost * BATCH, "{missing} are missing, {lost} records were lost");
}
