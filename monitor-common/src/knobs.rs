//! What the daemon tells the kernel programs before they are loaded. The values sit in frozen read-only data, so the
//! verifier sees constants: a branch on a knob that is off costs nothing and need not even be legal on that kernel.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Settings of the kernel programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Knobs {
    /// Process id of the daemon, as the kernel's first pid namespace numbers it: not observed.
    pub self_tgid: u64,
    /// Shards of the hot counters, less one; the number of shards is a power of two.
    pub shard_mask: u64,
    /// Process slots.
    pub slots: u64,
    /// 1 when two CPUs may share a shard: counters are then added to atomically.
    pub atomic_shards: u64,
    /// 1 when `bpf_get_current_task_btf` exists (Linux 5.11).
    pub has_current_task_btf: u64,
    /// Bits of `thread_info`'s status word that mark a 32-bit system call; 0 when this machine has none.
    pub compat_mask: u64,
    /// 1 when traffic is counted at each send and receive; 0 when it is read from the socket as it closes.
    pub traffic_by_call: u64,
    /// 1 when `sched_process_exit` tells whether the whole process ended (Linux 6.16).
    pub exit_tells_group: u64,
    /// 1 when the submitting process of a block request is seen (`block_io_start`, Linux 6.5), else its issuer is taken.
    pub block_io_start: u64,
    /// Which argument of `block_rq_insert` and `block_rq_issue` is the request: 0, or 1 before Linux 5.11.
    pub block_request_argument: u64,
    /// 1 when completions of block requests tell an errno (before Linux 5.16), else they tell a `blk_status_t`.
    pub block_errors_are_errno: u64,
    /// Bytes waiting in the security ring at which the daemon is woken before its next look.
    pub security_wake: u64,
    /// The same for the telemetry ring.
    pub telemetry_wake: u64,
    /// The same for the bulk ring.
    pub bulk_wake: u64,
    /// The same for the ring of requests.
    pub requests_wake: u64,
    /// Pieces of conversations that one CPU may tell of in a window; 0 for no limit.
    pub l7_quota: u64,
    /// Ticks (jiffies) in such a window, as a power of two.
    pub l7_window_shift: u64,
    /// Arguments of `tcp_recvmsg`: 6 before Linux 5.19, then 5.
    pub receive_arguments: u64,
    /// Which argument of `io_uring_submit_sqe` is the request: 0, or 1 before Linux 6.0.
    pub ring_request_argument: u64,
    /// Which signals run: bit `SIGNAL_*`.
    pub signals: u64,
    /// 1 when it may come to it that not every call is timed.
    pub pacing: u64,
    /// Ticks (jiffies) in a window of [`crate::signals::syscalls::Pace`], as a power of two.
    pub pace_shift: u64,
}

/// Bit of the syscalls signal in [`Knobs::signals`].
pub const SIGNAL_SYSCALLS: u64 = 1 << 0;
/// Bit of the tcp signal in [`Knobs::signals`].
pub const SIGNAL_TCP: u64 = 1 << 1;
/// Bit of the activity signal in [`Knobs::signals`].
pub const SIGNAL_ACTIVITY: u64 = 1 << 2;
/// Bit of the l7 signal in [`Knobs::signals`].
pub const SIGNAL_L7: u64 = 1 << 3;
/// Bit of what is said inside TLS, which is part of the l7 signal, in [`Knobs::signals`].
pub const SIGNAL_L7_TLS: u64 = 1 << 4;
