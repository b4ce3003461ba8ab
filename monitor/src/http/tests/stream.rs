//! `/api/v1/events/stream`.

use super::*;

const PATH: &str = "/api/v1/events/stream";

/// A reader of the stream.
struct Reader {
    stream: TcpStream,
    /// What was read but not yet parsed, chunk sizes included: they are lines that no field of ours looks like.
    rest: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Received {
    id: Option<u64>,
    event: String,
    data: String,
}

impl Reader {
    async fn open(server: &Running, path: &str, headers: &str) -> Self {
        let mut reader = Self { stream: server.send("GET", path, headers).await, rest: String::new() };
        reader.until("retry: 1000\n").await;
        reader
    }

    async fn read(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let length = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("something in time").unwrap();
        self.rest.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        length
    }

    /// Everything up to `mark`.
    async fn until(&mut self, mark: &str) -> String {
        loop {
            if let Some(end) = self.rest.find(mark) {
                let rest = self.rest.split_off(end + mark.len());
                return std::mem::replace(&mut self.rest, rest);
            }
            assert!(self.read().await > 0, "the stream ended: {}", self.rest);
        }
    }

    async fn next(&mut self) -> Received {
        loop {
            let block = self.until("\n\n").await;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(event) = field("event: ") {
                return Received {
                    id: field("id: ").map(|id| id.parse().unwrap()),
                    event,
                    data: field("data: ").unwrap(),
                };
            }
        }
    }

    /// The number of the next alert.
    async fn alert(&mut self) -> u64 {
        let received = self.next().await;
        assert_eq!(received.event, "alert", "{received:?}");
        let data: serde_json::Value = serde_json::from_str(&received.data).unwrap();
        assert_eq!(data["seq"].as_u64(), received.id);
        received.id.unwrap()
    }
}

#[tokio::test]
async fn a_stream_is_live_and_is_not_compressed() {
    let server = start(Fake::default()).await;
    publish(&server.fake.events, Severity::High, "before");
    let mut stream = server.send("GET", PATH, "Accept-Encoding: gzip\r\n").await;
    let mut head = [0; 1024];
    let length = stream.read(&mut head).await.unwrap();
    let head = std::str::from_utf8(&head[..length]).unwrap();
    assert!(head.contains("content-type: text/event-stream\r\n") && !head.contains("content-encoding"), "{head}");
    let mut reader = Reader { stream, rest: String::new() };
    server.wait_for_metric("monitor_http_event_streams", 1.0).await;
    publish(&server.fake.events, Severity::High, "after");
    assert_eq!(reader.alert().await, 2);
}

#[tokio::test]
async fn a_stream_goes_on_where_its_reader_was() {
    let server = start(Fake::default()).await;
    for _ in 0..600 {
        publish(&server.fake.events, Severity::High, "r");
    }
    for (path, headers) in [("?after=10", ""), ("", "Last-Event-ID: 10\r\n"), ("?after=3", "Last-Event-ID: 10\r\n")] {
        let mut reader = Reader::open(&server, &format!("{PATH}{path}"), headers).await;
        for expected in 11..=600 {
            assert_eq!(reader.alert().await, expected);
        }
    }
    let mut reader = Reader::open(&server, &format!("{PATH}?after=0"), "").await;
    assert_eq!(reader.alert().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_between_the_store_and_what_is_live() {
    const EVENTS: u64 = 2_000;
    let server = start(Fake { events: Store::new(EVENTS as usize), ..Fake::default() }).await;
    let fake = Arc::clone(&server.fake);
    let publisher = std::thread::spawn(move || {
        for index in 0..EVENTS {
            publish(&fake.events, Severity::High, "r");
            if index % 16 == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(Reader::open(&server, &format!("{PATH}?after=0"), "").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for mut reader in readers {
        for expected in 1..=EVENTS {
            assert_eq!(reader.alert().await, expected);
        }
    }
    publisher.join().unwrap();
}

#[tokio::test]
async fn a_reader_that_lags_is_told_what_it_missed() {
    let server = start(Fake { events: Store::new(10), ..Fake::default() }).await;
    let mut reader = Reader::open(&server, PATH, "").await;
    // All at once, so that the follower, which shares this thread, sees nothing until they are all there.
    for _ in 0..1_000 {
        publish(&server.fake.events, Severity::High, "r");
    }
    let missed = Received { id: Some(990), event: "missed".into(), data: r#"{"count":990}"#.into() };
    assert_eq!(reader.next().await, missed);
    for expected in 991..=1_000 {
        assert_eq!(reader.alert().await, expected);
    }
    publish(&server.fake.events, Severity::High, "r");
    assert_eq!(reader.alert().await, 1_001);
    assert_eq!(server.metric("monitor_http_missed_events_total").await, 990.0);
}

#[tokio::test]
async fn a_reader_of_an_earlier_daemon_gets_everything_of_this_one() {
    let server = start(Fake::default()).await;
    publish(&server.fake.events, Severity::High, "r");
    let mut reader = Reader::open(&server, PATH, "Last-Event-ID: 4711\r\n").await;
    let missed = reader.next().await;
    assert_eq!((missed.event.as_str(), missed.data.as_str()), ("missed", r#"{"count":null,"restarted":true}"#));
    assert_eq!(reader.alert().await, 1);
    publish(&server.fake.events, Severity::High, "r");
    assert_eq!(reader.alert().await, 2);
}

#[tokio::test]
async fn a_stream_can_be_filtered() {
    let server = start(Fake::default()).await;
    let wanted = |index| if index % 3 == 0 { ("a", Severity::High) } else { ("b", Severity::Low) };
    for index in 1..=300 {
        let (rule, severity) = wanted(index);
        publish(&server.fake.events, severity, rule);
    }
    let mut reader = Reader::open(&server, &format!("{PATH}?after=0&rule=a&severity=high"), "").await;
    assert_eq!(reader.alert().await, 3);
    for index in 301..=600 {
        let (rule, severity) = wanted(index);
        publish(&server.fake.events, severity, rule);
    }
    for expected in (6..=600).step_by(3) {
        assert_eq!(reader.alert().await, expected);
    }
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_is_alive() {
    let limits = Limits { keep_alive: Duration::from_millis(20), ..Limits::default() };
    let server = start_with(Fake::default(), Options { limits, ..Options::default() }).await;
    let mut reader = Reader::open(&server, PATH, "").await;
    reader.until("\n:\n\n").await;
    reader.until("\n:\n\n").await;
}

#[tokio::test]
async fn streams_are_limited_and_given_back() {
    let server = start(Fake::default()).await;
    let mut readers = Vec::new();
    for _ in 0..super::super::stream::MAX_STREAMS {
        readers.push(Reader::open(&server, PATH, "").await);
    }
    let reply = server.get(PATH).await;
    assert_eq!((reply.code, reply.json()["error"].as_str()), (503, Some("more than 32 event streams")));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(server.metric(r#"monitor_http_rejected_total{reason="streams"}"#).await, 1.0);
    assert_eq!(server.metric("monitor_http_event_streams").await, 32.0);
    readers.clear();
    server.wait_for_metric("monitor_http_event_streams", 0.0).await;
    Reader::open(&server, PATH, "").await;
}

#[tokio::test]
async fn open_streams_end_when_the_daemon_stops() {
    let server = start(Fake::default()).await;
    let mut reader = Reader::open(&server, PATH, "").await;
    server.stop.send_replace(true);
    while reader.read().await > 0 {}
    assert!(reader.rest.ends_with("\r\n0\r\n\r\n") || reader.rest.ends_with("0\r\n\r\n"), "{:?}", reader.rest);
}
