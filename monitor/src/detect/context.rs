//! What rules may know beside the exec itself.

/// An ancestor of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// When it started, clock ticks since boot.
    pub start_ticks: u64,
    /// Path of its program's file.
    pub exe: Vec<u8>,
    /// Arguments.
    pub args: Vec<Vec<u8>>,
    /// Real user id; none when it is not known.
    pub uid: Option<u32>,
}

/// Answers what rules ask. Most execs concern no rule, so that nothing is looked up before somebody asks.
pub trait Context {
    /// The ancestors, nearest first.
    fn ancestors(&self) -> Vec<Ancestor>;
    /// Path of the control group.
    fn cgroup(&self) -> Option<&[u8]>;
    /// systemd unit.
    fn unit(&self) -> Option<&str>;
    /// Container id.
    fn container(&self) -> Option<&str>;
    /// The `group` of the process's metrics.
    fn group(&self) -> &str;
}

/// A context that is written down: for replays and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The ancestors, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// Path of the control group.
    pub cgroup: Option<Vec<u8>>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Container id.
    pub container: Option<String>,
    /// The `group` of the process's metrics.
    pub group: String,
}

impl Context for Recorded {
    fn ancestors(&self) -> Vec<Ancestor> {
        self.ancestors.clone()
    }

    fn cgroup(&self) -> Option<&[u8]> {
        self.cgroup.as_deref()
    }

    fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    fn group(&self) -> &str {
        &self.group
    }
}
