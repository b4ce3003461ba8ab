//! `tcp`: bytes as sent, connections by how they began and ended, and whose they are.
//!
//! Nothing here needs a network that loses packets: a socket with a filter that accepts nothing is as good.

use std::{fs, net::TcpListener, path::Path};

use aya::{
    maps::{Array, HashMap, Map, MapData, MapInfo},
    programs::loaded_programs,
};

use monitor_common::signals::tcp::Socket;
use monitor_tests::{DEADLINE, Daemon, Workload, expected, shared, slowness, until};
use serde_json::Value;

const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Server and client, who do these steps after they have a connection, and end.
fn pair(address: &str, server: &[&str], client: &[&str]) -> (Workload, String, Workload) {
    let mut steps = vec!["listen", address, "+", "accept", "+"];
    steps.extend(server);
    let mut server = Workload::spawn(&steps);
    let address = server.line();
    let mut steps = vec!["connect", &address, "+"];
    steps.extend(client);
    let client = Workload::spawn(&steps);
    (server, address, client)
}

/// Waits for both and tells what they did, once the kernel has closed the connection on both sides.
#[track_caller]
fn account(daemon: &Daemon, server: Workload, client: Workload) -> (Value, Value) {
    let (client, server) = (client.finish().pid, server.finish().pid);
    daemon.ended(server);
    daemon.ended(client);
    // The last packets of a connection may come after the end of the process.
    until(DEADLINE, || {
        let (server, client) = (daemon.seen(server)["tcp"].clone(), daemon.seen(client)["tcp"].clone());
        let closes = number(&server["closes"]["server"]) + number(&client["closes"]["client"]);
        if closes >= 2 { Ok((server, client)) } else { Err(format!("not closed: {server} {client}")) }
    })
}

#[test]
fn bytes_are_those_that_were_sent() {
    let daemon = shared();
    for address in LOOPBACK {
        // Bytes that were only looked at count when they are taken.
        let server = ["receive", "1000000", "+", "peek", "1", "+", "receive", "7", "+", "send", "300001", "+", "close"];
        let client = ["send", "1000007", "+", "receive", "300001", "+", "receive-end", "+", "close"];
        let (server, listening, client) = pair(address, &server, &client);
        let groups = [server.name.clone(), client.name.clone()];
        let (server, client) = account(&daemon, server, client);
        let bytes = |process: &Value| (number(&process["bytes_sent"]), number(&process["bytes_received"]));
        assert_eq!(bytes(&server), (300_001, 1_000_007), "{address}");
        assert_eq!(bytes(&client), (1_000_007, 300_001), "{address}");

        let port = listening.rsplit_once(':').unwrap().1;
        assert_eq!(server["accepts"], 1);
        assert_eq!(server["accepts_by_port"], serde_json::json!({ port: 1 }));
        assert_eq!(client["accepts"], 0);
        let connects = |process: &Value| -> u64 { process["connects"].as_object().unwrap().values().map(number).sum() };
        assert_eq!((number(&client["connects"]["ok"]), connects(&client), connects(&server)), (1, 1, 0));
        assert_eq!(server["closes"], serde_json::json!({ "client": 0, "server": 1 }));
        assert_eq!(client["closes"], serde_json::json!({ "client": 1, "server": 0 }));
        for none in ["resets_sent", "resets_received"] {
            assert_eq!((number(&server[none]), number(&client[none])), (0, 0), "{none}");
        }

        // The same as series, told by group.
        let metrics = daemon.fresh_metrics();
        let [server, client] = groups.each_ref().map(String::as_str);
        let find = |name, labels: &[(&str, &str)]| metrics.find(name, labels);
        let bytes = |group, direction| find("monitor_tcp_bytes_total", &[("group", group), ("direction", direction)]);
        assert_eq!((bytes(server, "sent"), bytes(server, "received")), (Some(300_001.0), Some(1_000_007.0)));
        assert_eq!((bytes(client, "sent"), bytes(client, "received")), (Some(1_000_007.0), Some(300_001.0)));
        assert_eq!(find("monitor_tcp_accepts_total", &[("group", server), ("port", port)]), Some(1.0));
        assert_eq!(find("monitor_tcp_connects_total", &[("group", client), ("result", "ok")]), Some(1.0));
        assert_eq!(find("monitor_tcp_connect_duration_seconds_count", &[("group", client)]), Some(1.0));
        for (group, role) in [(server, "server"), (client, "client")] {
            let labels = [("group", group), ("role", role)];
            assert_eq!(find("monitor_tcp_closes_total", &labels), Some(1.0));
            assert_eq!(find("monitor_tcp_connection_duration_seconds_count", &labels), Some(1.0));
        }
    }
}

#[test]
fn a_connect_takes_time_and_lasts_until_it_is_closed() {
    let daemon = shared();
    let (mut server, _, mut client) = pair("127.0.0.1", &["wait"], &["say", "up", "+", "sleep", "1200", "+", "close"]);
    client.line();
    server.go();
    let group = client.name.clone();
    let (_, client) = account(&daemon, server, client);
    let seconds = client["connect_seconds"].as_f64().unwrap();
    assert!(seconds > 0.0 && seconds < f64::from(slowness()), "{seconds}");
    let buckets: Vec<u64> = client["connect_buckets"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(buckets.iter().sum::<u64>(), 1);
    // 2^30 ns is the first bound above a second; no connect on the loopback takes that long, unless all is emulated.
    assert!(slowness() > 1 || buckets[12..].iter().sum::<u64>() == 0, "{buckets:?}");
    let metrics = daemon.fresh_metrics();
    let labels = [("group", group.as_str()), ("role", "client")];
    let lifetime = metrics.find("monitor_tcp_connection_duration_seconds_sum", &labels).unwrap();
    assert!((1.2..10.0 * f64::from(slowness())).contains(&lifetime), "{lifetime}");
    let short = [("group", group.as_str()), ("role", "client"), ("le", "1")];
    assert_eq!(metrics.find("monitor_tcp_connection_duration_seconds_bucket", &short), Some(0.0));
}

#[test]
fn a_connect_that_fails_tells_how() {
    let daemon = shared();
    // A port that nobody listens at: it was just given back.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut refused = Workload::spawn(&["connect-in-vain", &closed]);
    assert_eq!(refused.line(), format!("{} 0", libc::ECONNREFUSED));

    let mut deaf = Workload::spawn(&["listen", "127.0.0.1", "+", "deaf-listener", "+", "say", "deaf", "+", "wait"]);
    let address = deaf.line();
    assert_eq!(deaf.line(), "deaf");
    let mut late = Workload::spawn(&["connect-in-vain", &address]);
    let hasty = Workload::spawn(&["connect-and-give-up", &address]);
    let line = late.line();
    let (error, again) = line.split_once(' ').unwrap();
    assert_eq!(error, libc::ETIMEDOUT.to_string());
    let again: u64 = again.parse().unwrap();
    assert!(again > 0);

    let ended = |workload: Workload| {
        let pid = workload.finish().pid;
        daemon.ended(pid)["tcp"].clone()
    };
    let (refused, late, hasty) = (ended(refused), ended(late), ended(hasty));
    for (process, result) in [(&refused, "refused"), (&late, "timeout"), (&hasty, "aborted")] {
        let connects: Vec<_> =
            process["connects"].as_object().unwrap().iter().filter(|(_, count)| number(count) != 0).collect();
        assert_eq!(connects, [(&result.to_owned(), &Value::from(1))]);
        assert_eq!(number(&process["closes"]["client"]), 0, "what was never open is not closed: {process}");
        assert_eq!(process["connect_buckets"].as_array().unwrap().iter().map(number).sum::<u64>(), 0);
    }
    assert_eq!(late["retransmits"], serde_json::json!({ "data": 0, "syn": again, "synack": 0 }));
    assert_eq!(refused["retransmits"], serde_json::json!({ "data": 0, "syn": 0, "synack": 0 }));
    assert_eq!(number(&refused["resets_received"]), 1, "a refusal is a reset");
    assert_eq!(number(&late["resets_received"]), 0);
    deaf.finish();
}

#[test]
fn what_is_sent_again_is_counted_as_the_kernel_does() {
    let daemon = shared();
    let server = ["deaf", "+", "say", "deaf", "+", "wait", "+", "hear", "+", "receive", "5000", "+", "send", "1"];
    let client = ["wait", "+", "send", "5000", "+", "receive", "1", "+", "retransmits", "+", "close"];
    let (mut server, _, mut client) = pair("127.0.0.1", &server, &client);
    assert_eq!(server.line(), "deaf");
    client.go();
    until(DEADLINE, || match number(&daemon.seen(client.pid())["tcp"]["retransmits"]["data"]) {
        0 | 1 => Err("nothing sent again"),
        _ => Ok(()),
    });
    server.go();
    let group = client.name.clone();
    let told: u64 = client.line().parse().unwrap();
    let (server, client) = account(&daemon, server, client);
    assert_eq!(client["retransmits"], serde_json::json!({ "data": told, "syn": 0, "synack": 0 }));
    assert_eq!(number(&server["retransmits"]["data"]), 0);
    // What was sent twice was handed over once.
    assert_eq!((number(&client["bytes_sent"]), number(&server["bytes_received"])), (5_000, 5_000));
    let labels = [("group", group.as_str()), ("kind", "data")];
    assert_eq!(daemon.fresh_metrics().find("monitor_tcp_retransmits_total", &labels), Some(told as f64));
}

#[test]
fn a_reset_is_counted_on_both_sides() {
    let daemon = shared();
    for address in LOOPBACK {
        // Not before the client has the connection: a connect that a reset overtakes fails.
        let (mut server, _, mut client) = pair(address, &["wait", "+", "reset"], &["say", "up", "+", "wait"]);
        client.line();
        server.go();
        let server = server.finish().pid;
        until(DEADLINE, || {
            let tcp = daemon.seen(client.pid())["tcp"].clone();
            if number(&tcp["resets_received"]) == 1 { Ok(()) } else { Err(tcp.to_string()) }
        });
        client.go();
        let client = client.finish().pid;
        let (server, client) = (daemon.ended(server)["tcp"].clone(), daemon.ended(client)["tcp"].clone());
        let resets = |process: &Value| (number(&process["resets_sent"]), number(&process["resets_received"]));
        assert_eq!((resets(&server), resets(&client)), ((1, 0), (0, 1)), "{address}");
        assert_eq!((number(&server["closes"]["server"]), number(&client["closes"]["client"])), (1, 1), "{address}");
    }
}

#[test]
fn bytes_count_for_who_moves_them_and_the_connection_for_who_accepted_it() {
    let daemon = shared();
    let mut server = Workload::spawn(&["listen", "127.0.0.1", "+", "serve-by-child", "4000"]);
    let address = server.line();
    let client =
        Workload::spawn(&["connect", &address, "+", "send", "4000", "+", "receive", "4000", "+", "receive-end"]);
    let child = server.line().parse().unwrap();
    let (server, client) = account(&daemon, server, client);
    let child = daemon.ended(child)["tcp"].clone();
    let bytes = |process: &Value| (number(&process["bytes_sent"]), number(&process["bytes_received"]));
    let moved = (4_000, 4_000);
    // Bytes that are read as a connection closes are its owner's, whoever moved them.
    let (accepted, moves) = if expected::has_hook("sock_send_length") { ((0, 0), moved) } else { (moved, (0, 0)) };
    assert_eq!((bytes(&server), bytes(&child), bytes(&client)), (accepted, moves, moved));
    assert_eq!((number(&server["accepts"]), number(&child["accepts"])), (1, 0));
    assert_eq!((number(&server["closes"]["server"]), number(&child["closes"]["server"])), (1, 0));
}

#[test]
fn mptcp_is_counted_as_what_it_is_for_the_process() {
    if !Path::new("/proc/sys/net/mptcp/enabled").exists() {
        // SAFETY: no memory is involved.
        let refused = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) };
        assert_eq!((refused, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EPROTONOSUPPORT)));
        return;
    }
    let daemon = shared();
    let steps =
        ["listen-mptcp", "127.0.0.1", "+", "accept", "+", "receive", "70000", "+", "send", "90001", "+", "close"];
    let mut server = Workload::spawn(&steps);
    let address = server.line();
    let steps =
        ["connect-mptcp", &address, "+", "send", "70000", "+", "receive", "90001", "+", "receive-end", "+", "close"];
    let client = Workload::spawn(&steps);
    let (server, client) = account(&daemon, server, client);
    let bytes = |process: &Value| (number(&process["bytes_sent"]), number(&process["bytes_received"]));
    assert_eq!((bytes(&server), bytes(&client)), ((90_001, 70_000), (70_000, 90_001)));
    assert_eq!((number(&client["connects"]["ok"]), number(&server["accepts"])), (1, 1));
    assert_eq!((number(&client["closes"]["client"]), number(&server["closes"]["server"])), (1, 1));
}

/// One of the maps that the daemon's kernel programs use.
fn map(daemon: &Daemon, name: &str) -> MapData {
    let files = fs::read_dir(format!("/proc/{}/fdinfo", daemon.pid())).unwrap().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let number = |text: String| text.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse::<u32>().ok();
    let programs: Vec<u32> = texts.filter_map(number).collect();
    let used = loaded_programs().flatten().filter(|program| programs.contains(&program.id()));
    let maps: Vec<u32> = used.filter_map(|program| program.map_ids().ok()?).flatten().collect();
    let found = maps.iter().find(|id| MapInfo::from_id(**id).is_ok_and(|map| map.name_as_str() == Some(name)));
    MapData::from_id(*found.unwrap_or_else(|| panic!("the daemon has no map {name}"))).unwrap()
}

/// The sockets that the kernel programs know as this process's, by `Socket::role`.
fn sockets_of(daemon: &Daemon, pid: u32) -> Vec<u32> {
    let word = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let owners: Array<_, [u8; 32]> = Map::Array(map(daemon, "PROCESS_SLOTS")).try_into().unwrap();
    let slot = owners.iter().flatten().position(|owner| word(&owner, 8) == pid && word(&owner, 12) == 1);
    let slot = u32::try_from(slot.expect("the process has a slot")).unwrap();
    let sockets: HashMap<_, [u8; 8], [u8; size_of::<Socket>()]> =
        Map::HashMap(map(daemon, "TCP_SOCKETS")).try_into().unwrap();
    sockets
        .iter()
        .flatten()
        .filter(|(_, socket)| word(socket, 0) == slot)
        .map(|(_, socket)| word(&socket, 16))
        .collect()
}

#[test]
fn a_connection_that_is_over_takes_no_room() {
    let daemon = shared();
    // Reset before it is accepted; what had been sent before can still be read.
    let server = ["wait", "+", "accept", "+", "receive", "10", "+", "say", "read", "+", "wait", "+", "close"];
    let mut server = Workload::spawn(&[&["listen", "127.0.0.1", "+"], &server[..]].concat());
    let address = server.line();
    Workload::spawn(&["connect", &address, "+", "send", "10", "+", "reset"]).finish();
    server.go();
    assert_eq!(server.line(), "read");
    const LISTENER: u32 = 2;
    assert_eq!(sockets_of(&daemon, server.pid()), [LISTENER]);
    server.go();
    let server = daemon.ended(server.finish().pid)["tcp"].clone();
    // Its bytes are known where they are counted as they are taken: at the close (before Linux 6.3) it had no owner yet.
    assert_eq!(number(&server["accepts"]), 1);
}

#[test]
fn a_connection_that_its_process_leaves_open_is_closed_for_it() {
    let daemon = shared();
    // Neither side closes: both just end.
    let (server, _, client) = pair("127.0.0.1", &["receive", "10"], &["send", "10"]);
    let group = client.name.clone();
    let (server, client) = account(&daemon, server, client);
    assert_eq!((number(&client["closes"]["client"]), number(&server["closes"]["server"])), (1, 1));
    let labels = [("group", group.as_str()), ("role", "client")];
    assert_eq!(daemon.fresh_metrics().find("monitor_tcp_closes_total", &labels), Some(1.0));
}

#[test]
fn a_connection_older_than_the_daemon_counts_bytes_from_then_on() {
    let server = ["receive", "500", "+", "say", "old", "+", "receive", "800", "+", "close"];
    let client = ["send", "500", "+", "wait", "+", "send", "800", "+", "receive-end"];
    let (mut server, _, mut client) = pair("127.0.0.1", &server, &client);
    assert_eq!(server.line(), "old");
    let daemon = Daemon::start("");
    client.go();
    let (client, server) = (client.finish().pid, server.finish().pid);
    let (server, client) = (daemon.ended(server)["tcp"].clone(), daemon.ended(client)["tcp"].clone());
    // Bytes that are read as a connection closes count for who opened it, and that nobody saw.
    let bytes = if expected::has_hook("sock_send_length") { 800 } else { 0 };
    assert_eq!((number(&client["bytes_sent"]), number(&server["bytes_received"])), (bytes, bytes));
    // Nobody saw how it began, so it is nobody's to be closed.
    assert_eq!((number(&client["closes"]["client"]), number(&server["closes"]["server"])), (0, 0));
}

#[test]
fn without_the_hooks_for_traffic_bytes_are_counted_when_the_connection_is_closed() {
    // Also when one of the two is there: both directions are told by the same means.
    for hooks in [r#"["sock_send_length"]"#, r#"["sock_recv_length"]"#, r#"["sock_send_length", "sock_recv_length"]"#] {
        let daemon = Daemon::start(&format!("[kernel]\ndisable_hooks = {hooks}\n"));
        let server = ["receive", "70000", "+", "send", "90001", "+", "say", "sent", "+", "wait", "+", "close"];
        let client = ["send", "70000", "+", "receive", "90001", "+", "receive-end", "+", "close"];
        let (mut server, _, client) = pair("127.0.0.1", &server, &client);
        assert_eq!(server.line(), "sent");
        let early = daemon.seen(client.pid())["tcp"].clone();
        assert_eq!((number(&early["bytes_sent"]), number(&early["bytes_received"])), (0, 0), "it is not closed yet");
        server.go();
        let (server, client) = account(&daemon, server, client);
        let bytes = |process: &Value| (number(&process["bytes_sent"]), number(&process["bytes_received"]));
        assert_eq!((bytes(&server), bytes(&client)), ((90_001, 70_000), (70_000, 90_001)), "without {hooks}");
        let up: Vec<_> = daemon.metrics().all("monitor_signal_up", &[("signal", "tcp")]).cloned().collect();
        assert_eq!(up.len(), 1);
        assert_eq!((up[0].label("state"), up[0].value), (Some("degraded"), 1.0));
    }
}
