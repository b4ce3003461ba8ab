//! Paths and the short answers.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{self, MatchedPath, Request};
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::backend::{Unavailable, View};
use super::errors::ApiError;
use super::scrape::{self, Collector};
use super::{State, events, held, page, query, stream};

/// What handlers share.
pub(super) struct App {
    pub(super) state: State,
    pub(super) collector: Collector,
    pub(super) shutdown: watch::Receiver<bool>,
    pub(super) encoding: Arc<Semaphore>,
    pub(super) answers: Arc<Semaphore>,
    pub(super) pages: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
}

impl App {
    pub(super) fn new(state: State, collector: Collector, shutdown: watch::Receiver<bool>) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            state,
            collector,
            shutdown,
            encoding: semaphore(scrape::MAX_ENCODING),
            answers: semaphore(scrape::MAX_ANSWERS),
            pages: semaphore(held::MAX_PAGES),
            streams: semaphore(stream::MAX_STREAMS),
        }
    }
}

type Shared = extract::State<Arc<App>>;

pub(super) fn router(app: App) -> Router {
    let app = Arc::new(app);
    Router::new()
        .route("/", get(landing))
        .route("/metrics", get(scrape::metrics))
        .route("/-/healthy", get(healthy))
        .route("/healthz", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload))
        .route("/api/v1/status", get(status))
        .route("/api/v1/processes", get(processes))
        .route("/api/v1/requests", get(|app: Shared| view(app, View::Slowest)))
        .route("/api/v1/map", get(|app: Shared| view(app, View::Map)))
        .route("/api/v1/audit/head", get(audit_head))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/events/stream", get(stream::stream))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // Numbers in text shrink to a tenth at any level; the fastest costs the host least.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), track))
        .with_state(app)
}

/// Counts every answer, and adds what every answer has.
async fn track(extract::State(app): Shared, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let handler = path.as_ref().map_or("other", MatchedPath::as_str);
    app.state.telemetry.answered(handler, response.status().as_u16(), start.elapsed().as_secs_f64());
    // A peer must not take what a process is called for a web page.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn landing(extract::State(app): Shared) -> Response {
    let backend = &app.state.backend;
    let policy = [(header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY)];
    (policy, Html(page::render(&backend.status(), &backend.ready()))).into_response()
}

async fn healthy() -> &'static str {
    "healthy\n"
}

async fn ready(extract::State(app): Shared) -> Response {
    match app.state.backend.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn reload(extract::State(app): Shared, headers: HeaderMap) -> Response {
    let options = app.state.options.load_full();
    if !options.reload {
        let message = "reloading over HTTP is off (http.reload = false); send SIGHUP to the daemon instead\n";
        return (StatusCode::FORBIDDEN, message).into_response();
    }
    if is_from_another_site(&headers) {
        return (StatusCode::FORBIDDEN, "a page of another site asks for this\n").into_response();
    }
    let backend = Arc::clone(&app.state.backend);
    // A task of its own: a reload that was begun is finished, also when whoever asked is gone.
    let reload = tokio::spawn(async move { backend.reload().await });
    match tokio::time::timeout(options.limits.answer, reload).await {
        Ok(Ok(Ok(changes))) => format!("{}\n", changes.trim_end()).into_response(),
        Ok(Ok(Err(error))) => (StatusCode::BAD_REQUEST, format!("{}\n", error.trim_end())).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("reloading failed: {error}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "still reloading; see the log\n").into_response(),
    }
}

/// Browsers send such requests for any page that a user of this host opens, without asking.
fn is_from_another_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN).map(HeaderValue::as_bytes) else { return false };
    let host = headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
    origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://")) != Some(host)
}

async fn status(extract::State(app): Shared, uri: Uri) -> Result<Response, ApiError> {
    query::none(&uri)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(app.state.backend.status())).into_response())
}

/// What to keep on another machine: it convicts whoever makes the whole trail anew.
async fn audit_head(extract::State(app): Shared, uri: Uri) -> Result<Response, ApiError> {
    query::none(&uri)?;
    let head = app.state.backend.audit_head();
    let none =
        || ApiError(StatusCode::NOT_FOUND, "no audit trail is kept; monitor_audit_up and the log say so".to_owned());
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(head.ok_or_else(none)?)).into_response())
}

async fn processes(extract::State(app): Shared, uri: Uri) -> Result<Response, ApiError> {
    let query = query::processes(&uri)?;
    let permit = held::permit(&app)?;
    let limit = app.state.options.load().limits.answer;
    let answer = tokio::time::timeout(limit, app.state.backend.processes(query)).await;
    let answer = answer.map_err(|_| Unavailable(format!("no answer within {limit:?}")))??;
    Ok(held::json(format!("{answer}\n").into(), permit))
}

async fn view(extract::State(app): Shared, view: View) -> Result<Response, ApiError> {
    let permit = held::permit(&app)?;
    let limit = app.state.options.load().limits.answer;
    let answer = tokio::time::timeout(limit, app.state.backend.view(view)).await;
    let answer = answer.map_err(|_| Unavailable(format!("no answer within {limit:?}")))??;
    Ok(held::json(format!("{answer}\n").into(), permit))
}

async fn not_found(uri: Uri) -> Response {
    refuse(&uri, StatusCode::NOT_FOUND, "no such path; / lists those there are")
}

async fn method_not_allowed(uri: Uri) -> Response {
    refuse(&uri, StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method")
}

fn refuse(uri: &Uri, code: StatusCode, message: &str) -> Response {
    if uri.path().starts_with("/api/") {
        return ApiError(code, message.to_owned()).into_response();
    }
    (code, format!("{message}\n")).into_response()
}
