//! The HTTP interface, as clients use it.

use std::{collections::BTreeSet, io::Read as _};

use flate2::read::GzDecoder;
use monitor_tests::{Daemon, Response, Samples, expected, request, shared};

use super::support::Peer;

/// What Prometheus 2.42 and 3.5 send.
const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn ask(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Response {
    request(daemon.address(), "GET", path, headers).unwrap()
}

fn families(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn a_scraper_gets_the_format_that_it_asks_for() {
    let daemon = shared();
    for (accept, format) in [
        (None, TEXT),
        (Some("*/*"), TEXT),
        (Some("text/html"), TEXT),
        (Some("text/plain;version=0.0.4"), TEXT),
        (Some("application/openmetrics-text;version=1.0.0;q=0.1,text/plain;q=0.9"), TEXT),
        (Some("application/openmetrics-text"), OPENMETRICS),
        (Some(PROMETHEUS_2), OPENMETRICS),
        (Some(PROMETHEUS_3), OPENMETRICS),
    ] {
        let headers: Vec<_> = accept.map(|accept| ("Accept", accept)).into_iter().collect();
        let response = ask(&daemon, "/metrics", &headers);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some(format), "{accept:?}");
        assert_eq!(response.text().ends_with("\n# EOF\n"), format == OPENMETRICS, "{accept:?}");
        // Whichever format: nothing that cannot be read, and no line twice.
        let samples = Samples::parse(response.text()).0;
        let lines: BTreeSet<String> =
            samples.iter().map(|sample| format!("{} {:?}", sample.name, sample.labels)).collect();
        assert_eq!(lines.len(), samples.len(), "{accept:?}: a series is there twice");
    }
}

#[test]
fn both_formats_have_the_same_families() {
    let daemon = shared();
    let text = ask(&daemon, "/metrics", &[]);
    let open = ask(&daemon, "/metrics", &[("Accept", "application/openmetrics-text")]);
    // In OpenMetrics a family of counters or of infos is named without the ending of its samples.
    let stem = |name: &String| name.trim_end_matches("_total").trim_end_matches("_info").to_owned();
    let text: BTreeSet<String> = families(text.text()).iter().map(stem).collect();
    assert_eq!(text, families(open.text()));
    assert!(text.len() > 80, "{text:?}");
}

#[test]
fn answers_are_compressed_for_whoever_can_read_that() {
    let daemon = shared();
    let plain = ask(&daemon, "/metrics", &[]);
    assert_eq!(plain.header("content-encoding"), None);
    let packed = ask(&daemon, "/metrics", &[("Accept-Encoding", "gzip")]);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.header("vary").is_some_and(|vary| vary.contains("accept")), "{:?}", packed.headers);
    assert!(packed.body.len() * 4 < plain.body.len(), "{} of {}", packed.body.len(), plain.body.len());
    let mut page = String::new();
    GzDecoder::new(&packed.body[..]).read_to_string(&mut page).unwrap();
    assert_eq!(families(&page), families(plain.text()));
    Samples::parse(&page);
}

#[test]
fn people_find_a_page_that_leads_on() {
    let daemon = shared();
    let page = daemon.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let links: Vec<&str> = page.text().split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.len() > 5, "{links:?}");
    for link in links {
        // The stream never ends; it has tests of its own.
        if link != "/api/v1/events/stream" {
            assert_eq!(daemon.get(link).status, 200, "{link}");
        }
    }
    for signal in ["process", "exec", "tcp", "block_io", "syscalls", "host"] {
        assert!(page.text().contains(&format!("<tr><th>{signal}<td class=on>")), "{}", page.text());
    }
}

#[test]
fn health_is_told_under_the_usual_names() {
    let daemon = shared();
    for (path, body) in [("/-/healthy", "healthy\n"), ("/healthz", "healthy\n"), ("/-/ready", "ready\n")] {
        let response = daemon.get(path);
        assert_eq!((response.status, response.text()), (200, body), "{path}");
    }
    let status = daemon.json("/api/v1/status");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    for signal in status["signals"].as_array().unwrap() {
        // What nobody has asked for is off.
        let off = signal["name"].as_str().is_some_and(|name| expected::state(name) == "off");
        assert_eq!(signal["state"], if off { "off" } else { "on" }, "{signal}");
    }
}

#[test]
fn what_cannot_be_answered_is_told() {
    let daemon = shared();
    let answer = |method: &str, path: &str| request(daemon.address(), method, path, &[]).unwrap();
    assert_eq!(answer("GET", "/metrik").status, 404);
    assert_eq!(answer("POST", "/metrics").status, 405);
    assert_eq!(answer("DELETE", "/").status, 405);
    for (method, path, status, said) in [
        ("GET", "/api/v1/nothing", 404, "no such path"),
        ("POST", "/api/v1/events", 405, "does not take that method"),
        ("GET", "/api/v1/events?limit=0", 400, "limit: expected a number from 1 to 10000, got \"0\""),
        ("GET", "/api/v1/events?severty=high", 400, "severty: unknown parameter, expected one of after, limit"),
        ("GET", "/api/v1/events?severity=hihg", 400, "severity: expected a comma list of info, low"),
        ("GET", "/api/v1/events?after=x", 400, "after: expected a number"),
        ("GET", "/api/v1/events?after=1&after=2", 400, "after: given more than once"),
        ("GET", "/api/v1/processes?pid=0", 400, "pid: expected a number"),
        ("GET", "/api/v1/processes?sort=size", 400, "sort: expected one of pid"),
        ("GET", "/api/v1/status?x=1", 400, "x: unknown parameter"),
    ] {
        let response = answer(method, path);
        assert_eq!(response.status, status, "{path}: {}", response.text());
        assert_eq!(response.header("content-type"), Some("application/json"), "{path}");
        let error: serde_json::Value = serde_json::from_str(response.text()).unwrap();
        assert!(error["error"].as_str().unwrap().contains(said), "{path}: {error}");
    }
    let last = request(daemon.address(), "GET", "/api/v1/events/stream", &[("Last-Event-ID", "x")]).unwrap();
    assert_eq!(last.status, 400);
}

#[test]
fn what_is_no_http_is_refused() {
    let daemon = shared();
    let reasons = |reason: &str| daemon.metrics().sum("monitor_http_rejected_total", &[("reason", reason)]);
    let before = reasons("malformed");
    for garbage in [
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n",
        "GET /metrics\u{0} HTTP/1.1\r\n\r\n",
        "\r\n\r\nx y z\r\n\r\n",
    ] {
        let mut peer = Peer::connect(daemon.address());
        peer.send(garbage).unwrap();
        let answer = peer.until_closed();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let mut peer = Peer::connect(daemon.address());
    // The daemon may close before all of it is sent.
    let _ = peer.send(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(100_000)));
    let answer = peer.until_closed();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(reasons("malformed") >= before + 4.0, "{} after {before}", reasons("malformed"));
    assert_eq!(daemon.get("/-/healthy").status, 200);
}

#[test]
fn a_connection_serves_many_scrapes() {
    let daemon = shared();
    let mut peer = Peer::connect(daemon.address());
    for _ in 0..20 {
        peer.ask("/metrics");
        let (status, page) = peer.answer();
        assert_eq!(status, 200);
        assert!(page.contains("monitor_build_info"), "{page}");
    }
}
