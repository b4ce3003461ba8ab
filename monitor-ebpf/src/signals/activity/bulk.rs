//! How much a control group may send of kinds that anybody can cause by the million: a bucket that fills with time. Who
//! has emptied it is kept from sending until it is full again, so that it is told once and not for every record. Each class
//! of kinds has a bucket of its own: who opens files by the million does not hide a connection behind them.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns},
    macros::map,
    maps::LruHashMap,
};
use monitor_common::{
    limits,
    loss::Loss,
    record::Ring,
    signals::activity::{Act, Bucket, BucketKey, Class, Select, THROTTLE_BEGINS, THROTTLE_ENDS, Via},
};

use super::{
    call::Call,
    record::{Memory, Record},
};
use crate::{emit::lost, kernel::task};

/// Two CPUs that change an entry at the same time may lose one's change: a record more or less.
#[map]
static BULK_BUCKETS: LruHashMap<BucketKey, Bucket> = LruHashMap::with_max_entries(limits::BULK_BUCKETS, 0);

/// May the running task's control group send one more record of this class?
#[inline(always)]
pub(super) fn allowed(select: &Select, class: Class) -> bool {
    let cost = select.bulk_ns;
    if cost == 0 {
        return true;
    }
    // SAFETY: helpers without arguments.
    let (cgroup_id, now) = unsafe { (bpf_get_current_cgroup_id(), bpf_ktime_get_boot_ns()) };
    let key = BucketKey { cgroup_id, class: class as u64 };
    let Some(bucket) = BULK_BUCKETS.get_ptr_mut(&key) else {
        let _ = BULK_BUCKETS.insert(&key, &Bucket { paid_ns: now + cost, dropped: 0 }, 0);
        return true;
    };
    // SAFETY: a map value.
    unsafe {
        let (paid, dropped) = ((*bucket).paid_ns, (*bucket).dropped);
        if dropped == 0 && paid < now + select.burst_ns {
            (*bucket).paid_ns = if paid < now { now } else { paid } + cost;
            return true;
        }
        if dropped != 0 && paid <= now {
            (*bucket).dropped = 0;
            (*bucket).paid_ns = now + cost;
            tell(THROTTLE_ENDS, dropped, class);
            return true;
        }
        (*bucket).dropped = dropped + 1;
        lost(Loss::ActivityThrottled);
        if dropped == 0 {
            tell(THROTTLE_BEGINS, paid, class);
        }
    }
    false
}

/// Tells the daemon that a control group is throttled from now on, or no more.
#[inline(never)]
fn tell(what: i64, detail: u64, class: Class) {
    let call = Call { number: 0, via: Via::Native, args: [detail, class as u64, 0, 0, 0, 0], result: what };
    if let Some(record) = Record::begin_in(Memory::Notice, task::current(), &call, Act::Throttle as u8) {
        record.finish(Ring::Security);
    }
}
