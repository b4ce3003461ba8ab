//! The server on a real socket, with real peers, good and bad; only the rest of the daemon is made up.

mod api;
mod peers;
mod scrape;
mod stream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::events::{Alert, Severity, Store, Subject};
use crate::metrics::{Families, Kind, Metric, Snapshot};

/// Far above what anything here takes on a busy machine; a test that waits for so long fails.
const PATIENCE: Duration = Duration::from_secs(20);

static COLLECTED: Metric =
    Metric { name: "monitor_test_collections_total", help: "Collections.", kind: Kind::Counter, labels: &[] };
static PADDING: Metric =
    Metric { name: "monitor_test_padding", help: "A big scrape.", kind: Kind::Gauge, labels: &["value"] };

/// The rest of the daemon.
struct Fake {
    events: Store,
    ready: Result<(), String>,
    reload: Result<String, String>,
    /// Series beside the one that counts collections.
    padding: usize,
    /// A collection waits until it may go on.
    blocked: watch::Sender<bool>,
    collections: AtomicUsize,
    collecting: AtomicUsize,
    began: Notify,
    processes: Mutex<Option<ProcessQuery>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            events: Store::new(1_000),
            ready: Ok(()),
            reload: Ok("rules: 1 disabled".into()),
            padding: 0,
            blocked: watch::Sender::new(false),
            collections: AtomicUsize::new(0),
            collecting: AtomicUsize::new(0),
            began: Notify::new(),
            processes: Mutex::new(None),
        }
    }
}

impl Fake {
    async fn collect(&self) -> Snapshot {
        assert_eq!(self.collecting.fetch_add(1, Ordering::SeqCst), 0, "two collections at a time");
        self.began.notify_one();
        self.blocked.subscribe().wait_for(|blocked| !*blocked).await.unwrap();
        let mut families = Families::new();
        families.counter(&COLLECTED, &[], (1 + self.collections.fetch_add(1, Ordering::SeqCst)) as f64);
        for index in 0..self.padding {
            families.gauge(&PADDING, &[&format!("{index:0>1000}")], 1.0);
        }
        self.collecting.fetch_sub(1, Ordering::SeqCst);
        families.finish()
    }
}

impl Backend for Fake {
    fn metrics(&self) -> Answer<'_, Snapshot> {
        Box::pin(self.collect())
    }

    fn processes(&self, query: ProcessQuery) -> Answer<'_, Result<serde_json::Value, Unavailable>> {
        *self.processes.lock().unwrap() = Some(query);
        Box::pin(async { Ok(serde_json::json!({ "processes": [] })) })
    }

    fn view(&self, view: View) -> Answer<'_, Result<serde_json::Value, Unavailable>> {
        let name = if view == View::Map { "edges" } else { "requests" };
        Box::pin(async move { Ok(serde_json::json!({ name: [] })) })
    }

    fn reload(&self) -> Answer<'_, Result<String, String>> {
        Box::pin(async { self.reload.clone() })
    }

    fn status(&self) -> Status {
        let signal = |name: &str, state, reason: Option<&str>| SignalStatus {
            name: name.into(),
            state,
            reason: reason.map(Into::into),
        };
        Status {
            version: "0.1.0".into(),
            revision: "abcdef".into(),
            uptime_seconds: 61.0,
            signals: vec![
                signal("syscalls", SignalState::On, None),
                signal("tcp", SignalState::Off, Some("no <hook>")),
            ],
            budget: None,
            heartbeat: None,
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.clone()
    }

    fn audit_head(&self) -> Option<crate::audit::Head> {
        crate::audit::Head::parse(&format!("7:{}", "ab".repeat(32)))
    }

    fn events(&self) -> &Store {
        &self.events
    }
}

/// A server that stops with its test.
struct Running {
    address: SocketAddr,
    fake: Arc<Fake>,
    state: State,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn start(fake: Fake) -> Running {
    start_with(fake, Options::default()).await
}

async fn start_with(fake: Fake, options: Options) -> Running {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fake = Arc::new(fake);
    let state = State::new(Arc::clone(&fake) as Arc<dyn Backend>, options).unwrap();
    let (stop, shutdown) = watch::channel(false);
    let server = tokio::spawn(serve(listener, state.clone(), shutdown));
    Running { address, fake, state, stop, server }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Opens a connection and sends the head of a request.
    async fn send(&self, method: &str, path: &str, headers: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn request(&self, method: &str, path: &str, headers: &str) -> Reply {
        let mut stream = self.send(method, path, &format!("Connection: close\r\n{headers}")).await;
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
        Reply::parse(&bytes)
    }

    async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, "").await
    }

    /// The value of a series in the text format.
    async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Waits until a series has a value.
    async fn wait_for_metric(&self, series: &str, value: f64) {
        let reached = async {
            while self.metric(series).await != value {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{series} does not become {value}"));
    }
}

#[derive(Debug)]
struct Reply {
    code: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Self { code, head, body: bytes[end + 4..].to_vec() };
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = dechunk(&reply.body);
        }
        reply
    }

    fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

/// Publishes an event; returns its number.
fn publish(store: &Store, severity: Severity, rule: &'static str) -> u64 {
    let alert = Alert::new(jiff::Timestamp::UNIX_EPOCH, rule, severity, Subject::default());
    store.publish(&alert).seq
}
