//! `/api/v1/events/stream`: events as they are published, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::errors::ApiError;
use super::events::newest;
use super::query;
use super::routes::App;
use super::server::stopped;
use super::telemetry::Rejected;
use crate::events::{Filter, Published};

/// Most streams at a time.
pub(super) const MAX_STREAMS: usize = 32;
/// Events on their way to one reader, beside what the sockets hold; each can have 160 KiB.
const QUEUE: usize = 4;
/// Events asked from the store at a time.
const PAGE: usize = 256;
/// What a reader is told to wait before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// Handler of `/api/v1/events/stream`.
pub(super) async fn stream(
    extract::State(app): extract::State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (after, filter) = query::stream(&uri)?;
    // A browser that connects again repeats its first URL, and says in the header how far it really got.
    let after = last_event_id(&headers)?.or(after);
    let Ok(permit) = Arc::clone(&app.streams).try_acquire_owned() else {
        app.state.telemetry.reject(Rejected::Streams);
        return Err(ApiError(StatusCode::SERVICE_UNAVAILABLE, format!("more than {MAX_STREAMS} event streams")));
    };
    let keep_alive = KeepAlive::new().interval(app.state.options.load().limits.keep_alive);
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        app.state.telemetry.streams.inc();
        let mut shutdown = app.shutdown.clone();
        let reader = sender.clone();
        tokio::select! {
            _ = Follower::new(&app, filter, sender).follow(after) => {}
            () = reader.closed() => {}
            () = stopped(&mut shutdown) => {}
        }
        app.state.telemetry.streams.dec();
        drop(permit);
    });
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    let message = || format!("Last-Event-ID: expected the number of an event, got {value:?}");
    number.map(Some).ok_or_else(|| ApiError(StatusCode::BAD_REQUEST, message()))
}

/// The reader of a stream is gone.
struct Gone;

/// Follows the published events for one reader. The store is the truth; the subscription only says quickly that there
/// is more of it.
struct Follower<'a> {
    app: &'a App,
    filter: Filter,
    /// Number of the last event that was sent, or passed over because nobody wanted it.
    last: u64,
    published: Receiver<Arc<Published>>,
    reader: mpsc::Sender<Result<Event, Infallible>>,
}

impl<'a> Follower<'a> {
    fn new(app: &'a App, filter: Filter, reader: mpsc::Sender<Result<Event, Infallible>>) -> Self {
        // Before the store is asked for anything, so that nothing is published between the two.
        let published = app.state.backend.events().subscribe();
        Self { app, filter, last: 0, published, reader }
    }

    async fn follow(mut self, after: Option<u64>) -> Result<(), Gone> {
        self.send(Event::default().retry(RETRY).comment("security events")).await?;
        self.start(after).await?;
        self.catch_up().await?;
        loop {
            match self.published.recv().await {
                Ok(event) => self.step(&event).await?,
                Err(RecvError::Lagged(_)) => self.catch_up().await?,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn start(&mut self, after: Option<u64>) -> Result<(), Gone> {
        let newest = newest(self.app.state.backend.events());
        match after {
            None => self.last = newest,
            Some(after) if after <= newest => self.last = after,
            // The number is one of an earlier daemon: how much of that was missed, nobody knows.
            Some(_) => self.send(missed(r#"{"count":null,"restarted":true}"#)).await?,
        }
        Ok(())
    }

    async fn step(&mut self, event: &Published) -> Result<(), Gone> {
        if event.seq > self.last + 1 {
            self.catch_up().await?;
        }
        if event.seq > self.last { self.deliver(event).await } else { Ok(()) }
    }

    /// Sends what the store has after the last event.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        loop {
            let filter = Filter { after: self.last, limit: PAGE, ..self.filter.clone() };
            let page = self.app.state.backend.events().query(&filter);
            let lost = page.oldest.saturating_sub(self.last + 1);
            if lost > 0 {
                self.app.state.telemetry.missed.inc_by(lost);
                self.last = page.oldest - 1;
                self.send(missed(&format!("{{\"count\":{lost}}}")).id(self.last.to_string())).await?;
            }
            for event in &page.events {
                self.deliver(event).await?;
            }
            if page.next <= self.last && page.events.is_empty() {
                return Ok(());
            }
            self.last = self.last.max(page.next);
        }
    }

    async fn deliver(&mut self, event: &Published) -> Result<(), Gone> {
        self.last = event.seq;
        let Filter { severity, rule, .. } = &self.filter;
        let wanted = (severity.is_empty() || severity.contains(&event.severity))
            && (rule.is_empty() || rule.iter().any(|rule| **rule == *event.rule));
        if !wanted {
            return Ok(());
        }
        let json = String::from_utf8_lossy(&event.json);
        self.send(Event::default().id(event.seq.to_string()).event("alert").data(json)).await
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.reader.send(Ok(event)).await.map_err(|_| Gone)
    }
}

fn missed(json: &str) -> Event {
    Event::default().event("missed").data(json)
}
