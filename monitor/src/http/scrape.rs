//! `/metrics`: numbers that are fresh if possible, and an answer in time in any case.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prometheus::proto::MetricFamily;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::backend::Backend;
use super::held;
use super::routes::App;
use super::telemetry::Rejected;
use crate::metrics::{self, Format};

/// Scrapes that are encoded at a time; others wait.
pub(super) const MAX_ENCODING: usize = 8;
/// Answers held in memory until their peers have read them, as many as node_exporter allows requests.
pub(super) const MAX_ANSWERS: usize = 40;
/// Older numbers than this are not served: the scrape fails, and `up` shows what is going on.
const MAX_AGE: Duration = Duration::from_secs(60);
/// The part of Prometheus' own time-out that we use, so that the answer is there before it gives up.
const TIMEOUT_SHARE: f64 = 0.8;

/// The numbers of one collection.
#[derive(Clone)]
struct Snapshot {
    /// The last request that was made before this collection began.
    request: u64,
    at: Instant,
    families: Arc<Vec<MetricFamily>>,
}

/// Asks the daemon for its numbers, once for all scrapes that wait, and never twice at a time.
pub(super) struct Collector {
    requests: watch::Sender<u64>,
    snapshots: watch::Receiver<Option<Snapshot>>,
}

impl Collector {
    /// The collector, and the future that does its work.
    pub(super) fn new(backend: Arc<dyn Backend>) -> (Self, impl Future<Output = ()> + Send) {
        let (requests, asked) = watch::channel(0);
        let (answers, snapshots) = watch::channel(None);
        (Self { requests, snapshots }, collect(backend, asked, answers))
    }

    /// Numbers that were collected after this call, or else, when `limit` is over, the last ones there are; and whether
    /// they are fresh. Where there are none, as after the start on a busy machine, waiting until `patience` is over is
    /// better than none at all.
    async fn snapshot(&self, limit: Duration, patience: Duration) -> Option<(Snapshot, bool)> {
        let mut request = 0;
        self.requests.send_modify(|last| {
            *last += 1;
            request = *last;
        });
        let mut snapshots = self.snapshots.clone();
        let mut fresh = pin!(snapshots.wait_for(|snapshot| snapshot.as_ref().is_some_and(|s| s.request >= request)));
        if let Ok(Ok(snapshot)) = tokio::time::timeout(limit, fresh.as_mut()).await {
            return snapshot.clone().map(|snapshot| (snapshot, true));
        }
        let last = self.snapshots.borrow().clone();
        if let Some(last) = last.filter(|snapshot| snapshot.at.elapsed() < MAX_AGE) {
            return Some((last, false));
        }
        let snapshot = tokio::time::timeout(patience.saturating_sub(limit), fresh).await.ok()?.ok()?;
        snapshot.clone().map(|snapshot| (snapshot, true))
    }
}

async fn collect(backend: Arc<dyn Backend>, mut asked: watch::Receiver<u64>, answers: watch::Sender<Option<Snapshot>>) {
    while asked.changed().await.is_ok() {
        let request = *asked.borrow_and_update();
        let backend = Arc::clone(&backend);
        // A task of its own, so that a panic in a signal's code costs this collection and not all later ones.
        let mut task = JoinSet::new();
        task.spawn(async move { backend.metrics().await });
        let Some(result) = task.join_next().await else { continue };
        match result {
            Ok(families) => {
                let snapshot = Snapshot { request, at: Instant::now(), families: Arc::new(families) };
                answers.send_replace(Some(snapshot));
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
    let (least, most) = (limit(&headers, limits.scrape), limit(&headers, limits.answer));
    let Some((snapshot, fresh)) = app.collector.snapshot(least, most).await else {
        return unavailable("the daemon has not answered for too long; see /-/ready");
    };
    if !fresh {
        telemetry.stale.inc();
    }
    let format = negotiate(&headers);
    match encode(&app, format, snapshot).await {
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

/// Encoding megabytes takes milliseconds, which a thread of the runtime has no business to be away for.
async fn encode(app: &App, format: Format, snapshot: Snapshot) -> Result<Bytes, EncodeError> {
    let permit = Arc::clone(&app.encoding).acquire_owned().await?;
    let own = app.state.telemetry.gather();
    let encoded = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        metrics::encode(format, &metrics::merge(snapshot.families.iter().chain(&own)))
    });
    Ok(encoded.await??)
}

#[derive(Debug, thiserror::Error)]
enum EncodeError {
    #[error("encoding metrics: the server is stopping")]
    Stopping(#[from] tokio::sync::AcquireError),
    #[error("encoding metrics: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("encoding metrics: {0}")]
    Format(#[from] prometheus::Error),
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
