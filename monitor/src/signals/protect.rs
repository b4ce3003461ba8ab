//! `protect`: the daemon is kept from being stopped, entered or made blind, where the kernel asks BPF programs (LSM).

use aya::maps::{HashMap, MapData, PerCpuArray};
use monitor_common::{
    limits,
    signals::protect::{Denial, ObjectKey},
};
use tracing::{info, warn};
use zerocopy::IntoBytes as _;

use crate::{
    bpf::{
        BpfError,
        loader::{Loaded, PROTECT},
        maps,
        owned::Owned,
    },
    metrics::{Families, Kind, Metric},
};

static DENIED: Metric = Metric {
    name: "monitor_protect_denied_total",
    help: "What others were forbidden to do to the daemon, because protect.enabled is true and the kernel asks BPF programs \
           (monitor_signal_up of protect is 1). Each is an event of rule agent_tamper_denied, too.",
    kind: Kind::Counter,
    labels: &["what"],
};

/// What this signal publishes.
pub const METRICS: &[&Metric] = &[&DENIED];

/// Bytes of a key.
const KEY: usize = size_of::<ObjectKey>();

/// The signal's kernel maps.
pub struct Protect {
    objects: HashMap<MapData, [u8; KEY], u32>,
    asked: PerCpuArray<MapData, u64>,
    denied: PerCpuArray<MapData, u64>,
}

impl Protect {
    /// Takes the signal's maps, makes known what is the daemon's, and sees whether the kernel asks the programs at all: where
    /// it does not they can be attached all the same. Then the signal is off.
    ///
    /// # Errors
    /// When a map is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Option<Self>, BpfError> {
        let mut protect = Self {
            objects: loaded.take(maps::PROTECTED)?,
            asked: loaded.take(maps::PROTECT_ASKED)?,
            denied: loaded.take(maps::PROTECT_DENIED)?,
        };
        if !protect.is_asked() {
            let reason = "the programs are attached, but the kernel does not ask them: bpf is not among its active security \
                          modules (lsm= on its command line)";
            warn!(reason, "the daemon is not protected");
            loaded.switch_off(PROTECT, reason.to_owned());
            return Ok(None);
        }
        match Owned::here() {
            Ok(owned) => protect.add(&owned),
            Err(error) => warn!(%error, "the daemon does not know its own maps: others may open them"),
        }
        Ok(Some(protect))
    }

    /// Does the kernel ask? It has to when the daemon sends itself no signal.
    fn is_asked(&self) -> bool {
        let before = sum(&self.asked, Denial::Signal);
        let sent = rustix::process::test_kill_process(rustix::process::getpid());
        sent.is_ok() && sum(&self.asked, Denial::Signal) > before
    }

    fn add(&mut self, owned: &Owned) {
        let of = |what: Denial| move |id: &u32| ObjectKey { what: what as u32, id: *id };
        let keys = owned.maps.iter().map(of(Denial::Map)).chain(owned.programs.iter().map(of(Denial::Program)));
        let (mut known, mut refused) = (0, 0);
        for key in keys {
            let mut bytes = [0; KEY];
            bytes.copy_from_slice(key.as_bytes());
            if self.objects.insert(bytes, 1, 0).is_ok() { known += 1 } else { refused += 1 }
        }
        if refused > 0 {
            warn!(refused, room = limits::PROTECTED, "others may open some of the daemon's maps and programs");
        }
        info!(objects = known, "the daemon is protected: others may not trace it, stop it or open its kernel objects");
    }

    /// Publishes.
    pub fn collect(&self, families: &mut Families) {
        for what in Denial::ALL {
            families.counter(&DENIED, &[what.name()], sum(&self.denied, what) as f64);
        }
    }
}

fn sum(counters: &PerCpuArray<MapData, u64>, what: Denial) -> u64 {
    counters.get(&(what as u32), 0).map_or(0, |cpus| cpus.iter().sum())
}
