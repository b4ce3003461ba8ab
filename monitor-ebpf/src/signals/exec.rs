//! `exec`: a process runs another program. Everything that rules judge is taken here from kernel objects, at the moment
//! when the kernel itself has just used them: what user space says later may be a lie.

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use monitor_common::{
    limits::PATH,
    loss::Loss,
    record::{Kind, Ring},
    signals::exec::{ExecHead, ExecRecord, LARGE, MEDIUM, SMALL},
};

use super::syscalls;
use crate::{
    emit,
    kernel::{file, path, read::Object, task},
    settings::{knob, offset},
};

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
    let tid = task::tid(task);
    if old_pid != tid {
        syscalls::renumbered(old_pid, tid);
    }
    if u64::from(task::tgid(task)) == knob!(self_tgid) {
        return 0;
    }
    debug!(&ctx, "exec by process {}", task::tgid(task));
    let mm = task.pointer(offset!(task_mm));
    let (args, env): (u64, u64) = (mm.field(offset!(mm_arg_start)), mm.field(offset!(mm_env_start)));
    let strings = Strings {
        args,
        args_length: mm.field::<u64>(offset!(mm_arg_end)).saturating_sub(args),
        env,
        env_length: mm.field::<u64>(offset!(mm_env_end)).saturating_sub(env),
    };
    let fits = |(args, env): (usize, usize)| strings.args_length <= args as u64 && strings.env_length <= env as u64;
    if fits(SMALL) {
        record::<{ SMALL.0 }, { SMALL.1 }>(Kind::ExecSmall, task, bprm, &strings);
    } else if fits(MEDIUM) {
        record::<{ MEDIUM.0 }, { MEDIUM.1 }>(Kind::ExecMedium, task, bprm, &strings);
    } else {
        record::<{ LARGE.0 }, { LARGE.1 }>(Kind::ExecLarge, task, bprm, &strings);
    }
    0
}

#[inline(always)]
fn record<const A: usize, const E: usize>(kind: Kind, task: Object, bprm: Object, strings: &Strings) {
    let Some(mut entry) = emit::reserve::<ExecRecord<A, E>>(Ring::Security, Loss::ExecRing) else { return };
    let record = entry.as_mut_ptr();
    // SAFETY: the room reserved is one whole record. Each field of the head is written; of the rest the daemon reads
    // only as much as the head says was copied.
    unsafe {
        let head = &raw mut (*record).head;
        (*head).header = emit::header(Ring::Security, kind);
        who(head, task);
        what(head, bprm);
        let args = copy::<A>((&raw mut (*record).args).cast(), strings.args, strings.args_length);
        let env = copy::<E>((&raw mut (*record).env).cast(), strings.env, strings.env_length);
        if (args == 0 && strings.args_length != 0) || (env == 0 && strings.env_length != 0) {
            emit::lost(Loss::ExecArgs);
        }
        (*head).args_length = strings.args_length as u32;
        (*head).args_copied = args;
        (*head).env_length = strings.env_length as u32;
        (*head).env_copied = env;
    }
    entry.submit(emit::wakeup(Ring::Security, size_of::<ExecRecord<A, E>>()));
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
    let cred = task.pointer(offset!(task_cred));
    let fs = task.pointer(offset!(task_fs));
    let (cgroup_id, cgroup_set) = task::cgroup(task);
    // SAFETY: fields of a record in reserved ring memory.
    unsafe {
        (*head).process = task::process(task);
        (*head).parent = task::parent(task);
        (*head).cgroup_id = cgroup_id;
        (*head).cgroup_set = cgroup_set;
        (*head).uid = cred.field(offset!(cred_uid));
        (*head).euid = cred.field(offset!(cred_euid));
        (*head).gid = cred.field(offset!(cred_gid));
        (*head).egid = cred.field(offset!(cred_egid));
        (*head).loginuid = login(task);
        (*head).comm = task::comm(task);
        (*head).tty = task::tty(task);
        (*head).stdio[0] = file::describe(file::of_task(task, 0));
        (*head).stdio[1] = file::describe(file::of_task(task, 1));
        (*head).stdio[2] = file::describe(file::of_task(task, 2));
        path::walk(&raw mut (*head).cwd, fs.pointer(offset!(fs_pwd_mnt)), fs.pointer(offset!(fs_pwd_dentry)));
    }
}

/// The user who logged in; a kernel without audit does not know.
#[inline(always)]
fn login(task: Object) -> u32 {
    if offset!(task_loginuid) == monitor_common::offsets::MISSING {
        u32::MAX
    } else {
        task.field(offset!(task_loginuid))
    }
}

/// Which program.
#[inline(always)]
unsafe fn what(head: *mut ExecHead, bprm: Object) {
    let file = bprm.pointer(offset!(bprm_file));
    let inode = file.pointer(offset!(file_inode));
    let superblock = inode.pointer(offset!(inode_sb));
    let (filename, interpreter) = (bprm.pointer(offset!(bprm_filename)), bprm.pointer(offset!(bprm_interp)));
    // SAFETY: fields of a record in reserved ring memory; the name's room is PATH bytes.
    unsafe {
        (*head).inode = inode.field(offset!(inode_ino));
        (*head).mode = u32::from(inode.field::<u16>(offset!(inode_mode)));
        (*head).links = inode.field(offset!(inode_nlink));
        (*head).owner = inode.field(offset!(inode_uid));
        (*head).magic = superblock.field(offset!(sb_magic));
        (*head).device = superblock.field(offset!(sb_dev));
        (*head).per_clear = bprm.field(offset!(bprm_per_clear));
        (*head).script = u32::from(filename != interpreter);
        let name = (&raw mut (*head).filename).cast();
        let length = bpf_probe_read_kernel_str(name, PATH as u32, filename.0 as *const _);
        (*head).filename_length = if length > 0 { length as u32 - 1 } else { 0 };
        path::walk(&raw mut (*head).exe, file.pointer(offset!(file_path_mnt)), file.pointer(offset!(file_path_dentry)));
    }
}
