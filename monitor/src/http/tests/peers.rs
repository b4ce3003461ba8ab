//! Peers that misbehave.

use std::time::Instant;

use super::*;

/// More than the sockets of this machine buffer.
const BIG: usize = 14_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_that_never_reads_stops_nobody_and_is_cut_off() {
    let limits = Limits { stall: Duration::from_millis(500), ..Limits::default() };
    let fake = Fake { padding: BIG, ..Fake::default() };
    let server = start_with(fake, Options { limits, ..Options::default() }).await;
    let mut stuck = Vec::new();
    for _ in 0..5 {
        stuck.push(server.send("GET", "/metrics", "").await);
    }
    for path in ["/-/healthy", "/metrics", "/api/v1/status"] {
        assert_eq!(server.request("GET", path, "Accept-Encoding: gzip\r\n").await.code, 200, "{path}");
    }
    let cut_off = async {
        while server.state.telemetry.connections.get() > 0 {
            // The gauge is set when something happens on the server.
            server.get("/-/healthy").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, cut_off).await.expect("all of them are cut off");
    let stalled = server.state.telemetry.gather();
    let stalled = crate::metrics::encode(crate::metrics::Format::Text, &[&stalled]);
    let stalled = String::from_utf8(stalled.to_vec()).unwrap();
    assert!(stalled.contains("monitor_http_rejected_total{reason=\"stalled\"} 5\n"), "{stalled}");
}

#[tokio::test]
async fn scrapes_in_flight_are_bounded() {
    let limits = Limits { scrape: PATIENCE, ..Limits::default() };
    let server = start_with(Fake::default(), Options { limits, ..Options::default() }).await;
    server.fake.blocked.send_replace(true);
    let mut waiting = Vec::new();
    for _ in 0..super::super::scrape::MAX_ANSWERS {
        waiting.push(server.send("GET", "/metrics", "Connection: close\r\n").await);
    }
    while server.state.telemetry.connections.get() < waiting.len() as i64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let reply = server.get("/metrics").await;
    assert_eq!((reply.code, reply.text().as_str()), (503, "too many scrapes whose answers are not read\n"));
    assert_eq!(server.get("/-/healthy").await.code, 200);
    server.fake.blocked.send_replace(false);
    for mut stream in waiting {
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
        assert_eq!(Reply::parse(&bytes).code, 200);
    }
    assert_eq!(server.metric(r#"monitor_http_rejected_total{reason="answers"}"#).await, 1.0);
}

#[tokio::test]
async fn connections_are_limited_and_silent_ones_make_room() {
    let limits = Limits { header: Duration::from_millis(300), ..Limits::default() };
    let server = start_with(Fake::default(), Options { max_connections: 3, limits, ..Options::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(server.connect().await);
    }
    // Half a request is no request.
    silent[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut refused = server.connect().await;
    let mut bytes = Vec::new();
    timeout(PATIENCE, refused.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let reply = Reply::parse(&bytes);
    assert_eq!((reply.code, reply.text().as_str()), (503, "too many connections (http.max_connections)"));
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
    for stream in &mut silent {
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes it").unwrap();
    }
    server.wait_for_metric(r#"monitor_http_rejected_total{reason="silent"}"#, 3.0).await;
    assert_eq!(server.metric(r#"monitor_http_rejected_total{reason="connections"}"#).await, 1.0);
    assert_eq!(server.metric("monitor_http_connections").await, 1.0);
}

#[tokio::test]
async fn a_connection_that_is_kept_alive_is_not_a_silent_one() {
    let limits = Limits { header: Duration::from_millis(100), ..Limits::default() };
    let server = start_with(Fake::default(), Options { limits, ..Options::default() }).await;
    let mut stream = server.send("GET", "/-/healthy", "").await;
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes it").unwrap();
    assert_eq!(Reply::parse(&bytes).code, 200);
    assert_eq!(server.metric(r#"monitor_http_rejected_total{reason="silent"}"#).await, 0.0);
}

#[tokio::test]
async fn requests_that_are_too_large_or_no_http_are_refused() {
    let server = start(Fake::default()).await;
    let header = format!("X-Long: {}\r\n", "x".repeat(20 << 10));
    assert_eq!(server.request("GET", "/", &header).await.code, 431);
    let many = "X-A: b\r\n".repeat(200);
    assert_eq!(server.request("GET", "/", &many).await.code, 431);
    let long = format!("/{}", "x".repeat(100 << 10));
    let code = server.request("GET", &long, "").await.code;
    assert!(code == 431 || code == 414, "{code}");
    for nonsense in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n"[..], b"\0\xff\r\n\r\n", b"GET  HTTP/9\r\n\r\n"]
    {
        let mut stream = server.connect().await;
        stream.write_all(nonsense).await.unwrap();
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(Reply::parse(&bytes).code, 400);
    }
    server.wait_for_metric(r#"monitor_http_rejected_total{reason="malformed"}"#, 6.0).await;
}

#[tokio::test]
async fn a_body_nobody_asked_for_is_not_read() {
    let server = start(Fake::default()).await;
    let reply = server.request("GET", "/-/healthy", "Content-Length: 100000000000\r\n").await;
    assert_eq!(reply.code, 200);
    let reply = server.request("POST", "/-/reload", "Transfer-Encoding: chunked\r\n").await;
    assert_eq!(reply.code, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_takes_less_than_a_second_whatever_peers_do() {
    let mut server = start(Fake { padding: BIG, ..Fake::default() }).await;
    let mut peers = vec![server.connect().await];
    peers.push(server.send("GET", "/api/v1/events/stream", "").await);
    peers.push(server.send("GET", "/metrics", "").await);
    // An answer that the daemon does not give.
    server.wait_for_metric("monitor_http_event_streams", 1.0).await;
    server.fake.blocked.send_replace(true);
    peers.push(server.send("GET", "/metrics", "").await);
    peers[0].write_all(b"GET / HT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    server.stop.send_replace(true);
    timeout(PATIENCE, &mut server.server).await.expect("it stops").unwrap();
    // Half a second by design; the rest is for a machine that has other things to do.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_server_without_peers_stops_at_once_also_when_its_owner_is_gone() {
    let server = start(Fake::default()).await;
    let listener = bind("127.0.0.1:0").await.unwrap();
    let (stop, shutdown) = watch::channel(false);
    drop(stop);
    timeout(PATIENCE, serve(listener, server.state.clone(), shutdown)).await.expect("it stops");
}
