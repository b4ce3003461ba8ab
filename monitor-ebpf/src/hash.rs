//! Removing from kernel hashes.
//!
//! The kernel refuses when it cannot lock the entry's bucket: because this CPU was interrupted while it held that lock
//! (before Linux 6.17), or because another CPU has held it for too long (from then on; a virtual CPU that does not run).
//! Both are rare, and nothing here could wait for them. An entry that stays is told as a loss.

use aya_ebpf::maps::HashMap;
use monitor_common::loss::Loss;

use crate::emit::lost;

const ENOENT: i32 = 2;

/// Removes `key`; that it is not there is as good.
#[inline(always)]
pub(crate) fn remove<K, V>(map: &HashMap<K, V>, key: &K, loss: Loss) {
    if let Err(error) = map.remove(key)
        && error != -ENOENT
    {
        lost(loss);
    }
}
