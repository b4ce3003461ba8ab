//! `exec_kill`: kills whoever begins to run a program that a rule says is to be killed, before its first instruction.
//! `monitor_common::signals::exec_kill` has how rules are told; attached only while there are any.
//!
//! In doubt it does nothing: user space has the exec record, and decides by itself then. So it leaves alone whose path is
//! too deep to be walked, whom the daemon must never kill, and whoever comes while the tables change.

mod facts;

use core::ptr;

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel, bpf_send_signal},
    macros::{btf_tracepoint, map},
    maps::{Array, PerCpuArray, Queue},
    programs::BtfTracePointContext,
};
use facts::{EXEC_KILL_SCRATCH, Scratch};
use monitor_common::{
    loss::Loss,
    record::{Kind, Ring},
    signals::exec_kill::{CGROUPS, ExecKillRecord, Force, HIERARCHIES, OWN, Outcome, TERMS, TEXT, TOKENS, Table},
};

use crate::{
    atomic, emit,
    kernel::{read::Object, task},
    settings::{knob, offset},
};

const SIGKILL: u32 = 9;
/// The first process.
const INIT: u32 = 1;

/// Two tables: [`Force`] says which is in force.
#[map]
static EXEC_KILL_TABLES: Array<Table> = Array::with_max_entries(2, 0);
#[map]
static EXEC_KILL_FORCE: Array<Force> = Array::with_max_entries(1, 0);
/// What may still be done: each kill takes one out. The daemon puts them in, by `respond.rate`.
#[map]
static EXEC_KILL_TOKENS: Queue<u32> = Queue::with_max_entries(TOKENS, 0);
/// How many were taken out.
#[map]
static EXEC_KILL_TAKEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[btf_tracepoint(function = "sched_process_exec")]
fn exec_kill(ctx: BtfTracePointContext) -> i32 {
    let (task, bprm): (Object, Object) = (Object(ctx.arg(0)), Object(ctx.arg(2)));
    let number = in_force();
    let (Some(table), Some(scratch)) =
        (EXEC_KILL_TABLES.get_ptr((number & 1) as u32), EXEC_KILL_SCRATCH.get_ptr_mut(0))
    else {
        return 0;
    };
    // SAFETY: an argument of a BTF tracepoint, and map values, of which the scratch is this program's alone.
    unsafe {
        let tgid: u32 = task.load(offset!(task_tgid));
        if number == 0 || tgid == INIT || u64::from(tgid) == knob!(self_tgid) {
            return 0;
        }
        if !facts::find(table, scratch, task, bprm, number) {
            return 0;
        }
        let facts = (*scratch).facts;
        if facts & (*table).spared != 0 {
            return 0;
        }
        let Some(rule) = rule(table, facts) else { return 0 };
        if is_own(table, tgid) || shares_cgroup(table, task) || in_force() != number {
            return 0;
        }
        let (outcome, result) = kill();
        tell(scratch, task, number, rule, outcome, result);
    }
    0
}

/// The number of the table in force.
#[inline(always)]
fn in_force() -> u64 {
    // SAFETY: a map value, one word of it.
    EXEC_KILL_FORCE.get_ptr(0).map_or(0, |force| unsafe { ptr::read_volatile(&raw const (*force).number) })
}

/// The first rule that these facts make hold.
#[inline(always)]
unsafe fn rule(table: *const Table, facts: u64) -> Option<u32> {
    let mut index = 0;
    // SAFETY: a map value.
    unsafe {
        while index < TERMS {
            if index as u32 >= (*table).terms {
                return None;
            }
            let term = &raw const (*table).term[index];
            if facts & (*term).all == (*term).all && facts & (*term).none == 0 {
                return Some((*term).rule);
            }
            index += 1;
        }
    }
    None
}

/// Is it the daemon or one of its ancestors?
#[inline(always)]
unsafe fn is_own(table: *const Table, tgid: u32) -> bool {
    let mut index = 0;
    // SAFETY: a map value.
    unsafe {
        while index < OWN {
            if index as u32 >= (*table).own {
                return false;
            }
            if (*table).process[index] == tgid {
                return true;
            }
            index += 1;
        }
    }
    false
}

/// Is it in a control group of the daemon's? Also when that cannot be told.
#[inline(always)]
unsafe fn shares_cgroup(table: *const Table, task: Object) -> bool {
    // SAFETY: a map value.
    unsafe {
        if (*table).cgroups == 0 {
            return false;
        }
        let set = task.pointer(offset!(task_cgroups));
        let head = set.embedded(offset!(css_set_links));
        let mut node = set.pointer(offset!(css_set_links));
        let mut step = 0;
        while step < HIERARCHIES {
            step += 1;
            if node == head {
                return false;
            }
            let link = node.container(offset!(css_link_next));
            let cgroup = link.pointer(offset!(css_link_cgroup));
            let id: u64 = cgroup.pointer(offset!(cgroup_kn)).field(offset!(kernfs_node_id));
            let hierarchy: u32 = cgroup.pointer(offset!(cgroup_root)).field(offset!(cgroup_root_hierarchy));
            let mut index = 0;
            while index < CGROUPS {
                let own = &raw const (*table).cgroup[index];
                if (index as u32) < (*table).cgroups && (*own).id == id && (*own).hierarchy == hierarchy {
                    return true;
                }
                index += 1;
            }
            node = link.pointer(offset!(css_link_next));
        }
    }
    true
}

/// Kills the running process, if there is a token left.
#[inline(always)]
fn kill() -> (Outcome, i64) {
    let Ok(Some(_)) = EXEC_KILL_TOKENS.pop() else { return (Outcome::Rate, 0) };
    if let Some(taken) = EXEC_KILL_TAKEN.get_ptr_mut(0) {
        // SAFETY: this CPU's own entry. Atomic, because the daemon's account must not be wrong.
        unsafe { atomic::add(taken, 1) };
    }
    // SAFETY: a helper that takes a number. The signal is for the task that runs, which is the one that called exec.
    (Outcome::Sent, unsafe { bpf_send_signal(SIGKILL) })
}

#[inline(always)]
unsafe fn tell(scratch: *const Scratch, task: Object, number: u64, rule: u32, outcome: Outcome, result: i64) {
    let Some(mut entry) = emit::reserve::<ExecKillRecord>(Ring::Security, Loss::ExecKillRing) else { return };
    let record = entry.as_mut_ptr();
    // SAFETY: room in the ring for just this, and a map value.
    unsafe {
        (*record).header = emit::header(Ring::Security, Kind::ExecKill);
        (*record).process = task::process(task);
        (*record).table = number;
        (*record).rule = rule;
        (*record).outcome = outcome as u32;
        (*record).result = result;
        let path = (*scratch).path();
        bpf_probe_read_kernel((&raw mut (*record).path).cast(), TEXT as u32, path.cast());
        (*record).reserved = [0; 2];
    }
    entry.submit(emit::submission(Ring::Security, size_of::<ExecKillRecord>()));
}
