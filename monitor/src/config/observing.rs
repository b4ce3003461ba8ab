//! What is observed, and how: plain structs of checked values.

use std::path::PathBuf;

use monitor_common::limits;

use crate::signals::Timing;

/// `[kernel]`: the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// File with the running kernel's BTF.
    pub btf: PathBuf,
    /// Names of hooks to do without.
    pub disable_hooks: Vec<String>,
    /// Bytes of the security ring: a power of two and so a multiple of the page size.
    pub security_ring: u64,
    /// Bytes of the telemetry ring: a power of two and so a multiple of the page size.
    pub telemetry_ring: u64,
    /// Bytes of the bulk ring: a power of two and so a multiple of the page size.
    pub bulk_ring: u64,
    /// Bytes of the ring of requests: a power of two and so a multiple of the page size.
    pub requests_ring: u64,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            btf: PathBuf::from("/sys/kernel/btf/vmlinux"),
            disable_hooks: Vec::new(),
            security_ring: u64::from(limits::SECURITY_RING),
            telemetry_ring: u64::from(limits::TELEMETRY_RING),
            bulk_ring: u64::from(limits::BULK_RING),
            requests_ring: u64::from(limits::REQUESTS_RING),
        }
    }
}

/// `[signals]`: which signals are collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signals {
    /// System calls: count, latency, errors.
    pub syscalls: bool,
    /// TCP: connections, latency, bytes, retransmits.
    pub tcp: bool,
    /// Block I/O: latency, size, errors.
    pub block_io: bool,
    /// Requests and answers: response times of endpoints and queries.
    pub l7: bool,
    /// The same inside TLS.
    pub l7_tls: bool,
    /// Processes: forks, exits, what they use.
    pub process: bool,
    /// The machine: CPU, memory, disks, network, load.
    pub host: bool,
}

impl Default for Signals {
    fn default() -> Self {
        Self { syscalls: true, tcp: true, l7: true, l7_tls: true, block_io: true, process: true, host: true }
    }
}

/// `[l7]`: how requests and answers are heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L7 {
    /// Pieces of conversations that one CPU may tell of in a second; 0 for no limit.
    pub rate: u32,
    /// Patterns of routes, checked to be such.
    pub routes: Vec<String>,
}

impl Default for L7 {
    fn default() -> Self {
        Self { rate: limits::L7_RATE, routes: Vec::new() }
    }
}

/// `[syscalls]`: how system calls are observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Syscalls {
    /// How many of them are timed.
    pub timing: Timing,
}

/// `[activity]`: what processes ask of the kernel that security rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Names of kinds that are observed beside those that rules need.
    pub kinds: Vec<String>,
    /// Absolute paths that are watched beside those that rules need; one of a directory ends with a slash.
    pub watch: Vec<String>,
    /// Records of bulk kinds that one control group may send in a second; 0: no limit.
    pub bulk_rate: u32,
}

impl Default for Activity {
    fn default() -> Self {
        Self { kinds: Vec::new(), watch: Vec::new(), bulk_rate: limits::BULK_RATE }
    }
}
