//! `block_io`: latency, queue time, size and errors of block requests per device, operation and submitting process.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    histogram::{LATENCY_BUCKETS, SIZE_BUCKETS},
    process_slot::SlotRef,
};

/// Bits of `request.cmd_flags` that hold the operation (`REQ_OP_MASK`).
pub const OPERATION_MASK: u32 = 0xff;

/// The value of the `op` label for an operation number (`enum req_op` of include/linux/blk_types.h).
pub const fn operation_name(operation: u32) -> &'static str {
    match operation {
        0 => "read",
        1 => "write",
        2 => "flush",
        3 => "discard",
        5 => "secure_erase",
        9 => "write_zeroes",
        _ => "other",
    }
}

/// A device and an operation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DeviceKey {
    /// `major << 20 | minor`, as the kernel's `dev_t`; 0 when the request belongs to no disk.
    pub device: u32,
    /// Operation number; see [`operation_name`].
    pub operation: u32,
}

/// What one device did. Hash `BLOCK_DEVICES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DeviceStats {
    /// Sum of times from issue to completion, nanoseconds.
    pub duration_sum_ns: u64,
    /// Requests by time from issue to completion.
    pub duration_buckets: [u64; LATENCY_BUCKETS],
    /// Sum of times from submission to issue, nanoseconds.
    pub queue_sum_ns: u64,
    /// Requests by time from submission to issue; those that passed no queue are not in it.
    pub queue_buckets: [u64; LATENCY_BUCKETS],
    /// Sum of sizes, bytes.
    pub size_sum: u64,
    /// Requests by size.
    pub size_buckets: [u64; SIZE_BUCKETS],
}

/// Key of `BLOCK_PROCESSES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessKey {
    /// Who submitted.
    pub process: SlotRef,
    /// To which device, what.
    pub device: DeviceKey,
}

/// What one process did on one device. Value of `BLOCK_PROCESSES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessStats {
    /// Requests completed.
    pub operations: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sum of times from submission to completion, nanoseconds.
    pub duration_ns: u64,
}

/// Key of `BLOCK_ERRORS`, whose value is a count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ErrorKey {
    /// Where.
    pub device: DeviceKey,
    /// The completion's error as this kernel tells it: a `blk_status_t`, or before Linux 5.16 a negative errno.
    pub error: i32,
}

/// A request in flight. Hash `BLOCK_REQUESTS`, key: address of `struct request`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Request {
    /// When it was submitted (`CLOCK_MONOTONIC`, nanoseconds).
    pub submitted_ns: u64,
    /// When it was handed to the driver; 0: not yet.
    pub issued_ns: u64,
    /// Who submitted it.
    pub process: SlotRef,
    /// To which device, what.
    pub device: DeviceKey,
    /// Bytes asked for.
    pub bytes: u64,
    /// Bytes of it that were completed before the rest was handed to the driver again.
    pub completed: u64,
}
