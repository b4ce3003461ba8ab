//! What the default rules find in made-up events: one act each, with everything else as on an ordinary host. Rules that
//! remember are asked whether the event is one that they count or a step of theirs.

use std::sync::Arc;

use monitor_common::record::ProcessKey;
use monitor_common::signals::activity::{Act, FMODE_CREATED, FileObject, SocketObject, Via};
use monitor_common::signals::exec::{FdKind, Stdio};
use monitor_common::signals::protect::Denial;

use super::book::{Rulebook, run};
use crate::detect::eval::tests::{activity, name, of_root, open, socket};
use crate::detect::{Event, What};
use crate::processes::{Connection, Image};
use crate::signals::activity::Activity;
use crate::signals::exec::{ExecFile, FUSE, Written};

fn inet() -> Stdio {
    let mut inet = Stdio { kind: FdKind::Inet as u32, family: libc::AF_INET as u16, state: 1, ..Stdio::default() };
    (inet.peer_port, inet.peer[0]) = (4444, 203);
    inet
}

fn pipe() -> Stdio {
    Stdio { kind: FdKind::Pipe as u32, ..Stdio::default() }
}

/// Process 30 is this program of root's from now on.
fn becomes(book: &mut Rulebook, exe: &str) {
    book.host.change(30, |process| {
        let mut image = Image { exe: exe.as_bytes().into(), ..Image::default() };
        (image.file.inode, image.file.links, image.file.mode) = (5, 1, 0o100_755);
        process.image = Arc::new(image);
    });
}

fn read(path: &str) -> Event {
    open(path, libc::O_RDONLY)
}

fn write(path: &str) -> Event {
    open(path, libc::O_WRONLY | libc::O_CREAT)
}

fn change(act: Act, call: &'static str, with: impl FnOnce(&mut Activity)) -> Event {
    activity(act, call, |activity| {
        (activity.actor.uid, activity.actor.euid, activity.actor.suid) = (0, 0, 0);
        with(activity);
    })
}

#[test]
fn a_shell_on_a_connection() {
    let mut book = Rulebook::new();
    let shell = |stdio: [Stdio; 3]| run("/usr/bin/bash", &["bash", "-i"], |exec| exec.stdio = stdio);
    book.finds(&shell([inet(), inet(), pipe()]), "revshell_stdio_socket");
    book.finds(&shell([inet(), pipe(), inet()]), "revshell_stdio_socket");
    book.misses(&shell([inet(), pipe(), pipe()]), "revshell_stdio_socket");
    book.misses(&shell([pipe(), inet(), inet()]), "revshell_stdio_socket");
    let unconnected = Stdio { peer_port: 0, ..inet() };
    book.misses(&shell([unconnected; 3]), "revshell_stdio_socket");
    let tool = |exe| run(exe, &["x"], |exec| exec.stdio = [inet(); 3]);
    book.finds(&tool("/usr/bin/python3.11"), "revshell_stdio_socket_tool");
    book.finds(&tool("/home/me/x"), "revshell_stdio_socket_tool");
    // A renamed copy is no shell by its name, but nothing that is installed either.
    book.finds(&tool("/tmp/updater"), "revshell_stdio_socket_tool");
    book.host.change(20, |process| {
        process.image =
            Arc::new(Image { exe: b"/usr/sbin/inetd".as_slice().into(), file: of_root(), ..Image::default() });
    });
    book.finds(&shell([inet(); 3]), "revshell_stdio_socket_service");
    book.misses(&shell([inet(); 3]), "revshell_stdio_socket");
}

#[test]
fn a_shell_on_pipes_of_somebody_with_a_connection() {
    let mut book = Rulebook::new();
    let shell = |args: &[&str]| run("/usr/bin/dash", args, |exec| exec.stdio = [pipe(), pipe(), pipe()]);
    let connect = |book: &mut Rulebook, seconds_ago: u64, accepted| {
        book.host.change(20, |process| {
            process.image = Arc::new(Image { exe: b"/usr/bin/node".as_slice().into(), ..Image::default() });
            let peer = "127.0.0.1:45104".parse().unwrap();
            process.connection = Some(Connection { time_ns: (100 - seconds_ago) * 1_000_000_000, accepted, peer });
        });
        book.host.change(10, |process| {
            process.image = Arc::new(Image { exe: b"/usr/bin/bash".as_slice().into(), ..Image::default() });
        });
    };
    book.misses(&shell(&["sh"]), "revshell_pipe");
    connect(&mut book, 1, false);
    book.finds(&shell(&["sh"]), "revshell_pipe");
    book.finds(&shell(&["sh", "-i"]), "revshell_pipe");
    book.misses(&shell(&["sh", "-c", "make"]), "revshell_pipe");
    book.misses(&shell(&["sh", "/opt/build.sh"]), "revshell_pipe");
    book.misses(&shell(&["sh"]), "bind_shell");
    connect(&mut book, 1, true);
    book.finds(&shell(&["sh"]), "bind_shell");
}

#[test]
fn programs_from_where_none_should_be() {
    let mut book = Rulebook::new();
    let plain = |exe| run(exe, &["x"], |_| {});
    book.finds(&plain("/tmp/x"), "exec_tmp");
    book.finds(&plain("/dev/shm/x"), "exec_devshm");
    book.finds(&plain("/tmp/a/.x"), "exec_hidden");
    book.finds(&plain("/var/tmp/.a/x"), "exec_hidden");
    book.misses(&plain("/home/me/.local/bin/x"), "exec_hidden");
    book.finds(&plain("memfd:x"), "exec_memfd");
    book.misses(&plain("memfd:runc_cloned:/proc/self/exe"), "exec_memfd");
    book.finds(&plain("memfd:runc_cloned:/proc/self/exe"), "exec_memfd_imitation");
    let deleted = |exe| run(exe, &["x"], |exec| exec.file.links = 0);
    book.finds(&deleted("/usr/bin/x"), "exec_deleted");
    book.misses(&deleted("memfd:x"), "exec_deleted");
    assert_eq!(book.found(&run("/usr/bin/ls", &["ls", "-l"], |_| {})), [] as [&str; 0]);
    let script = run("/usr/bin/dash", &["sh", "x"], |exec| {
        (exec.script, exec.filename, exec.cwd) = (true, b"../tmp/x".to_vec(), b"/root".to_vec());
    });
    book.finds(&script, "exec_tmp_script");
    book.misses(&script, "exec_tmp");
    let linker = |book: &mut Rulebook, exe: &str, file: ExecFile| {
        book.host.add(70, Some(20), "ld", exe, &["ld"]);
        book.host.change(70, |process| {
            process.image = Arc::new(Image { exe: exe.as_bytes().into(), file, ..Image::default() });
            process.connection = None;
        });
    };
    let by = Written { by: ProcessKey { start_ns: 70_000_000_000, tgid: 70, reserved: 0 }, time_ns: 99_000_000_000 };
    let built = run("/tmp/x", &["x"], |exec| exec.written = Some(by));
    let ld = "/usr/bin/x86_64-linux-gnu-ld.bfd";
    linker(&mut book, ld, of_root());
    book.misses(&built, "exec_tmp");
    linker(&mut book, "/tmp/ld", of_root());
    book.finds(&built, "exec_tmp");
    // A program that only has the linker's name: somebody's own that they mounted there, in one way or the other.
    for file in [
        ExecFile { owner: 1000, ..of_root() },
        ExecFile { mounted: true, ..of_root() },
        ExecFile { foreign_mounts: true, ..of_root() },
        ExecFile { magic: FUSE, ..of_root() },
        ExecFile { links: 0, ..of_root() },
        ExecFile::default(),
    ] {
        linker(&mut book, ld, file);
        book.finds(&built, "exec_tmp");
    }
    book.misses(&built, "drop_and_exec");
    book.host.change(70, |process| {
        let peer = "192.0.2.1:80".parse().unwrap();
        process.connection = Some(Connection { time_ns: 0, accepted: false, peer });
    });
    book.finds(&built, "drop_and_exec");
    let old = Written { time_ns: 1_000_000_000, ..by };
    book.misses(&run("/tmp/x", &["x"], |exec| exec.written = Some(old)), "drop_and_exec");
}

#[test]
fn false_names() {
    let book = Rulebook::new();
    book.finds(&run("/usr/bin/sleep", &["[kworker/0:1]"], |_| {}), "kthread_masquerade");
    book.finds(&run("/usr/bin/sleep", &["kworker/u8:0"], |_| {}), "kthread_masquerade");
    book.finds(&run("/tmp/kthreadd", &["x"], |_| {}), "kthread_masquerade");
    book.misses(&run("/usr/bin/[", &["[", "-e", "x", "]"], |_| {}), "kthread_masquerade");
    book.finds(
        &run("/usr/bin/bash", &["updater", "-c", "id"], |exec| exec.comm = b"updater".to_vec()),
        "renamed_shell",
    );
    for argv0 in ["-bash", "sh", "/bin/bash", "-su"] {
        book.misses(&run("/usr/bin/bash", &[argv0, "-c", "id"], |_| {}), "renamed_shell");
    }
    let named = change(Act::Prctl, "prctl", |activity| {
        (activity.args[0], activity.name) = (libc::PR_SET_NAME as u64, name("kworker/1:3", ""));
    });
    book.finds(&named, "kthread_masquerade");
    let loader = |args: &[&str]| run("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", args, |_| {});
    book.finds(&loader(&["ld.so", "/bin/true"]), "loader_proxy_exec");
    book.misses(&loader(&["ld.so", "--verify", "/bin/true"]), "loader_proxy_exec");
}

#[test]
fn passwords_are_protected_by_object_and_not_by_name() {
    let mut book = Rulebook::new();
    becomes(&mut book, "/usr/bin/cat");
    book.finds(&read("/etc/shadow"), "sensitive_read");
    book.misses(&read("/etc/passwd"), "sensitive_read");
    book.misses(&write("/etc/shadow"), "sensitive_read");
    book.misses(&read("/srv/innocent"), "sensitive_read");
    book.host.protected.push((42, b"/etc/shadow"));
    // A hard link, a bind mount, /proc/self/root: another name of the same inode.
    book.finds(&read("/srv/innocent"), "sensitive_read");
    let ring = change(Act::FileOpen, "openat", |activity| {
        (activity.via, activity.name) = (Via::IoUring, name("/etc/shadow", "/etc/shadow"));
        activity.args[2] = libc::O_RDONLY as u64;
    });
    book.finds(&ring, "sensitive_read");
    book.finds(&ring, "io_uring_sensitive");
    let compat = match read("/etc/shadow") {
        Event { what: What::Activity(mut activity), .. } => {
            (activity.via, activity.call) = (Via::Compat, "openat");
            Event { what: What::Activity(activity), ..read("/etc/shadow") }
        }
        other => other,
    };
    book.finds(&compat, "compat_syscall");
    book.misses(&read("/etc/shadow"), "compat_syscall");
}

#[test]
fn trust_needs_a_file_of_roots_that_was_not_just_written() {
    let mut book = Rulebook::new();
    becomes(&mut book, "/usr/bin/su");
    book.misses(&read("/etc/shadow"), "sensitive_read");
    let with = |book: &mut Rulebook, change: fn(&mut Image)| {
        book.host.change(30, |process| change(Arc::make_mut(&mut process.image)));
    };
    with(&mut book, |image| image.file.owner = 1000);
    book.finds(&read("/etc/shadow"), "sensitive_read");
    with(&mut book, |image| (image.file.owner, image.file.links) = (0, 0));
    book.finds(&read("/etc/shadow"), "sensitive_read");
    with(&mut book, |image| (image.file.links, image.written) = (1, Some(Written::default())));
    book.finds(&read("/etc/shadow"), "sensitive_read");
    // The name alone is worth nothing.
    becomes(&mut book, "/tmp/su");
    book.host.change(30, |process| process.comm = b"su".as_slice().into());
    book.finds(&read("/etc/shadow"), "sensitive_read");
}

#[test]
fn links_to_secrets() {
    let book = Rulebook::new();
    let link = change(Act::Link, "linkat", |activity| {
        (activity.name, activity.other) = (name("/etc/shadow", "/etc/shadow"), name("x", "/root/x"));
    });
    book.finds(&link, "sensitive_link");
    let symlink = |text| {
        change(Act::Symlink, "symlinkat", |activity| {
            (activity.name, activity.other) = (name("l", "/root/l"), name(text, ""));
        })
    };
    book.finds(&symlink("/etc/shadow"), "sensitive_link");
    book.finds(&symlink("../../etc/shadow"), "sensitive_link");
    book.misses(&symlink("/etc/hosts"), "sensitive_link");
}

#[test]
fn places_that_others_run_from() {
    let mut book = Rulebook::new();
    becomes(&mut book, "/usr/bin/tee");
    let renamed = |to| {
        change(Act::Rename, "renameat2", |activity| {
            (activity.name, activity.other) = (name("/root/x", "/root/x"), name(to, to));
        })
    };
    for (path, rule) in [
        ("/etc/cron.d/x", "cron_persist"),
        ("/var/spool/cron/crontabs/root", "cron_persist"),
        ("/etc/systemd/system/x.timer", "systemd_persist"),
        ("/etc/sudoers.d/x", "account_db_write"),
        ("/etc/shadow", "account_db_write"),
        ("/etc/pam.d/sshd", "pam_tamper"),
        ("/etc/ld.so.preload", "ld_so_preload_write"),
        ("/etc/profile.d/x.sh", "shell_profile_persist_system"),
        ("/home/me/.bashrc", "shell_profile_persist"),
        ("/srv/keys/authorized_keys", "authorized_keys_write"),
        ("/etc/apt/apt.conf.d/99x", "pkg_hook_persist"),
        ("/etc/udev/rules.d/99-x.rules", "init_persist"),
        ("/usr/bin/x", "system_bin_write"),
        ("/usr/local/bin/x", "system_bin_write_local"),
    ] {
        book.finds(&write(path), rule);
        book.finds(&renamed(path), rule);
        book.misses(&read(path), rule);
        book.misses(&write(&format!("/srv/chroot{path}.orig")), rule);
    }
    becomes(&mut book, "/usr/bin/dpkg");
    for path in ["/etc/cron.d/x", "/usr/bin/x", "/etc/pam.d/sshd"] {
        assert_eq!(book.found(&write(path)), [] as [&str; 0]);
    }
}

#[test]
fn traces_removed() {
    let mut book = Rulebook::new();
    becomes(&mut book, "/usr/bin/dash");
    let cut = open("/var/log/auth.log", libc::O_WRONLY | libc::O_TRUNC);
    book.finds(&cut, "log_tamper");
    book.misses(&open("/var/log/auth.log", libc::O_WRONLY | libc::O_APPEND), "log_tamper");
    let removed = |path| change(Act::Unlink, "unlinkat", |activity| activity.name = name(path, path));
    book.finds(&removed("/var/log/wtmp"), "log_tamper");
    book.misses(&removed("/var/tmp/wtmp"), "log_tamper");
    book.finds(&removed("/root/.bash_history"), "history_tamper");
    becomes(&mut book, "/usr/sbin/logrotate");
    book.misses(&cut, "log_tamper");
}

#[test]
fn renames_that_append_a_suffix() {
    let book = Rulebook::new();
    let renamed = |from, to| {
        change(Act::Rename, "rename", |activity| (activity.name, activity.other) = (name(from, from), name(to, to)))
    };
    book.finds(&renamed("/srv/a.doc", "/srv/a.doc.locked"), "mass_file_change");
    book.misses(&renamed("/srv/a.JPG", "/srv/a.jpg"), "mass_file_change");
    book.misses(&renamed("/srv/a.doc", "/srv/a.doc~"), "mass_file_change");
}

#[test]
fn rights_gained() {
    let mut book = Rulebook::new();
    let gained = |exe| {
        run(exe, &["x"], |exec| {
            (exec.uid, exec.gained, exec.file.mode) = (1000, true, 0o104_755);
        })
    };
    // Root gains nothing.
    assert!(!book.found(&gained("/opt/x")).contains(&"setuid_exec"));
    book.host.change(30, |process| {
        (process.credentials.uid, process.credentials.euid, process.credentials.suid) = (1000, 1000, 1000);
    });
    book.finds(&gained("/opt/x"), "setuid_exec");
    book.finds(&gained("/opt/x"), "suid_exec_unusual");
    book.misses(&gained("/usr/bin/sudo"), "setuid_exec");
    book.misses(&gained("/usr/bin/sudo"), "suid_exec_unusual");
    book.finds(&gained("/usr/bin/sudo"), "setuid_exec_system");
    book.finds(&gained("/usr/bin/x"), "suid_exec_unusual");
    // Root without having been given it.
    book.finds(&run("/usr/bin/dash", &["sh"], |_| {}), "uid0_transition_kernel");
    book.misses(&gained("/usr/bin/sudo"), "uid0_transition_kernel");
    becomes(&mut book, "/usr/bin/python3.11");
    let ids = change(Act::SetIds, "setresuid", |activity| activity.args = [u64::MAX, 0, u64::MAX, 0, 0, 0]);
    book.finds(&ids, "uid0_transition");
    book.host.change(30, |process| process.credentials = Default::default());
    book.misses(&ids, "uid0_transition");
    let chmod = |mode| {
        change(Act::Chmod, "fchmodat", |activity| {
            (activity.name, activity.args[2]) = (name("/root/x", "/root/x"), mode);
        })
    };
    book.finds(&chmod(0o4755), "suid_set");
    book.misses(&chmod(0o755), "suid_set");
    book.misses(&chmod(0o2775), "suid_set_group");
    book.finds(&chmod(0o2755), "suid_set_group");
}

#[test]
fn other_processes_and_the_observer_itself() {
    let mut book = Rulebook::new();
    book.host.add(60, Some(1), "sleep", "/usr/bin/sleep", &["sleep"]);
    book.host.add(61, Some(30), "sleep", "/usr/bin/sleep", &["sleep"]);
    book.host.add(9, Some(1), "monitor", "/usr/bin/monitor", &["monitor"]);
    let key = |pid: u32| ProcessKey { start_ns: u64::from(pid) * 1_000_000_000, tgid: pid, reserved: 0 };
    let trace = |pid, request: u32| {
        change(Act::Ptrace, "ptrace", |activity| {
            (activity.target, activity.args[0]) = (Some(key(pid)), request.into());
        })
    };
    book.finds(&trace(60, 16), "ptrace_attach");
    book.finds(&trace(60, 0x4206), "ptrace_attach");
    book.misses(&trace(61, 16), "ptrace_attach");
    book.finds(&trace(9, 16), "agent_tamper");
    book.misses(&trace(60, 16), "agent_tamper");
    let kill = |pid, signal: i32| {
        change(Act::Signal, "kill", |activity| {
            (activity.target, activity.args[1]) = (Some(key(pid)), signal as u64);
        })
    };
    book.finds(&kill(9, libc::SIGKILL), "agent_tamper");
    book.misses(&kill(9, 0), "agent_tamper");
    book.misses(&kill(9, libc::SIGHUP), "agent_tamper");
    // What the kernel programs tell of themselves has their name for it, and is no call.
    let denied = |what: u64, detail: u64| {
        change(Act::Denied, "denied", |activity| {
            (activity.result, activity.args[0], activity.args[1]) = (-1, what, detail);
        })
    };
    let killed = denied(Denial::Signal as u64, 9);
    book.finds(&killed, "agent_tamper_denied");
    book.misses(&killed, "agent_tamper");
    book.finds(&denied(Denial::Map as u64, 41), "agent_tamper_denied");
    let throttled = change(Act::Throttle, "throttle", |_| {});
    book.misses(&throttled, "agent_tamper_denied");
    book.finds(&throttled, "event_loss_throttled");
    book.finds(&kill(60, 63), "unusual_signal");
    book.misses(&kill(60, libc::SIGTERM), "unusual_signal");
    book.finds(&read("/proc/60/environ"), "proc_environ_read");
    book.misses(&read("/proc/30/environ"), "proc_environ_read");
    book.misses(&read("/proc/61/environ"), "proc_environ_read");
    book.finds(&write("/proc/60/mem"), "proc_mem_write");
    book.misses(&write("/proc/30/mem"), "proc_mem_write");
}

#[test]
fn containers() {
    let mut book = Rulebook::new();
    let upper = run("/srv/x", &["x"], |exec| exec.file.upper_layer = true);
    book.misses(&upper, "container_drift_exec");
    let setns = change(Act::Setns, "setns", |_| {});
    book.misses(&setns, "ns_change_container");
    book.host.contain(30);
    book.finds(&upper, "container_drift_exec");
    book.misses(&run("/srv/x", &["x"], |_| {}), "container_drift_exec");
    book.finds(&setns, "ns_change_container");
    let runc = run("memfd:runc_cloned:/proc/self/exe", &["runc"], |_| {});
    book.misses(&runc, "exec_memfd_runtime");
    book.host.change(20, |process| {
        process.image = Arc::new(Image { exe: b"/usr/bin/runc".as_slice().into(), ..Image::default() });
    });
    book.finds(&runc, "exec_memfd_runtime");
}

#[test]
fn connections() {
    let mut book = Rulebook::new();
    becomes(&mut book, "/usr/bin/ssh");
    let connect = |port| {
        change(Act::Connect, "connect", |activity| {
            activity.socket = Some(SocketObject { peer_port: port, ..socket() });
        })
    };
    book.finds(&connect(443), "ssh_nonstandard_port");
    book.misses(&connect(22), "ssh_nonstandard_port");
    book.finds(&connect(4444), "suspicious_port");
    book.finds(&connect(80), "port_scan");
    becomes(&mut book, "/tmp/x");
    book.finds(&connect(22), "outbound_from_tmp");
    book.misses(&connect(22), "ssh_nonstandard_port");
}

#[test]
fn the_kernel_itself() {
    let mut book = Rulebook::new();
    becomes(&mut book, "/usr/bin/python3.11");
    let call = |act, call, args: [u64; 6], result| {
        change(act, call, |activity| (activity.args, activity.result) = (args, result))
    };
    book.finds(&call(Act::Bpf, "bpf", [5, 0, 0, 0, 0, 0], -1), "bpf_load");
    book.misses(&call(Act::Bpf, "bpf", [1, 0, 0, 0, 0, 0], 0), "bpf_load");
    book.finds(&call(Act::Module, "init_module", [0; 6], -1), "kmod_load");
    book.finds(&call(Act::Kexec, "kexec_load", [0; 6], -1), "kexec");
    book.finds(&call(Act::MemoryExec, "mmap", [0, 4096, 7, 0x22, 0, 0], 0x7f00), "wx_mem");
    book.misses(&call(Act::MemoryExec, "mmap", [0, 4096, 5, 0x22, 0, 0], 0x7f00), "wx_mem");
    book.finds(&write("/proc/sys/kernel/core_pattern"), "kernel_escape_knob_root");
    book.finds(&write("/proc/sys/kernel/sysrq"), "kernel_escape_knob");
    book.misses(&read("/proc/sys/kernel/sysrq"), "kernel_escape_knob");
    // Tried, and refused: the name that was passed tells.
    let refused = change(Act::FileOpen, "openat", |activity| {
        (activity.result, activity.name) = (-1, name("/proc/kcore", "/proc/kcore"));
    });
    book.finds(&refused, "kcore_read");
    let made = change(Act::FileOpen, "openat", |activity| {
        (activity.result, activity.path) = (5, b"/dev/mt".to_vec());
        activity.args[2] = (libc::O_CREAT | libc::O_WRONLY) as u64;
        activity.file =
            Some(FileObject { inode: 4, mode: 0o100_644, links: 1, open_mode: FMODE_CREATED, ..FileObject::default() });
    });
    book.finds(&made, "dev_file_create");
    book.misses(&write("/dev/null"), "dev_file_create");
}
