//! HTTP/2: nghttpd, asked by h2load and curl.

use std::{fs, net::SocketAddr};

use monitor_tests::{Installed, Samples, Server, alone, free_address};

use super::{Times, counted, daemon, quantiles};

const SERVER: &str = "monitor_http_server_request_duration_seconds";
const CLIENT: &str = "monitor_http_client_request_duration_seconds";

fn start() -> (Server, SocketAddr) {
    let (program, address) = (Installed::new("nghttpd"), free_address());
    program.write("index.html", "<p>It works.</p>\n");
    program.write("big", vec![b'b'; 300_000]);
    let root = program.directory().to_owned();
    let server = Server::listening(program, address, |command| {
        command.args(["--no-tls", "-a", "127.0.0.1", "-d"]).arg(root).arg(address.port().to_string());
    });
    (server, address)
}

/// Runs h2load, which has to have got all of its answers; how long each took, in seconds.
fn h2load(program: &Installed, arguments: &[&str], count: u32, urls: &[String]) -> Vec<f64> {
    let (count, log) = (count.to_string(), program.file("times"));
    let mut all = vec!["-n", &count, "--log-file", log.to_str().unwrap()];
    all.extend(arguments);
    all.extend(urls.iter().map(String::as_str));
    let said = program.run(&all);
    assert!(said.contains(&format!(" {count} done, ")) && said.contains(" 0 errored, 0 timeout"), "{said}");
    let log = fs::read_to_string(log).unwrap();
    log.lines().map(|line| line.rsplit('\t').next().unwrap().parse::<f64>().unwrap() / 1e6).collect()
}

fn requests(metrics: &Samples, metric: &str, group: &str, class: &str) -> f64 {
    metrics.sum(&format!("{metric}_count"), &[("group", group), ("status_class", class)])
}

#[test]
fn requests_are_as_many_and_take_as_long_as_h2load_says() {
    let (server, address) = start();
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let [single, many, big] = [(); 3].map(|()| Installed::new("h2load"));
    let url = |path: &str| format!("http://{address}{path}");
    // One after the other, ten beside each other, and such as take turns with each other's parts.
    let mut times = h2load(&single, &["-c", "4", "-m", "1"], 2_000, &[url("/index.html")]);
    let mut times_many = h2load(&many, &["-c", "4", "-m", "10"], 2_000, &[url("/index.html"), url("/absent/secret")]);
    let mut times_big = h2load(&big, &["-c", "2", "-m", "4"], 100, &[url("/big")]);
    let curl = Installed::new("curl");
    for _ in 0..10 {
        // Debian 12's cannot ask twice over one connection of this kind.
        for path in ["/index.html?token=secret", "/absent", "/big"] {
            curl.run(&["-s", "--http2-prior-knowledge", "-o", "/dev/null", &url(path)]);
        }
    }
    for (asker, class, count) in [
        (&single, "2xx", 2_000.0),
        (&many, "2xx", 1_000.0),
        (&many, "4xx", 1_000.0),
        (&big, "2xx", 100.0),
        (&curl, "2xx", 20.0),
        (&curl, "4xx", 10.0),
    ] {
        counted(&daemon, &[(&asker.name, count)], |metrics, group| requests(metrics, CLIENT, group, class));
    }
    counted(&daemon, &[("2xx", 3_120.0), ("4xx", 1_010.0), ("3xx", 0.0), ("5xx", 0.0)], |metrics, class| {
        requests(metrics, SERVER, server.name(), class)
    });
    counted(&daemon, &[("/index.html", 3_010.0), ("/big", 110.0), ("_unmatched", 1_010.0)], |metrics, route| {
        metrics.sum(&format!("{SERVER}_count"), &[("group", server.name()), ("route", route)])
    });
    let metrics = daemon.fresh_metrics();
    for (asker, times) in [(&single, &mut times), (&many, &mut times_many), (&big, &mut times_big)] {
        Times::of(&metrics, CLIENT, &[("group", &asker.name)]).agree(&quantiles(times));
    }
    assert!(!daemon.get("/metrics").text().contains("secret"));
}
