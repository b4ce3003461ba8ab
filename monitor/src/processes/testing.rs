//! Made-up processes for tests. Their pids are higher than Linux gives out, so that `/proc` never has them.

use monitor_common::{
    record::{Header, ProcessKey},
    signals::process::{ExitRecord, ForkRecord},
};

use super::{GroupOptions, Groups, NS_PER_TICK, Options, ProcessId, ProcessTable};
use crate::{metrics::Families, signals::exec::Exec};

pub(super) const SECOND: u64 = 1_000_000_000;

/// A process of the future: number `n`, started `n` seconds after the table was made.
pub(super) fn key(table: &ProcessTable, n: u32) -> ProcessKey {
    let start_ns = table.created_ticks * NS_PER_TICK + u64::from(n) * SECOND;
    ProcessKey { start_ns, tgid: 5_000_000 + n, reserved: 0 }
}

pub(super) fn id(table: &ProcessTable, n: u32) -> ProcessId {
    ProcessId::from_key(key(table, n))
}

pub(super) fn table(capacity: usize) -> ProcessTable {
    let options = Options { capacity, ..Options::default() };
    ProcessTable::new(options, Groups::new(GroupOptions::default()))
}

pub(super) fn fork(table: &mut ProcessTable, parent: u32, child: u32) {
    let (parent, child) = (key(table, parent), key(table, child));
    let header = Header { time_ns: child.start_ns, ..Header::default() };
    table.on_fork(&ForkRecord { header, parent, child, ..ForkRecord::default() });
}

pub(super) fn exec_of(table: &ProcessTable, parent: u32, n: u32, exe: &str) -> Exec {
    let process = key(table, n);
    Exec {
        time_ns: process.start_ns + 1_000_000,
        process,
        parent: key(table, parent),
        exe: exe.into(),
        args: vec![exe.into(), b"-v".to_vec()],
        args_length: exe.len() as u32 + 4,
        comm: exe.rsplit('/').next().unwrap_or(exe).into(),
        ..Exec::default()
    }
}

pub(super) fn exec(table: &mut ProcessTable, parent: u32, n: u32, exe: &str) {
    let exec = exec_of(table, parent, n, exe);
    table.on_exec(&exec);
}

/// Ends 5 ms after its start.
pub(super) fn exit_of(table: &ProcessTable, n: u32) -> ExitRecord {
    let process = key(table, n);
    ExitRecord {
        header: Header { time_ns: process.start_ns + 5_000_000, ..Header::default() },
        process,
        runtime_ns: 4_000_000,
        minor_faults: 100,
        read_chars: 1_000,
        ..ExitRecord::default()
    }
}

pub(super) fn exit(table: &mut ProcessTable, n: u32) {
    let record = exit_of(table, n);
    table.on_exit(&record);
}

/// Both rings were drained twice.
pub(super) fn settle(table: &mut ProcessTable) {
    table.settle();
    table.settle();
}

/// The value of a series; None: there is none.
pub(super) fn value(table: &ProcessTable, metric: &str, labels: &[&str]) -> Option<f64> {
    let mut families = Families::new();
    table.collect(&mut families);
    let snapshot = families.finish();
    let mut samples = snapshot.family(metric)?.samples();
    samples.find(|sample| sample.labels().eq(labels.iter().copied())).map(|sample| sample.value())
}
