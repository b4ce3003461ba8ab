//! The default rules on a made-up host.

use super::*;
use crate::detect::Event;
use crate::detect::eval::tests::{Host, exec};
use crate::detect::eval::{Memory, Session};
use crate::signals::exec::Exec;

/// The default rules, and a host.
pub(super) struct Rulebook {
    rules: &'static Rules,
    pub(super) host: Host,
}

impl Rulebook {
    /// On a host with a shell (30) that sshd's child (20) started.
    pub(super) fn new() -> Self {
        let rules = &compiled().0;
        let mut host = Host::default();
        host.add(1, None, "systemd", "/usr/lib/systemd/systemd", &["/sbin/init"]);
        host.add(10, Some(1), "sshd", "/usr/sbin/sshd", &["sshd"]);
        host.add(20, Some(10), "bash", "/usr/bin/bash", &["-bash"]);
        host.add(30, Some(20), "sh", "/usr/bin/dash", &["sh"]);
        for pid in [1, 10, 20, 30] {
            host.change(pid, |process| process.credentials = Default::default());
        }
        Self { rules, host }
    }

    /// The names of the rules whose condition, or a step of it, holds.
    pub(super) fn found(&self, event: &Event) -> Vec<&str> {
        let mut memory = Memory::default();
        let mut session = Session::new(self.rules, &mut memory, event, &self.host);
        let jobs = self.rules.jobs(event).iter().filter(|job| session.run(&job.program));
        let mut names: Vec<&str> = jobs.map(|job| self.rules.list[job.rule].ast.name.as_str()).collect();
        session.end();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[track_caller]
    pub(super) fn finds(&self, event: &Event, rule: &str) {
        let found = self.found(event);
        assert!(found.contains(&rule), "{rule} not in {found:?}");
    }

    #[track_caller]
    pub(super) fn misses(&self, event: &Event, rule: &str) {
        let found = self.found(event);
        assert!(!found.contains(&rule), "{rule} in {found:?}");
    }
}

/// Root runs a program of root's.
pub(super) fn run(exe: &str, args: &[&str], with: impl FnOnce(&mut Exec)) -> Event {
    exec(|exec| {
        exec.exe = exe.into();
        exec.filename = exe.into();
        exec.cwd = b"/root".to_vec();
        exec.comm = exe.rsplit('/').next().unwrap_or_default().into();
        exec.args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        exec.args_length = args.iter().map(|arg| arg.len() as u32 + 1).sum();
        (exec.uid, exec.euid, exec.suid) = (0, 0, 0);
        (exec.file.mode, exec.file.links, exec.file.inode) = (0o100_755, 1, 7);
        with(exec);
    })
}
