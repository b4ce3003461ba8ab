//! What the HTTP server asks, passed on to the pipeline.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};

use super::service;
use crate::{
    audit::{Head, Trail},
    bpf::loader,
    budget::{Board, Step},
    cli,
    config::Config,
    events::Store,
    http::{Answer, Backend, ProcessQuery, SignalState, SignalStatus, Status, Unavailable, View},
    metrics::Snapshot,
    observer::{KernelSide, Query},
    pulse::Pulse,
    signals::SIGNALS,
};

/// Asks for a reload; the answer tells what changed, or what is wrong.
pub(super) type ReloadRequest = oneshot::Sender<Result<String, String>>;

/// The rest of the daemon, as the HTTP server sees it.
pub(super) struct Api {
    queries: mpsc::Sender<Query>,
    store: Arc<Store>,
    heartbeat: Arc<AtomicU64>,
    reload: mpsc::Sender<ReloadRequest>,
    signals: Vec<SignalStatus>,
    board: Arc<Board>,
    trail: Arc<Trail>,
    pulse: Arc<Pulse>,
    since: Instant,
}

impl Api {
    pub(super) fn new(
        queries: mpsc::Sender<Query>,
        store: Arc<Store>,
        heartbeat: Arc<AtomicU64>,
        reload: mpsc::Sender<ReloadRequest>,
        signals: Vec<SignalStatus>,
        board: Arc<Board>,
    ) -> Self {
        Self {
            queries,
            store,
            heartbeat,
            reload,
            signals,
            board,
            trail: Arc::default(),
            pulse: Arc::default(),
            since: Instant::now(),
        }
    }

    /// With this audit trail.
    pub(super) fn with_trail(self, trail: Arc<Trail>) -> Self {
        Self { trail, ..self }
    }

    /// With this heartbeat.
    pub(super) fn with_pulse(self, pulse: Arc<Pulse>) -> Self {
        Self { pulse, ..self }
    }
}

impl Backend for Api {
    fn metrics(&self) -> Answer<'_, Snapshot> {
        Box::pin(async {
            let (to, answer) = oneshot::channel();
            if self.queries.send(Query::Metrics(to)).await.is_err() {
                return Snapshot::default();
            }
            answer.await.unwrap_or_default()
        })
    }

    fn processes(&self, query: ProcessQuery) -> Answer<'_, Result<serde_json::Value, Unavailable>> {
        Box::pin(async move {
            let (to, answer) = oneshot::channel();
            let gone = || Unavailable("the pipeline has stopped".to_owned());
            self.queries.send(Query::Processes(query, to)).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())
        })
    }

    fn view(&self, view: View) -> Answer<'_, Result<serde_json::Value, Unavailable>> {
        Box::pin(async move {
            let (to, answer) = oneshot::channel();
            let gone = || Unavailable("the pipeline has stopped".to_owned());
            self.queries.send(Query::View(view, to)).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())
        })
    }

    fn reload(&self) -> Answer<'_, Result<String, String>> {
        Box::pin(async {
            let (to, answer) = oneshot::channel();
            let gone = || "the daemon is stopping".to_owned();
            self.reload.send(to).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        })
    }

    fn status(&self) -> Status {
        let budget = self.board.read();
        let mut signals = self.signals.clone();
        for step in budget.iter().flat_map(|budget| &budget.shed) {
            give_up(&mut signals, *step);
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: cli::revision().to_owned(),
            uptime_seconds: self.since.elapsed().as_secs_f64(),
            signals,
            budget,
            heartbeat: self.pulse.read(),
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.heartbeat.load(Ordering::Relaxed) == 0 {
            return Err("the pipeline is starting".to_owned());
        }
        if !service::alive(&self.heartbeat) {
            return Err("the pipeline hangs".to_owned());
        }
        self.pulse.read().and_then(|pulse| pulse.blind).map_or(Ok(()), Err)
    }

    fn audit_head(&self) -> Option<Head> {
        self.trail.is_on().then(|| self.trail.head())
    }

    fn events(&self) -> &Store {
        &self.store
    }
}

/// Notes in the state of the signals what has been given up to keep the budget.
fn give_up(signals: &mut [SignalStatus], step: Step) {
    let concerned = |status: &&mut SignalStatus| step.signal() == Some(status.name.as_str());
    for status in signals.iter_mut().filter(concerned) {
        status.state = SignalState::Partial;
        let reason = format!("to keep budget.cpu, {}", step.lost());
        status.reason = Some(match status.reason.take() {
            Some(before) => format!("{before}; {reason}"),
            None => reason,
        });
    }
}

/// The state of every signal, but for what is given up to keep the budget.
pub(super) fn signals(config: &Config, kernel: Option<&KernelSide>) -> Vec<SignalStatus> {
    let off = |reason: &str| (SignalState::Off, Some(reason.to_owned()));
    let of = |name: &str| match kernel {
        _ if name == "host" => {
            if config.signals.host {
                (SignalState::On, None)
            } else {
                off("off by signals.host")
            }
        }
        None => off("the kernel programs could not be loaded; see the log, or run `monitor doctor`"),
        Some(_) if name == "process" && !config.signals.process => {
            off("off by signals.process; its hooks run for the other signals")
        }
        Some(kernel) => {
            let report = kernel.loaded.signals.iter().find(|report| report.signal == name);
            match report.map(|report| &report.state) {
                Some(loader::SignalState::Full) => (SignalState::On, None),
                Some(loader::SignalState::Degraded(lost)) => (SignalState::Partial, Some(format!("lost: {lost}"))),
                Some(loader::SignalState::Off(reason)) => (SignalState::Off, Some(reason.clone())),
                None => off("unknown to the loader"),
            }
        }
    };
    SIGNALS
        .iter()
        .map(|signal| {
            let (state, reason) = of(signal.name);
            SignalStatus { name: signal.name.to_owned(), state, reason }
        })
        .collect()
}
