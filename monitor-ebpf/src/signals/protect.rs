//! `protect`: the daemon is kept from being stopped, entered or made blind. The kernel asks these programs before it lets
//! somebody (LSM); they forbid what is meant for the daemon and not done by itself, and tell of it.
//!
//! Who may do all of it: the daemon, so that it can do its work; and as to signals the first process, which is the service
//! manager as a rule. What the kernel does by itself (a lack of memory, `cgroup.kill`, a terminal) it asks nobody about.
//!
//! Nothing is looked at but the number of a process or object, so that it costs next to nothing for all others. What a program
//! before these has forbidden does not come here.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{lsm, map},
    maps::{HashMap, PerCpuArray},
    programs::LsmContext,
};
use monitor_common::{
    limits,
    loss::Loss,
    record::{Kind, Ring},
    signals::{
        activity::{Act, ActivityHead},
        protect::{Denial, ObjectKey, SIGNALS_ALLOWED},
    },
};

use super::activity;
use crate::{
    atomic, emit,
    kernel::{read::Object, task},
    settings::{knob, offset},
};

/// Maps and programs of the daemon. It fills it when all are made.
#[map]
static PROTECTED: HashMap<ObjectKey, u32> = HashMap::with_max_entries(limits::PROTECTED, 0);
/// How often the kernel asked about the daemon, by [`Denial`]: shows that it asks at all.
#[map]
static PROTECT_ASKED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Denial::ALL.len() as u32, 0);
/// What was forbidden, by [`Denial`].
#[map]
static PROTECT_DENIED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Denial::ALL.len() as u32, 0);

const EPERM: i32 = 1;
/// `PTRACE_MODE_ATTACH` (include/linux/ptrace.h): more than to look. It is asked for /proc/PID/mem, process_vm_readv(2) and
/// pidfd_getfd(2), too.
const MODE_ATTACH: u32 = 2;
/// The first process.
const INIT: u64 = 1;

/// `task_kill(struct task_struct *p, struct kernel_siginfo *info, int sig, const struct cred *cred)`
#[lsm(hook = "task_kill")]
fn protect_signal(ctx: LsmContext) -> i32 {
    let (task, signal): (Object, u32) = (Object(ctx.arg(0)), ctx.arg(2));
    if !is_daemon(task) {
        return 0;
    }
    count(&PROTECT_ASKED, Denial::Signal);
    let who = caller();
    if who == knob!(self_tgid) || who == INIT || signal < 64 && SIGNALS_ALLOWED >> signal & 1 != 0 {
        return 0;
    }
    deny(Denial::Signal, u64::from(signal), task)
}

/// `ptrace_access_check(struct task_struct *child, unsigned int mode)`
#[lsm(hook = "ptrace_access_check")]
fn protect_ptrace(ctx: LsmContext) -> i32 {
    let (task, mode): (Object, u32) = (Object(ctx.arg(0)), ctx.arg(1));
    if mode & MODE_ATTACH == 0 || !is_daemon(task) {
        return 0;
    }
    count(&PROTECT_ASKED, Denial::Ptrace);
    if caller() == knob!(self_tgid) { 0 } else { deny(Denial::Ptrace, u64::from(mode), task) }
}

/// `bpf_map(struct bpf_map *map, fmode_t fmode)`: a descriptor of it is about to be made. Also one for reading: a program that
/// is loaded with it may write.
#[lsm(hook = "bpf_map")]
fn protect_map(ctx: LsmContext) -> i32 {
    let map = Object(ctx.arg(0));
    object(Denial::Map, map.field(offset!(bpf_map_id)))
}

/// `bpf_prog(struct bpf_prog *prog)`: the same of a program.
#[lsm(hook = "bpf_prog")]
fn protect_program(ctx: LsmContext) -> i32 {
    let program = Object(ctx.arg(0));
    object(Denial::Program, program.pointer(offset!(bpf_prog_aux)).field(offset!(bpf_prog_aux_id)))
}

/// Somebody wants a descriptor of the object with this number.
#[inline(always)]
fn object(what: Denial, id: u32) -> i32 {
    if PROTECTED.get_ptr(&ObjectKey { what: what as u32, id }).is_none() {
        return 0;
    }
    count(&PROTECT_ASKED, what);
    if caller() == knob!(self_tgid) { 0 } else { deny(what, u64::from(id), Object::NONE) }
}

/// Is this a thread of the daemon?
#[inline(always)]
fn is_daemon(task: Object) -> bool {
    u64::from(task::tgid(task)) == knob!(self_tgid)
}

/// The process that asks.
#[inline(always)]
fn caller() -> u64 {
    bpf_get_current_pid_tgid() >> 32
}

#[inline(always)]
fn count(counters: &PerCpuArray<u64>, what: Denial) {
    if let Some(counter) = counters.get_ptr_mut(what as u32) {
        // SAFETY: this CPU's own entry. Atomic, because these programs may be preempted.
        unsafe { atomic::add(counter, 1) };
    }
}

/// Forbids it, and says so. The record is made in the ring: two of these programs may run on a CPU at a time.
#[inline(always)]
fn deny(what: Denial, detail: u64, target: Object) -> i32 {
    count(&PROTECT_DENIED, what);
    if let Some(mut record) = emit::reserve::<ActivityHead>(Ring::Security, Loss::ProtectRing) {
        let head = record.as_mut_ptr();
        // SAFETY: room in the ring for just this.
        unsafe {
            activity::fill(head, task::current(), Act::Denied as u8);
            (*head).header = emit::header(Ring::Security, Kind::Activity);
            (*head).result = -i64::from(EPERM);
            (*head).args = [what as u64, detail, 0, 0, 0, 0];
            if target != Object::NONE {
                (*head).target = task::process(target);
            }
        }
        record.submit(emit::submission(Ring::Security, size_of::<ActivityHead>()));
    }
    -EPERM
}
