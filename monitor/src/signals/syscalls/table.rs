//! Which family each system call belongs to, by its name: numbers differ between machines and calling conventions.

use monitor_common::signals::syscalls::{
    CALL_ACCEPTS, CALL_ACTIVITY, CALL_FORKS, CALL_NO_ERRNO, CALLS, CALLS_PER_ABI, Family, call_index,
};

use crate::signals::activity;

/// The names of each family. What is not here is `other`.
const FAMILIES: &[(Family, &str)] = &[
    (
        Family::Read,
        "read readv pread64 preadv preadv2 recv recvfrom recvmsg recvmmsg recvmmsg_time64 getdents getdents64 \
         readdir readahead process_vm_readv io_getevents io_pgetevents io_pgetevents_time64",
    ),
    (
        Family::Write,
        "write writev pwrite64 pwritev pwritev2 send sendto sendmsg sendmmsg sendfile sendfile64 splice tee \
         vmsplice copy_file_range process_vm_writev io_submit io_uring_enter",
    ),
    (Family::Fsync, "fsync fdatasync sync syncfs sync_file_range sync_file_range2 msync"),
    (Family::Open, "open openat openat2 creat close close_range open_by_handle_at memfd_create open_tree"),
    (
        Family::Fs,
        "access faccessat faccessat2 chdir fchdir chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 \
         fchownat lchown lchown32 chroot pivot_root dup dup2 dup3 fcntl fcntl64 flock ioctl fallocate fadvise64 \
         fadvise64_64 ftruncate ftruncate64 truncate truncate64 stat stat64 fstat fstat64 fstatat64 lstat lstat64 \
         newfstatat fstatat oldstat oldfstat oldlstat statx statfs statfs64 fstatfs fstatfs64 ustat getcwd link linkat \
         unlink unlinkat symlink symlinkat readlink readlinkat rename renameat renameat2 mkdir mkdirat rmdir \
         mknod mknodat lseek _llseek mount umount umount2 mount_setattr move_mount fsopen fsconfig fsmount fspick \
         name_to_handle_at quotactl quotactl_fd getxattr setxattr listxattr removexattr lgetxattr lsetxattr \
         llistxattr lremovexattr fgetxattr fsetxattr flistxattr fremovexattr umask utime utimes utimensat \
         utimensat_time64 futimesat swapon swapoff inotify_init inotify_init1 inotify_add_watch inotify_rm_watch \
         fanotify_init fanotify_mark lookup_dcookie",
    ),
    (
        Family::Socket,
        "socket socketpair socketcall bind connect listen accept accept4 shutdown getsockopt setsockopt \
         getsockname getpeername",
    ),
    (
        Family::Poll,
        "poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_wait epoll_pwait epoll_pwait2 \
         epoll_wait_old",
    ),
    (
        Family::Lock,
        "futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue get_robust_list set_robust_list \
         membarrier",
    ),
    (Family::Sleep, "nanosleep clock_nanosleep clock_nanosleep_time64 pause sched_yield restart_syscall"),
    (
        Family::Time,
        "time stime gettimeofday settimeofday clock_gettime clock_gettime64 clock_settime clock_settime64 \
         clock_getres clock_getres_time64 clock_adjtime clock_adjtime64 adjtimex times ftime",
    ),
    (
        Family::Memory,
        "brk mmap mmap2 munmap mremap mprotect madvise process_madvise process_mrelease mlock mlock2 mlockall \
         munlock munlockall mincore mbind get_mempolicy set_mempolicy set_mempolicy_home_node migrate_pages \
         move_pages remap_file_pages pkey_alloc pkey_free pkey_mprotect memfd_secret userfaultfd map_shadow_stack \
         mseal",
    ),
    (
        Family::Process,
        "fork vfork clone clone3 execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill \
         pidfd_open pidfd_getfd pidfd_send_signal ptrace prctl arch_prctl setpgid setsid setpriority nice setuid \
         setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid \
         setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capset setns unshare setrlimit \
         prlimit64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler ioprio_set seccomp \
         landlock_create_ruleset landlock_add_rule landlock_restrict_self set_tid_address set_thread_area rseq \
         personality rt_sigaction rt_sigprocmask rt_sigpending rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
         rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal sigpending \
         sigprocmask sigreturn sigsuspend kcmp acct modify_ldt",
    ),
    (
        Family::Ipc,
        "pipe pipe2 ipc msgget msgsnd msgrcv msgctl semget semop semctl semtimedop semtimedop_time64 shmget shmat \
         shmdt shmctl mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 \
         mq_notify mq_getsetattr",
    ),
    (
        Family::Event,
        "epoll_create epoll_create1 epoll_ctl epoll_ctl_old eventfd eventfd2 signalfd signalfd4 timerfd_create \
         timerfd_settime timerfd_settime64 timerfd_gettime timerfd_gettime64 timer_create timer_delete \
         timer_settime timer_settime64 timer_gettime timer_gettime64 timer_getoverrun getitimer setitimer alarm \
         io_setup io_destroy io_cancel io_uring_setup io_uring_register perf_event_open",
    ),
    (
        Family::Query,
        "getpid getppid gettid getpgid getpgrp getsid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid \
         getegid32 getresuid getresuid32 getresgid getresgid32 getgroups getgroups32 getpriority getrlimit \
         ugetrlimit getrusage getcpu sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
         sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64 \
         ioprio_get capget sysinfo uname olduname oldolduname getrandom sysfs syslog get_thread_area",
    ),
];

/// Calls that a child returns from too.
const FORKS: &[&str] = &["fork", "vfork", "clone", "clone3"];
/// Calls whose result is a register of the interrupted program.
const NO_ERRNO: &[&str] = &["rt_sigreturn", "sigreturn"];
/// Calls that return a new connection. Of `socketcall` only the arguments tell; a connection accepted through it is
/// counted at its first traffic.
const ACCEPTS: &[&str] = &["accept", "accept4"];

/// Is `name` one of `names`, which are separated by spaces?
fn listed(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|other| other == name)
}

/// What the kernel programs are told of the call named `name`.
fn flags(name: &str) -> u8 {
    let family = FAMILIES.iter().find(|(_, names)| listed(names, name)).map_or(Family::Other, |(family, _)| *family);
    let flag = |names: &[&str], flag: u8| if names.contains(&name) { flag } else { 0 };
    let activity = if activity::table::is_activity(name) { CALL_ACTIVITY } else { 0 };
    family as u8 | flag(FORKS, CALL_FORKS) | flag(NO_ERRNO, CALL_NO_ERRNO) | flag(ACCEPTS, CALL_ACCEPTS) | activity
}

/// The table for this machine: its native calls, then those of 32-bit programs.
pub fn call_table() -> Vec<u8> {
    let mut table = vec![Family::Other as u8; CALLS];
    for (number, name) in calls() {
        if let Some(entry) = table.get_mut(number as usize) {
            *entry = flags(name);
        }
    }
    table
}

/// Every call of this machine: index into the call table, and name.
#[cfg(target_arch = "x86_64")]
pub(in crate::signals) fn calls() -> impl Iterator<Item = (u32, &'static str)> {
    let native = syscalls::x86_64::Sysno::iter().map(|call| (call_index(call.id() as u64, false), call.name()));
    // Numbers that only the x32 convention has: the same calls with other pointers.
    let names = "rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace rt_sigpending \
        rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid set_robust_list \
        get_robust_list vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg \
        process_vm_readv process_vm_writev setsockopt getsockopt io_setup io_submit execveat preadv2 \
        pwritev2";
    let x32 = (512..).zip(names.split_ascii_whitespace());
    let compat = syscalls::x86::Sysno::iter().map(|call| (call_index(call.id() as u64, true), call.name()));
    native.chain(x32).chain(compat)
}

/// The 32-bit calls of arm64 have the numbers of 32-bit arm, which the library does not list by name for this machine:
/// they count as `other`.
#[cfg(target_arch = "aarch64")]
pub(in crate::signals) fn calls() -> impl Iterator<Item = (u32, &'static str)> {
    syscalls::aarch64::Sysno::iter().map(|call| (call_index(call.id() as u64, false), call.name()))
}

const _: () = assert!(CALLS_PER_ABI > 547);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use monitor_common::signals::syscalls::CALL_FAMILY;

    use super::*;

    #[test]
    fn a_name_belongs_to_one_family_only() {
        let mut seen = BTreeSet::new();
        let names =
            FAMILIES.iter().flat_map(|(family, names)| names.split_ascii_whitespace().map(move |name| (family, name)));
        for (family, name) in names {
            assert!(seen.insert(name), "{name} is in two families, one is {family:?}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn numbers_of_both_conventions_are_where_the_kernel_has_them() {
        let table = call_table();
        let family = |number, compat| table[call_index(number, compat) as usize] & CALL_FAMILY;
        assert_eq!(family(0, false), Family::Read as u8);
        assert_eq!(family(1, false), Family::Write as u8);
        assert_eq!(family(59, false), Family::Process as u8, "execve");
        assert_eq!(family(202, false), Family::Lock as u8, "futex");
        assert_eq!(family(0x4000_0000 | 519, false), Family::Read as u8, "recvmsg of x32");
        assert_eq!(family(3, true), Family::Read as u8);
        assert_eq!(family(64, true), Family::Query as u8, "getppid");
        assert_eq!(family(102, true), Family::Socket as u8, "socketcall");
        assert_eq!(table[15], Family::Process as u8 | CALL_NO_ERRNO, "rt_sigreturn");
        assert_eq!(table[57], Family::Process as u8 | CALL_FORKS, "fork");
        assert_eq!(table[288], Family::Socket as u8 | CALL_ACCEPTS | CALL_ACTIVITY, "accept4");
    }

    #[test]
    fn calls_that_the_library_names_otherwise_on_arm64_are_in_their_family() {
        // The kernel's newfstatat.
        assert_eq!(syscalls::aarch64::Sysno::fstatat.id(), 79);
        assert_eq!(flags("fstatat"), flags("newfstatat"));
        let known: BTreeSet<&str> = syscalls::x86_64::Sysno::iter()
            .map(|call| call.name())
            .chain(syscalls::x86::Sysno::iter().map(|call| call.name()))
            .collect();
        let names = syscalls::aarch64::Sysno::iter().map(|call| call.name());
        assert_eq!(names.filter(|name| !known.contains(name)).collect::<Vec<_>>(), ["fstatat"]);
    }

    #[test]
    fn most_calls_of_this_machine_are_in_a_family() {
        let other = calls().filter(|(_, name)| flags(name) & CALL_FAMILY == Family::Other as u8).count();
        let all = calls().count();
        assert!(other * 5 < all, "{other} of {all} calls are in no family");
    }
}
