//! `l7`: every request is counted once on each side, by whatever system call its bytes went, and what is no request is not.

use serde_json::Value;

use monitor_tests::{Daemon, Samples, Workload, again_if_missed, expected};

const CONFIG: &str = "[signals]\nl7 = true\n";

const SERVER: &str = "monitor_http_server_request_duration_seconds_count";
const CLIENT: &str = "monitor_http_client_request_duration_seconds_count";

/// A daemon with the signal, where this kernel has the hooks for it.
fn daemon() -> Option<Daemon> {
    let has = expected::has_hook("bpf_task_pt_regs");
    let daemon = Daemon::start(CONFIG);
    let up = daemon.fresh_metrics().sum("monitor_signal_up", &[("signal", "l7")]);
    assert_eq!(up, f64::from(u8::from(has)), "{}", daemon.log());
    has.then_some(daemon)
}

/// Server and client with a connection: each waits before its steps, and afterwards.
fn pair(server: &[&str], client: &[&str]) -> (Workload, Workload, String) {
    let mut steps = vec!["listen", "127.0.0.1", "+", "accept", "+", "say", "ready", "+"];
    steps.extend(server);
    let mut server = Workload::spawn(&steps);
    let address = server.line();
    let mut steps = vec!["connect", &address, "+", "wait", "+"];
    steps.extend(client);
    let client = Workload::spawn(&steps);
    assert_eq!(server.line(), "ready");
    (server, client, address)
}

/// Waits until what is counted is as wanted.
#[track_caller]
fn counted(daemon: &Daemon, wanted: f64, count: impl Fn(&Samples) -> f64) {
    daemon.awaited(|| {
        let metrics = daemon.fresh_metrics();
        let counted = count(&metrics);
        if counted == wanted { Ok(()) } else { Err(format!("{counted}, not {wanted}; {}", daemon.log())) }
    });
}

/// What `/api/v1/map` says of one group that calls another one.
fn edge(daemon: &Daemon, from: &str, to: &str, protocol: &str) -> Option<Value> {
    let map = daemon.json("/api/v1/map");
    let mut edges = map["edges"].as_array().unwrap().iter();
    let is = |edge: &&Value| edge["from"]["group"] == from && edge["to"]["group"] == to && edge["protocol"] == protocol;
    edges.find(is).cloned()
}

#[test]
fn every_way_of_moving_bytes_is_heard_on_both_sides() {
    again_if_missed(|| {
        let Some(daemon) = daemon() else { return };
        let (server, mut client, address) = pair(&["answer-http", "50"], &["ask-http", "50", "+", "close"]);
        client.go();
        let names = [server.name.clone(), client.name.clone()];
        let (_, _) = (client.finish(), server.finish());
        let [server, client] = names.each_ref().map(String::as_str);
        counted(&daemon, 50.0, |metrics| metrics.sum(SERVER, &[("group", server)]));
        counted(&daemon, 50.0, |metrics| metrics.sum(CLIENT, &[("group", client), ("peer", &address)]));
        let metrics = daemon.fresh_metrics();
        for way in ["write", "sendto", "writev", "sendmsg", "sendmmsg"] {
            let route = format!("/{way}");
            let labels = [("group", server), ("method", "GET"), ("route", route.as_str()), ("status_class", "2xx")];
            assert_eq!(metrics.find(SERVER, &labels), Some(10.0), "{way}");
        }
        let bytes = |role, direction| {
            let group = if role == "server" { server } else { client };
            metrics.sum("monitor_l7_bytes_total", &[("group", group), ("role", role), ("direction", direction)])
        };
        // 40 bytes an answer.
        assert_eq!((bytes("server", "response"), bytes("client", "response")), (2_000.0, 2_000.0));
        assert_eq!(bytes("server", "request"), bytes("client", "request"));
        let requests = daemon.json("/api/v1/requests");
        let mine = |request: &&Value| request["group"] == server;
        let slow =
            requests["requests"].as_array().unwrap().iter().find(mine).expect("one of the slowest is the server's");
        assert_eq!((&slow["operation"], &slow["code"], &slow["role"]), (&"GET".into(), &200.into(), &"server".into()));
        assert!(!requests.to_string().contains("secret"), "{requests}");
        let called = edge(&daemon, client, server, "http").expect("the map has it");
        assert_eq!(
            (&called["requests"], &called["connections"], &called["errors"]),
            (&50.into(), &1.into(), &0.into())
        );
        assert!(called["duration_seconds"].as_f64().unwrap() > 0.0 && called["response_bytes"] == 2_000, "{called}");
        // Nothing that a user typed is in a label.
        assert!(!daemon.get("/metrics").text().contains("secret"));
    });
}

#[test]
fn a_connection_older_than_the_daemon_is_heard_from_now_on() {
    again_if_missed(|| {
        if !expected::has_hook("bpf_task_pt_regs") {
            return;
        }
        let server = ["answer-http", "7", "+", "say", "half", "+", "answer-http", "20"];
        let client = ["ask-http", "7", "+", "wait", "+", "ask-http", "20", "+", "close"];
        let (mut server, mut client, _) = pair(&server, &client);
        client.go();
        assert_eq!(server.line(), "half");
        let daemon = Daemon::start(CONFIG);
        client.go();
        let names = [server.name.clone(), client.name.clone()];
        let (_, _) = (client.finish(), server.finish());
        let [server, client] = names.each_ref().map(String::as_str);
        counted(&daemon, 20.0, |metrics| metrics.sum(SERVER, &[("group", server)]));
        counted(&daemon, 20.0, |metrics| metrics.sum(CLIENT, &[("group", client)]));
        assert_eq!(daemon.fresh_metrics().sum(SERVER, &[("group", client)]), 0.0, "who serves is told rightly");
    });
}

#[test]
fn what_no_protocol_begins_with_is_given_up() {
    again_if_missed(|| {
        let Some(daemon) = daemon() else { return };
        let (server, mut client, _) = pair(&["babble-back", "300"], &["babble", "300", "+", "close"]);
        client.go();
        let names = [server.name.clone(), client.name.clone()];
        let (_, _) = (client.finish(), server.finish());
        // What came after it has been heard.
        let (server, mut client, _) = pair(&["answer-http", "5"], &["ask-http", "5", "+", "close"]);
        client.go();
        let after = server.name.clone();
        let (_, _) = (client.finish(), server.finish());
        counted(&daemon, 5.0, |metrics| metrics.sum(SERVER, &[("group", &after)]));
        let [server, client] = names.each_ref().map(String::as_str);
        let unknown = edge(&daemon, client, server, "unknown").expect("who speaks with whom is known all the same");
        assert_eq!((&unknown["requests"], &unknown["connections"]), (&0.into(), &1.into()));
        let metrics = daemon.fresh_metrics();
        for name in names {
            for metric in [SERVER, CLIENT, "monitor_db_query_duration_seconds_count", "monitor_l7_bytes_total"] {
                assert_eq!(metrics.sum(metric, &[("group", &name)]), 0.0, "{metric}");
            }
        }
    });
}

#[test]
fn questions_for_names_are_heard_with_their_answers() {
    again_if_missed(|| {
        let Some(daemon) = daemon() else { return };
        let mut asker = Workload::spawn(&["own-net", "+", "say", "ready", "+", "wait", "+", "dns", "30"]);
        assert_eq!(asker.line(), "ready");
        asker.go();
        let name = asker.name.clone();
        let _ = asker.finish();
        let count = "monitor_dns_lookup_duration_seconds_count";
        for (role, kind) in [("client", "A"), ("client", "AAAA"), ("server", "A"), ("server", "AAAA")] {
            let labels = [("group", name.as_str()), ("role", role), ("type", kind)];
            counted(&daemon, 30.0, |metrics| metrics.sum(count, &labels));
        }
        let metrics = daemon.fresh_metrics();
        let of = |status| metrics.sum(count, &[("group", &name), ("role", "client"), ("status", status)]);
        assert_eq!(of("ok"), 30.0);
        assert!(!daemon.get("/metrics").text().contains("secret"));
    });
}
