//! HTTP/1: nginx, asked by ab and curl.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use monitor_tests::{DEADLINE, Installed, Samples, Server, alone, free_address, until};

use super::{Times, counted, daemon};

const SERVER: &str = "monitor_http_server_request_duration_seconds";
const CLIENT: &str = "monitor_http_client_request_duration_seconds";

/// Bytes of a file that the kernel sends by itself: sendfile(2).
const BIG: usize = 300_000;

fn start() -> (Server, SocketAddr) {
    let (program, address) = (Installed::new("nginx"), free_address());
    fs::create_dir(program.file("www")).unwrap();
    fs::create_dir(program.file("www/directory")).unwrap();
    program.write("www/index.html", "<p>It works.</p>\n");
    program.write("www/big", vec![b'b'; BIG]);
    let directory = program.directory().display();
    let places: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {directory}/{name};\n"))
        .concat();
    // Its workers are not root.
    let config = format!(
        "daemon off; worker_processes 2; pid {directory}/pid; error_log {directory}/errors;\n\
         events {{ worker_connections 256; }}\n\
         http {{ log_format status '$request_method $status'; access_log {directory}/access status;\n{places}\
         server {{ listen {address}; root {directory}/www; sendfile on;\n\
         location /slow {{ limit_rate 200k; alias {directory}/www/big; }} \
         location /broken {{ return 500; }} location /users {{ return 200 ok; }} }} }}\n"
    );
    let config = program.write("nginx.conf", config);
    let errors = program.file("errors");
    let server = Server::listening(program, address, |command| {
        command.arg("-c").arg(config).arg("-e").arg(errors);
    });
    (server, address)
}

/// How often nginx says that it has answered so, of so many in all: it says so after it did.
fn answered(server: &Server, all: usize) -> BTreeMap<String, f64> {
    let log = until(DEADLINE, || {
        let log = fs::read_to_string(server.program.file("access")).unwrap();
        let lines = log.lines().count();
        if lines >= all { Ok(log) } else { Err(format!("{lines} of {all} are logged")) }
    });
    let mut answered = BTreeMap::new();
    for line in log.lines() {
        *answered.entry(line.to_owned()).or_default() += 1.0;
    }
    answered
}

/// Runs ab, which has to have got all of its answers; the quantiles of its times in seconds.
fn ab(program: &Installed, arguments: &[&str], count: u32, url: &str) -> Vec<(f64, f64)> {
    let (count, table) = (count.to_string(), program.file("times.csv"));
    let mut all = vec!["-q", "-n", &count, "-e", table.to_str().unwrap()];
    all.extend(arguments);
    all.push(url);
    let said = program.run(&all);
    let number = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    assert_eq!((number("Complete requests:"), number("Failed requests:")), (Some(count.as_str()), Some("0")), "{said}");
    let table = fs::read_to_string(table).unwrap();
    let rows = table.lines().filter_map(|line| {
        let (percent, milliseconds) = line.split_once(',')?;
        Some((percent.parse::<f64>().ok()? / 100.0, milliseconds.parse::<f64>().ok()? / 1e3))
    });
    rows.filter(|(quantile, _)| [0.5, 0.99].contains(quantile)).collect()
}

#[test]
fn requests_are_as_many_and_take_as_long_as_ab_and_nginx_say() {
    let (server, address) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let [again, once, slow] = [(); 3].map(|()| Installed::new("ab"));
    let url = format!("http://{address}");
    // nginx closes a connection after a thousand requests, and ab makes a new one.
    let measured = ab(&again, &["-k", "-c", "4"], 5_000, &format!("{url}/index.html"));
    ab(&once, &["-c", "4"], 500, &format!("{url}/users/1234/orders?token=secret"));
    let measured_slow = ab(&slow, &["-k", "-c", "100"], 100, &format!("{url}/slow"));
    let peer = address.to_string();
    let asked = |metrics: &Samples, name: &str| {
        metrics.sum(&format!("{CLIENT}_count"), &[("group", name), ("peer", &peer), ("status_class", "2xx")])
    };
    counted(&daemon, &[(&again.name, 5_000.0), (&once.name, 500.0), (&slow.name, 100.0)], asked);
    counted(&daemon, &[("/index.html", 5_000.0), ("/users/*/orders", 500.0), ("/slow", 100.0)], |metrics, route| {
        metrics.sum(&format!("{SERVER}_count"), &[("group", server.name()), ("method", "GET"), ("route", route)])
    });
    let metrics = daemon.fresh_metrics();
    Times::of(&metrics, CLIENT, &[("group", &again.name)]).agree(&measured);
    // Until the last byte: the first one came at once.
    assert!(measured_slow.iter().all(|(_, seconds)| *seconds > 0.4), "{measured_slow:?}");
    Times::of(&metrics, CLIENT, &[("group", &slow.name)]).agree(&measured_slow);
    Times::of(&metrics, SERVER, &[("group", server.name()), ("route", "/slow")]).agree(&measured_slow);
    assert_eq!(answered(&server, 5_600), BTreeMap::from([("GET 200".to_owned(), 5_600.0)]));
    assert_eq!(metrics.sum(&format!("{SERVER}_count"), &[("group", server.name())]), 5_600.0);
    assert!(!daemon.get("/metrics").text().contains("secret"));
}

#[test]
fn every_kind_of_answer_is_counted_as_nginx_logs_it() {
    let (server, address) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let curl = Installed::new("curl");
    // Several over one connection; what is answered is not kept.
    let ask = |arguments: &[&str], paths: &[&str]| {
        let urls: Vec<String> = paths.iter().map(|path| format!("http://{address}{path}")).collect();
        let nowhere = urls.iter().flat_map(|url| ["-o", "/dev/null", url]);
        curl.run(&["-s"].into_iter().chain(arguments.iter().copied()).chain(nowhere).collect::<Vec<_>>());
    };
    let body = "x".repeat(5_000);
    for _ in 0..10 {
        ask(&[], &["/big", "/index.html", "/absent/secret", "/broken", "/directory", "/users/17"]);
        ask(&["-I"], &["/index.html", "/big"]);
        ask(&["--data", &body], &["/users/17", "/index.html"]);
    }
    let said = answered(&server, 100);
    let wanted: Vec<(&str, f64)> = said.iter().map(|(answer, count)| (answer.as_str(), *count)).collect();
    assert_eq!(said["GET 301"] + said["GET 404"] + said["GET 500"] + said["POST 405"] + said["HEAD 200"], 60.0);
    for (metric, group) in [(SERVER, server.name()), (CLIENT, &curl.name)] {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        // Statuses of one class are told together.
        let mut by_class = BTreeMap::<String, f64>::new();
        for (answer, count) in &wanted {
            let (method, status) = answer.split_once(' ').unwrap();
            let class = classes[status[..1].parse::<usize>().unwrap() - 1];
            *by_class.entry(format!("{method} {class}")).or_default() += count;
        }
        let wanted: Vec<(&str, f64)> = by_class.iter().map(|(answer, count)| (answer.as_str(), *count)).collect();
        counted(&daemon, &wanted, |metrics, answer| {
            let (method, class) = answer.split_once(' ').unwrap();
            metrics.sum(&format!("{metric}_count"), &[("group", group), ("method", method), ("status_class", class)])
        });
    }
    counted(&daemon, &[("/big", 20.0), ("/users/*", 20.0), ("_unmatched", 10.0)], |metrics, route| {
        metrics.sum(&format!("{SERVER}_count"), &[("group", server.name()), ("route", route)])
    });
    let metrics = daemon.fresh_metrics();
    let bytes = |group, role| {
        metrics.sum("monitor_l7_bytes_total", &[("group", group), ("role", role), ("direction", "response")])
    };
    // What the kernel sent by itself is in it.
    assert!(bytes(server.name(), "server") > 10.0 * BIG as f64);
    assert_eq!(bytes(server.name(), "server"), bytes(&curl.name, "client"));
    assert!(!daemon.get("/metrics").text().contains("secret"));
}
