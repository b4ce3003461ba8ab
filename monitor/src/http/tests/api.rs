//! Paths, methods, parameters, headers.

use super::*;

#[tokio::test]
async fn the_landing_page_shows_every_signal_and_runs_nothing() {
    let server = start(Fake::default()).await;
    let reply = server.get("/").await;
    assert_eq!((reply.code, reply.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"), "{policy}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("server"), None);
    let page = reply.text();
    for part in ["0.1.0", "abcdef", "up for 1 min", "syscalls", "no &lt;hook&gt;", "\"/metrics\"", "Ready."] {
        assert!(page.contains(part), "{part} is not on {page}");
    }
    for link in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let reply = server.request("HEAD", link, "").await;
        assert!(link == "/api/v1/events/stream" || reply.body.is_empty(), "{link}");
        assert_eq!(reply.code, 200, "{link}");
    }
}

#[tokio::test]
async fn health_and_readiness() {
    let server = start(Fake::default()).await;
    for path in ["/-/healthy", "/healthz", "/-/ready"] {
        assert_eq!(server.get(path).await.code, 200, "{path}");
        assert_eq!(server.request("HEAD", path, "").await.code, 200, "{path}");
        assert_eq!(server.request("POST", path, "").await.code, 405, "{path}");
    }
    let server = start(Fake { ready: Err("the rings are not drained".into()), ..Fake::default() }).await;
    let reply = server.get("/-/ready").await;
    assert_eq!((reply.code, reply.text().as_str()), (503, "not ready: the rings are not drained\n"));
    assert_eq!(server.get("/-/healthy").await.code, 200);
}

#[tokio::test]
async fn reload_says_what_changed_or_what_is_wrong() {
    let server = start(Fake::default()).await;
    let reply = server.request("POST", "/-/reload", "Content-Length: 0\r\n").await;
    assert_eq!((reply.code, reply.text().as_str()), (200, "rules: 1 disabled\n"));
    assert_eq!(server.get("/-/reload").await.code, 405);
    let reply = server.request("POST", "/-/reload", "Origin: http://evil.example\r\n").await;
    assert_eq!(reply.code, 403);
    let same = format!("Origin: http://{}\r\n", server.address);
    assert_eq!(server.request("POST", "/-/reload", &same).await.code, 200);
    server.state.set_options(Options { reload: false, ..Options::default() });
    let reply = server.request("POST", "/-/reload", "").await;
    assert!(reply.code == 403 && reply.text().contains("http.reload"), "{reply:?}");

    let server = start(Fake { reload: Err("line 3: unknown key".into()), ..Fake::default() }).await;
    let reply = server.request("POST", "/-/reload", "").await;
    assert_eq!((reply.code, reply.text().as_str()), (400, "line 3: unknown key\n"));
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let server = start(Fake::default()).await;
    let reply = server.get("/api/v1/nothing").await;
    assert_eq!(reply.code, 404);
    assert!(reply.json()["error"].is_string());
    let reply = server.request("DELETE", "/api/v1/events", "").await;
    assert_eq!((reply.code, reply.header("allow")), (405, Some("GET,HEAD")));
    assert!(reply.json()["error"].is_string());
    let reply = server.get("/nothing").await;
    assert_eq!((reply.code, reply.header("content-type")), (404, Some("text/plain; charset=utf-8")));
    // Whatever peers ask for, there is one series for it.
    assert_eq!(server.metric(r#"monitor_http_requests_total{code="404",handler="other"}"#).await, 2.0);
}

#[tokio::test]
async fn bad_parameters_are_explained_everywhere() {
    let server = start(Fake::default()).await;
    let cases = [
        ("/api/v1/events?limit=x", "limit: expected a number from 1 to 10000, got \"x\""),
        (
            "/api/v1/events?severity=worst",
            "severity: expected a comma list of info, low, medium, high, critical, got \"worst\"",
        ),
        ("/api/v1/events/stream?after=-1", "after: expected a number, got \"-1\""),
        ("/api/v1/events/stream?limit=1", "limit: unknown parameter, expected one of after, severity, rule"),
        ("/api/v1/processes?pid=0", "pid: expected a number from 1 to 4294967295, got \"0\""),
        ("/api/v1/processes?order=pid", "order: unknown parameter, expected one of pid, group, limit, sort"),
        ("/api/v1/status?x=", "x: unknown parameter, none is known here"),
    ];
    for (path, message) in cases {
        let reply = server.get(path).await;
        assert_eq!((reply.code, reply.json()), (400, serde_json::json!({ "error": message })), "{path}");
    }
    let reply = server.request("GET", "/api/v1/events/stream", "Last-Event-ID: x\r\n").await;
    assert_eq!(reply.code, 400);
}

#[tokio::test]
async fn status_and_processes() {
    let server = start(Fake::default()).await;
    let status = server.get("/api/v1/status").await.json();
    assert_eq!(status["signals"][0], serde_json::json!({ "name": "syscalls", "state": "on" }));
    assert_eq!(status["signals"][1]["reason"], "no <hook>");
    assert_eq!(status["version"], "0.1.0");
    let reply = server.get("/api/v1/processes?group=nginx.service&limit=3&sort=cpu").await;
    assert_eq!(reply.json(), serde_json::json!({ "processes": [] }));
    let query = ProcessQuery { pid: None, group: Some("nginx.service".into()), limit: 3, sort: Sort::Cpu };
    assert_eq!(*server.fake.processes.lock().unwrap(), Some(query));
}

fn numbers(page: &serde_json::Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn events_come_in_pages_without_loss_or_repetition() {
    let server = start(Fake::default()).await;
    let empty = server.get("/api/v1/events").await.json();
    assert_eq!(empty, serde_json::json!({ "events": [], "next": 0, "oldest": 1 }));
    for _ in 0..25 {
        publish(&server.fake.events, Severity::High, "exec_from_memory");
    }
    let (mut after, mut seen) = (0, Vec::new());
    for expected in [10, 10, 5, 0] {
        let page = server.get(&format!("/api/v1/events?after={after}&limit=10")).await.json();
        let numbers = numbers(&page);
        assert_eq!(numbers.len(), expected);
        after = page["next"].as_u64().unwrap();
        seen.extend(numbers);
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_are_filtered_and_old_ones_are_known_to_be_gone() {
    let server = start(Fake { events: Store::new(4), ..Fake::default() }).await;
    publish(&server.fake.events, Severity::Info, "gone");
    publish(&server.fake.events, Severity::High, "a");
    publish(&server.fake.events, Severity::Low, "a");
    publish(&server.fake.events, Severity::Low, "b");
    publish(&server.fake.events, Severity::Critical, "c");
    let cases = [
        ("", vec![2, 3, 4, 5]),
        ("?severity=high,low", vec![2, 3, 4]),
        ("?rule=a,c", vec![2, 3, 5]),
        ("?rule=a&severity=low", vec![3]),
        ("?rule=gone", vec![]),
        // A number that this daemon has not given: one of an earlier daemon.
        ("?after=4711", vec![2, 3, 4, 5]),
    ];
    for (query, expected) in cases {
        let page = server.get(&format!("/api/v1/events{query}")).await.json();
        assert_eq!((numbers(&page), page["oldest"].as_u64()), (expected, Some(2)), "{query}");
    }
}

#[tokio::test]
async fn the_head_of_the_audit_trail_is_told() {
    let running = start(Fake::default()).await;
    let answer = running.get("/api/v1/audit/head").await;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body, serde_json::json!({ "sequence": 7, "hash": "ab".repeat(32) }));
}
