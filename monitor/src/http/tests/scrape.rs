//! `/metrics`.

use std::io::Read as _;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::super::scrape::PACE;
use super::*;
use crate::metrics::testing;

const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n";

#[tokio::test]
async fn a_scraper_gets_the_format_it_asks_for() {
    let server = start(Fake { padding: 3, ..Fake::default() }).await;
    // So that the interface's own series with labels are there.
    server.get("/-/healthy").await;
    let reply = server.get("/metrics").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    testing::promtool_check(&reply.body);
    let reply = server.request("GET", "/metrics", OPENMETRICS).await;
    assert_eq!(reply.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let series = testing::promtool_read_openmetrics(&reply.body);
    for expected in [
        r#"{__name__="monitor_test_collections_total"} 2"#,
        r#"{__name__="monitor_http_requests_total", code="200", handler="/metrics"} 1"#,
        r#"{__name__="monitor_http_connections"} 1"#,
    ] {
        assert!(series.iter().any(|found| found == expected), "{expected} is not among {series:#?}");
    }
}

#[tokio::test]
async fn gzip_is_used_when_wanted() {
    let server = start(Fake { padding: 100, ..Fake::default() }).await;
    let plain = server.get("/metrics").await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed = server.request("GET", "/metrics", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() * 5 < plain.body.len(), "{} of {}", packed.body.len(), plain.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.contains("monitor_test_collections_total 2\n"), "{text:.500}");
    testing::promtool_check(text.as_bytes());
    let events = server.request("GET", "/api/v1/status", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(events.header("content-encoding"), Some("gzip"));
}

#[tokio::test]
async fn a_saturated_daemon_answers_with_its_last_numbers() {
    let limits = Limits { scrape: Duration::from_millis(50), ..Limits::default() };
    let server = start_with(Fake::default(), Options { limits, ..Options::default() }).await;
    server.fake.blocked.send_replace(true);
    let reply = server.get("/metrics").await;
    assert_eq!(reply.code, 503, "there are no numbers yet: {reply:?}");
    server.fake.blocked.send_replace(false);
    server.wait_for_metric("monitor_http_stale_scrapes_total", 0.0).await;
    let fresh = server.metric("monitor_test_collections_total").await;
    server.fake.blocked.send_replace(true);
    assert_eq!(server.metric("monitor_test_collections_total").await, fresh);
    assert_eq!(server.metric("monitor_http_stale_scrapes_total").await, 2.0);
    // The collection that came too late is not lost: with it, later scrapes are fresh again.
    server.fake.blocked.send_replace(false);
    assert!(server.metric("monitor_test_collections_total").await > fresh);
}

#[tokio::test]
async fn a_late_daemon_is_not_waited_for_while_its_numbers_are_young() {
    let limits = Limits { scrape: PATIENCE, answer: PATIENCE, ..Limits::default() };
    let server = Arc::new(start_with(Fake::default(), Options { limits, ..Options::default() }).await);
    let first = server.metric("monitor_test_collections_total").await;
    server.fake.blocked.send_replace(true);
    let begun = Instant::now();
    assert_eq!(server.metric("monitor_test_collections_total").await, first);
    assert_eq!(server.metric("monitor_http_stale_scrapes_total").await, 2.0, "this one is stale as well");
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    // Who wants nothing stored waits.
    let fresh = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.request("GET", "/metrics", "Cache-Control: max-age=0, No-Cache\r\n").await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!fresh.is_finished(), "answered without new numbers");
    server.fake.blocked.send_replace(false);
    let fresh = fresh.await.unwrap().text();
    assert!(!fresh.contains(&format!("monitor_test_collections_total {first}\n")), "{fresh}");
}

#[tokio::test]
async fn numbers_are_renewed_while_somebody_scrapes() {
    let server = start(Fake::default()).await;
    tokio::time::sleep(PACE + Duration::from_secs(1)).await;
    assert_eq!(server.fake.collections.load(Ordering::SeqCst), 0, "nobody has asked");
    server.get("/metrics").await;
    let renewed = async {
        while server.fake.collections.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, renewed).await.expect("two collections that nobody waits for");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_counter_goes_down_from_one_scrape_to_the_next() {
    let server = Arc::new(start(Fake::default()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let pipeline = {
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        // Sometimes in time and sometimes late, so that fresh and stored numbers are served in turn.
        tokio::spawn(async move {
            for round in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                server.fake.blocked.send_replace(round % 2 == 0);
                tokio::time::sleep(Duration::from_millis(7 + round * 5 % 23)).await;
            }
            server.fake.blocked.send_replace(false);
        })
    };
    let scrapers: Vec<_> = (0..8)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let mut last = 0.0;
                for _ in 0..60 {
                    let now = server.metric("monitor_test_collections_total").await;
                    assert!(now >= last, "{now} after {last}");
                    last = now;
                }
                last
            })
        })
        .collect();
    for scraper in scrapers {
        assert!(scraper.await.unwrap() > 1.0, "new numbers came");
    }
    stop.store(true, Ordering::Relaxed);
    pipeline.await.unwrap();
    assert!(server.metric("monitor_http_stale_scrapes_total").await > 0.0, "some were stored ones");
}

#[tokio::test]
async fn prometheus_own_time_out_is_kept() {
    let server = start(Fake::default()).await;
    server.get("/metrics").await;
    server.fake.blocked.send_replace(true);
    let start = Instant::now();
    let reply = server.request("GET", "/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.1\r\n").await;
    assert_eq!(reply.code, 200);
    assert!(start.elapsed() < Limits::default().scrape, "{:?}", start.elapsed());
}

#[tokio::test]
async fn scrapes_at_the_same_time_share_a_collection_and_see_what_was_before_them() {
    let server = Arc::new(start(Fake::default()).await);
    server.fake.blocked.send_replace(true);
    let scrape =
        |server: Arc<Running>| tokio::spawn(async move { server.metric("monitor_test_collections_total").await });
    let first = scrape(Arc::clone(&server));
    server.fake.began.notified().await;
    let others: Vec<_> = (0..20).map(|_| scrape(Arc::clone(&server))).collect();
    // All of them have asked, which the first collection began too early for.
    while server.state.telemetry.connections.get() < 21 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.fake.blocked.send_replace(false);
    assert_eq!(first.await.unwrap(), 1.0);
    for other in others {
        assert_eq!(other.await.unwrap(), 2.0);
    }
}

#[tokio::test]
async fn a_panic_in_a_collection_costs_only_that_one() {
    let limits = Limits { scrape: Duration::from_millis(50), ..Limits::default() };
    let server = start_with(Fake::default(), Options { limits, ..Options::default() }).await;
    // The made-up daemon panics when it is asked twice at a time.
    server.fake.collecting.store(1, Ordering::SeqCst);
    assert_eq!(server.get("/metrics").await.code, 503);
    server.fake.collecting.store(0, Ordering::SeqCst);
    assert_eq!(server.get("/metrics").await.code, 200);
}
