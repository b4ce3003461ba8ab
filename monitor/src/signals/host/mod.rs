//! `host`: CPU, memory, disks, network and load of the machine, under node_exporter's names.
//!
//! sysinfo reads memory, swap, load, network, file systems and boot time; what it has no word for comes from `/proc`:
//! CPU time by mode, disk requests, dropped packets, pressure, TCP statistics. sysinfo's processes are not used: it reads
//! every file of every process anew, where the process table knows from the kernel which there are.

mod filesystems;
mod metrics;
mod parse;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::OsStrExt,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use sysinfo::{LoadAvg, MemoryRefreshKind, Networks, System};

use self::{filesystems::Filesystems, metrics as m, parse::CPU_MODES};
use crate::metrics::Families;
use crate::processes::text;

pub use self::metrics::METRICS;

/// Most devices of one kind (disks, file systems, interfaces) with series of their own.
const DEVICES: usize = 128;
/// Most bytes of a file in `/proc`: a thousand CPUs take less.
const FILE: u64 = 1 << 20;

type Cpus = BTreeMap<u32, [f64; CPU_MODES.len()]>;

/// A name and what counted for it.
type Interface = (String, [(&'static crate::metrics::Metric, f64); 8]);

/// The machine as it was at the last [`Host::refresh`].
#[derive(Debug)]
pub struct Host {
    system: Option<System>,
    networks: Option<Networks>,
    filesystems: Option<Filesystems>,
    load: Option<LoadAvg>,
    cpus: Cpus,
    memory: [(&'static crate::metrics::Metric, Option<f64>); 3],
    disks: Vec<(String, parse::Disk)>,
    interfaces: Vec<Interface>,
    pressure: [(Option<f64>, Option<f64>); 3],
    netstat: Vec<(&'static crate::metrics::Metric, Option<f64>)>,
    /// Whether each source could be read.
    sources: BTreeMap<&'static str, bool>,
    dropped: BTreeMap<&'static str, u64>,
}

impl Host {
    /// Nothing is read yet.
    pub fn new() -> Self {
        let filesystems = Filesystems::start().inspect_err(|error| {
            tracing::warn!(%error, "no thread for file systems: no node_filesystem_* metrics");
        });
        Self {
            system: System::new().ok(),
            networks: Networks::new().ok(),
            filesystems: filesystems.ok(),
            load: None,
            cpus: Cpus::new(),
            memory: [(&m::BUFFERS, None), (&m::CACHED, None), (&m::RECLAIMABLE, None)],
            disks: Vec::new(),
            interfaces: Vec::new(),
            pressure: [(None, None); 3],
            netstat: Vec::new(),
            sources: BTreeMap::new(),
            dropped: ["disk", "filesystem", "network"].map(|kind| (kind, 0)).into(),
        }
    }

    /// Reads everything again. A source that cannot be read has no values until it can. Takes about a millisecond,
    /// more with many network interfaces.
    pub fn refresh(&mut self) {
        let up = self.filesystems.as_ref().is_some_and(Filesystems::refresh);
        self.sources.insert("filesystems", up);
        if let Some(system) = &mut self.system {
            system.refresh_memory_specifics(MemoryRefreshKind::everything());
        }
        self.load = System::load_average().ok();
        self.sources.insert("loadavg", self.load.is_some());
        let stat = self.read("stat");
        self.cpus = advance(&self.cpus, parse::cpu(&stat));
        let meminfo = self.read("meminfo");
        for ((_, value), name) in self.memory.iter_mut().zip(["Buffers", "Cached", "SReclaimable"]) {
            *value = parse::meminfo(&meminfo, name);
        }
        let diskstats = self.read("diskstats");
        self.disks = parse::disks(&diskstats, is_disk);
        self.pressure =
            ["pressure/cpu", "pressure/io", "pressure/memory"].map(|file| parse::pressure(&self.read(file)));
        self.refresh_network();
        let disks = limited(&mut self.dropped, "disk", self.disks.len());
        self.disks.truncate(disks);
        let filesystems = self.filesystems.as_ref().and_then(Filesystems::latest).map_or(0, |(_, found)| found.len());
        limited(&mut self.dropped, "filesystem", filesystems);
    }

    fn refresh_network(&mut self) {
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
        }
        let drops = parse::drops(&self.read("net/dev"));
        let interface = |(name, data): (&OsString, &sysinfo::NetworkData)| {
            let name = text::lossy(name.as_bytes());
            let (received_drops, sent_drops) = drops.get(&name).copied().unwrap_or_default();
            let values = [
                (&m::NET_RECEIVED, data.total_received() as f64),
                (&m::NET_RECEIVED_PACKETS, data.total_packets_received() as f64),
                (&m::NET_RECEIVED_ERRORS, data.total_errors_on_received() as f64),
                (&m::NET_RECEIVED_DROPS, received_drops),
                (&m::NET_SENT, data.total_transmitted() as f64),
                (&m::NET_SENT_PACKETS, data.total_packets_transmitted() as f64),
                (&m::NET_SENT_ERRORS, data.total_errors_on_transmitted() as f64),
                (&m::NET_SENT_DROPS, sent_drops),
            ];
            (name, values)
        };
        self.interfaces = self.networks.iter().flat_map(|networks| networks.iter()).map(interface).collect();
        self.interfaces.sort_by(|a, b| a.0.cmp(&b.0));
        let kept = limited(&mut self.dropped, "network", self.interfaces.len());
        self.interfaces.truncate(kept);

        let (netstat, snmp) = (self.read("net/netstat"), self.read("net/snmp"));
        self.netstat = vec![
            (&m::LISTEN_OVERFLOWS, parse::netstat(&netstat, "TcpExt", "ListenOverflows")),
            (&m::LISTEN_DROPS, parse::netstat(&netstat, "TcpExt", "ListenDrops")),
            (&m::TCP_TIMEOUTS, parse::netstat(&netstat, "TcpExt", "TCPTimeouts")),
            (&m::TCP_RETRANSMITS, parse::netstat(&snmp, "Tcp", "RetransSegs")),
            (&m::TCP_ESTABLISHED, parse::netstat(&snmp, "Tcp", "CurrEstab")),
            (&m::TCP_ACTIVE, parse::netstat(&snmp, "Tcp", "ActiveOpens")),
            (&m::TCP_PASSIVE, parse::netstat(&snmp, "Tcp", "PassiveOpens")),
            (&m::UDP_BUFFER_ERRORS, parse::netstat(&snmp, "Udp", "RcvbufErrors")),
        ];
    }

    /// A file in `/proc` as text; empty when it cannot be read (no PSI, for instance), which is noted.
    fn read(&mut self, file: &'static str) -> String {
        use std::io::Read;
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(format!("/proc/{file}")).and_then(|open| open.take(FILE).read_to_end(&mut bytes));
        self.sources.insert(file, read.is_ok());
        text::lossy(&bytes)
    }

    /// Adds the host's metrics.
    pub fn collect(&self, families: &mut Families) {
        for (cpu, modes) in &self.cpus {
            let cpu = cpu.to_string();
            for (mode, seconds) in CPU_MODES.iter().zip(modes) {
                families.counter(&m::CPU, &[&cpu, mode], *seconds);
            }
        }
        if let Some(load) = &self.load {
            for (metric, value) in [(&m::LOAD1, load.one), (&m::LOAD5, load.five), (&m::LOAD15, load.fifteen)] {
                families.gauge(metric, &[], value);
            }
        }
        self.collect_memory(families);
        self.collect_filesystems(families);
        self.collect_disks(families);
        for (name, values) in &self.interfaces {
            for (metric, value) in values {
                families.counter(metric, &[name], *value);
            }
        }
        self.collect_pressure(families);
        for (metric, value) in self.netstat.iter().filter_map(|(metric, value)| Some((*metric, (*value)?))) {
            families.gauge(metric, &[], value);
        }
        collect_identity(families);
        for (source, up) in &self.sources {
            families.gauge(&m::SOURCE_UP, &[source], f64::from(u8::from(*up)));
        }
        for (kind, count) in &self.dropped {
            families.counter(&m::DROPPED, &[kind], *count as f64);
        }
    }

    fn collect_memory(&self, families: &mut Families) {
        if let Some(system) = self.system.as_ref().filter(|system| system.total_memory() > 0) {
            for (metric, bytes) in [
                (&m::MEM_TOTAL, system.total_memory()),
                (&m::MEM_AVAILABLE, system.available_memory()),
                (&m::MEM_FREE, system.free_memory()),
                (&m::SWAP_TOTAL, system.total_swap()),
                (&m::SWAP_FREE, system.free_swap()),
            ] {
                families.gauge(metric, &[], bytes as f64);
            }
        }
        for (metric, bytes) in self.memory.iter().filter_map(|(metric, bytes)| Some((*metric, (*bytes)?))) {
            families.gauge(metric, &[], bytes);
        }
    }

    fn collect_filesystems(&self, families: &mut Families) {
        let Some((when, found)) = self.filesystems.as_ref().and_then(Filesystems::latest) else { return };
        families.gauge(&m::FS_AGE, &[], Instant::now().saturating_duration_since(when).as_secs_f64());
        for one in found.iter().take(DEVICES) {
            let labels = [one.device.as_str(), &one.mountpoint, &one.fstype];
            families.gauge(&m::FS_SIZE, &labels, one.size as f64);
            families.gauge(&m::FS_FREE, &labels, one.free as f64);
            families.gauge(&m::FS_AVAILABLE, &labels, one.available as f64);
            families.gauge(&m::FS_READ_ONLY, &labels, f64::from(u8::from(one.read_only)));
        }
    }

    fn collect_disks(&self, families: &mut Families) {
        for (name, disk) in &self.disks {
            for (metric, value) in [
                (&m::DISK_READS, disk.reads),
                (&m::DISK_READ, disk.read_bytes),
                (&m::DISK_READ_TIME, disk.read_seconds),
                (&m::DISK_WRITES, disk.writes),
                (&m::DISK_WRITTEN, disk.written_bytes),
                (&m::DISK_WRITE_TIME, disk.write_seconds),
                (&m::DISK_TIME, disk.io_seconds),
                (&m::DISK_WEIGHTED, disk.weighted_seconds),
            ] {
                families.counter(metric, &[name], value);
            }
            families.gauge(&m::DISK_NOW, &[name], disk.now);
        }
    }

    fn collect_pressure(&self, families: &mut Families) {
        let [cpu, io, memory] = self.pressure;
        // A CPU is never waited for by all: who runs does not wait.
        for (metric, seconds) in [
            (&m::PSI_CPU, cpu.0),
            (&m::PSI_IO, io.0),
            (&m::PSI_IO_FULL, io.1),
            (&m::PSI_MEMORY, memory.0),
            (&m::PSI_MEMORY_FULL, memory.1),
        ] {
            if let Some(seconds) = seconds {
                families.counter(metric, &[], seconds);
            }
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// Idle and waiting time may go back a little from one reading to the next (proc(5)); a counter must not. A CPU that was
/// taken out and put in again starts anew, which is a large step back.
fn advance(before: &Cpus, mut now: Cpus) -> Cpus {
    const NEW_CPU: f64 = 3.0;
    for (cpu, modes) in &mut now {
        let Some(old) = before.get(cpu).filter(|old| modes[3] + NEW_CPU >= old[3]) else { continue };
        for (mode, old) in modes.iter_mut().zip(old) {
            *mode = mode.max(*old);
        }
    }
    now
}

/// Of so many devices how many have series; counts the rest.
fn limited(dropped: &mut BTreeMap<&'static str, u64>, kind: &'static str, count: usize) -> usize {
    *dropped.entry(kind).or_default() += count.saturating_sub(DEVICES) as u64;
    count.min(DEVICES)
}

/// A whole disk, no partition, no loop and no memory device: those would count the same bytes again.
fn is_disk(name: &str) -> bool {
    let memory = ["loop", "ram", "zram", "fd"].iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    });
    // A slash in a device's name is an exclamation mark in sysfs.
    !memory && std::fs::exists(format!("/sys/block/{}", name.replace('/', "!"))).unwrap_or(false)
}

fn collect_identity(families: &mut Families) {
    if let Ok(boot) = System::boot_time() {
        families.gauge(&m::BOOT_TIME, &[], boot as f64);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    families.gauge(&m::TIME, &[], now.as_secs_f64());
    let uname = rustix::system::uname();
    let part = |name: &std::ffi::CStr| text::lossy(name.to_bytes());
    let labels = [
        part(uname.domainname()),
        part(uname.machine()),
        part(uname.nodename()),
        part(uname.release()),
        part(uname.sysname()),
        part(uname.version()),
    ];
    families.gauge(&m::UNAME, &labels.each_ref().map(String::as_str), 1.0);
}

#[cfg(test)]
mod tests;
