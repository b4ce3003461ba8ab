//! A program that calls itself a kernel thread.

use super::{Check, Input, Match, Rule};
use crate::detect::paths::basename;
use crate::events::{Severity, text::lossy};

/// Whole names of kernel threads. Not those that are words, such as `md` or `netns`.
const NAMES: &[&[u8]] = &[
    b"kthreadd",
    b"kdevtmpfs",
    b"kauditd",
    b"khungtaskd",
    b"khugepaged",
    b"ksmd",
    b"kintegrityd",
    b"kblockd",
    b"kthrotld",
    b"ksoftirqd",
    b"kswapd",
    b"kcompactd",
    b"kworker",
    b"kstrp",
    b"kaluad",
    b"kmpath_rdacd",
    b"kverityd",
    b"oom_reaper",
    b"oom_reaper_thread",
    b"rcu_sched",
    b"rcu_bh",
    b"rcu_preempt",
    b"rcu_gp",
    b"rcu_par_gp",
    b"rcu_tasks_kthread",
    b"rcu_tasks_kthre",
    b"rcu_tasks_rude_",
    b"rcu_tasks_trace",
    b"mm_percpu_wq",
    b"slub_flushwq",
    b"inet_frag_wq",
    b"blkcg_punt_bio",
    b"acpi_thermal_pm",
    b"zswap-shrink",
    b"ext4-rsv-conver",
    b"ipv6_addrconf",
    b"pool_workqueue_",
    b"ecryptfs-kthrea",
];

/// Names of kernel threads that go on with a number or a device.
const PREFIXES: &[&[u8]] = &[
    b"kworker/",
    b"ksoftirqd/",
    b"migration/",
    b"cpuhp/",
    b"idle_inject/",
    b"watchdog/",
    b"rcuog/",
    b"rcuop/",
    b"rcuos/",
    b"rcuob/",
    b"rcub/",
    b"rcuc/",
    b"irq/",
    b"jbd2/",
    b"xfsaild/",
    b"xfs-buf/",
    b"xfs-conv/",
    b"xfs-cil/",
    b"dmcrypt_write/",
    b"scsi_eh_",
    b"scsi_tmf_",
    b"kvm-nx-lpage-re",
];

/// Names that go on with the number of a memory node.
const NUMBERED: &[&[u8]] = &[b"kswapd", b"kcompactd"];

pub(super) static RULE: Rule = Rule {
    id: "kthread_masquerade",
    title: "A program took the name of a kernel thread",
    description: "argv[0], the program's file name or the kernel's short name is in brackets, as ps shows kernel \
                  threads, or is the name of one (kworker/0:1, ksoftirqd/0, migration/0, kthreadd, rcu_sched, …). \
                  Kernel threads never execute a program. `in` says which of argv0, exe and comm it is.",
    severity: Severity::High,
    attack: &["T1036.004", "T1036.005"],
    false_positives: "None known.",
    check: Check::Exec(check),
};

fn check(input: &Input<'_>) -> Option<Match> {
    let exec = input.exec;
    let argv0 = exec.args.first().map(Vec::as_slice).unwrap_or_default();
    let names = [
        ("argv0", argv0),
        // `/tmp/[kworker]`; but kworker/0:1 has a slash of its own, so that the whole is looked at too.
        ("argv0", basename(argv0)),
        ("comm", exec.comm.as_slice()),
        ("exe", basename(&exec.exe)),
    ];
    let (place, name) = names.into_iter().find(|(_, name)| imitates(name))?;
    Some(Match::new(&exec.exe).with("name", lossy(name)).with("in", place))
}

fn imitates(name: &[u8]) -> bool {
    // Blanks around the name do not show in ps.
    let name = name.trim_ascii();
    let bracketed = name.len() > 2 && name.starts_with(b"[") && name.ends_with(b"]");
    bracketed
        || NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || NUMBERED.iter().any(|prefix| {
            name.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
        })
}
