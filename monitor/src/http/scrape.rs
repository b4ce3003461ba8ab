//! `/metrics`: numbers that are fresh if possible, and an answer in time in any case.
//!
//! The page is written from the pipeline's last snapshot. A scrape asks for a new one and waits for it a little while;
//! when the pipeline is late, because it drains a flood or goes through `/proc`, the last one is served if it is young.
//! So that there is a young one, it is renewed every few seconds for as long as somebody scrapes.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::backend::Backend;
use super::held;
use super::routes::App;
use super::telemetry::Rejected;
use crate::metrics::{self, Format, Snapshot};

/// Large scrapes that are encoded at a time; others wait.
pub(super) const MAX_ENCODING: usize = 8;
/// Answers held in memory until their peers have read them, as many as node_exporter allows requests.
pub(super) const MAX_ANSWERS: usize = 40;
/// Series that are written on the spot, in about a millisecond: on a machine that is busy, waiting for another thread
/// takes longer. A page of more than that would keep other peers waiting.
const ON_THE_SPOT: usize = 20_000;
/// Numbers as young as this are good enough when fresh ones do not come at once.
const YOUNG: Duration = Duration::from_secs(6);
/// Between two collections that nobody waits for, so that there are young numbers …
pub(super) const PACE: Duration = Duration::from_secs(5);
/// … for so long after the last scrape. Scrapes are a minute apart at most, as a rule.
const WANTED: Duration = Duration::from_secs(90);
/// Older numbers than this are not served: the scrape fails, and `up` shows what is going on.
const MAX_AGE: Duration = Duration::from_secs(60);
/// The part of Prometheus' own time-out that we use, so that the answer is there before it gives up.
const TIMEOUT_SHARE: f64 = 0.8;

/// The numbers of one collection.
#[derive(Clone)]
struct Collection {
    /// The last request that was made before this collection began.
    request: u64,
    at: Instant,
    snapshot: Arc<Snapshot>,
}

/// How long a scrape waits for fresh numbers.
struct Wait {
    /// When there are young ones. None: for as long as if there were not.
    with_young: Option<Duration>,
    /// When there are old ones.
    with_old: Duration,
    /// When there are none at all, as after the start on a busy machine.
    with_none: Duration,
}

/// Asks the daemon for its numbers, once for all scrapes that wait, and never twice at a time.
pub(super) struct Collector {
    requests: watch::Sender<u64>,
    collections: watch::Receiver<Option<Collection>>,
}

impl Collector {
    /// The collector, and the future that does its work.
    pub(super) fn new(backend: Arc<dyn Backend>) -> (Self, impl Future<Output = ()> + Send) {
        let (requests, asked) = watch::channel(0);
        let (answers, collections) = watch::channel(None);
        (Self { requests, collections }, collect(backend, asked, answers))
    }

    /// Numbers that were collected after this call, or else the last ones there are; and whether they are fresh. Numbers
    /// are never older than those of an answer before.
    async fn numbers(&self, wait: Wait) -> Option<(Collection, bool)> {
        let mut request = 0;
        self.requests.send_modify(|last| {
            *last += 1;
            request = *last;
        });
        let begun = Instant::now();
        let mut collections = self.collections.clone();
        let mut fresh = pin!(collections.wait_for(|last| last.as_ref().is_some_and(|last| last.request >= request)));
        let steps = [(wait.with_young, YOUNG), (Some(wait.with_old), MAX_AGE), (Some(wait.with_none), Duration::ZERO)];
        for (limit, age) in steps {
            let Some(limit) = limit else { continue };
            match tokio::time::timeout(limit.saturating_sub(begun.elapsed()), fresh.as_mut()).await {
                Ok(Ok(collection)) => return collection.clone().map(|collection| (collection, true)),
                // The server stops.
                Ok(Err(_)) => return None,
                Err(_) => {}
            }
            let last = self.collections.borrow().clone();
            if let Some(last) = last.filter(|last| last.at.elapsed() < age) {
                return Some((last, false));
            }
        }
        None
    }
}

async fn collect(
    backend: Arc<dyn Backend>,
    mut asked: watch::Receiver<u64>,
    answers: watch::Sender<Option<Collection>>,
) {
    let mut scraped: Option<Instant> = None;
    loop {
        let wanted = scraped.is_some_and(|scraped| scraped.elapsed() < WANTED);
        tokio::select! {
            changed = asked.changed() => match changed {
                Ok(()) => scraped = Some(Instant::now()),
                Err(_) => return,
            },
            () = tokio::time::sleep(PACE), if wanted => {}
        }
        let request = *asked.borrow_and_update();
        let backend = Arc::clone(&backend);
        // A task of its own, so that a panic in a signal's code costs this collection and not all later ones.
        let mut task = JoinSet::new();
        task.spawn(async move { backend.metrics().await });
        let Some(result) = task.join_next().await else { continue };
        match result {
            Ok(snapshot) => {
                let collection = Collection { request, at: Instant::now(), snapshot: Arc::new(snapshot) };
                answers.send_replace(Some(collection));
            }
            Err(error) => tracing::error!(%error, "collecting metrics failed"),
        }
    }
}

/// Handler of `/metrics`.
pub(super) async fn metrics(extract::State(app): extract::State<Arc<App>>, headers: HeaderMap) -> Response {
    let telemetry = &app.state.telemetry;
    let Ok(permit) = Arc::clone(&app.answers).try_acquire_owned() else {
        telemetry.reject(Rejected::Answers);
        return unavailable("too many scrapes whose answers are not read");
    };
    let limits = &app.state.options.load().limits;
    let wait = Wait {
        with_young: (!refuses_stored(&headers)).then(|| limit(&headers, limits.fresh)),
        with_old: limit(&headers, limits.scrape),
        with_none: limit(&headers, limits.answer),
    };
    let Some((collection, fresh)) = app.collector.numbers(wait).await else {
        return unavailable("the daemon has not answered for too long; see /-/ready");
    };
    if !fresh {
        telemetry.stale.inc();
    }
    let format = negotiate(&headers);
    match encode(&app, format, collection.snapshot).await {
        Ok(bytes) => {
            let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
            (headers, held::hold(bytes, permit)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

async fn encode(app: &App, format: Format, snapshot: Arc<Snapshot>) -> Result<Bytes, EncodeError> {
    let own = app.state.telemetry.gather();
    if snapshot.series() <= ON_THE_SPOT {
        return Ok(metrics::encode(format, &[&snapshot, &own]));
    }
    let permit = Arc::clone(&app.encoding).acquire_owned().await?;
    let encoded = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        metrics::encode(format, &[&snapshot, &own])
    });
    Ok(encoded.await?)
}

#[derive(Debug, thiserror::Error)]
enum EncodeError {
    #[error("encoding metrics: the server is stopping")]
    Stopping(#[from] tokio::sync::AcquireError),
    #[error("encoding metrics: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Whether the peer wants nothing that was collected before it asked: `Cache-Control: no-cache` (RFC 9111 §5.2.1.4).
fn refuses_stored(headers: &HeaderMap) -> bool {
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    directives.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
}

fn negotiate(headers: &HeaderMap) -> Format {
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    Format::negotiate(&accept.join(","))
}

/// How long to wait for fresh numbers: Prometheus says how long it waits itself.
fn limit(headers: &HeaderMap, most: Duration) -> Duration {
    let seconds = headers.get("x-prometheus-scrape-timeout-seconds");
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    let theirs = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds * TIMEOUT_SHARE).ok());
    theirs.map_or(most, |theirs| theirs.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_time_out_shortens_the_wait() {
        let most = Duration::from_secs(1);
        let cases = [("0.5", 0.4), ("10", 1.0), ("nan", 1.0), ("-1", 1.0), ("1e99", 1.0), ("x", 1.0), ("0", 0.0)];
        for (value, seconds) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("x-prometheus-scrape-timeout-seconds", value.parse().unwrap());
            assert_eq!(limit(&headers, most), Duration::from_secs_f64(seconds), "{value}");
        }
        assert_eq!(limit(&HeaderMap::new(), most), most);
    }
}
