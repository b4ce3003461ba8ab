//! `block_io`: latency, queue time, size and errors of block requests.
//!
//! The process is the one that submitted the request (`block_io_start`), not the one on whose time it was handed to the
//! driver: with a scheduler that is often a kernel worker. Write-back is submitted by a kernel worker and stays its.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_ns,
    macros::{btf_tracepoint, map},
    maps::HashMap,
    programs::BtfTracePointContext,
};
use monitor_common::{
    histogram::{LATENCY_BUCKETS, SIZE_BUCKETS, latency_bucket, size_bucket},
    limits::{self, SLOT_UNKNOWN},
    loss::Loss,
    offsets::MISSING,
    process_slot::SlotRef,
    signals::block_io::{DeviceKey, DeviceStats, ErrorKey, OPERATION_MASK, ProcessKey, ProcessStats, Request},
};

use super::syscalls::count;
use crate::{
    atomic::add,
    emit::lost,
    hash::remove,
    kernel::read::Object,
    settings::{knob, offset},
    slots,
};

const BPF_NOEXIST: u64 = 1;
/// `REQ_OP_WRITE` and `REQ_OP_FLUSH` (include/linux/blk_types.h).
const OPERATION_WRITE: u32 = 1;
const OPERATION_FLUSH: u32 = 2;

#[map]
static BLOCK_REQUESTS: HashMap<u64, Request> = HashMap::with_max_entries(limits::BLOCK_REQUESTS, 0);
#[map]
static BLOCK_DEVICES: HashMap<DeviceKey, DeviceStats> = HashMap::with_max_entries(limits::BLOCK_DEVICES, 0);
#[map]
static BLOCK_PROCESSES: HashMap<ProcessKey, ProcessStats> = HashMap::with_max_entries(limits::BLOCK_PROCESSES, 0);
#[map]
static BLOCK_ERRORS: HashMap<ErrorKey, u64> = HashMap::with_max_entries(limits::BLOCK_ERRORS, 0);

const NO_DEVICE_STATS: DeviceStats = DeviceStats {
    duration_sum_ns: 0,
    duration_buckets: [0; LATENCY_BUCKETS],
    queue_sum_ns: 0,
    queue_buckets: [0; LATENCY_BUCKETS],
    size_sum: 0,
    size_buckets: [0; SIZE_BUCKETS],
};
/// In read-only data: too large for a program's stack.
static FRESH_DEVICE: DeviceStats = NO_DEVICE_STATS;

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Disk and operation of a request.
#[inline(always)]
fn device(request: Object) -> DeviceKey {
    let disk = if offset!(queue_disk) == MISSING {
        request.pointer(offset!(request_rq_disk))
    } else {
        request.pointer(offset!(request_q)).pointer(offset!(queue_disk))
    };
    let (major, minor): (u32, u32) = (disk.field(offset!(disk_major)), disk.field(offset!(disk_first_minor)));
    DeviceKey {
        device: major << 20 | minor & 0xf_ffff,
        operation: request.field::<u32>(offset!(request_cmd_flags)) & OPERATION_MASK,
    }
}

/// Notes a request of the running task.
#[inline(always)]
fn submitted(address: u64) {
    let request = Object(address);
    let Some(process) = slots::current() else {
        // The daemon's own. What an earlier request at this address left must not be taken for it.
        remove(&BLOCK_REQUESTS, &address, Loss::BlockRequestsLocked);
        return;
    };
    let bytes = u64::from(request.field::<u32>(offset!(request_data_len)));
    let mut device = device(request);
    if bytes == 0 && device.operation == OPERATION_WRITE {
        // fsync asks for a flush by an empty write.
        device.operation = OPERATION_FLUSH;
    }
    let entry = Request { submitted_ns: now(), issued_ns: 0, process, device, bytes, completed: 0 };
    if BLOCK_REQUESTS.insert(&address, &entry, 0).is_err() {
        lost(Loss::BlockRequests);
    }
}

/// `block_io_start(struct request *rq)`
#[btf_tracepoint(function = "block_io_start")]
fn block_start(ctx: BtfTracePointContext) -> i32 {
    submitted(ctx.arg(0));
    0
}

/// `block_rq_insert(struct request *rq)`: stands in for `block_io_start` on kernels without it.
#[btf_tracepoint(function = "block_rq_insert")]
fn block_insert(ctx: BtfTracePointContext) -> i32 {
    submitted(request_argument(&ctx));
    0
}

#[inline(always)]
fn request_argument(ctx: &BtfTracePointContext) -> u64 {
    if knob!(block_request_argument) == 0 { ctx.arg(0) } else { ctx.arg(1) }
}

/// `block_rq_issue(struct request *rq)`
#[btf_tracepoint(function = "block_rq_issue")]
fn block_issue(ctx: BtfTracePointContext) -> i32 {
    let address = request_argument(&ctx);
    if let Some(entry) = BLOCK_REQUESTS.get_ptr_mut(&address) {
        // SAFETY: a map value; a request is handled by one CPU at a time. It may have grown by merges since its start, and
        // shrunk by what is completed already.
        unsafe {
            (*entry).issued_ns = now();
            (*entry).bytes = (*entry).completed + u64::from(Object(address).field::<u32>(offset!(request_data_len)));
        }
        return 0;
    }
    if knob!(block_io_start) == 0 {
        submitted(address);
    }
    // Without a start: the block layer's own request (a flush), or one that passed no queue on an old kernel.
    let request = Object(address);
    let time = now();
    let entry = Request {
        submitted_ns: time,
        issued_ns: time,
        process: SlotRef { slot: SLOT_UNKNOWN, generation: 0 },
        device: device(request),
        bytes: u64::from(request.field::<u32>(offset!(request_data_len))),
        completed: 0,
    };
    match BLOCK_REQUESTS.get_ptr_mut(&address) {
        // SAFETY: as above.
        Some(entry) => unsafe { (*entry).issued_ns = (*entry).submitted_ns },
        None if BLOCK_REQUESTS.insert(&address, &entry, BPF_NOEXIST).is_err() => lost(Loss::BlockRequests),
        None => {}
    }
    0
}

/// `block_rq_complete(struct request *rq, blk_status_t error, unsigned int nr_bytes)`
#[btf_tracepoint(function = "block_rq_complete")]
fn block_complete(ctx: BtfTracePointContext) -> i32 {
    let (address, error, bytes): (u64, i32, u32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    let Some(entry) = BLOCK_REQUESTS.get_ptr_mut(&address) else { return 0 };
    // A request may complete in parts; the last part completes what is left. In between it may be handed to the driver
    // again.
    if bytes < Object(address).field::<u32>(offset!(request_data_len)) {
        // SAFETY: a map value; a request is handled by one CPU at a time.
        unsafe { (*entry).completed += u64::from(bytes) };
        return 0;
    }
    // SAFETY: as above.
    let request = unsafe { *entry };
    remove(&BLOCK_REQUESTS, &address, Loss::BlockRequestsLocked);
    let time = now();
    if request.issued_ns != 0 {
        device_done(&request, time);
    }
    if request.process.slot != SLOT_UNKNOWN {
        process_done(&request, time);
    }
    // blk_status_t is one byte; the rest of the register is not the kernel's.
    let error = if knob!(block_errors_are_errno) == 0 { error & 0xff } else { error };
    if error != 0 {
        count(&BLOCK_ERRORS, ErrorKey { device: request.device, error }, Loss::BlockErrors);
    }
    0
}

#[inline(always)]
fn device_done(request: &Request, time: u64) {
    if BLOCK_DEVICES.get_ptr_mut(&request.device).is_none() {
        let _ = BLOCK_DEVICES.insert(&request.device, &FRESH_DEVICE, BPF_NOEXIST);
    }
    let Some(stats) = BLOCK_DEVICES.get_ptr_mut(&request.device) else { return lost(Loss::BlockDevices) };
    let duration = time - request.issued_ns;
    let queued = request.issued_ns - request.submitted_ns;
    // SAFETY: a map value; the buckets are below the lengths.
    unsafe {
        add(&raw mut (*stats).duration_sum_ns, duration);
        add((&raw mut (*stats).duration_buckets).cast::<u64>().add(latency_bucket(duration) & 15), 1);
        if queued != 0 {
            add(&raw mut (*stats).queue_sum_ns, queued);
            add((&raw mut (*stats).queue_buckets).cast::<u64>().add(latency_bucket(queued) & 15), 1);
        }
        add(&raw mut (*stats).size_sum, request.bytes);
        add((&raw mut (*stats).size_buckets).cast::<u64>().add(size_bucket(request.bytes) & 15), 1);
    }
}

#[inline(always)]
fn process_done(request: &Request, time: u64) {
    let key = ProcessKey { process: request.process, device: request.device };
    if BLOCK_PROCESSES.get_ptr_mut(&key).is_none() {
        let fresh = ProcessStats { operations: 0, bytes: 0, duration_ns: 0 };
        let _ = BLOCK_PROCESSES.insert(&key, &fresh, BPF_NOEXIST);
    }
    let Some(stats) = BLOCK_PROCESSES.get_ptr_mut(&key) else { return lost(Loss::BlockProcesses) };
    // SAFETY: a map value.
    unsafe {
        add(&raw mut (*stats).operations, 1);
        add(&raw mut (*stats).bytes, request.bytes);
        add(&raw mut (*stats).duration_ns, time - request.submitted_ns);
    }
}
