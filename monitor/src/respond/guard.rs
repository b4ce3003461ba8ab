//! To whom nothing is done, whatever a rule says: a mistake in a rule must not cost the host.

use super::{Options, Target, act};

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Process 1.
    #[error("it is process 1")]
    Init,
    /// The daemon, or one of its ancestors.
    #[error("it is the observer or one of its ancestors")]
    Observer,
    /// A part of the kernel.
    #[error("it is a kernel thread")]
    KernelThread,
    /// In the daemon's own control group, or that holds it.
    #[error("it is in the observer's control group, or its control group holds the observer's")]
    OwnCgroup,
    /// The root control group: everything.
    #[error("its control group is the root of the hierarchy")]
    RootCgroup,
    /// On the allow list.
    #[error("its program is on the list respond.allow")]
    Allowed,
    /// It has ended, or its process id is another's by now.
    #[error("it has ended")]
    Gone,
    /// Nothing tells when it started, so it cannot be told from another with its process id.
    #[error("it is not known when it started")]
    Unknown,
    /// Too much was done lately.
    #[error("more than respond.rate in a minute")]
    Rate,
    /// Too much waits to be done.
    #[error("too many wait")]
    Queue,
}

/// The daemon's own place on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The daemon and its ancestors.
    pub own: Vec<u32>,
    /// Its control groups, by hierarchy: `0` is the unified one.
    pub cgroups: Vec<(String, String)>,
}

impl Guard {
    /// Of this process.
    pub fn here() -> Self {
        let mut own = vec![std::process::id()];
        // A chain longer than this is none that somebody started a service by.
        while own.len() < 64
            && let Some(stat) = own.last().and_then(|pid| act::Stat::read(*pid))
            && stat.parent > 1
        {
            own.push(stat.parent);
        }
        Self { own, cgroups: act::cgroups(std::process::id()).unwrap_or_default() }
    }

    /// Whether the target is one of those that are known without looking at it.
    pub(super) fn of_name(&self, target: &Target, options: &Options) -> Option<Refusal> {
        match target.pid {
            1 => Some(Refusal::Init),
            0 => Some(Refusal::Unknown),
            pid if self.own.contains(&pid) => Some(Refusal::Observer),
            _ if target.start_ticks == 0 => Some(Refusal::Unknown),
            _ if options.allow.iter().any(|glob| glob.matches(target.exe.as_bytes())) => Some(Refusal::Allowed),
            _ => None,
        }
    }

    /// Whether a process in these control groups is in ours. The root holds everybody, and says nothing.
    pub(super) fn shares(&self, cgroups: &[(String, String)]) -> bool {
        cgroups.iter().any(|cgroup| Self::counts(&cgroup.0) && cgroup.1 != "/" && self.cgroups.contains(cgroup))
    }

    /// Those hierarchies by which services are kept apart, and frozen; others hold whole containers.
    pub(super) fn counts(hierarchy: &str) -> bool {
        matches!(hierarchy, "0" | "name=systemd" | "freezer")
    }

    /// Whether to freeze this control group would freeze us.
    pub(super) fn is_below(&self, hierarchy: &str, path: &str) -> bool {
        self.cgroups.iter().any(|(of, own)| {
            of == hierarchy && own.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}
