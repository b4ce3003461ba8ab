//! What the running kernel must be able to do, by its version. The daemon never asks for the version; the tests do, so
//! that a hook which it overlooks on a kernel that has it is a failure and not a kernel without it.

use std::sync::OnceLock;

/// A version, as far as it matters: 6.12.
type Version = (u32, u32);

/// Hooks that not every kernel from 5.10 on has, and the first that does.
const HOOKS: &[(&str, Version)] = &[
    ("sock_send_length", (6, 3)),
    ("sock_recv_length", (6, 3)),
    ("block_io_start", (6, 5)),
    ("io_uring_submit_req", (6, 3)),
    // No hook, but what the programs need that read the memory of callers.
    ("bpf_task_pt_regs", (5, 15)),
    // No hook, but what programs on functions of libraries are attached by.
    ("uprobe_multi", (6, 6)),
];

/// What each signal has less of without a hook.
const DEGRADED: &[(&str, &str)] =
    &[("tcp", "sock_send_length"), ("block_io", "block_io_start"), ("l7", "uprobe_multi")];

/// Which way of doing a thing this kernel needs, by the names in `doctor --json`, and the kernels that need it: from the
/// first version on, before the second.
const LAYOUT: &[(&str, Version, Version)] = &[
    ("current_task_btf", (5, 11), NEVER),
    ("exit_tells_group", (6, 16), NEVER),
    // Debian's 5.10 has the later layout from an update of that series.
    ("block_request_is_second", NEVER, NEVER),
    ("block_errors_are_errno", (0, 0), (5, 16)),
    ("traffic_by_call", (6, 3), NEVER),
    ("block_io_start", (6, 5), NEVER),
];

const NEVER: Version = (u32::MAX, 0);

/// From then on kernel programs can be preempted, and the kernel leaves out those that interrupt themselves.
const PREEMPTIBLE: Version = (7, 0);

/// The running kernel's version.
///
/// # Panics
/// When it is none.
pub fn version() -> Version {
    static VERSION: OnceLock<Version> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy().into_owned();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
            _ => panic!("{release} is no version"),
        }
    })
}

/// Must this kernel have the hook?
pub fn has_hook(hook: &str) -> bool {
    HOOKS.iter().all(|(name, since)| *name != hook || version() >= *since)
}

/// What `doctor` must say of a signal: `full`, `degraded`, or `off` where nobody has asked for it.
pub fn state(signal: &str) -> &'static str {
    // Without this hook there is nothing of it.
    if signal == "protect" || signal == "l7" && !has_hook("bpf_task_pt_regs") {
        return "off";
    }
    let lacks = DEGRADED.iter().any(|(name, hook)| *name == signal && !has_hook(hook));
    if lacks { "degraded" } else { "full" }
}

/// Is every signal whole?
pub fn is_whole() -> bool {
    HOOKS.iter().all(|(hook, _)| has_hook(hook))
}

/// How this kernel must be dealt with, by name.
pub fn layout() -> impl Iterator<Item = (&'static str, bool)> {
    LAYOUT.iter().map(|(name, from, before)| (*name, version() >= *from && version() < *before))
}

/// May this kernel leave out programs of ours, and say so?
pub fn may_miss() -> bool {
    version() >= PREEMPTIBLE
}
