//! `exec`: a process runs another program. Everything that rules judge is taken here from kernel objects, at the moment
//! when the kernel itself has just used them: what user space says later may be a lie.
//!
//! The record is put together in memory of this CPU's own and copied into the ring as long as it is. Nobody else writes
//! there meanwhile: where programs may be preempted (Linux 7), the kernel does not start this one again on the same CPU.

use core::{ptr, slice};

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user},
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use monitor_common::{
    limits::{ARGS, ENVIRONMENT, PATH},
    loss::Loss,
    offsets::MISSING,
    record::{Kind, ProcessKey, Ring},
    signals::{
        activity::FileKey,
        exec::{ExecHead, ExecLong, NAMES, PATH_ROOM, SHORT_ARGS, SHORT_ENVIRONMENT},
    },
};

use super::{activity, syscalls};
use crate::{
    emit,
    kernel::{
        file,
        path::{self, Room},
        read::Object,
        task,
    },
    settings::{knob, offset},
};

/// Bytes to put a record together in: the most that a per-CPU array's entry may have. A power of two, so that a mask
/// shows the verifier that a length is within.
const SCRATCH: usize = 32 << 10;
const TAIL: usize = SCRATCH - size_of::<ExecHead>();

#[repr(C)]
struct Scratch {
    head: ExecHead,
    tail: [u8; TAIL],
}

#[map]
static EXEC_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Arguments and environment of a process: where they begin and how long they are.
struct Strings {
    args: u64,
    args_length: u64,
    env: u64,
    env_length: u64,
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[btf_tracepoint(function = "sched_process_exec")]
fn exec(ctx: BtfTracePointContext) -> i32 {
    let (task, old_pid, bprm): (Object, u32, Object) = (Object(ctx.arg(0)), ctx.arg(1), Object(ctx.arg(2)));
    // SAFETY: an argument of a BTF tracepoint.
    let (tid, tgid): (u32, u32) = unsafe { (task.load(offset!(task_pid)), task.load(offset!(task_tgid))) };
    if old_pid != tid {
        syscalls::renumbered(old_pid, tid);
    }
    if u64::from(tgid) == knob!(self_tgid) {
        return 0;
    }
    debug!(&ctx, "exec by process {}", tgid);
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: a map value, which is this program's alone, and arguments of a BTF tracepoint. Each field of the head is
    // written; of the rest only as much is handed over as was written.
    unsafe {
        let (head, tail) = (&raw mut (*scratch).head, (&raw mut (*scratch).tail).cast::<u8>());
        who(head, task);
        what(head, bprm);
        names(head, tail, task, bprm);
        let strings = strings(task);
        if strings.args_length < SHORT_ARGS as u64 && strings.env_length < SHORT_ENVIRONMENT as u64 {
            short(scratch, &strings);
        } else {
            long(scratch, &strings);
        }
    }
    0
}

#[inline(always)]
unsafe fn strings(task: Object) -> Strings {
    // SAFETY: an argument of a BTF tracepoint, says the caller.
    unsafe {
        let mm = task.follow(offset!(task_mm));
        let (args, env): (u64, u64) = (mm.load(offset!(mm_arg_start)), mm.load(offset!(mm_env_start)));
        Strings {
            args,
            args_length: mm.load::<u64>(offset!(mm_arg_end)).saturating_sub(args),
            env,
            env_length: mm.load::<u64>(offset!(mm_env_end)).saturating_sub(env),
        }
    }
}

/// Completes a record of which everything fits the scratch memory, and hands it over.
#[inline(always)]
unsafe fn short(scratch: *mut Scratch, strings: &Strings) {
    // SAFETY: a map value. The masks show the verifier what the lengths are by construction: names are shorter than
    // NAMES, and each of the others than the mask with which it is copied.
    unsafe {
        let (head, tail) = (&raw mut (*scratch).head, (&raw mut (*scratch).tail).cast::<u8>());
        let at = names_length(head) & (NAMES - 1);
        let args = copy::<SHORT_ARGS>(tail.add(at), strings.args, strings.args_length);
        let at = at + (args as usize & (SHORT_ARGS - 1));
        let env = copy::<SHORT_ENVIRONMENT>(tail.add(at & (NAMES + SHORT_ARGS - 1)), strings.env, strings.env_length);
        told(head, strings, args, env);
        emit::number(Ring::Security);
        (*head).header = emit::header(Ring::Security, Kind::Exec);
        let length = (size_of::<ExecHead>() + at + env as usize) & (SCRATCH - 1);
        emit::output(Ring::Security, Loss::ExecRing, slice::from_raw_parts(scratch.cast(), length));
    }
}

/// The same for one that does not: it takes its room in the ring first.
#[inline(always)]
unsafe fn long(scratch: *mut Scratch, strings: &Strings) {
    let Some(mut entry) = emit::reserve::<ExecLong>(Ring::Security, Loss::ExecRing) else { return };
    let record = entry.as_mut_ptr();
    // SAFETY: the room reserved is one whole record; the daemon reads only as much as the head says was copied. The
    // helper copies from a map value here.
    unsafe {
        let (head, tail) = (&raw mut (*scratch).head, (&raw mut (*scratch).tail).cast::<u8>());
        let args = copy::<ARGS>((&raw mut (*record).args).cast(), strings.args, strings.args_length);
        let env = copy::<ENVIRONMENT>((&raw mut (*record).env).cast(), strings.env, strings.env_length);
        told(head, strings, args, env);
        (*head).header = emit::header(Ring::Security, Kind::ExecLong);
        bpf_probe_read_kernel((&raw mut (*record).head).cast(), size_of::<ExecHead>() as u32, head.cast());
        let length = names_length(head) & (NAMES - 1);
        bpf_probe_read_kernel((&raw mut (*record).names).cast(), length as u32, tail.cast());
    }
    entry.submit(emit::submission(Ring::Security, size_of::<ExecLong>()));
}

/// Writes how long arguments and environment are and how much of them was copied.
#[inline(always)]
unsafe fn told(head: *mut ExecHead, strings: &Strings, args: u32, env: u32) {
    if (args == 0 && strings.args_length != 0) || (env == 0 && strings.env_length != 0) {
        emit::lost(Loss::ExecArgs);
    }
    // SAFETY: a map value.
    unsafe {
        (*head).args_length = strings.args_length as u32;
        (*head).args_copied = args;
        (*head).env_length = strings.env_length as u32;
        (*head).env_copied = env;
    }
}

/// Copies up to `N` of `length` bytes of user memory; how many were copied.
#[inline(always)]
unsafe fn copy<const N: usize>(to: *mut u8, from: u64, length: u64) -> u32 {
    let length = if length > N as u64 { N as u32 } else { length as u32 };
    // SAFETY: `to` has room for N bytes, says the caller; the helper checks the source.
    let result = unsafe { bpf_probe_read_user(to.cast(), length, from as *const _) };
    if result == 0 { length } else { 0 }
}

/// Who runs the program.
#[inline(always)]
unsafe fn who(head: *mut ExecHead, task: Object) {
    // SAFETY: fields of a map value; the task is an argument of a BTF tracepoint.
    unsafe {
        let cred = task.follow(offset!(task_cred));
        let groups = task.follow(offset!(task_cgroups));
        let node = groups.follow(offset!(css_set_dfl_cgrp)).follow(offset!(cgroup_kn));
        (*head).process = process(task);
        (*head).parent = process(task.follow(offset!(task_real_parent)));
        (*head).cgroup_id = node.load(offset!(kernfs_node_id));
        (*head).cgroup_set = groups.0;
        (*head).uid = cred.load(offset!(cred_uid));
        (*head).euid = cred.load(offset!(cred_euid));
        (*head).suid = cred.load(offset!(cred_suid));
        (*head).cap_effective = cred.load(offset!(cred_cap_effective));
        (*head).user_namespace = cred.follow(offset!(cred_user_ns)).load(offset!(user_ns_level));
        (*head).gid = cred.load(offset!(cred_gid));
        (*head).egid = cred.load(offset!(cred_egid));
        // A kernel without audit does not know who logged in.
        (*head).loginuid = if offset!(task_loginuid) == MISSING { u32::MAX } else { task.load(offset!(task_loginuid)) };
        (*head).comm = task::comm(task);
        (*head).session = task::session(task);
        (*head).process_group = task::process_group(task);
        (*head).tty = task.follow(offset!(task_signal)).follow(offset!(signal_tty)).field(offset!(tty_name));
        let [input, output, error] = file::standard(task);
        (*head).stdio[0] = file::describe(input);
        (*head).stdio[1] = file::describe(output);
        (*head).stdio[2] = file::describe(error);
    }
}

/// `task::process` for what the verifier knows to be a task.
#[inline(always)]
unsafe fn process(task: Object) -> ProcessKey {
    // SAFETY: the caller vouches for it.
    unsafe {
        let leader = task.follow(offset!(task_group_leader));
        ProcessKey {
            start_ns: leader.load(offset!(task_start_boottime)),
            tgid: task.load(offset!(task_tgid)),
            reserved: 0,
        }
    }
}

/// Which program.
#[inline(always)]
unsafe fn what(head: *mut ExecHead, bprm: Object) {
    // SAFETY: fields of a map value; an argument of a BTF tracepoint.
    unsafe {
        let file = bprm.follow(offset!(bprm_file));
        let inode = file.follow(offset!(file_inode));
        let superblock = inode.follow(offset!(inode_sb));
        (*head).inode = inode.load(offset!(inode_ino));
        (*head).mode = u32::from(inode.load::<u16>(offset!(inode_mode)));
        (*head).links = inode.load(offset!(inode_nlink));
        (*head).owner = inode.load(offset!(inode_uid));
        (*head).modified_ns = file::modified_ns(inode);
        (*head).changed_ns = file::changed_ns(inode);
        let magic: u64 = superblock.load(offset!(sb_magic));
        (*head).magic = magic;
        (*head).upper_layer = u32::from(magic == file::OVERLAY && file::is_upper_layer(inode));
        (*head).device = superblock.load(offset!(sb_dev));
        let (inode_number, device) = ((*head).inode, (*head).device);
        (*head).writer = activity::written(FileKey { inode: inode_number, device, reserved: 0 });
        let mount = file.pointer(offset!(file_path_mnt));
        let root = mount.pointer(offset!(vfsmount_root));
        (*head).mounted = u32::from(file.pointer(offset!(file_path_dentry)).0 == root.0);
        (*head).per_clear = bprm.load(offset!(bprm_per_clear));
        let (name, interpreter): (u64, u64) = (bprm.load(offset!(bprm_filename)), bprm.load(offset!(bprm_interp)));
        (*head).script = u32::from(name != interpreter);
    }
}

/// The paths and the name that was passed to execve, one after the other.
#[inline(always)]
unsafe fn names(head: *mut ExecHead, tail: *mut u8, task: Object, bprm: Object) {
    // SAFETY: fields of a map value; arguments of a BTF tracepoint. Masks as in `short`: each path is shorter than
    // PATH_ROOM, which is below 2048.
    unsafe {
        let exe = Room { names: tail, length: &raw mut (*head).exe_length, cut: &raw mut (*head).exe_cut };
        let file = bprm.follow(offset!(bprm_file));
        path::walk(&exe, file.pointer(offset!(file_path_mnt)), file.pointer(offset!(file_path_dentry)));

        let at = ptr::read_volatile(exe.length) as usize & (NAMES / 2 - 1);
        let (length, cut) = (&raw mut (*head).cwd_length, &raw mut (*head).cwd_cut);
        let fs = task.follow(offset!(task_fs));
        let cwd = Room { names: tail.add(at), length, cut };
        path::walk(&cwd, fs.pointer(offset!(fs_pwd_mnt)), fs.pointer(offset!(fs_pwd_dentry)));

        let at = at + (ptr::read_volatile(length) as usize & (NAMES / 2 - 1));
        let from: u64 = bprm.load(offset!(bprm_filename));
        let copied = bpf_probe_read_kernel_str(tail.add(at).cast(), PATH as u32, from as *const _);
        // Without the byte that ends it.
        (*head).filename_length = if copied > 0 { copied as u32 - 1 } else { 0 };
    }
}

/// Bytes of everything that `names` wrote. Read back: any number to the verifier, which the caller masks.
#[inline(always)]
unsafe fn names_length(head: *mut ExecHead) -> usize {
    // SAFETY: fields of a map value.
    unsafe {
        let read = |field: *const u32| ptr::read_volatile(field) as usize;
        read(&raw const (*head).exe_length)
            + read(&raw const (*head).cwd_length)
            + read(&raw const (*head).filename_length)
    }
}

const _: () = assert!(PATH_ROOM < NAMES / 2 && NAMES.is_power_of_two() && (NAMES + SHORT_ARGS).is_power_of_two());
const _: () = assert!(SHORT_ARGS.is_power_of_two() && SHORT_ENVIRONMENT.is_power_of_two());
// The furthest byte that the masks let an environment reach.
const _: () = assert!(NAMES + SHORT_ARGS + SHORT_ENVIRONMENT <= TAIL && size_of::<Scratch>() == SCRATCH);
