//! What judging an event costs: `cargo bench --bench rules`. With `cargo test` it only proves that judging takes no memory
//! from the allocator.
//!
//! The rules are Falco's, and as many made like them as it takes to be 250.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use monitor::detect::eval::Engine;
use monitor::detect::lang::{self, Source};
use monitor::detect::{Event, What, World};
use monitor::processes::{GroupOptions, Groups, Options, Process, ProcessId, ProcessTable};
use monitor::signals::activity::{Activity, Actor, Name};
use monitor::signals::exec::Exec;
use monitor_common::record::ProcessKey;
use monitor_common::signals::activity::{Act, FileObject, SocketObject, Via};

const FALCO: &str = include_str!("../../tests/rules/falco/falco_rules.yaml");
const RULES: usize = 250;
const SECOND: u64 = 1_000_000_000;

/// Counts what this thread takes.
struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Host(ProcessTable);

impl World for Host {
    fn process(&self, id: ProcessId) -> Option<&Process> {
        self.0.get(id)
    }

    fn find(&self, pid: u32) -> Option<&Process> {
        self.0.find(pid)
    }

    fn observer(&self) -> u32 {
        1
    }

    fn group(&self, _: ProcessId) -> &str {
        "group"
    }

    fn user_name(&self, uid: u32) -> Option<&str> {
        (uid == 1000).then_some("ann")
    }

    fn user_home(&self, _: u32) -> Option<&[u8]> {
        None
    }

    fn group_name(&self, _: u32) -> Option<&str> {
        None
    }

    fn hostname(&self) -> &str {
        "host"
    }

    fn protected_path(&self, _: u32, _: u64) -> Option<&[u8]> {
        None
    }

    fn boot_time_ns(&self) -> i128 {
        1_700_000_000 * i128::from(SECOND)
    }
}

/// Pids beyond those that Linux gives out, so that `/proc` never has them.
fn key(pid: u32) -> ProcessKey {
    ProcessKey { start_ns: u64::from(pid) * SECOND, tgid: 5_000_000 + pid, reserved: 0 }
}

fn exec(pid: u32, exe: &str, args: &[&str]) -> Exec {
    Exec {
        time_ns: u64::from(pid) * SECOND + 1,
        process: key(pid),
        parent: key(pid - 1),
        exe: exe.into(),
        cwd: b"/home/ann/project".to_vec(),
        filename: exe.into(),
        args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        args_length: 40,
        comm: exe.rsplit('/').next().unwrap_or(exe).into(),
        uid: 1000,
        euid: 1000,
        ..Exec::default()
    }
}

fn event(number: u64, what: What) -> Event {
    Event { number, time_ns: 1_000 * SECOND, cpu: 0, process: key(6), tid: 5_000_006, what }
}

fn activity(act: Act, call: &'static str, result: i64) -> Activity {
    Activity {
        time_ns: 1_000 * SECOND,
        cpu: 0,
        process: key(6),
        tid: 5_000_006,
        target: None,
        act,
        via: Via::Native,
        call,
        result,
        args: [0; 6],
        actor: Actor { uid: 1000, euid: 1000, suid: 1000, gid: 1000, egid: 1000, capabilities: 0 },
        cgroup_id: 1,
        comm: b"cc1".to_vec(),
        file: None,
        path: Vec::new(),
        path_cut: false,
        socket: None,
        name: None,
        other: None,
    }
}

fn open(path: &str, write: bool) -> Activity {
    let mut open = activity(Act::FileOpen, "openat", 5);
    open.args[2] = if write { 0o1101 } else { 0 };
    open.path = path.into();
    open.name = Some(Name { raw: path.into(), path: path.into(), cut: false });
    open.file = Some(FileObject { inode: 42, mode: 0o100_644, links: 1, device: 8 << 20 | 1, ..FileObject::default() });
    open
}

/// What a build does, and who connects somewhere.
fn events() -> Vec<(&'static str, Event)> {
    let change = |act, call| {
        let mut change = activity(act, call, 0);
        change.name = Some(Name { raw: b"a.o".to_vec(), path: b"/home/ann/project/a.o".to_vec(), cut: false });
        change.other = Some(Name { raw: b"b.o".to_vec(), path: b"/home/ann/project/b.o".to_vec(), cut: false });
        change
    };
    let mut connect = activity(Act::Connect, "connect", 0);
    let mut socket =
        SocketObject { family: 2, kind: 1, protocol: 6, state: 1, peer_port: 443, ..SocketObject::default() };
    socket.peer[..4].copy_from_slice(&[198, 51, 100, 7]);
    connect.socket = Some(socket);
    let of = |number, activity| event(number, What::Activity(Box::new(activity)));
    let args = ["gcc", "-O2", "-Wall", "-I/usr/include/x", "-c", "source/deep/file.c", "-o", "target/file.o"];
    vec![
        ("open for reading", of(1, open("/usr/include/x86_64-linux-gnu/bits/types.h", false))),
        ("open for writing", of(2, open("/home/ann/project/target/debug/file.o", true))),
        ("open in /etc", of(3, open("/etc/ld.so.cache", false))),
        ("exec", event(4, What::Exec(Box::new(exec(6, "/usr/bin/gcc", &args))))),
        ("connect", of(5, connect)),
        ("unlink", of(6, change(Act::Unlink, "unlinkat"))),
        ("rename", of(7, change(Act::Rename, "rename"))),
        ("fork", event(8, What::Fork { child: key(7) })),
    ]
}

/// Rules like Falco's, each with names of its own.
fn rules() -> String {
    let mut text = FALCO.to_owned();
    let known = FALCO.lines().filter(|line| line.starts_with("- rule: ")).count();
    for number in known..RULES {
        let condition = match number % 6 {
            0 => format!(
                "evt.type in (open, openat, openat2) and evt.is_open_write = true and fd.typechar = 'f' and (fd.name \
                 startswith /etc/own{number}/ or fd.name in (/etc/a{number}, /etc/b{number}) or fd.name contains /.own{number}/) \
                 and not proc.name in (own{number}, dpkg, apt) and not proc.aname in (ansible, own{number})"
            ),
            1 => format!(
                "evt.type in (execve, execveat) and (proc.cmdline contains own{number} or proc.args contains ' -x{number}' or \
                 proc.cmdline icontains SECRET{number}) and not proc.pname in (systemd, own{number})"
            ),
            2 => format!(
                "evt.type in (execve, execveat) and proc.name in (tool{number}, other{number}) and proc.pexepath startswith \
                 /opt/own{number}/ and proc.aname[2] = own{number}"
            ),
            3 => format!(
                "evt.type in (open, openat, openat2) and evt.is_open_read = true and (fd.name endswith /key{number} or fd.name \
                 glob '/home/*/.own{number}/*') and not proc.exepath in (/usr/bin/own{number})"
            ),
            4 => format!(
                "evt.type = connect and fd.sport in ({number}, 1{number}) and not fd.snet in (10.0.0.0/8, 192.168.0.0/16) and \
                 proc.exepath startswith /tmp/"
            ),
            _ => format!(
                "evt.type in (rename, renameat, renameat2, unlink, unlinkat) and (fs.path.name startswith /var/own{number}/ or \
                 fs.path.target pmatch (/srv/own{number}, /srv/x{number})) and user.uid != 0"
            ),
        };
        text.push_str(&format!(
            "\n- rule: made {number}\n  desc: d\n  condition: {condition}\n  output: found %proc.name\n  priority: WARNING\n"
        ));
    }
    text
}

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let loaded = lang::load(&[Source { path: PathBuf::from("rules.yaml"), text: rules() }]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let (mut engine, diagnostics) = Engine::new(loaded.rules);
    assert!(!diagnostics.iter().any(|one| one.error), "{diagnostics:?}");
    assert_eq!(engine.rules().list.len(), RULES);
    let mut table = ProcessTable::new(Options::default(), Groups::new(GroupOptions::default()));
    for (pid, exe) in [
        (2, "/usr/lib/systemd/systemd"),
        (3, "/usr/sbin/sshd"),
        (4, "/usr/bin/bash"),
        (5, "/usr/bin/make"),
        (6, "/usr/bin/cc1"),
    ] {
        table.on_exec(&exec(pid, exe, &["x", "-j2", "all"]));
    }
    let host = Host(table);
    let mut found = Vec::new();
    let rounds = if measured { 20_000 } else { 200 };
    let mut all = Vec::new();
    for (what, event) in &events() {
        // Buffers and the memory of regular expressions grow in the beginning.
        (0..100).for_each(|_| engine.on_event(event, &host, &mut found));
        assert!(found.is_empty(), "{what}: {found:?}");
        let before = TAKEN.with(Cell::get);
        (0..rounds).for_each(|_| engine.on_event(event, &host, &mut found));
        let taken = TAKEN.with(Cell::get) - before;
        assert_eq!(taken, 0, "{what}: takes memory");
        if measured {
            let mut times: Vec<u64> = (0..rounds)
                .map(|_| {
                    let start = Instant::now();
                    engine.on_event(event, &host, &mut found);
                    start.elapsed().as_nanos() as u64
                })
                .collect();
            times.sort_unstable();
            println!("{what:20} median {:6} ns, 99 % {:6} ns", times[times.len() / 2], times[times.len() / 100 * 99]);
            all.extend(times);
        }
    }
    if measured {
        all.sort_unstable();
        println!("{RULES} rules, all events: median {} ns (with one reading of the clock)", all[all.len() / 2]);
    }
}
