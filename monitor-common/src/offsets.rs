//! Where the kernel keeps what the programs read.
//!
//! Kernel structs move between versions and configurations, so no offset is written in code: the daemon looks each up in
//! the running kernel's BTF before it loads the programs. This table is the one place that names kernel fields. A field
//! with several names was renamed; the first that exists is taken.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The offset of a field that this kernel does not have.
pub const MISSING: u64 = u64::MAX;

/// The path that stands for a struct's own size. No field can be called so.
pub const SIZE: &str = "sizeof";

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name of the entry in [`Offsets`].
    pub name: &'static str,
    /// The kernel's struct; of several, parted by `|`, the first that has the field.
    pub container: &'static str,
    /// The field, a path with dots; the first of these that exists. [`SIZE`]: where the struct ends.
    pub paths: &'static [&'static str],
}

macro_rules! offsets {
    ($($name:ident = $container:literal [$($path:literal),+];)*) => {
        /// Byte offsets, [`MISSING`] where this kernel has no such field.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[expect(missing_docs, reason = "each is the field that FIELDS names")]
        pub struct Offsets {
            $(pub $name: u64,)*
        }

        /// The table.
        pub const FIELDS: &[Field] = &[
            $(Field { name: stringify!($name), container: $container, paths: &[$($path),+] },)*
        ];

        impl Offsets {
            /// What is known before the kernel's BTF has been read: nothing.
            pub const MISSING: Self = Self { $($name: MISSING,)* };

            /// Looks every field up.
            pub fn resolve(mut find: impl FnMut(&Field) -> Option<u64>) -> Self {
                let mut fields = FIELDS.iter();
                Self {
                    $($name: fields.next().and_then(&mut find).unwrap_or(MISSING),)*
                }
            }

            /// The offset of the entry called `name`; `None` when there is no such entry or no such field.
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => (self.$name != MISSING).then_some(self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

offsets! {
    // Tasks.
    task_pid = "task_struct" ["pid"];
    task_tgid = "task_struct" ["tgid"];
    task_flags = "task_struct" ["flags"];
    task_comm = "task_struct" ["comm"];
    task_group_leader = "task_struct" ["group_leader"];
    task_real_parent = "task_struct" ["real_parent"];
    task_start_boottime = "task_struct" ["start_boottime", "real_start_time"];
    task_cred = "task_struct" ["cred"];
    task_real_cred = "task_struct" ["real_cred"];
    task_mm = "task_struct" ["mm"];
    task_fs = "task_struct" ["fs"];
    task_files = "task_struct" ["files"];
    task_signal = "task_struct" ["signal"];
    task_cgroups = "task_struct" ["cgroups"];
    task_loginuid = "task_struct" ["loginuid"];
    task_exit_code = "task_struct" ["exit_code"];
    // x86 says a 32-bit call in `thread_info.status`, arm64 a 32-bit task in `thread_info.flags`.
    task_compat = "task_struct" ["thread_info.status", "thread_info.flags"];

    // What threads share, and what they left when they were reaped.
    signal_live = "signal_struct" ["live.counter"];
    signal_flags = "signal_struct" ["flags"];
    signal_group_exit_code = "signal_struct" ["group_exit_code"];
    signal_runtime = "signal_struct" ["sum_sched_runtime"];
    signal_utime = "signal_struct" ["utime"];
    signal_stime = "signal_struct" ["stime"];
    signal_min_flt = "signal_struct" ["min_flt"];
    signal_maj_flt = "signal_struct" ["maj_flt"];
    signal_nvcsw = "signal_struct" ["nvcsw"];
    signal_nivcsw = "signal_struct" ["nivcsw"];
    signal_maxrss = "signal_struct" ["maxrss"];
    signal_ioac_rchar = "signal_struct" ["ioac.rchar"];
    signal_ioac_wchar = "signal_struct" ["ioac.wchar"];
    signal_ioac_read = "signal_struct" ["ioac.read_bytes"];
    signal_ioac_write = "signal_struct" ["ioac.write_bytes"];
    signal_tty = "signal_struct" ["tty"];
    // Process group and session, by the numbers of `enum pid_type`.
    signal_pids = "signal_struct" ["pids"];
    // The first number is the one in the first pid namespace.
    pid_numbers = "pid" ["numbers"];
    upid_nr = "upid" ["nr"];
    upid_ns = "upid" ["ns"];
    upid_end = "upid" ["sizeof"];
    pid_level = "pid" ["level"];
    pid_tasks = "pid" ["tasks"];
    pid_namespace_idr = "pid_namespace" ["idr"];
    idr_base = "idr" ["idr_base"];
    idr_head = "idr" ["idr_rt.xa_head"];
    xa_node_shift = "xa_node" ["shift"];
    xa_node_slots = "xa_node" ["slots"];
    task_thread_pid = "task_struct" ["thread_pid"];
    task_pid_links = "task_struct" ["pid_links"];
    tty_name = "tty_struct" ["name"];

    // Credentials and control groups.
    cred_uid = "cred" ["uid"];
    cred_euid = "cred" ["euid"];
    cred_suid = "cred" ["suid"];
    cred_gid = "cred" ["gid"];
    cred_egid = "cred" ["egid"];
    cred_cap_effective = "cred" ["cap_effective"];
    cred_user_ns = "cred" ["user_ns"];
    user_ns_level = "user_namespace" ["level"];
    css_set_dfl_cgrp = "css_set" ["dfl_cgrp"];
    cgroup_kn = "cgroup" ["kn"];
    cgroup_root = "cgroup" ["root"];
    cgroup_root_hierarchy = "cgroup_root" ["hierarchy_id"];
    // All control groups of a task, a list.
    css_set_links = "css_set" ["cgrp_links.next"];
    css_link_cgroup = "cgrp_cset_link" ["cgrp"];
    css_link_next = "cgrp_cset_link" ["cgrp_link.next"];
    kernfs_node_id = "kernfs_node" ["id"];

    // Exec.
    bprm_file = "linux_binprm" ["file"];
    bprm_filename = "linux_binprm" ["filename"];
    bprm_interp = "linux_binprm" ["interp"];
    bprm_per_clear = "linux_binprm" ["per_clear"];
    mm_arg_start = "mm_struct" ["arg_start"];
    mm_arg_end = "mm_struct" ["arg_end"];
    mm_env_start = "mm_struct" ["env_start"];
    mm_env_end = "mm_struct" ["env_end"];

    // Files and paths.
    file_inode = "file" ["f_inode"];
    file_path_mnt = "file" ["f_path.mnt"];
    file_path_dentry = "file" ["f_path.dentry"];
    file_private = "file" ["private_data"];
    file_mode = "file" ["f_mode"];
    file_flags = "file" ["f_flags"];
    inode_mode = "inode" ["i_mode"];
    inode_uid = "inode" ["i_uid"];
    inode_ino = "inode" ["i_ino"];
    inode_nlink = "inode" ["i_nlink"];
    inode_rdev = "inode" ["i_rdev"];
    inode_sb = "inode" ["i_sb"];
    inode_private = "inode" ["i_private"];
    inode_mtime_sec = "inode" ["i_mtime_sec", "__i_mtime.tv_sec", "i_mtime.tv_sec"];
    inode_mtime_nsec = "inode" ["i_mtime_nsec", "__i_mtime.tv_nsec", "i_mtime.tv_nsec"];
    inode_ctime_sec = "inode" ["i_ctime_sec", "__i_ctime.tv_sec", "i_ctime.tv_sec"];
    inode_ctime_nsec = "inode" ["i_ctime_nsec", "__i_ctime.tv_nsec", "i_ctime.tv_nsec"];
    // What overlayfs, whose types are a module's and in another file, puts behind its inode: `__upperdentry`.
    inode_end = "inode" ["sizeof"];
    sb_dev = "super_block" ["s_dev"];
    sb_magic = "super_block" ["s_magic"];
    dentry_parent = "dentry" ["d_parent"];
    dentry_name = "dentry" ["d_name.name"];
    dentry_name_length = "dentry" ["d_name.len"];
    dentry_inode = "dentry" ["d_inode"];
    vfsmount_root = "vfsmount" ["mnt_root"];
    vfsmount_sb = "vfsmount" ["mnt_sb"];
    mount_mnt = "mount" ["mnt"];
    mount_parent = "mount" ["mnt_parent"];
    mount_mountpoint = "mount" ["mnt_mountpoint"];
    fs_pwd_mnt = "fs_struct" ["pwd.mnt"];
    fs_pwd_dentry = "fs_struct" ["pwd.dentry"];
    fs_root_mnt = "fs_struct" ["root.mnt"];
    fs_root_dentry = "fs_struct" ["root.dentry"];
    files_fdt = "files_struct" ["fdt"];
    fdtable_fd = "fdtable" ["fd"];
    fdtable_max = "fdtable" ["max_fds"];

    // Sockets.
    socket_sk = "socket" ["sk"];
    unix_addr = "unix_sock" ["addr"];
    unix_peer = "unix_sock" ["peer"];
    unix_address_length = "unix_address" ["len"];
    unix_address_name = "unix_address" ["name"];
    sock_family = "sock" ["__sk_common.skc_family"];
    sock_state = "sock" ["__sk_common.skc_state"];
    sock_flags = "sock" ["__sk_common.skc_flags"];
    sock_num = "sock" ["__sk_common.skc_num"];
    sock_dport = "sock" ["__sk_common.skc_dport"];
    sock_daddr = "sock" ["__sk_common.skc_daddr"];
    sock_v6_daddr = "sock" ["__sk_common.skc_v6_daddr"];
    sock_rcv_saddr = "sock" ["__sk_common.skc_rcv_saddr"];
    sock_v6_rcv_saddr = "sock" ["__sk_common.skc_v6_rcv_saddr"];
    sock_type = "sock" ["sk_type"];
    sock_peer_pid = "sock" ["sk_peer_pid"];
    sock_err = "sock" ["sk_err"];
    sock_protocol = "sock" ["sk_protocol"];
    tcp_bytes_sent = "tcp_sock" ["bytes_sent"];
    tcp_bytes_retrans = "tcp_sock" ["bytes_retrans"];
    tcp_bytes_received = "tcp_sock" ["bytes_received"];
    mptcp_first = "mptcp_sock" ["first"];
    skb_cb = "sk_buff" ["cb"];
    tcp_skb_gso_segs = "tcp_skb_cb" ["tcp_gso_segs"];

    // Block requests.
    request_q = "request" ["q"];
    request_rq_disk = "request" ["rq_disk"];
    request_cmd_flags = "request" ["cmd_flags"];
    request_data_len = "request" ["__data_len"];
    queue_disk = "request_queue" ["disk"];
    disk_major = "gendisk" ["major"];
    disk_first_minor = "gendisk" ["first_minor"];

    // Objects of bpf(2), by the numbers that they have for everybody.
    bpf_map_id = "bpf_map" ["id"];
    bpf_prog_aux = "bpf_prog" ["aux"];
    bpf_prog_aux_id = "bpf_prog_aux" ["id"];

    // Requests of io_uring. What a request's kind needs is put where its `cmd` is, or was a union of all kinds before.
    // Where a file name is kept it is a `struct filename *`, or since Linux 7.1 a struct that has nothing else.
    io_cmd = "io_kiocb" ["cmd", "file"];
    io_opcode = "io_kiocb" ["opcode"];
    io_flags = "io_kiocb" ["flags"];
    io_fd = "io_kiocb" ["cqe.fd"];
    io_async_data = "io_kiocb" ["async_data"];
    io_open_dfd = "io_open" ["dfd"];
    io_open_filename = "io_open" ["filename"];
    io_open_how = "io_open" ["how"];
    io_unlink_dfd = "io_unlink" ["dfd"];
    io_unlink_flags = "io_unlink" ["flags"];
    io_unlink_filename = "io_unlink" ["filename"];
    io_rename_old_dfd = "io_rename" ["old_dfd"];
    io_rename_new_dfd = "io_rename" ["new_dfd"];
    io_rename_oldpath = "io_rename" ["oldpath"];
    io_rename_newpath = "io_rename" ["newpath"];
    io_rename_flags = "io_rename" ["flags"];
    io_mkdir_dfd = "io_mkdir" ["dfd"];
    io_mkdir_mode = "io_mkdir" ["mode"];
    io_mkdir_filename = "io_mkdir" ["filename"];
    io_link_old_dfd = "io_link|io_hardlink" ["old_dfd"];
    io_link_new_dfd = "io_link|io_hardlink" ["new_dfd"];
    io_link_oldpath = "io_link|io_hardlink" ["oldpath"];
    io_link_newpath = "io_link|io_hardlink" ["newpath"];
    io_link_flags = "io_link|io_hardlink" ["flags"];
    io_symlink_new_dfd = "io_link|io_symlink" ["new_dfd"];
    io_symlink_oldpath = "io_link|io_symlink" ["oldpath"];
    io_symlink_newpath = "io_link|io_symlink" ["newpath"];
    io_xattr_filename = "io_xattr" ["filename"];
    io_xattr_kname = "io_xattr" ["ctx.kname"];
    io_ftrunc_len = "io_ftrunc" ["len"];
    io_connect_addr = "io_connect" ["addr"];
    io_connect_length = "io_connect" ["addr_len"];
    io_socket_domain = "io_socket" ["domain"];
    io_socket_type = "io_socket" ["type"];
    io_socket_protocol = "io_socket" ["protocol"];
    io_bind_length = "io_bind" ["addr_len"];
    io_listen_backlog = "io_listen" ["backlog"];
    io_send_message = "io_sr_msg" ["umsg"];
    io_message_addr = "io_async_msghdr" ["addr"];
    filename_name = "filename" ["name"];

    // Registers at a system call.
    regs_orig_ax = "pt_regs" ["orig_ax", "syscallno"];
    // x86: arguments of a native call, then what only a 32-bit one uses.
    regs_di = "pt_regs" ["di"];
    regs_si = "pt_regs" ["si"];
    regs_dx = "pt_regs" ["dx"];
    regs_r10 = "pt_regs" ["r10"];
    regs_r8 = "pt_regs" ["r8"];
    regs_r9 = "pt_regs" ["r9"];
    regs_bx = "pt_regs" ["bx"];
    regs_cx = "pt_regs" ["cx"];
    regs_bp = "pt_regs" ["bp"];
    // arm64: all registers; the first holds the result by now, so what it held before is kept apart.
    regs_array = "pt_regs" ["regs"];
    regs_orig_x0 = "pt_regs" ["orig_x0"];
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn resolving_asks_for_every_field_in_order() {
        let mut asked = 0;
        let offsets = Offsets::resolve(|_| {
            asked += 1;
            Some(asked)
        });
        assert_eq!(asked as usize, FIELDS.len());
        assert_eq!(size_of::<Offsets>(), FIELDS.len() * 8);
        for (index, field) in FIELDS.iter().enumerate() {
            assert_eq!(offsets.get(field.name), Some(index as u64 + 1), "{}", field.name);
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_none() {
        assert_eq!(Offsets::resolve(|_| None), Offsets::MISSING);
        assert_eq!(Offsets::MISSING.get("task_pid"), None);
        assert_eq!(Offsets::MISSING.get("no such entry"), None);
    }
}
