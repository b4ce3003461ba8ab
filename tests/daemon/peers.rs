//! Peers that are slow, silent or too many. None of them holds up the others.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use monitor_tests::{DEADLINE, Daemon, request, until};

use super::support::{Peer, alert};

/// How long a well-behaved scraper may wait beside them. Prometheus waits ten seconds.
const SCRAPE: Duration = Duration::from_secs(2);

/// Scrapes as Prometheus does, on a connection that stays open.
fn scrape(peer: &mut Peer) {
    let begin = Instant::now();
    peer.ask("/metrics");
    let (status, page) = peer.answer();
    assert_eq!(status, 200, "{page}");
    assert!(begin.elapsed() < SCRAPE, "a scrape took {:?}", begin.elapsed());
}

fn rejected(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metrics().sum("monitor_http_rejected_total", &[("reason", reason)])
}

#[test]
fn a_scraper_that_never_reads_holds_up_nobody() {
    let daemon = Daemon::start("");
    let deaf: Vec<Peer> = (0..4)
        .map(|_| {
            let mut peer = Peer::connect(daemon.address());
            assert!(peer.flood("/metrics") > 0);
            peer
        })
        .collect();
    let mut scraper = Peer::connect(daemon.address());
    for _ in 0..5 {
        scrape(&mut scraper);
    }
    // Nor does it hold up what is not HTTP.
    alert(&daemon);
    drop(deaf);
    let metrics = daemon.metrics();
    let resident = metrics.find("process_resident_memory_bytes", &[]).unwrap();
    assert!(resident < 512e6, "{resident} bytes for four peers that do not read");
}

#[test]
fn three_hundred_idle_connections_leave_room_for_a_scraper_and_are_shown_the_door() {
    let daemon = Daemon::start("");
    let mut scraper = Peer::connect(daemon.address());
    scrape(&mut scraper);
    let idle: Vec<Peer> = (0..300).map(|_| Peer::connect(daemon.address())).collect();
    scrape(&mut scraper);
    let mut late = Peer::connect(daemon.address());
    late.ask("/-/healthy");
    let (status, why) = late.answer();
    assert_eq!((status, why.as_str()), (503, "too many connections (http.max_connections)"));
    // Whoever says nothing has to go, and then there is room again, though the 300 would have stayed.
    until(DEADLINE, || {
        scrape(&mut scraper);
        match request(daemon.address(), "GET", "/-/healthy", &[]) {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("still no room: {other:?}")),
        }
    });
    assert!(rejected(&daemon, "connections") >= 45.0);
    assert!(rejected(&daemon, "silent") > 0.0);
    drop(idle);
    assert_eq!(daemon.stop().0.code(), Some(0));
}

#[test]
fn a_request_that_trickles_in_is_cut_off_in_time() {
    let daemon = Daemon::start("");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let mut peer = Peer::connect(daemon.address());
                scope.spawn(move || {
                    let begin = Instant::now();
                    // A byte now and then, which never becomes a request.
                    while peer.send("x").is_ok() && begin.elapsed() < DEADLINE {
                        thread::sleep(Duration::from_millis(100));
                    }
                    begin.elapsed()
                })
            })
            .collect();
        let scraper = scope.spawn(|| {
            let mut scraper = Peer::connect(daemon.address());
            while !done.load(Ordering::Relaxed) {
                scrape(&mut scraper);
                thread::sleep(Duration::from_millis(200));
            }
        });
        let took: Vec<_> = slow.into_iter().map(|slow| slow.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        scraper.join().unwrap();
        for took in took {
            assert!(took < Duration::from_secs(15), "not cut off for {took:?}");
        }
    });
    assert!(rejected(&daemon, "silent") >= 20.0);
}

#[test]
fn streams_are_counted_and_limited() {
    let daemon = Daemon::start("");
    let streams: Vec<_> = (0..32).map(|_| super::support::Stream::open(daemon.address(), "", None)).collect();
    let refused = daemon.get("/api/v1/events/stream");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("more than 32 event streams"), "{}", refused.text());
    assert_eq!(daemon.metrics().find("monitor_http_event_streams", &[]), Some(32.0));
    assert!(rejected(&daemon, "streams") > 0.0);
    // Every one of them hears of it.
    let event = alert(&daemon);
    for mut stream in streams {
        while stream.next().data != event {}
    }
    until(DEADLINE, || match daemon.metrics().find("monitor_http_event_streams", &[]) {
        Some(0.0) => Ok(()),
        other => Err(format!("streams of readers that are gone: {other:?}")),
    });
}
