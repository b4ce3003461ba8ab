//! The pipeline: one thread that drains the rings, knows the processes, adds up the numbers and runs the rules. Nothing
//! here is shared, so nothing is locked; the HTTP server asks by message and gets copies.

mod at_exec;
mod budget;
mod collect;
mod happened;
mod heart;
mod kernel_side;
mod memory;
mod order;
mod per_process;
mod publish;
mod respond;
mod world;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tracing::{debug, error, info, warn};

use crate::{
    audit::Trail,
    bpf::{BpfError, drain::Pace, wall::since_boot},
    budget::{Board, Governor},
    config::Config,
    detect::eval::{Engine, Rules},
    events::{BootClock, Sink, Store},
    health::Health,
    http::{ProcessQuery, View},
    metrics::Snapshot,
    processes::{GroupOptions, GroupRule, Groups, Options, PerProcess, ProcessTable},
    pulse::Pulse,
    respond::Responder,
    signals::{activity::Selection, host::Host},
    sys,
};

use memory::Memory;

pub use collect::metrics;
pub use happened::Happened;
pub use kernel_side::{Batch, KernelSide};
pub use order::{Order, Rings};
pub use publish::{Judge, Judged, lost};
pub use respond::options as responses;
pub use world::{HostNames, HostSide, Surroundings};

/// Between two slices of /proc.
const SLICES: Duration = Duration::from_millis(10);
/// Between two times that the kernel's counters are added up.
const FOLD: Duration = Duration::from_secs(2);
/// Numbers that are younger than this are fresh enough for a query.
const FRESH: Duration = Duration::from_millis(100);
/// Processes looked at in /proc in one go, about 1.5 ms.
const SLICE: usize = 48;
/// Between two goes through all of /proc.
const REFRESH: Duration = Duration::from_secs(5);
const EXPIRE: Duration = Duration::from_secs(1);
const REBALANCE: Duration = Duration::from_secs(10);
const RESCAN: Duration = Duration::from_secs(60);
/// Between two looks at what files the watched paths are.
pub const REWATCH: Duration = Duration::from_secs(10);

/// Between two looks at whether rules have seen something new.
const KEEP: Duration = Duration::from_secs(3);

/// What others ask of the pipeline.
pub enum Query {
    /// All metrics.
    Metrics(oneshot::Sender<Snapshot>),
    /// Processes as JSON.
    Processes(ProcessQuery, oneshot::Sender<serde_json::Value>),
    /// What is seen of requests, as JSON.
    View(View, oneshot::Sender<serde_json::Value>),
    /// Work by this configuration and these rules from now on.
    Reconfigure(Box<Config>, Box<Rules>, oneshot::Sender<()>),
}

/// The pipeline's parts.
pub struct Observer {
    config: Box<Config>,
    kernel: Option<KernelSide>,
    table: ProcessTable,
    host: Option<Host>,
    judge: Judge,
    memory: Memory,
    store: Arc<Store>,
    sink: Arc<Sink>,
    trail: Arc<Trail>,
    responder: Option<Responder>,
    /// What is killed in the kernel.
    at_exec: at_exec::AtExec,
    /// Names of users, groups and the host.
    names: HostNames,
    /// Nanoseconds since 1970 at boot, as last looked at.
    boot_ns: i128,
    health: Health,
    governor: Option<Governor>,
    board: Arc<Board>,
    due: Due,
    /// Nanoseconds since boot at the last round: the watchdog looks at it.
    heartbeat: Arc<AtomicU64>,
    /// Whether the kernel programs are heard.
    heart: heart::Heart,
    pulse: Arc<Pulse>,
}

/// Where others see what the pipeline does.
pub struct Outlets {
    /// Published events, for the HTTP server.
    pub store: Arc<Store>,
    /// Published events, for a file or standard output.
    pub sink: Arc<Sink>,
    /// Published events, and what else is kept for good.
    pub trail: Arc<Trail>,
    /// How the budget is kept.
    pub board: Arc<Board>,
    /// Nanoseconds since boot at the last round.
    pub heartbeat: Arc<AtomicU64>,
    /// Whether the kernel programs are heard.
    pub pulse: Arc<Pulse>,
}

/// When each duty comes next.
struct Due {
    fold: Instant,
    folded: Option<Instant>,
    refresh: Instant,
    expire: Instant,
    rebalance: Instant,
    rescan: Instant,
    rewatch: Instant,
    heart: Instant,
    keep: Instant,
    host: Instant,
}

impl Observer {
    /// Puts the parts together, and learns the processes there are. The hooks must be attached already, so that nobody
    /// slips between.
    pub fn new(
        config: Box<Config>,
        rules: Rules,
        mut kernel: Option<KernelSide>,
        health: Health,
        outlets: Outlets,
    ) -> Self {
        let Outlets { store, sink, trail, board, heartbeat, pulse } = outlets;
        let mut table = ProcessTable::new(table_options(&config), Groups::new(group_options(&config)));
        table.set_per_process(per_process_options(&config));
        match table.seed() {
            Ok(count) => debug!(count, "learnt the running processes"),
            Err(error) => error!(%error, "/proc cannot be read: processes are known by number only; mount /proc"),
        }
        let now = Instant::now();
        let due = Due {
            fold: now,
            folded: None,
            refresh: now,
            expire: now,
            rebalance: now + EXPIRE,
            rescan: now + RESCAN,
            rewatch: now + REWATCH,
            heart: now,
            keep: now + KEEP,
            host: now,
        };
        let host = config.signals.host.then(Host::new);
        let responder = respond::start(&config, &trail);
        let mut engine = Engine::default();
        engine.replace(rules);
        engine.set_limits(config.rules.limits());
        let memory = Memory::open(&config.rules.state, &mut engine);
        let judge = Judge::new(engine);
        if let Some(kernel) = &mut kernel {
            kernel.select(selection(&config, &judge.engine), config.activity.bulk_rate);
        }
        // Parsing the kernel's type information took several times what the daemon needs from now on.
        sys::trim_heap();
        let governor = budget::governor(&config, kernel.as_ref());
        let mut observer = Self {
            config,
            kernel,
            table,
            host,
            judge,
            memory,
            store,
            sink,
            trail,
            responder,
            at_exec: at_exec::AtExec::default(),
            names: HostNames::of_host(),
            boot_ns: BootClock::read().boot_ns(),
            health,
            governor,
            board,
            due,
            heartbeat,
            heart: heart::Heart::default(),
            pulse,
        };
        observer.set_at_exec();
        observer
    }

    /// Works until `shutdown` becomes true or its sender is gone.
    pub async fn run(mut self, mut queries: mpsc::Receiver<Query>, mut shutdown: watch::Receiver<bool>) {
        let waker = self.kernel.as_ref().and_then(KernelSide::waker);
        let mut pace = Pace::new();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                result = shutdown.wait_for(|stop| *stop) => {
                    debug!(told = result.is_ok(), "the pipeline stops");
                    break;
                }
                // Before the rings: in a flood they are always half full again, and who asks is answered from what they
                // had. A query empties them, too, and duties come when they are due.
                Some(query) = queries.recv() => {
                    self.answer(query);
                    if Instant::now() < next {
                        continue;
                    }
                }
                () = kernel_side::woken(waker.as_ref()) => {}
                () = sleep_until(next) => {}
            }
            let taken = self.round();
            self.duties();
            next = Instant::now() + pace.next(taken);
        }
        // What is in the rings has happened: tell it before the end.
        self.round();
        self.round();
        let held = self.held();
        self.release_held(held, true);
        self.memory.close(&self.judge.engine);
    }

    /// Takes what is in the rings. Returns how many records that was.
    fn round(&mut self) -> usize {
        self.heartbeat.store(since_boot(), Ordering::Relaxed);
        let Some(kernel) = &mut self.kernel else { return 0 };
        let Batch { taken, happened } = kernel.drain(Pace::BATCH, None);
        let held = self.held();
        for record in happened {
            if self.hears(&record) {
                continue;
            }
            if let Happened::ExecKill(record) = &record {
                self.killed(record);
            }
            // The table is as it was at that moment: rules are asked before anything later changes it.
            record.apply(&mut self.table);
            self.publish(record);
        }
        self.table.settle();
        self.release_held(held, false);
        if self.kernel.as_ref().is_some_and(KernelSide::crowded) {
            self.fold();
        }
        taken
    }

    /// What has to be done from time to time.
    fn duties(&mut self) {
        let now = Instant::now();
        let due = |time: &mut Instant, period: Duration| {
            let due = now >= *time;
            if due {
                *time = now + period;
            }
            due
        };
        let (fold, refresh) = (self.fold_period(), self.refresh_period());
        if due(&mut self.due.fold, fold) {
            self.fold();
        }
        if now >= self.due.refresh {
            let done = self.table.refresh(since_boot(), SLICE);
            self.due.refresh = now + if done { refresh } else { SLICES };
        }
        if due(&mut self.due.expire, EXPIRE) {
            self.table.expire(since_boot());
            self.advance();
            self.lend();
            self.report_losses();
        }
        if due(&mut self.due.heart, heart::PERIOD) {
            self.keep_heart();
        }
        if due(&mut self.due.keep, KEEP) {
            self.memory.keep(&mut self.judge.engine);
        }
        self.keep_budget();
        if due(&mut self.due.rebalance, REBALANCE) {
            let gone = self.table.rebalance(since_boot());
            let table = &self.table;
            if let Some(kernel) = &mut self.kernel {
                kernel.expire(&gone, |process| table.get(process).is_some());
            }
        }
        if due(&mut self.due.rescan, RESCAN) {
            if let Err(error) = self.table.rescan() {
                warn!(%error, "/proc cannot be listed");
            }
            // Somebody may have set the time of day, or added a user.
            self.boot_ns = BootClock::read().boot_ns();
            self.names.accounts.refresh();
            // After a storm of processes the memory of those that are forgotten is scattered.
            sys::trim_heap();
        }
        if due(&mut self.due.rewatch, REWATCH)
            && let Some(kernel) = &mut self.kernel
        {
            kernel.rewatch();
        }
        if let Some(host) = &mut self.host
            && due(&mut self.due.host, self.config.host.interval)
        {
            host.refresh();
        }
    }

    /// Adds the kernel's counters up.
    fn fold(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.fold(&mut self.table);
        }
        self.due.folded = Some(Instant::now());
    }

    /// Makes the numbers as fresh as a query may expect.
    fn freshen(&mut self) {
        // Twice: what an ended process used is counted a round after its end was seen.
        self.round();
        self.round();
        let behind = self.kernel.as_ref().is_some_and(KernelSide::behind);
        if behind || self.due.folded.is_none_or(|time| time.elapsed() >= FRESH) {
            self.fold();
        }
    }

    fn answer(&mut self, query: Query) {
        // A receiver that is gone did not want to wait: nothing to do.
        match query {
            Query::Metrics(to) => {
                self.freshen();
                let _ = to.send(self.collect());
            }
            Query::Processes(query, to) => {
                self.freshen();
                let _ = to.send(self.describe(&query));
            }
            Query::View(view, to) => {
                self.freshen();
                let l7 = self.kernel.as_ref().and_then(|kernel| kernel.l7.as_ref());
                let (groups, clock) = (self.table.groups(), BootClock::read());
                let seen = match view {
                    View::Slowest => l7.map(|l7| l7.describe(groups, clock)),
                    View::Map => l7.map(|l7| l7.map(groups, clock)),
                };
                let empty = match view {
                    View::Slowest => serde_json::json!({ "requests": [] }),
                    View::Map => serde_json::json!({ "edges": [], "dropped": 0 }),
                };
                let _ = to.send(seen.unwrap_or(empty));
            }
            Query::Reconfigure(config, rules, to) => {
                // What happened until now is judged by the rules until now.
                self.round();
                self.table.set_options(table_options(&config));
                self.table.set_group_options(group_options(&config));
                self.table.set_per_process(per_process_options(&config));
                self.judge.engine.replace(*rules);
                self.judge.engine.set_limits(config.rules.limits());
                if let Some(responder) = &self.responder {
                    responder.set_options(respond::options(&config));
                }
                self.set_budget(&config);
                if let Some(kernel) = &mut self.kernel {
                    kernel.select(selection(&config, &self.judge.engine), config.activity.bulk_rate);
                    kernel.set_routes(&config.l7.routes);
                }
                self.config = config;
                self.set_at_exec();
                info!("works by the new configuration");
                let _ = to.send(());
            }
        }
    }
}

/// What leaves the kernel: what rules need, and what the configuration asks for.
pub fn selection(config: &Config, engine: &Engine) -> Selection {
    let mut selection = Selection::of_config(&config.activity);
    selection.merge(&Selection::of_needs(&engine.needs()));
    selection
}

fn table_options(config: &Config) -> Options {
    Options {
        capacity: config.processes.table as usize,
        keep_exited: config.processes.keep_exited,
        exclude: Some(std::process::id()),
        offline: false,
    }
}

fn per_process_options(config: &Config) -> PerProcess {
    PerProcess { groups: config.metrics.per_process.clone(), limit: config.metrics.max_processes as usize }
}

fn group_options(config: &Config) -> GroupOptions {
    let rules = config.groups.iter().map(|rule| GroupRule { name: rule.name.clone(), exe: rule.exe.clone() });
    GroupOptions { limit: config.metrics.groups as usize, idle: config.metrics.group_idle, rules: rules.collect() }
}

/// Loads and attaches the kernel programs as `config` says.
///
/// # Errors
/// When nothing can be loaded.
pub fn attach(config: &Config) -> Result<KernelSide, BpfError> {
    KernelSide::load(Path::new(&config.kernel.btf), config)
}
