//! The HTTP interface: metrics for Prometheus, events and processes for programs, a landing page for people.
//!
//! Everything that a peer sends, or does not send, is bounded here: connections, header sizes, times, answers in
//! flight. The rest of the daemon is behind [`Backend`] and never waits for a peer.

mod backend;
mod bind;
mod errors;
mod events;
mod held;
mod page;
mod query;
mod routes;
mod scrape;
mod server;
mod socket;
mod stream;
mod telemetry;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

pub use backend::{Answer, Backend, SignalState, SignalStatus, Status, Unavailable, View};
pub use bind::bind;
pub use query::{BadQuery, DEFAULT_LIMIT, MAX_LIMIT, ProcessQuery, Sort};
pub use server::serve;
pub use telemetry::METRICS;

use telemetry::Telemetry;

/// Why the HTTP interface cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Somebody else has the address.
    #[error(
        "cannot listen on {listen}: the address is in use. `ss -ltnp 'sport = :{port}'` shows by whom; \
         choose another with --listen ADDRESS:PORT, or with http.listen in the configuration"
    )]
    InUse {
        /// The address as configured.
        listen: String,
        /// Its port.
        port: String,
    },
    /// The address is not for us to listen on.
    #[error(
        "cannot listen on {listen}: {source}. Choose another with --listen ADDRESS:PORT, or with http.listen in the \
         configuration"
    )]
    Listen {
        /// The address as configured.
        listen: String,
        /// What the system says.
        source: io::Error,
    },
    /// The interface's own metrics could not be registered.
    #[error("HTTP metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What can be configured, also while the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether `POST /-/reload` is allowed.
    pub reload: bool,
    /// Most connections at a time.
    pub max_connections: usize,
    /// How long peers may take.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self { reload: true, max_connections: 256, limits: Limits::default() }
    }
}

/// How long peers, and the rest of the daemon, may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until the header of a request is complete, counted from the connection or from the last answer.
    pub header: Duration,
    /// Until the peer takes the next byte of an answer.
    pub stall: Duration,
    /// Until fresh numbers of a scrape are there; then the last ones are served if they are a few seconds old at most.
    pub fresh: Duration,
    /// Until the numbers of a scrape are there; then older ones are served.
    pub scrape: Duration,
    /// Until any other answer of the daemon is there.
    pub answer: Duration,
    /// Between two comments on a quiet event stream, so that neither side takes the other for dead.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            fresh: Duration::from_millis(10),
            scrape: Duration::from_secs(1),
            answer: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// What a server serves, and how.
#[derive(Clone)]
pub struct State {
    backend: Arc<dyn Backend>,
    options: Arc<ArcSwap<Options>>,
    telemetry: Arc<Telemetry>,
}

impl State {
    /// Serves `backend` according to `options`.
    pub fn new(backend: Arc<dyn Backend>, options: Options) -> Result<Self, HttpError> {
        let telemetry = Arc::new(Telemetry::new()?);
        Ok(Self { backend, options: Arc::new(ArcSwap::from_pointee(options)), telemetry })
    }

    /// Changes the options. Connections that are open keep their limits.
    pub fn set_options(&self, options: Options) {
        self.options.store(Arc::new(options));
    }
}
