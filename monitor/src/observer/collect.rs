//! One scrape.

use monitor_common::{loss::Loss, record::Ring};

use super::{KernelSide, Observer, heart, memory, per_process};
use crate::{
    audit,
    bpf::loader::{HookState, SignalReport, SignalState},
    budget, detect,
    events::{self, BootClock},
    health, http,
    metrics::{Families, Kind, Metric, Snapshot},
    processes, respond,
    signals::{SIGNALS, activity, block_io, host, l7, protect, syscalls, tcp},
};

static LOST: Metric = Metric {
    name: "monitor_lost_total",
    help: "What the kernel programs could not deliver or tell apart, by cause.",
    kind: Kind::Counter,
    labels: &["signal", "cause"],
};
static RECORDS: Metric = Metric {
    name: "monitor_ring_records_total",
    help: "Records received from the kernel.",
    kind: Kind::Counter,
    labels: &["ring"],
};
static BYTES: Metric = Metric {
    name: "monitor_ring_received_bytes_total",
    help: "Bytes of records received from the kernel.",
    kind: Kind::Counter,
    labels: &["ring"],
};
static MISSING: Metric = Metric {
    name: "monitor_ring_missing_total",
    help: "Records that the kernel numbered but that never came, proved by gaps in the numbers.",
    kind: Kind::Counter,
    labels: &["ring"],
};
static MALFORMED: Metric = Metric {
    name: "monitor_ring_malformed_total",
    help: "Records that could not be decoded.",
    kind: Kind::Counter,
    labels: &["ring"],
};
static SIGNAL_UP: Metric = Metric {
    name: "monitor_signal_up",
    help: "1 when the signal is observed, 0 when it is off; the state label says whether all of it.",
    kind: Kind::Gauge,
    labels: &["signal", "state"],
};
static HOOK_ATTACHED: Metric = Metric {
    name: "monitor_hook_attached",
    help: "1 when the kernel program of this hook runs.",
    kind: Kind::Gauge,
    labels: &["signal", "hook"],
};
static MISSED: Metric = Metric {
    name: "monitor_ebpf_program_misses_total",
    help: "Runs of a kernel program that the kernel left out, because on that processor the program was interrupted by \
           what should have been its next run. Kernels before 5.12 do not tell.",
    kind: Kind::Counter,
    labels: &["program"],
};
static SLOTS: Metric = Metric {
    name: "monitor_process_slots",
    help: "Slots for processes with kernel-side counters of their own.",
    kind: Kind::Gauge,
    labels: &["state"],
};
const METRICS: &[&Metric] =
    &[&LOST, &MISSED, &RECORDS, &BYTES, &MISSING, &MALFORMED, &SIGNAL_UP, &HOOK_ATTACHED, &SLOTS];

/// Every metric of the daemon, for the documentation.
pub fn metrics() -> Vec<(&'static str, Vec<&'static Metric>)> {
    vec![
        ("System calls", syscalls::METRICS.to_vec()),
        ("TCP", tcp::METRICS.to_vec()),
        ("Requests", [l7::METRICS, l7::tls::METRICS].concat()),
        ("Block I/O", block_io::METRICS.to_vec()),
        ("Processes", processes::METRICS.to_vec()),
        (
            "Single processes (only of the groups in `metrics.per_process`)",
            [processes::PER_PROCESS_METRICS, per_process::METRICS].concat(),
        ),
        ("Host", host::METRICS.to_vec()),
        (
            "Security events",
            [detect::metrics().as_slice(), memory::METRICS, events::METRICS, activity::METRICS].concat(),
        ),
        ("Audit trail", audit::METRICS.to_vec()),
        ("Responses", respond::METRICS.to_vec()),
        ("The daemon itself", [METRICS, health::METRICS, budget::METRICS, http::METRICS].concat()),
        ("Self-protection", [heart::METRICS, protect::METRICS].concat()),
    ]
}

impl Observer {
    /// All metrics.
    pub(super) fn collect(&mut self) -> Snapshot {
        let mut families = Families::new();
        let groups = self.table.groups();
        if let Some(kernel) = &mut self.kernel {
            if let Some(syscalls) = &kernel.syscalls {
                syscalls.collect(groups, kernel.loaded.timing(), &mut families);
            }
            if let Some(tcp) = &kernel.tcp {
                tcp.collect(groups, &mut families);
            }
            if let Some(block_io) = &mut kernel.block_io {
                block_io.collect(groups, &mut families);
            }
            if let Some(l7) = &kernel.l7 {
                let tcp_bytes = kernel.tcp.iter().flat_map(|tcp| tcp.bytes_by_group());
                l7.collect(groups, tcp_bytes, &mut families);
            }
            if let Some(activity) = &kernel.activity {
                activity.collect(&mut families);
            }
            if let Some(protect) = &kernel.protect {
                protect.collect(&mut families);
            }
            if kernel.beats() {
                self.heart.collect(BootClock::read(), &mut families);
            }
            of_kernel(kernel, &mut families);
        } else {
            // Whoever is alerted by a signal that is off has to hear of all of them.
            for signal in SIGNALS {
                let up = signal.hooks.is_empty() && self.host.is_some();
                families.gauge(&SIGNAL_UP, &[signal.name, if up { "full" } else { "off" }], f64::from(u8::from(up)));
            }
        }
        if self.config.signals.process {
            self.table.collect(&mut families);
        }
        self.per_process(&mut families);
        if let Some(host) = &self.host {
            host.collect(&mut families);
        }
        self.judge.engine.collect(&mut families);
        self.memory.collect(&mut families);
        self.judge.recorder.collect(&mut families);
        self.store.collect(&mut families);
        self.sink.collect(&mut families);
        self.trail.collect(&mut families);
        if let Some(responder) = &self.responder {
            responder.collect(&mut families);
        }
        self.health.collect(&mut families);
        if let Some(governor) = &self.governor {
            governor.collect(&mut families);
        }
        families.finish()
    }
}

fn of_kernel(kernel: &KernelSide, families: &mut Families) {
    for loss in Loss::ALL {
        families.counter(&LOST, &[loss.signal(), loss.cause()], kernel.lost(*loss) as f64);
    }
    for (name, _) in kernel.loaded.ebpf.programs() {
        if let Some(misses) = kernel.loaded.misses(name) {
            families.counter(&MISSED, &[name], misses as f64);
        }
    }
    for ring in Ring::ALL {
        let account = kernel.account(ring);
        let malformed = account.malformed + kernel.order.undecodable[ring as usize];
        families.counter(&RECORDS, &[ring.name()], account.received as f64);
        families.counter(&BYTES, &[ring.name()], account.bytes as f64);
        families.counter(&MISSING, &[ring.name()], account.missing as f64);
        families.counter(&MALFORMED, &[ring.name()], malformed as f64);
    }
    families.gauge(&SLOTS, &["used"], kernel.slots.in_use() as f64);
    families.gauge(&SLOTS, &["capacity"], kernel.slots.capacity() as f64);
    for report in &kernel.loaded.signals {
        of_signal(report, families);
    }
}

fn of_signal(report: &SignalReport, families: &mut Families) {
    let up = !matches!(report.state, SignalState::Off(_));
    families.gauge(&SIGNAL_UP, &[report.signal, report.state.name()], f64::from(u8::from(up)));
    for hook in &report.hooks {
        let attached = matches!(hook.state, HookState::Attached);
        families.gauge(&HOOK_ATTACHED, &[report.signal, hook.hook], f64::from(u8::from(attached)));
    }
}
