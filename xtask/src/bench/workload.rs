//! What is run, bare and observed.

/// Workloads that the same subjects are measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// Nothing but system calls.
    Calls,
    /// Births, execs and deaths.
    Life,
    /// A program at work on many files.
    Find,
    /// TCP on the loopback device.
    Net,
    /// Block requests.
    Disk,
    /// Programs at work on all CPUs.
    Build,
    /// Many processes, for `--processes`.
    Crowd,
}

/// One workload. What it does is in `tests/bench/`.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// What an operation is.
    pub(super) what: &'static str,
    pub(super) set: Set,
}

const fn workload(name: &'static str, set: Set, what: &'static str) -> Workload {
    Workload { name, what, set }
}

pub(super) static WORKLOADS: &[Workload] = &[
    workload("getppid", Set::Calls, "one system call that does nothing"),
    workload("read+write", Set::Calls, "one byte from /dev/zero to /dev/null, two system calls"),
    workload("open+close", Set::Calls, "two system calls"),
    workload("fork+exec", Set::Life, "start /bin/true and wait for it"),
    workload("find", Set::Find, "look at each file of /usr/share, once through"),
    workload("tcp", Set::Net, "connect on loopback, one byte there and back, close"),
    workload("ping-pong", Set::Net, "one byte there and back on one connection"),
    workload("bulk", Set::Net, "64 KiB over one connection"),
    workload("fio", Set::Disk, "fio, a random read of 4 KiB with O_DIRECT, in the target directory"),
    workload("build", Set::Build, "rustc on the four libraries of a small crate, on all CPUs"),
    workload("crowd-10", Set::Crowd, "one system call, by 10 processes that take turns of 100 on one CPU"),
    workload("crowd-1000", Set::Crowd, "the same by 1000 processes"),
    workload("crowd-10000", Set::Crowd, "the same by 10000 processes"),
];

/// The workload called `name`.
pub(super) fn find(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}

/// Those of some sets.
pub(super) fn of(sets: &[Set]) -> Vec<&'static Workload> {
    WORKLOADS.iter().filter(|workload| sets.contains(&workload.set)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (index, workload) in WORKLOADS.iter().enumerate() {
            assert!(WORKLOADS[index + 1..].iter().all(|other| other.name != workload.name), "{} twice", workload.name);
            assert!(std::ptr::eq(find(workload.name).unwrap(), workload));
        }
        assert!(find("getpid").is_none());
        assert_eq!(of(&[Set::Crowd]).len(), 3);
        assert!(of(&[]).is_empty());
    }
}
