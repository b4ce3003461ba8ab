//! Accepts connections, and ends them all when the daemon stops.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::routes::{self, App};
use super::scrape::Collector;
use super::socket::Socket;
use super::telemetry::{Rejected, Telemetry};
use super::{Limits, State};

/// Most bytes of a request's header; Prometheus sends a tenth of the least that hyper can be given.
const HEADER_BYTES: usize = 16 << 10;
/// Most bytes that hyper buffers for a connection in each direction.
const BUFFER_BYTES: usize = 64 << 10;
/// How long answers that are being written may take to end when the daemon stops.
const DRAIN: Duration = Duration::from_millis(300);
/// Pause after a failed accept: out of file descriptors, for instance, which only closing some helps against.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 43\r\n\r\ntoo many connections (http.max_connections)";

/// Serves `state` on `listener` until `shutdown` becomes true or its sender is gone; then returns within half a second,
/// whatever peers do. Must run inside a tokio runtime.
pub async fn serve(listener: TcpListener, state: State, mut shutdown: watch::Receiver<bool>) {
    let (collector, collecting) = Collector::new(Arc::clone(&state.backend));
    // Ends with this function, also when somebody drops it half way.
    let mut background = JoinSet::new();
    background.spawn(collecting);
    let server = Server {
        router: TowerToHyperService::new(routes::router(App::new(state.clone(), collector, shutdown.clone()))),
        state,
        shutdown: shutdown.clone(),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => server.accept(&mut connections, stream),
                Err(error) => pause(&error).await,
            },
            Some(_) = connections.join_next() => {}
            () = stopped(&mut shutdown) => break,
        }
        server.state.telemetry.connections.set(i64::try_from(connections.len()).unwrap_or(i64::MAX));
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, drained).await;
    connections.shutdown().await;
}

struct Server {
    router: TowerToHyperService<axum::Router>,
    state: State,
    shutdown: watch::Receiver<bool>,
}

impl Server {
    fn accept(&self, connections: &mut JoinSet<()>, stream: TcpStream) {
        let options = self.state.options.load();
        if connections.len() >= options.max_connections.max(1) {
            self.state.telemetry.reject(Rejected::Connections);
            // As far as the socket's buffer takes it: a peer that is refused is not worth waiting for.
            let _ = stream.try_write(FULL);
            return;
        }
        let telemetry = Arc::clone(&self.state.telemetry);
        let limits = options.limits.clone();
        connections.spawn(connection(stream, self.router.clone(), limits, telemetry, self.shutdown.clone()));
    }
}

async fn connection(
    stream: TcpStream,
    router: TowerToHyperService<axum::Router>,
    limits: Limits,
    telemetry: Arc<Telemetry>,
    mut shutdown: watch::Receiver<bool>,
) {
    let (stalled, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let socket = Socket::new(stream, limits.stall, Arc::clone(&stalled));
    let service = service_fn(|request| {
        served.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let Err(error) = result else { return };
    if stalled.load(Ordering::Relaxed) {
        telemetry.reject(Rejected::Stalled);
    } else if error.is_parse() {
        telemetry.reject(Rejected::Malformed);
    } else if error.is_timeout() && !served.load(Ordering::Relaxed) {
        // After an answer it is a connection kept alive that nobody needed any more.
        telemetry.reject(Rejected::Silent);
    }
    tracing::debug!(%error, "an HTTP connection ended early");
}

/// Until `shutdown` says so, or nobody is left who could say it.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn pause(error: &io::Error) {
    // A connection that its peer gave up before we took it is no trouble of ours.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(%error, "cannot accept HTTP connections for the moment");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
