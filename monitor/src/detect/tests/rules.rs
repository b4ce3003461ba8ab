use Severity::{Critical, High, Low, Medium};

use super::*;

#[test]
fn ordinary_programs_are_no_event() {
    for exe in [
        "/usr/bin/ls",
        "/bin/[",
        "/opt/x/y",
        "/home/me/.local/bin/x",
        "/home/me/.cache/a/b",
        "/usr/sbin/watchdog",
        "/",
        "/app",
    ] {
        assert_eq!(found(&exec(exe)), [], "{exe}");
    }
    assert_eq!(found(&script("/home/me", "build.sh")), []);
    assert_eq!(found(&script("/tmp", "/home/me/build.sh")), []);
    // Names that only begin like a directory.
    assert_eq!(found(&exec("/tmpx/a")), []);
    assert_eq!(found(&exec("/device/a")), []);
}

#[test]
fn programs_in_shared_and_temporary_directories() {
    for (exe, expected) in [
        ("/tmp/x", vec![("exec_tmp", Medium)]),
        ("/var/tmp/a/b", vec![("exec_tmp", Medium)]),
        ("/dev/shm/x", vec![("exec_devshm", High)]),
        ("/dev/x", vec![("exec_devshm", High)]),
        ("/dev/mqueue/x", vec![("exec_devshm", High)]),
        ("/run/shm/x", vec![("exec_devshm", High)]),
        ("/run/lock/x", vec![("exec_devshm", High)]),
        ("/run/user/1000/x", vec![("exec_devshm", Medium)]),
        ("/tmp/.x", vec![("exec_hidden", Medium), ("exec_tmp", Medium)]),
        ("/tmp/.d/x", vec![("exec_hidden", Medium), ("exec_tmp", Medium)]),
        ("/tmp/.../x", vec![("exec_hidden", Medium), ("exec_tmp", Medium)]),
        ("/dev/shm/ /x", vec![("exec_devshm", High), ("exec_hidden", Medium)]),
        ("/home/me/.x", vec![("exec_hidden", Medium)]),
        ("/usr/bin/ \t", vec![("exec_hidden", Medium)]),
    ] {
        assert_eq!(found(&exec(exe)), expected, "{exe}");
    }
}

#[test]
fn the_kernels_path_counts_and_not_the_name_that_was_typed() {
    // A symbolic link, a detour, another name: filename differs, exe is the truth.
    for typed in ["/home/me/link", "/usr/bin/../../tmp/x", "/proc/self/root/tmp/x", "x"] {
        let link = with(exec("/tmp/x"), |exec| exec.filename = typed.into());
        assert_eq!(found(&link), [("exec_tmp", Medium)], "{typed}");
    }
    // The other way round: a link in /tmp to an ordinary program is harmless.
    let harmless = with(exec("/usr/bin/ls"), |exec| exec.filename = b"/tmp/ls".to_vec());
    assert_eq!(found(&harmless), []);
}

#[test]
fn scripts_are_judged_by_their_own_path() {
    for (cwd, name) in [
        ("/home", "/tmp/x.sh"),
        ("/tmp", "x.sh"),
        ("/tmp/a", "../x.sh"),
        ("/", "/usr/bin/../../tmp/x.sh"),
        ("/", "/proc/self/root/tmp/x.sh"),
        ("/tmp", "/proc/self/cwd/x.sh"),
    ] {
        let run = script(cwd, name);
        assert_eq!(found(&run), [("exec_tmp", Medium)], "{cwd} {name}");
        assert_eq!(evidence(&run, "exec_tmp", "path"), "/tmp/x.sh");
        assert_eq!(evidence(&run, "exec_tmp", "path_of"), "script");
    }
    assert_eq!(found(&script("/dev/shm", "./.x")), [("exec_devshm", High), ("exec_hidden", Medium)]);
    assert_eq!(evidence(&exec("/tmp/x"), "exec_tmp", "path_of"), "exe");
}

#[test]
fn a_path_too_deep_to_tell_is_no_hiding_place() {
    let deep = with(exec(".../a/b/x"), |exec| exec.exe_cut = true);
    assert_eq!(found(&deep), [("exec_hidden", Medium)]);
    assert_eq!(evidence(&deep, "exec_hidden", "why"), "depth");
    assert_eq!(found(&script(".../a/b", "x.sh")), [("exec_hidden", Medium)]);
    assert_eq!(found(&script(".../a/b", "/usr/bin/x.sh")), []);
}

#[test]
fn programs_from_memory() {
    let memfd = |name: &str| with(exec(name), |exec| (exec.file.links, exec.file.magic) = (0, 0x0102_1994));
    assert_eq!(found(&memfd("memfd:")), [("exec_memfd", Critical)]);
    assert_eq!(found(&memfd("memfd:/usr/bin/ls")), [("exec_memfd", Critical)]);
    assert_eq!(found(&memfd("/SYSV00000000")), [("exec_memfd", Critical)]);
    assert_eq!(evidence(&memfd("memfd:a"), "exec_memfd", "inode"), 42);
}

#[test]
fn a_runtimes_copy_of_itself_is_low_only_below_a_runtime() {
    let name = "memfd:runc_cloned:/proc/self/exe";
    let copy = with(exec(name), |exec| exec.file.links = 0);
    assert_eq!(found(&copy), [("exec_memfd", High)]);
    for parent in ["/usr/bin/containerd-shim-runc-v2", "/usr/sbin/runc", name] {
        let mut below = context();
        below.ancestors[0].exe = parent.into();
        assert_eq!(found_in(&below, &copy), [("exec_memfd", Low)], "{parent}");
    }
    let longer = with(exec("memfd:runc_cloned:/proc/self/exe2"), |exec| exec.file.links = 0);
    assert_eq!(found(&longer), [("exec_memfd", Critical)]);
    assert_eq!(found_in(&Recorded::default(), &copy), [("exec_memfd", High)]);
}

#[test]
fn scripts_handed_over_as_descriptors() {
    for name in ["/dev/fd/5", "/proc/self/fd/5", "/proc/500/fd/5"] {
        assert_eq!(found(&script("/tmp", name)), [("exec_memfd", Medium)], "{name}");
    }
    // A program run by descriptor is judged by the file behind it.
    assert_eq!(found(&with(exec("/usr/bin/ls"), |exec| exec.filename = b"/dev/fd/5".to_vec())), []);
}

#[test]
fn deleted_programs() {
    let deleted = |exe| with(exec(exe), |exec| exec.file.links = 0);
    assert_eq!(found(&deleted("/usr/bin/x")), [("exec_deleted", High)]);
    assert_eq!(found(&deleted("/tmp/x")), [("exec_deleted", High), ("exec_tmp", Medium)]);
    assert_eq!(found(&deleted("/home/memfd:x")), [("exec_deleted", High)]);
    let fuse = with(deleted("/mnt/x"), |exec| exec.file.magic = 0x6573_5546);
    assert_eq!(found(&fuse), [("exec_deleted", Medium)]);
}

fn connected(exe: &str) -> Exec {
    with(exec(exe), |exec| exec.stdio = [inet(1), inet(1), inet(1)])
}

#[test]
fn shells_and_interpreters_on_a_connection() {
    for (exe, severity) in [
        ("/usr/bin/bash", Critical),
        ("/bin/busybox", Critical),
        ("/usr/bin/bash-5.2", Critical),
        ("/usr/bin/python3.11", High),
        ("/usr/bin/perl", High),
        ("/usr/bin/nc.openbsd", High),
        ("/home/me/agent", High),
    ] {
        assert_eq!(found(&connected(exe)), [("revshell_stdio_socket", severity)], "{exe}");
    }
    assert_eq!(found(&connected("/usr/sbin/sshd")), []);
    assert_eq!(found(&connected("/usr/lib/git-core/git-daemon")), []);
}

#[test]
fn a_renamed_shell_is_still_one() {
    // A copy of a shell elsewhere, under its own or another argv[0].
    let copy = with(connected("/home/me/notes"), |exec| exec.args = vec![b"-bash".to_vec()]);
    assert_eq!(found(&copy), [("revshell_stdio_socket", Critical)]);
    assert_eq!(found(&connected("/home/me/notes")), [("revshell_stdio_socket", High)]);
    let lies = with(connected("/usr/bin/dash"), |exec| exec.args = vec![b"/usr/sbin/apache2".to_vec()]);
    assert_eq!(found(&lies), [("revshell_stdio_socket", Critical)]);
    let nameless = with(connected("/usr/bin/dash"), |exec| exec.args = Vec::new());
    assert_eq!(found(&nameless), [("revshell_stdio_socket", Critical)]);
}

#[test]
fn it_takes_input_and_output_on_connected_sockets() {
    let closed = Stdio::default();
    let terminal = Stdio { kind: FdKind::Character as u32, ..closed };
    let bash = |stdio| found(&with(exec("/usr/bin/bash"), |exec| exec.stdio = stdio)).len();
    assert_eq!(bash([inet(1), inet(1), terminal]), 1);
    assert_eq!(bash([inet(1), terminal, inet(1)]), 1);
    assert_eq!(bash([inet(1), closed, closed]), 0);
    assert_eq!(bash([terminal, inet(1), inet(1)]), 0);
    let changed = |change: fn(&mut Stdio)| {
        let mut socket = inet(1);
        change(&mut socket);
        bash([socket; 3])
    };
    assert_eq!(changed(|socket| socket.state = 10), 0);
    assert_eq!(changed(|socket| (socket.state, socket.peer_port) = (7, 0)), 0);
    assert_eq!(changed(|socket| socket.kind = FdKind::Socket as u32), 0);
    assert_eq!(changed(|socket| socket.family = 1), 0);
    assert_eq!(changed(|socket| socket.state = 8), 1);
    assert_eq!(changed(|socket| socket.kind = 77), 0);
}

#[test]
fn the_peer_is_evidence_in_both_families() {
    let rule = "revshell_stdio_socket";
    let shell = connected("/usr/bin/bash");
    assert_eq!(evidence(&shell, rule, "peer"), "192.0.2.1:4444");
    assert_eq!(evidence(&shell, rule, "local_port"), 50_000);
    assert_eq!(evidence(&shell, rule, "fds"), serde_json::json!([0, 1, 2]));
    let six = |peer: &str| {
        let octets = peer.parse::<std::net::Ipv6Addr>().unwrap().octets();
        with(shell.clone(), |exec| exec.stdio = [Stdio { family: 10, peer: octets, ..inet(1) }; 3])
    };
    assert_eq!(evidence(&six("2001:db8::1"), rule, "peer"), "[2001:db8::1]:4444");
    assert_eq!(evidence(&six("::ffff:192.0.2.7"), rule, "peer"), "192.0.2.7:4444");
}

#[test]
fn super_servers_lower_and_never_silence() {
    let rule = "revshell_stdio_socket";
    let below = |exe: &str, uid, pid, unit: &str| {
        let mut context = context();
        context.ancestors[0] = Ancestor { pid, exe: exe.into(), uid: Some(uid), ..Ancestor::default() };
        context.unit = Some(unit.to_owned());
        found_in(&context, &connected("/usr/bin/bash"))
    };
    assert_eq!(below("/usr/sbin/inetd", 0, 9, "inetd.service"), [(rule, Medium)]);
    assert_eq!(below("/tmp/inetd", 0, 9, "inetd.service"), [(rule, Critical)]);
    assert_eq!(below("/usr/sbin/inetd", 1000, 9, "inetd.service"), [(rule, Critical)]);
    let systemd = "/usr/lib/systemd/systemd";
    assert_eq!(below(systemd, 0, 1, "finger@3-192.0.2.1:79-192.0.2.9:500.service"), [(rule, Medium)]);
    // An orphan is adopted by systemd too.
    assert_eq!(below(systemd, 0, 1, "nginx.service"), [(rule, Critical)]);
    assert_eq!(below(systemd, 0, 1, "user@1000.service"), [(rule, Critical)]);
    assert_eq!(below("/usr/bin/nginx", 0, 77, "finger@3-a.service"), [(rule, Critical)]);
    assert_eq!(found_in(&Recorded::default(), &connected("/usr/bin/bash")), [(rule, Critical)]);
}

#[test]
fn names_of_kernel_threads() {
    let named = |argv0: &str| with(exec("/usr/bin/x"), |exec| exec.args = vec![argv0.into()]);
    for name in [
        "[kworker/0:1]",
        "[x]",
        " [x]  ",
        "kworker/u8:3-events",
        "kthreadd",
        "ksoftirqd/0",
        "migration/11",
        "rcu_sched",
        "kswapd0",
        "/tmp/[kworker]",
        "jbd2/sda1-8",
    ] {
        assert_eq!(found(&named(name)), [("kthread_masquerade", High)], "{name}");
    }
    for name in
        ["[", "[]", "[ -f x ]y", "worker", "kworkerish", "md", "kswapd-tool", "migrate", "watchdog", "irqbalance"]
    {
        assert_eq!(found(&named(name)), [], "{name}");
    }
    let by_comm = with(exec("/usr/bin/x"), |exec| exec.comm = b"kworker/1:3".to_vec());
    assert_eq!(evidence(&by_comm, "kthread_masquerade", "in"), "comm");
    assert_eq!(found(&exec("/usr/bin/[kauditd]")), [("kthread_masquerade", High)]);
    // No argv at all.
    assert_eq!(found(&with(exec("/usr/bin/x"), |exec| exec.args = Vec::new())), []);
}

fn setuid(exe: &str, change: impl FnOnce(&mut Exec)) -> Vec<(&'static str, Severity)> {
    found(&with(exec(exe), |exec| {
        (exec.gained, exec.file.mode, exec.euid) = (true, 0o104_755, 0);
        change(exec);
    }))
}

#[test]
fn gains_of_privilege() {
    let rule = "setuid_exec";
    assert_eq!(setuid("/usr/bin/sudo", |_| {}), [(rule, Low)]);
    assert_eq!(setuid("/snap/snapd/1/usr/lib/snapd/snap-confine", |_| {}), [(rule, Low)]);
    assert_eq!(setuid("/usr/local/bin/x", |_| {}), [(rule, High)]);
    assert_eq!(setuid("/home/me/x", |_| {}), [(rule, High)]);
    assert_eq!(setuid("/usr/bin/x", |exec| exec.file.mode = 0o104_757), [(rule, High)]);
    assert_eq!(setuid("/usr/bin/x", |exec| exec.file.owner = 1001), [(rule, Medium)]);
    assert_eq!(
        setuid("/usr/bin/wall", |exec| (exec.file.mode, exec.euid, exec.egid) = (0o102_755, 1000, 5)),
        [(rule, Low)]
    );
    let deleted = setuid("/usr/bin/x", |exec| exec.file.links = 0);
    assert_eq!(deleted, [("exec_deleted", High), (rule, High)]);
}

#[test]
fn no_gain_is_no_event() {
    // root runs sudo: the kernel reports a gain for the bit alone.
    assert_eq!(setuid("/usr/bin/sudo", |exec| (exec.uid, exec.euid) = (0, 0)), []);
    assert_eq!(setuid("/home/me/x", |exec| (exec.uid, exec.euid) = (0, 0)), []);
    // Mounted nosuid: the bit is there, the gain is not.
    assert_eq!(setuid("/usr/bin/x", |exec| (exec.gained, exec.euid) = (false, 1000)), []);
    // A process that already had another effective user.
    assert_eq!(setuid("/usr/bin/ls", |exec| (exec.gained, exec.file.mode) = (false, 0o100_755)), []);
}

#[test]
fn capabilities_of_a_file_count_outside_system_directories() {
    let ping = |exec: &mut Exec| (exec.file.mode, exec.euid) = (0o100_755, 1000);
    assert_eq!(setuid("/usr/bin/ping", ping), []);
    assert_eq!(setuid("/home/me/ping", ping), [("setuid_exec", High)]);
}

#[test]
fn long_arguments_hide_nothing() {
    let padded = with(connected("/usr/bin/bash"), |exec| {
        exec.args = vec![vec![b'A'; 32_768]];
        (exec.args_truncated, exec.args_length) = (true, 1 << 20);
    });
    assert_eq!(found(&padded), [("revshell_stdio_socket", Critical)]);
    let empty = with(exec("/tmp/x"), |exec| (exec.args, exec.args_truncated) = (Vec::new(), true));
    assert_eq!(found(&empty), [("exec_tmp", Medium)]);
}

#[test]
fn no_bytes_make_a_rule_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let alphabet: &[u8] = b"//..[]memfd: \xff\0akworker/tmpdevshm0";
    let mut text = move || -> Vec<u8> {
        (0..random() % 12).map(|_| alphabet[usize::try_from(random()).unwrap() % alphabet.len()]).collect()
    };
    let mut total = 0;
    for round in 0..5_000_u32 {
        let mut run = exec("/x");
        (run.exe, run.cwd, run.filename, run.comm) = (text(), text(), text(), text());
        run.args = vec![text(); usize::try_from(round % 3).unwrap()];
        run.script = round % 2 == 0;
        run.file.links = round % 4;
        run.file.magic = if round % 5 == 0 { 0x0102_1994 } else { 0 };
        run.stdio = [inet(1), Stdio { kind: round, family: 10, ..inet(2) }, inet(3)];
        total += found(&run).len();
    }
    assert!(total > 1000, "{total}");
}
