//! `exec_kill`: kills whoever begins to run a program that a rule says is to be killed, before its first instruction.
//! `monitor_common::signals::exec_kill` has how rules are told; attached only while there are any.
//!
//! In doubt it does nothing: user space has the exec record, and decides by itself then. So it leaves alone whose path is
//! too deep to be walked, whom the daemon must never kill, and whoever comes while the tables change.

use core::ptr;

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_send_signal},
    macros::{btf_tracepoint, map},
    maps::{Array, LpmTrie, PerCpuArray, Queue, lpm_trie::Key},
    programs::BtfTracePointContext,
};
use monitor_common::{
    limits::{NAME, PATH, PATH_DEPTH},
    loss::Loss,
    record::{Kind, Ring},
    signals::{
        exec::PATH_ROOM,
        exec_kill::{
            CGROUPS, ExecKillRecord, Force, HIERARCHIES, NUMBERS, Number, OWN, Outcome, RANGES, TERMS, TEXT,
            TEXT_KEY_HEAD, TEXTS, TOKENS, Table, Text, TextKey,
        },
    },
};

use crate::{
    atomic, emit,
    kernel::{
        file,
        path::{self, Room},
        read::Object,
        task,
    },
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
/// The facts of texts, of both tables.
#[map]
static EXEC_KILL_TEXTS: LpmTrie<TextKey, u64> = LpmTrie::with_max_entries(2 * TEXTS, 0);
/// What may still be done: each kill takes one out. The daemon puts them in, by `respond.rate`.
#[map]
static EXEC_KILL_TOKENS: Queue<u32> = Queue::with_max_entries(TOKENS, 0);
/// How many were taken out.
#[map]
static EXEC_KILL_TAKEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Memory of this CPU's own. Nobody else writes there meanwhile: see `exec.rs`.
#[repr(C)]
struct Scratch {
    numbers: [i64; NUMBERS],
    facts: u64,
    /// Bytes of `names`, and whether the walk did not reach the root.
    length: u32,
    cut: u32,
    /// Components of the path, last first.
    names: [u8; PATH_ROOM],
    /// Where each of them begins.
    starts: [u32; STARTS],
    /// How far the path has been put together.
    at: u32,
    key: Key<TextKey>,
    /// What a name may write behind the key.
    over: [u8; 512 - TEXT],
}

/// Places of components, a power of two.
const STARTS: usize = 64;

#[map]
static EXEC_KILL_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

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
        if !numbers(&raw mut (*scratch).numbers, task, bprm) {
            return 0;
        }
        (*scratch).facts = 0;
        let links = (*scratch).numbers[Number::Links as usize];
        if !texts(scratch, task, bprm, number, links == 0) {
            return 0;
        }
        ranges(table, scratch);
        let facts = ptr::read_volatile(&raw const (*scratch).facts);
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

/// Takes all numbers; false: to user space this is no file.
#[inline(always)]
unsafe fn numbers(numbers: *mut [i64; NUMBERS], task: Object, bprm: Object) -> bool {
    // SAFETY: a map value; arguments of a BTF tracepoint.
    unsafe {
        let cred = task.follow(offset!(task_cred));
        let inode = bprm.follow(offset!(bprm_file)).follow(offset!(file_inode));
        let magic: u64 = inode.follow(offset!(inode_sb)).load(offset!(sb_magic));
        (*numbers)[Number::Uid as usize] = i64::from(cred.load::<u32>(offset!(cred_uid)));
        (*numbers)[Number::Euid as usize] = i64::from(cred.load::<u32>(offset!(cred_euid)));
        (*numbers)[Number::Suid as usize] = i64::from(cred.load::<u32>(offset!(cred_suid)));
        (*numbers)[Number::Gid as usize] = i64::from(cred.load::<u32>(offset!(cred_gid)));
        (*numbers)[Number::Egid as usize] = i64::from(cred.load::<u32>(offset!(cred_egid)));
        (*numbers)[Number::Owner as usize] = i64::from(inode.load::<u32>(offset!(inode_uid)));
        (*numbers)[Number::Links as usize] = i64::from(inode.load::<u32>(offset!(inode_nlink)));
        (*numbers)[Number::Mode as usize] = i64::from(inode.load::<u16>(offset!(inode_mode)) & 0o7777);
        let upper = magic == file::OVERLAY && file::is_upper_layer(inode);
        (*numbers)[Number::UpperLayer as usize] = i64::from(upper);
        inode.load::<u64>(offset!(inode_ino)) != 0
    }
}

/// Looks up the path and the name; false: the path is not known as a whole.
#[inline(always)]
unsafe fn texts(scratch: *mut Scratch, task: Object, bprm: Object, number: u64, anonymous: bool) -> bool {
    // SAFETY: a map value; arguments of a BTF tracepoint.
    unsafe {
        let key = &raw mut (*scratch).key;
        (*key).data.table = (number & 1) as u8;
        let bytes = (&raw mut (*key).data.bytes).cast::<u8>();

        let comm = task::comm(task);
        bpf_probe_read_kernel(bytes.cast(), size_of_val(&comm) as u32, comm.as_ptr().cast());
        // Its last byte is always zero.
        let mut length = 0;
        while length < comm.len() - 1 && comm[length] != 0 {
            length += 1;
        }
        look(scratch, Text::Comm, length as u32 + 1);

        let room = Room {
            names: (&raw mut (*scratch).names).cast(),
            length: &raw mut (*scratch).length,
            cut: &raw mut (*scratch).cut,
        };
        let file = bprm.follow(offset!(bprm_file));
        path::walk(&room, file.pointer(offset!(file_path_mnt)), file.pointer(offset!(file_path_dentry)));
        if ptr::read_volatile(room.cut) != 0 {
            return false;
        }
        turn(scratch, anonymous);
        let length = ptr::read_volatile(&raw const (*scratch).at);
        if length == 0 {
            return false;
        }
        look(scratch, Text::Path, length + 1);
        true
    }
}

/// Adds the facts of the text in the key, which has `length` bytes with its end.
#[inline(always)]
unsafe fn look(scratch: *mut Scratch, text: Text, length: u32) {
    // SAFETY: a map value. The key is packed: its first field is aligned all the same, because the struct around it is.
    unsafe {
        let key = &raw mut (*scratch).key;
        let length = if length > TEXT as u32 { TEXT as u32 } else { length };
        (*key).prefix_len = (TEXT_KEY_HEAD as u32 + length) * 8;
        (*key).data.text = text as u8;
        if let Some(facts) = EXEC_KILL_TEXTS.get(&*key) {
            let known = ptr::read_volatile(&raw const (*scratch).facts);
            ptr::write_volatile(&raw mut (*scratch).facts, known | *facts);
        }
    }
}

/// Puts the components that were walked together in the key, the first one first, as far as there is room. `anonymous`: the
/// file has no name any more or never had one. The same as user space does (`signals/exec/decode.rs`).
#[inline(always)]
unsafe fn turn(scratch: *mut Scratch, anonymous: bool) {
    // SAFETY: a map value. Masks show the verifier what holds by construction: a component begins below PATH, there are
    // fewer than STARTS of them, and what is in the key when the next one is written has fewer than 256 bytes.
    unsafe {
        let names = (&raw mut (*scratch).names).cast::<u8>();
        let bytes = (&raw mut (*scratch).key.data.bytes).cast::<u8>();
        let at = &raw mut (*scratch).at;
        let length = ptr::read_volatile(&raw const (*scratch).length);
        ptr::write_volatile(at, 0);
        let mut count = 0;
        while count < PATH_DEPTH {
            let start = ptr::read_volatile(at);
            if start >= length {
                break;
            }
            (*scratch).starts[count as usize & (STARTS - 1)] = start;
            let read =
                bpf_probe_read_kernel_str(bytes.cast(), NAME as u32, names.add(start as usize & (PATH - 1)).cast());
            if read <= 0 {
                break;
            }
            ptr::write_volatile(at, start + read as u32);
            count += 1;
        }
        // Of one component the key has it now.
        if count == 1 && anonymous && is_memfd(bytes) {
            return ptr::write_volatile(at, ptr::read_volatile(at) - 1);
        }
        ptr::write_volatile(at, 0);
        let mut step = 0;
        while step < PATH_DEPTH && count > 0 {
            step += 1;
            count -= 1;
            let end = ptr::read_volatile(at) as usize;
            if end >= TEXT {
                break;
            }
            let to = bytes.add(end & 255);
            let start = (*scratch).starts[count as usize & (STARTS - 1)];
            let from = names.add(start as usize & (PATH - 1));
            let read = bpf_probe_read_kernel_str(to.add(1).cast(), NAME as u32, from.cast());
            // A tree without a mount has a root called `/`.
            if read <= 1 || read == 2 && ptr::read_volatile(from) == b'/' {
                continue;
            }
            ptr::write_volatile(to, b'/');
            ptr::write_volatile(at, end as u32 + read as u32);
        }
    }
}

#[inline(always)]
unsafe fn is_memfd(bytes: *const u8) -> bool {
    const MEMFD: &[u8; 6] = b"memfd:";
    let mut index = 0;
    while index < MEMFD.len() {
        // SAFETY: within the key, says the caller.
        if unsafe { ptr::read_volatile(bytes.add(index)) } != MEMFD[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// Adds the facts of numbers.
#[inline(always)]
unsafe fn ranges(table: *const Table, scratch: *mut Scratch) {
    let mut index = 0;
    // SAFETY: map values; the mask shows the verifier that a number is one.
    unsafe {
        while index < RANGES {
            if index as u32 >= (*table).ranges {
                break;
            }
            let range = &raw const (*table).range[index];
            let value = (*scratch).numbers[(*range).number as usize & (NUMBERS - 1)];
            if value >= (*range).low && value <= (*range).high {
                let known = ptr::read_volatile(&raw const (*scratch).facts);
                ptr::write_volatile(&raw mut (*scratch).facts, known | (*range).facts);
            }
            index += 1;
        }
    }
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
        let path = &raw const (*scratch).key.data.bytes;
        bpf_probe_read_kernel((&raw mut (*record).path).cast(), TEXT as u32, path.cast());
        (*record).reserved = [0; 2];
    }
    entry.submit(emit::submission(Ring::Security, size_of::<ExecKillRecord>()));
}

const _: () = assert!(STARTS.is_power_of_two() && STARTS > PATH_DEPTH as usize && NUMBERS.is_power_of_two());
// A name that is written behind the longest beginning, and the slash before it.
const _: () = assert!(255 + 1 + NAME <= 512 && TEXT < 256);
