//! MariaDB, asked by sysbench and its own client.

use std::{collections::BTreeMap, net::SocketAddr, os::unix::process::CommandExt as _, process::Output};

use monitor_tests::{DEADLINE, Installed, NOBODY, Samples, Server, alone, free_address, until};

use super::{Times, counted, daemon};

const QUERIES: &str = "monitor_db_query_duration_seconds";

/// What sysbench asks and changes.
const OPERATIONS: [&str; 6] = ["SELECT", "UPDATE", "INSERT", "DELETE", "BEGIN", "COMMIT"];

/// A server without accounts, which everybody may use, with a table of sysbench's.
fn start() -> (Server, SocketAddr) {
    let (program, address) = (Installed::new("mariadbd"), free_address());
    let room = program.room("data");
    let server = Server::listening(program, address, |command| {
        command
            .args(["--no-defaults", "--skip-grant-tables", "--skip-networking=0", "--bind-address=127.0.0.1"])
            .args(["--port", &address.port().to_string(), "--innodb-flush-log-at-trx-commit=0"])
            .args(["--datadir", room.to_str().unwrap(), "--socket", room.join("socket").to_str().unwrap()])
            .args(["--pid-file", room.join("pid").to_str().unwrap(), "--local-infile=1"])
            .uid(NOBODY)
            .gid(NOBODY);
    });
    // It listens before it lets anybody in.
    until(DEADLINE, || {
        let statement = ["-e", "create database if not exists base"];
        let output = client(&Installed::in_place("mariadb"), address, &statement);
        if output.status.success() { Ok(()) } else { Err(format!("{output:?}")) }
    });
    sysbench(&Installed::in_place("sysbench"), address, &["oltp_read_write", "prepare"]);
    (server, address)
}

fn client(program: &Installed, address: SocketAddr, more: &[&str]) -> Output {
    let port = format!("--port={}", address.port());
    let fixed = ["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", &port, "--user=root"];
    program.output(&[&fixed, more].concat(), |_| {})
}

fn sysbench(program: &Installed, address: SocketAddr, more: &[&str]) -> String {
    let port = format!("--mysql-port={}", address.port());
    let fixed = ["--mysql-host=127.0.0.1", &port, "--mysql-user=root", "--mysql-db=base", "--table-size=1000"];
    program.run(&[&fixed, more].concat())
}

/// How long each transaction took, from the histogram that sysbench prints: `0.123 |*** 17`, in milliseconds.
fn quantiles(told: &str) -> Vec<(f64, f64)> {
    let rows = told.lines().filter_map(|line| {
        let (value, rest) = line.split_once('|')?;
        let count: usize = rest.split_whitespace().last()?.parse().ok()?;
        Some((value.trim().parse::<f64>().ok()? / 1e3, count))
    });
    super::quantiles(&mut rows.flat_map(|(seconds, count)| vec![seconds; count]).collect::<Vec<_>>())
}

/// How often the server says that it has executed what [`OPERATIONS`] are, and connected.
fn executed(address: SocketAddr) -> BTreeMap<&'static str, f64> {
    let told = client(&Installed::in_place("mariadb"), address, &["-N", "-e", "show global status"]);
    let told = String::from_utf8(told.stdout).unwrap();
    let rows: BTreeMap<&str, f64> = told
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let of = |operation: &str| rows[format!("Com_{}", operation.to_ascii_lowercase()).as_str()];
    let mut executed: BTreeMap<&str, f64> = OPERATIONS.iter().map(|operation| (*operation, of(operation))).collect();
    executed.insert("PREPARE", rows["Com_stmt_prepare"]);
    executed.insert("CONNECT", rows["Connections"]);
    executed
}

fn queries(metrics: &Samples, group: &str, role: &str, operation: &str) -> f64 {
    let labels = [("group", group), ("role", role), ("system", "mysql"), ("operation", operation)];
    metrics.sum(&format!("{QUERIES}_count"), &labels)
}

#[test]
fn statements_of_both_protocols_are_as_many_as_the_server_executed() {
    let (server, address) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let [text, prepared, mixed] = [(); 3].map(|()| Installed::new("sysbench"));
    let before = executed(address);
    let selects = ["oltp_point_select", "--threads=4", "--events=1000", "--time=0", "--histogram=on", "run"];
    let told = [
        sysbench(&text, address, &[&["--db-ps-mode=disable"], &selects[..]].concat()),
        sysbench(&prepared, address, &[&["--db-ps-mode=auto"], &selects[..]].concat()),
    ];
    sysbench(&mixed, address, &["oltp_read_write", "--threads=1", "--events=50", "--time=0", "run"]);
    let after = executed(address);
    let made: Vec<(&str, f64)> = after.iter().map(|(what, count)| (*what, count - before[what])).collect();
    assert!(made.iter().all(|(_, count)| *count > 0.0), "{made:?}");
    counted(&daemon, &made, |metrics, operation| {
        let askers = [&text, &prepared, &mixed].map(|asker| queries(metrics, &asker.name, "client", operation));
        // Between the two numbers the one who asks for the second one has connected, too.
        askers.iter().sum::<f64>() + f64::from(u8::from(operation == "CONNECT"))
    });
    counted(&daemon, &made, |metrics, operation| {
        // The daemon was there when the one who asked for the first one connected.
        queries(metrics, server.name(), "server", operation) - f64::from(u8::from(operation == "CONNECT"))
    });
    counted(&daemon, &[(&text.name, 1_000.0), (&prepared.name, 1_000.0)], |metrics, group| {
        let labels = [("group", group), ("role", "client"), ("operation", "SELECT"), ("table", "sbtest1")];
        metrics.sum(&format!("{QUERIES}_count"), &labels)
    });
    let metrics = daemon.fresh_metrics();
    for (asker, told) in [&text, &prepared].into_iter().zip(told) {
        let labels = [("group", asker.name.as_str()), ("operation", "SELECT")];
        Times::of(&metrics, QUERIES, &labels).agree(&quantiles(&told));
    }
}

#[test]
fn errors_files_and_slow_statements_are_counted() {
    let (server, address) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let asker = Installed::new("mariadb");
    let rows: String = (0..20_000).map(|row| format!("{row}\tsome text of row {row}\n")).collect();
    let rows = asker.write("rows", rows);
    let statements = format!(
        "create table loaded (id int primary key, text text);\n\
         load data local infile '{}' into table loaded;\n\
         select * from loaded;\n\
         selec 'secret';\n\
         select * from absent where name = 'secret';\n\
         insert into loaded values (1, 'secret');\n\
         prepare again from 'select text from loaded where id = ?';\n\
         set @id = 7;\n\
         execute again using @id;\n\
         {}\
         drop table loaded;\n",
        rows.display(),
        "select sleep(0.03);\n".repeat(10)
    );
    let statements = asker.write("statements", statements);
    let source = format!("source {}", statements.display());
    for _ in 0..3 {
        let output = client(&asker, address, &["--force", "--local-infile=1", "base", "-e", &source]);
        let complaints = String::from_utf8(output.stderr).unwrap();
        assert!(complaints.contains("ERROR 1062 (23000)"), "{complaints}");
        assert!(output.stdout.len() > 400_000, "{complaints}");
    }
    for (group, role) in [(asker.name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &["1064", "1146", "1062"].map(|code| (code, 3.0)), |metrics, code| {
            metrics.sum("monitor_db_query_errors_total", &[("group", group), ("role", role), ("code", code)])
        });
        let wanted = ["CREATE", "LOAD", "INSERT", "PREPARE", "SET", "EXECUTE", "DROP", "CONNECT"];
        counted(&daemon, &wanted.map(|operation| (operation, 3.0)), |metrics, operation| {
            queries(metrics, group, role, operation)
        });
        let selects = [("", 30.0), ("loaded", 3.0), ("absent", 3.0)];
        counted(&daemon, &selects, |metrics, table| {
            let labels = [("group", group), ("role", role), ("operation", "SELECT"), ("table", table)];
            metrics.sum(&format!("{QUERIES}_count"), &labels)
        });
        let labels = [("group", group), ("operation", "SELECT"), ("table", "")];
        Times::of(&daemon.fresh_metrics(), QUERIES, &labels).agree(&[(0.5, 0.03)]);
    }
    assert!(!daemon.get("/metrics").text().contains("secret"));
}
