//! PostgreSQL, asked by pgbench and psql.

use std::{net::SocketAddr, os::unix::process::CommandExt as _};

use monitor_tests::{DEADLINE, Installed, NOBODY, Samples, Server, alone, free_address, until};

use super::{Times, counted, daemon, quantiles};

const QUERIES: &str = "monitor_db_query_duration_seconds";

const CLIENTS: u32 = 4;
/// Of each client.
const TRANSACTIONS: u32 = 500;
/// Of all.
const ALL: f64 = (TRANSACTIONS * CLIENTS) as f64;

/// A server with the tables of pgbench, which logs every statement and connection; how to connect to it.
fn start() -> (Server, String) {
    let (program, address) = (Installed::new("postgres"), free_address());
    let data = program.room("data");
    let arguments = ["-D", data.to_str().unwrap(), "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C"];
    let made = Installed::in_place("initdb").output(&arguments, |command| {
        command.uid(NOBODY).gid(NOBODY);
    });
    assert!(made.status.success(), "{made:?}");
    let server = Server::listening(program, address, |command| {
        command.arg("-D").arg(data).args(["-p", &address.port().to_string(), "-h", "127.0.0.1", "-k", "", "-F"]);
        command.args(["-c", "log_statement=all", "-c", "log_connections=on"]).uid(NOBODY).gid(NOBODY);
    });
    let base = base(address);
    // It listens before it lets anybody in.
    until(DEADLINE, || {
        let output = Installed::in_place("psql").output(&["-c", "select 1", &base], |_| {});
        if output.status.success() { Ok(()) } else { Err(format!("{output:?}")) }
    });
    Installed::in_place("pgbench").output(&["-i", &base], |_| {});
    (server, base)
}

fn base(address: SocketAddr) -> String {
    format!("host={} port={} user=postgres dbname=postgres", address.ip(), address.port())
}

/// Runs pgbench with `clients` of so many transactions each; how long each of them took, in seconds.
fn pgbench(program: &Installed, arguments: &[&str], transactions: u32, base: &str) -> Vec<f64> {
    let (clients, transactions) = (CLIENTS.to_string(), transactions.to_string());
    let mut all = vec!["-n", "-c", &clients, "-t", &transactions, "-l"];
    all.extend(arguments);
    all.push(base);
    program.run(&all);
    let files = program.directory().read_dir().unwrap().map(Result::unwrap);
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("pgbench_log."));
    let log: String = logs.map(|log| std::fs::read_to_string(log.path()).unwrap()).collect();
    log.lines().map(|line| line.split(' ').nth(2).unwrap().parse::<f64>().unwrap() / 1e6).collect()
}

/// Those of a group, by operation and table: `SELECT pgbench_accounts`.
fn queries(metrics: &Samples, group: &str, role: &str, query: &str) -> f64 {
    let (operation, table) = query.split_once(' ').unwrap_or((query, ""));
    let labels =
        [("group", group), ("role", role), ("system", "postgresql"), ("operation", operation), ("table", table)];
    metrics.sum(&format!("{QUERIES}_count"), &labels)
}

#[test]
fn queries_of_each_protocol_are_as_many_as_pgbench_made() {
    let (server, base) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let log = server.log().len();
    let modes = ["simple", "extended", "prepared"];
    let askers = modes.map(|_| Installed::new("pgbench"));
    let mut times = Vec::new();
    for (mode, asker) in modes.iter().zip(&askers) {
        times.push(pgbench(asker, &["-S", "-M", mode], TRANSACTIONS, &base));
    }
    let wanted = askers.each_ref().map(|asker| (asker.name.as_str(), ALL));
    counted(&daemon, &wanted, |metrics, group| queries(metrics, group, "client", "SELECT pgbench_accounts"));
    counted(&daemon, &[(server.name(), 3.0 * ALL)], |metrics, group| {
        queries(metrics, group, "server", "SELECT pgbench_accounts")
    });
    // Not only these: each pgbench first asks about the tables.
    let log = server.log()[log..].to_owned();
    let logged = |what: &str| log.lines().filter(|line| line.contains(what)).count() as f64;
    let statements = logged("LOG:  statement: ") + logged("LOG:  execute ");
    let connections = logged("connection authorized");
    counted(&daemon, &[("all", statements + connections), ("CONNECT", connections)], |metrics, what| match what {
        "all" => metrics.sum(&format!("{QUERIES}_count"), &[("group", server.name())]),
        connect => queries(metrics, server.name(), "server", connect),
    });
    let metrics = daemon.fresh_metrics();
    for (asker, mut times) in askers.iter().zip(times) {
        assert_eq!(times.len() as f64, ALL);
        let labels = [("group", asker.name.as_str()), ("table", "pgbench_accounts")];
        Times::of(&metrics, QUERIES, &labels).agree(&quantiles(&mut times));
    }
}

#[test]
fn every_statement_of_a_transaction_is_counted() {
    let (server, base) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let [mixed, slow, piped] = [(); 3].map(|()| Installed::new("pgbench"));
    pgbench(&mixed, &["-M", "simple"], 50, &base);
    let script = slow.write("script", "select pg_sleep(0.03);\n");
    let mut times = pgbench(&slow, &["-f", script.to_str().unwrap()], 10, &base);
    let five = "select tid from pgbench_tellers where tid = 7;\n".repeat(5);
    let script = piped.write("script", format!("\\startpipeline\n{five}\\endpipeline\n"));
    pgbench(&piped, &["-M", "extended", "-f", script.to_str().unwrap()], 50, &base);
    let each = f64::from(CLIENTS) * 50.0;
    let statements = [
        "BEGIN",
        "UPDATE pgbench_accounts",
        "SELECT pgbench_accounts",
        "UPDATE pgbench_tellers",
        "UPDATE pgbench_branches",
        "INSERT pgbench_history",
        "COMMIT",
    ];
    for (group, role) in [(mixed.name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &statements.map(|statement| (statement, each)), |metrics, statement| {
            queries(metrics, group, role, statement)
        });
    }
    for (group, role) in [(piped.name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &[("SELECT pgbench_tellers", 5.0 * each)], |metrics, statement| {
            queries(metrics, group, role, statement)
        });
    }
    counted(&daemon, &[(&slow.name, f64::from(CLIENTS) * 10.0)], |metrics, group| {
        metrics.sum(&format!("{QUERIES}_count"), &[("group", group), ("operation", "SELECT"), ("table", "")])
    });
    let labels = [("group", slow.name.as_str()), ("operation", "SELECT"), ("table", "")];
    Times::of(&daemon.fresh_metrics(), QUERIES, &labels).agree(&quantiles(&mut times));
}

#[test]
fn errors_are_counted_by_their_code_and_copies_once() {
    let (server, base) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let psql = Installed::new("psql");
    let rows: String = (0..20_000).map(|row| format!("{row}\tsome text of row {row}\n")).collect();
    let rows = psql.write("rows", rows);
    let copy = format!("\\copy copied from '{}'", rows.display());
    let statements = [
        "create table copied (id int primary key, text text)",
        &copy,
        "copy copied to stdout",
        "select 1/0",
        "selec 'secret'",
        "select * from absent where name = 'secret'",
        "insert into copied values (1, 'secret')",
        "select count(*) from copied; select 2",
        "select * from copied",
    ];
    for _ in 0..3 {
        let mut arguments = statements.iter().flat_map(|statement| ["-c", statement]).collect::<Vec<_>>();
        arguments.push(&base);
        let output = psql.output(&arguments, |_| {});
        let complaints = String::from_utf8(output.stderr).unwrap();
        assert!(complaints.contains("division by zero"), "{complaints}");
        assert!(output.stdout.len() > 1_000_000, "{complaints}");
        psql.run(&["-q", "-c", "drop table copied", &base]);
    }
    let codes = ["22012", "42601", "42P01", "23505"];
    for (group, role) in [(psql.name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &codes.map(|code| (code, 3.0)), |metrics, code| {
            metrics.sum("monitor_db_query_errors_total", &[("group", group), ("role", role), ("code", code)])
        });
        let wanted = [
            ("CREATE copied", 3.0),
            ("COPY copied", 6.0),
            ("SELECT copied", 6.0),
            ("DROP copied", 3.0),
            ("CONNECT", 6.0),
        ];
        counted(&daemon, &wanted, |metrics, query| queries(metrics, group, role, query));
        // Connections, nine statements, and a last one.
        counted(&daemon, &[(group, 6.0 + 3.0 * 10.0)], |metrics, group| {
            metrics.sum(&format!("{QUERIES}_count"), &[("group", group), ("role", role)])
        });
    }
    assert!(!daemon.get("/metrics").text().contains("secret"));
}
