//! `monitor run`: builds everything, runs it, stops it.
//!
//! The order matters. What can fail for a reason that the operator can mend (rules, output, address) comes before
//! anything touches the kernel. Two runtimes: the pipeline has a thread of its own, so that no peer of the HTTP server
//! can hold it up, nor the other way round.

mod api;
mod audit;
mod reload;
mod service;

use std::{
    io,
    os::fd::AsFd as _,
    process::ExitCode,
    sync::{Arc, atomic::AtomicU64},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aya_log::EbpfLogger;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
};
use tracing::{debug, error, info, warn};

use crate::{
    bpf::BpfError,
    budget::Board,
    cli::Exit,
    config::{Config, Loaded, Output},
    detect::{eval::Rules, lang::ast::Diagnostic},
    events::{Sink, SinkOptions, Store},
    health::Health,
    http, logging,
    observer::{self, KernelSide, Observer, Outlets},
    pulse::Pulse,
    ruleset::RuleSet,
    sys,
};

use api::{Api, ReloadRequest};
use reload::Reloader;
pub use reload::Reloads;

/// Questions that may wait for the pipeline; more are answered "not available".
const QUERIES: usize = 64;
/// Priority of the observing thread (nice(2)); ordinary is 0, first is -20.
const OBSERVER_NICE: i32 = -10;
/// Priority of the HTTP server's threads. A machine that is saturated is the one that somebody looks at; with the priority
/// of what saturates it, each step of an answer waits for its turn.
const HTTP_NICE: i32 = OBSERVER_NICE;
/// How long waiting events have to get out at the end.
const LAST_EVENTS: Duration = Duration::from_millis(300);

/// Runs the daemon until it is told to stop.
pub fn run(loaded: Loaded) -> ExitCode {
    match start(loaded) {
        Ok(()) => Exit::OK.into(),
        Err(stop) => {
            // The log may not be there yet, and the reason must be read in any case.
            eprintln!("monitor: {:#}", stop.error);
            stop.exit.into()
        }
    }
}

/// Why the daemon cannot go on.
struct Stop {
    exit: Exit,
    error: anyhow::Error,
}

impl Stop {
    fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }
}

fn failed(error: impl Into<anyhow::Error>) -> Stop {
    Stop::new(Exit::FAILURE, error)
}

fn start(loaded: Loaded) -> Result<(), Stop> {
    let log = logging::init(&loaded.config.log).map_err(failed)?;
    let config = loaded.config.clone();
    let rules = rules_at_start(&config);
    let sink = Arc::new(Sink::open(&sink_options(&config)).map_err(failed)?);
    let store = Arc::new(store(&config));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("monitor-http")
        .on_thread_start(prefer_http)
        .enable_all()
        .build()
        .context("start the threads of the HTTP server")
        .map_err(failed)?;
    let (ended, pipeline_ended) = oneshot::channel();
    let (reload, reload_asked) = mpsc::channel(1);
    let told = runtime
        .block_on(async { Told::listen(reload_asked, pipeline_ended) })
        .context("listen for signals")
        .map_err(failed)?;
    let listener = runtime.block_on(http::bind(&config.http.listen.to_string())).map_err(failed)?;
    let trail = Arc::new(audit::open(&loaded)?);
    let kernel = kernel_side(&config).inspect_err(|stop| audit::close(&trail, &format!("{:#}", stop.error)))?;

    let heartbeat = Arc::new(AtomicU64::new(0));
    let reloads = Arc::new(Reloads::default());
    let (stop, stopping) = watch::channel(false);
    let (queries, asked) = mpsc::channel(QUERIES);
    let signals = api::signals(&config, kernel.as_ref());
    let (board, pulse) = (Arc::new(Board::default()), Arc::new(Pulse::default()));
    let parts = Parts {
        config: config.clone(),
        rules,
        kernel,
        reloads: Arc::clone(&reloads),
        outlets: Outlets {
            store: Arc::clone(&store),
            sink: Arc::clone(&sink),
            trail: Arc::clone(&trail),
            board: Arc::clone(&board),
            heartbeat: Arc::clone(&heartbeat),
            pulse: Arc::clone(&pulse),
        },
    };
    let pipeline = {
        let stopping = stopping.clone();
        thread::Builder::new()
            .name("monitor-observe".to_owned())
            .spawn(move || {
                let result = parts.run(asked, stopping);
                let _ = ended.send(());
                result
            })
            .context("start the observing thread")
            .map_err(failed)?
    };
    let api = Api::new(queries.clone(), Arc::clone(&store), Arc::clone(&heartbeat), reload, signals, board);
    let api = Arc::new(api.with_trail(Arc::clone(&trail)).with_pulse(pulse));
    let state = http::State::new(api, http_options(&config)).map_err(failed)?;
    let reloader = Reloader {
        started: loaded.clone(),
        latest: loaded,
        log,
        state: state.clone(),
        queries,
        sink: Arc::clone(&sink),
        trail: Arc::clone(&trail),
        reloads,
    };
    let result = runtime.block_on(serve(listener, told, state, reloader, heartbeat, stop));

    let asked = Instant::now();
    let observed = pipeline.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the observing thread panicked")));
    runtime.shutdown_timeout(Duration::from_millis(100));
    if !sink.close(LAST_EVENTS) {
        warn!("some events could not be written any more; monitor_events_lost_total had counted them");
    }
    audit::close(
        &trail,
        match (&observed, &result) {
            (Ok(()), Ok(())) => "told to stop",
            _ => "the daemon failed",
        },
    );
    debug!(milliseconds = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX), "stopped");
    observed.map_err(failed)?;
    result.map_err(failed)
}

fn prefer_http() {
    // Only what these threads do for a peer runs at it, and that is bounded: two of them, one collection at a time,
    // connections, answers in flight. Without the capability they wait their turn.
    if let Err(error) = sys::prefer_this_thread(HTTP_NICE) {
        debug!(%error, "the threads of the HTTP server keep their ordinary priority (CAP_SYS_NICE is missing)");
    }
}

/// Everything that moves into the observing thread.
struct Parts {
    config: Config,
    rules: Rules,
    kernel: Option<KernelSide>,
    reloads: Arc<Reloads>,
    outlets: Outlets,
}

impl Parts {
    fn run(mut self, queries: mpsc::Receiver<observer::Query>, stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
        // A full ring is a loss: this thread, and only it, is served before ordinary work.
        if let Err(error) = sys::prefer_this_thread(OBSERVER_NICE) {
            debug!(%error, "the observing thread keeps its ordinary priority (CAP_SYS_NICE is missing)");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            if let Some(kernel) = &mut self.kernel {
                follow_kernel_log(kernel);
            }
            let health = Health::new(self.reloads, self.config.budget.measured());
            let config = Box::new(self.config);
            let observer = Observer::new(config, self.rules, self.kernel, health, self.outlets);
            observer.run(queries, stopping).await;
        });
        Ok(())
    }
}

/// Carries the kernel programs' own log into ours.
fn follow_kernel_log(kernel: &mut KernelSide) {
    let mut logger = match EbpfLogger::init(&mut kernel.loaded.ebpf) {
        Ok(logger) => logger,
        Err(error) => return debug!(%error, "the kernel programs have no log"),
    };
    match logger.as_fd().try_clone_to_owned().and_then(sys::watch) {
        Ok(readable) => {
            tokio::spawn(async move {
                while let Ok(mut guard) = readable.readable().await {
                    guard.clear_ready();
                    logger.flush();
                }
            });
        }
        Err(error) => warn!(%error, "the kernel programs' log cannot be read"),
    }
}

/// The rules that the configuration names, compiled, with everything that is wrong or doubtful about them.
fn rules(config: &Config) -> (Rules, Vec<Diagnostic>) {
    let set = RuleSet::of_config(&config.rules);
    let mut diagnostics = set.diagnostics;
    let rules = Rules::new(set.rules, &mut diagnostics);
    (rules, diagnostics)
}

/// At the start a rule with a mistake is left out, and all others watch: that is better than nobody watching.
fn rules_at_start(config: &Config) -> Rules {
    let (rules, diagnostics) = rules(config);
    for diagnostic in &diagnostics {
        if diagnostic.error {
            error!("{diagnostic}");
        } else {
            debug!("{diagnostic}");
        }
    }
    let wrong = diagnostics.iter().filter(|diagnostic| diagnostic.error).count();
    if wrong > 0 {
        error!(
            mistakes = wrong,
            rules = rules.list.len(),
            "rules with mistakes are left out; `monitor rules check` shows them"
        );
    }
    rules
}

fn sink_options(config: &Config) -> SinkOptions {
    SinkOptions {
        output: match config.events.output {
            Output::Stdout => crate::events::Output::Stdout,
            Output::File => crate::events::Output::File,
            Output::None => crate::events::Output::None,
        },
        format: config.events.format,
        file: config.events.file.clone(),
        rotate_size: config.events.rotate_size,
        rotate_keep: config.events.rotate_keep,
    }
}

fn store(config: &Config) -> Store {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Store::new(config.events.store as usize).with_host(host)
}

fn http_options(config: &Config) -> http::Options {
    http::Options {
        reload: config.http.reload,
        max_connections: config.http.max_connections as usize,
        ..http::Options::default()
    }
}

/// The kernel programs; `None` when this kernel can have none, which leaves the host's own numbers.
fn kernel_side(config: &Config) -> Result<Option<KernelSide>, Stop> {
    let signals = &config.signals;
    if !(signals.process || signals.syscalls || signals.tcp || signals.block_io) {
        info!("all kernel signals are off by configuration; execs are observed for the rules");
    }
    match observer::attach(config) {
        Ok(kernel) => Ok(Some(kernel)),
        Err(error @ (BpfError::NoBtf { .. } | BpfError::BadBtf { .. })) => {
            error!("{error}. Only the host's own numbers are observed");
            Ok(None)
        }
        Err(error @ BpfError::Permission(_)) => Err(Stop::new(Exit::NO_PRIVILEGE, error)),
        Err(error) => Err(Stop::new(Exit::UNAVAILABLE, error)),
    }
}

/// What the daemon does something about.
struct Told {
    hangup: Signal,
    reload: mpsc::Receiver<ReloadRequest>,
    pipeline_ended: oneshot::Receiver<()>,
}

impl Told {
    /// From now on SIGHUP does not end the process: it may come before the start is done, which takes time. A signal to
    /// stop may well end it then; the kernel cleans up.
    fn listen(reload: mpsc::Receiver<ReloadRequest>, pipeline_ended: oneshot::Receiver<()>) -> io::Result<Self> {
        Ok(Self { reload, pipeline_ended, hangup: signal(SignalKind::hangup())? })
    }
}

/// Serves until a signal comes or the pipeline ends by itself, which it never should.
async fn serve(
    listener: TcpListener,
    mut told: Told,
    state: http::State,
    mut reloader: Reloader,
    heartbeat: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(http::serve(listener, state, stop.subscribe()));
    info!("metrics: http://{address}/metrics");
    info!("events:  http://{address}/api/v1/events and /api/v1/events/stream");
    info!("health:  http://{address}/-/healthy and /-/ready");
    let status = format!("metrics at http://{address}/metrics");
    let watchdog = tokio::spawn(service::follow(status.clone(), heartbeat));
    let result = loop {
        tokio::select! {
            _ = terminate.recv() => { info!("SIGTERM: stops"); break Ok(()) }
            _ = interrupt.recv() => { info!("SIGINT: stops"); break Ok(()) }
            _ = told.hangup.recv() => {
                service::reloading();
                // The log says what came of it.
                let _ = reloader.reload().await;
                service::ready(&status);
            }
            Some(answer) = told.reload.recv() => {
                let _ = answer.send(reloader.reload().await);
            }
            _ = &mut told.pipeline_ended => {
                error!("the observing thread ended by itself");
                break Err(anyhow::anyhow!("the observing thread ended by itself; its error is in the log"));
            }
        }
    };
    service::stopping();
    watchdog.abort();
    let _ = stop.send(true);
    if let Err(error) = server.await {
        error!(%error, "the HTTP server ended in disorder");
    }
    result
}
