//! `activity`: each call but those about files is made by a process of our own, and told field by field. What is not to be
//! told is made too: a test asserts all that is told of its process.

use std::{
    fmt::Write as _,
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::MetadataExt as _,
    sync::OnceLock,
};

use monitor_tests::{Daemon, Told, Workload, again_if_missed, directory};
use serde_json::json;

/// A daemon to which all but files is told, and nothing that rules ask for. It runs until the test process ends.
fn daemon() -> &'static Daemon {
    static DAEMON: OnceLock<Daemon> = OnceLock::new();
    let daemon = DAEMON.get_or_init(|| {
        let kinds = [
            "ioctl",
            "dup",
            "socket",
            "connect",
            "bind",
            "listen",
            "accept",
            "send",
            "mount",
            "chroot",
            "setns",
            "unshare",
            "ptrace",
            "process_vm",
            "signal",
            "prctl",
            "set_ids",
            "capset",
            "module",
            "bpf",
            "kexec",
            "memory_exec",
            "memfd_create",
            "userfaultfd",
            "io_uring",
        ];
        Daemon::start(&format!("[rules]\ndefaults = false\n[log]\nlevel = \"info,monitor::activity=debug\"\n[activity]\nkinds = {kinds:?}\n"))
    });
    daemon.is_older_than_the_test();
    daemon
}

/// What a process asks for, one call after the other.
#[derive(Default)]
pub(super) struct Asks {
    pub(super) steps: Vec<String>,
}

impl Asks {
    pub(super) fn step(mut self, step: impl AsRef<str>) -> Self {
        if !self.steps.is_empty() {
            self.steps.push("+".to_owned());
        }
        self.steps.extend(step.as_ref().split(' ').map(str::to_owned));
        self
    }

    /// A call of the machine's own convention.
    pub(super) fn ask(self, call: libc::c_long, arguments: &str) -> Self {
        self.step(format!("ask {call} {arguments}").trim_end())
    }

    /// One of 32-bit programs.
    pub(super) fn ask32(self, call: u32, arguments: &str) -> Self {
        self.step(format!("ask32 {call} {arguments}").trim_end())
    }

    /// Lets a process do that; what each call returned, and what was told, which are these calls and no others.
    pub(super) fn told(self, expected: &[&str]) -> (Vec<i64>, Vec<Told>) {
        let steps: Vec<&str> = self.steps.iter().map(String::as_str).collect();
        let asks = steps.split(|step| *step == "+").count();
        let daemon = daemon();
        let mut workload = Workload::spawn(&steps);
        let results = (0..asks).map(|_| workload.line().parse().unwrap()).collect();
        let pid = workload.finish().pid;
        (results, all(daemon, pid, expected))
    }
}

/// All that is told of a process.
fn all(daemon: &Daemon, pid: u32, expected: &[&str]) -> Vec<Told> {
    daemon.told(pid, |told| told.iter().map(Told::call).eq(expected.iter().copied()))
}

pub(super) fn args(told: &Told) -> Vec<i64> {
    (0..6).map(|index| told.number(&format!("/args/{index}"))).collect()
}

pub(super) fn this_process() -> i64 {
    i64::from(std::process::id())
}

const EINPROGRESS: i64 = -115;

#[test]
fn connections_are_told_with_both_ends() {
    again_if_missed(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Bound, but nobody listens there.
        let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port();
        let (results, told) = Asks::default()
            .ask(libc::SYS_socket, "2 1 0")
            .ask(libc::SYS_connect, &format!("$0 inet:127.0.0.1:{port} 16"))
            .ask(libc::SYS_socket, "10 1 0")
            .ask(libc::SYS_connect, &format!("$2 inet6:[::1]:{other} 28"))
            // Not waited for.
            .ask(libc::SYS_socket, "2 0x801 0")
            .ask(libc::SYS_connect, &format!("$4 inet:127.0.0.1:{port} 16"))
            .ask(libc::SYS_socket, "2 2 0")
            .ask(libc::SYS_sendto, &format!("$6 @x 1 0 inet:127.0.0.1:{} 16", deaf.local_addr().unwrap().port()))
            // To whom it is connected: that was told.
            .ask(libc::SYS_sendto, "$0 @x 1 0 0 0")
            .told(&["socket", "connect", "socket", "connect", "socket", "connect", "socket", "sendto"]);

        let [socket, connect, _, refused, _, begun, datagram, sent] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((socket.result(), args(socket)[..3].to_vec()), (results[0], vec![2, 1, 0]));
        assert_eq!((socket.text("/kind"), socket.text("/via")), ("socket", "native"));
        let of_socket = |told: &Told, field: &str| told.number(&format!("/socket/{field}"));
        assert_eq!((of_socket(socket, "family"), of_socket(socket, "type"), of_socket(socket, "protocol")), (2, 1, 6));
        assert_ne!(of_socket(socket, "inode"), 0);

        let localhost = |port: u16| format!("127.0.0.1:{port}");
        assert_eq!((connect.result(), of_socket(connect, "inode")), (0, of_socket(socket, "inode")));
        assert_eq!(
            (connect.text("/socket/peer"), connect.at("/socket/peer_asked")),
            (&*localhost(port), &json!(false))
        );
        assert_eq!(of_socket(connect, "state"), 1, "established, says the kernel");
        let accepted = listener.accept().unwrap().1;
        assert_eq!(connect.text("/socket/local"), accepted.to_string());

        assert_eq!((refused.result(), of_socket(refused, "family")), (i64::from(-libc::ECONNREFUSED), 10));
        let asked = format!("[::1]:{other}");
        assert_eq!((refused.text("/socket/peer"), refused.at("/socket/peer_asked")), (&*asked, &json!(true)));

        assert_eq!(begun.result(), EINPROGRESS);
        assert_eq!((begun.text("/socket/peer"), begun.at("/socket/peer_asked")), (&*localhost(port), &json!(false)));

        assert_eq!((of_socket(datagram, "type"), of_socket(datagram, "protocol"), sent.result()), (2, 17, 1));
        let asked = deaf.local_addr().unwrap().to_string();
        assert_eq!((sent.text("/socket/peer"), sent.at("/socket/peer_asked")), (&*asked, &json!(true)));
    });
}

#[test]
fn who_listens_and_whom_it_accepts_is_told() {
    again_if_missed(|| {
        let daemon = daemon();
        let steps = Asks::default()
            .ask(libc::SYS_socket, "2 1 0")
            .ask(libc::SYS_bind, "$0 inet:127.0.0.1:0 16")
            .ask(libc::SYS_listen, "$0 5")
            .ask(libc::SYS_accept4, "$0 0 0 0")
            .steps;
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let mut workload = Workload::spawn(&steps);
        let results: Vec<i64> = (0..3).map(|_| workload.line().parse().unwrap()).collect();
        let told = all(daemon, workload.pid(), &["socket", "bind", "listen"]);
        let address = told[1].text("/socket/local");
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        assert_eq!(told[1].text("/socket/peer"), "0.0.0.0:0");
        assert_eq!((told[2].number("/args/1"), told[2].text("/socket/local")), (5, address));
        assert_eq!(told[2].number("/socket/state"), 10, "it listens, says the kernel");

        let client = std::net::TcpStream::connect(address).unwrap();
        let descriptor: i64 = workload.line().parse().unwrap();
        let told = all(daemon, workload.pid(), &["socket", "bind", "listen", "accept4"]);
        let accepted = &told[3];
        assert_eq!((accepted.result(), accepted.number("/args/0")), (descriptor, results[0]));
        assert_eq!(accepted.text("/socket/peer"), client.local_addr().unwrap().to_string());
        assert_eq!((accepted.text("/socket/local"), accepted.text("/kind")), (address, "accept"));
        workload.finish();
    });
}

#[test]
fn unix_sockets_are_told_with_their_address() {
    again_if_missed(|| {
        let place = directory();
        let path = place.path().join("s");
        let path = path.to_str().unwrap();
        let length = path.len() + 3;
        let name = format!("monitor-test-{}", std::process::id());
        let (_, told) = Asks::default()
            .ask(libc::SYS_socket, "1 1 0")
            .ask(libc::SYS_bind, &format!("$0 unix:{path} {length}"))
            .ask(libc::SYS_listen, "$0 1")
            .ask(libc::SYS_socket, "1 1 0")
            .ask(libc::SYS_connect, &format!("$3 unix:{path} {length}"))
            .ask(libc::SYS_socket, "1 2 0")
            .ask(libc::SYS_bind, &format!("$5 abstract:{name} {}", name.len() + 3))
            .ask(libc::SYS_connect, &format!("$5 unix:{path}x {}", length + 1))
            .ask(libc::SYS_sendto, &format!("$5 @x 1 0 abstract:{name} {}", name.len() + 3))
            .told(&["socket", "bind", "listen", "socket", "connect", "socket", "bind", "connect", "sendto"]);
        let address = |index: usize| told[index].text("/path");
        assert_eq!((address(1), told[1].number("/socket/family")), (path, 1));
        assert_eq!((address(2), address(4)), (path, path));
        let hidden = format!("\0{name}");
        assert_eq!((address(6), address(8)), (&*hidden, &*hidden));
        assert_eq!((told[7].result(), address(7)), (i64::from(-libc::ENOENT), &*format!("{path}x")));
    });
}

#[test]
fn sockets_that_see_the_packets_of_others_are_told() {
    again_if_missed(|| {
        let (results, told) =
            Asks::default().ask(libc::SYS_socket, "17 3 0").ask(libc::SYS_socket, "2 3 1").told(&["socket", "socket"]);
        assert_eq!(
            (told[0].result(), told[0].number("/socket/family"), told[0].number("/socket/type")),
            (results[0], 17, 3)
        );
        assert_eq!((told[1].number("/socket/type"), told[1].number("/socket/protocol")), (3, 1));
    });
}

#[test]
fn descriptors_that_become_standard_ones_are_told() {
    again_if_missed(|| {
        let (results, told) = Asks::default()
            .ask(libc::SYS_socket, "2 1 0")
            .ask(libc::SYS_dup3, "$0 2 0")
            // Onto none of the three; what is no socket or pipe; what failed.
            .ask(libc::SYS_dup3, "$0 9 0")
            .ask(libc::SYS_openat, "-100 @/dev/null 0 0")
            .ask(libc::SYS_dup3, "$3 2 0")
            .ask(libc::SYS_dup3, "99 2 0")
            .ask(libc::SYS_dup3, "1 2 0")
            .ask(libc::SYS_close, "2")
            .ask(libc::SYS_fcntl, &format!("$0 {} 2", libc::F_DUPFD_CLOEXEC))
            .ask(libc::SYS_fcntl, &format!("$0 {}", libc::F_GETFL))
            .ask(libc::SYS_close, "2")
            .ask(libc::SYS_dup, "$0")
            .told(&["socket", "dup3", "dup3", "fcntl", "dup"]);
        let [socket, dup3, pipe, fcntl, dup] = told.as_slice() else { panic!("{told:?}") };
        for (told, descriptor) in [(dup3, results[0]), (fcntl, results[0]), (dup, results[0])] {
            assert_eq!((told.result(), told.number("/args/0")), (2, descriptor));
            assert_eq!(told.number("/socket/inode"), socket.number("/socket/inode"));
            assert_eq!(told.number("/file/mode") & 0o170_000, 0o140_000);
        }
        assert_eq!((pipe.number("/file/mode") & 0o170_000, pipe.number("/args/0")), (0o010_000, 1));
        assert_eq!(pipe.at("/socket"), &json!(null));
    });
}

#[test]
fn flags_of_a_file_and_characters_pushed_into_a_terminal_are_told() {
    again_if_missed(|| {
        let place = directory();
        let file = place.path().join("f");
        fs::write(&file, "").unwrap();
        let path = file.to_str().unwrap();
        let (_, told) = Asks::default()
            .ask(libc::SYS_openat, &format!("-100 @{path} 0 0"))
            .ask(libc::SYS_ioctl, "$0 0x40086602 words:64")
            .ask(libc::SYS_ioctl, "0 0x5412 @x")
            // Asks only.
            .ask(libc::SYS_ioctl, "$0 0x80086601 words:0")
            .told(&["ioctl", "ioctl"]);
        assert_eq!((told[0].text("/path"), told[0].number("/args/2")), (path, 64));
        assert_eq!(told[0].number("/file/inode"), fs::metadata(&file).unwrap().ino().cast_signed());
        assert_eq!((told[1].result(), told[1].number("/args/1")), (i64::from(-libc::ENOTTY), 0x5412));
    });
}

#[test]
fn what_is_done_to_another_process_is_told_with_whom() {
    again_if_missed(|| {
        let mut other = Workload::spawn(&["say", "ready", "+", "wait"]);
        assert_eq!(other.line(), "ready");
        let victim = other.pid();
        // Ignored unless asked for.
        let signal = libc::SIGWINCH;
        let (results, told) = Asks::default()
            .ask(libc::SYS_pidfd_open, &format!("{victim} 0"))
            .ask(libc::SYS_kill, &format!("{victim} {signal}"))
            .ask(libc::SYS_tgkill, &format!("{victim} {victim} {signal}"))
            .ask(libc::SYS_pidfd_send_signal, &format!("$0 {signal} 0 0"))
            .ask(libc::SYS_process_vm_writev, &format!("{victim} longs:0,0 1 longs:0,1 1 0"))
            .ask(libc::SYS_pidfd_getfd, "$0 1 0")
            .ask(libc::SYS_ptrace, &format!("0x4206 {victim} 0 0"))
            // To itself, none at all, and to nobody.
            .ask(libc::SYS_kill, &format!("% {signal}"))
            .ask(libc::SYS_kill, &format!("{victim} 0"))
            .ask(libc::SYS_kill, &format!("0x3fffff {signal}"))
            .ask(libc::SYS_tgkill, &format!("% % {signal}"))
            .told(&["kill", "tgkill", "pidfd_send_signal", "process_vm_writev", "pidfd_getfd", "ptrace"]);
        for told in &told {
            assert_eq!(told.number("/target/pid"), i64::from(victim), "{told:?}");
        }
        assert_eq!((told[0].text("/kind"), told[0].number("/args/1")), ("signal", signal.into()));
        assert_eq!(told[4].result(), results[5]);
        assert_eq!(told[4].number("/file/mode") & 0o170_000, 0o010_000, "its output is a pipe");
        assert_eq!((told[5].text("/kind"), told[5].number("/args/0"), told[5].result()), ("ptrace", 0x4206, 0));
        // The start time that tells it apart is that of its own activities.
        let (_, own) = Asks::default().ask(libc::SYS_kill, &format!("%% {signal}")).told(&["kill"]);
        assert_eq!(own[0].number("/target/pid"), this_process());
        other.finish();
    });
}

#[test]
fn names_that_a_process_gives_itself_are_told() {
    again_if_missed(|| {
        let (_, told) = Asks::default()
            .ask(libc::SYS_prctl, &format!("{} @[kworker/0:1]", libc::PR_SET_NAME))
            .ask(libc::SYS_prctl, &format!("{} 0", libc::PR_SET_DUMPABLE))
            .ask(libc::SYS_prctl, &format!("{}", libc::PR_GET_DUMPABLE))
            .told(&["prctl", "prctl"]);
        assert_eq!((told[0].text("/name/raw"), told[0].text("/comm")), ("[kworker/0:1]", "[kworker/0:1]"));
        assert_eq!(told[0].text("/name/path"), "", "it is no path");
        assert_eq!(told[1].number("/args/0"), i64::from(libc::PR_SET_DUMPABLE));
    });
}

#[test]
fn credentials_are_told_as_they_are_after_the_call() {
    again_if_missed(|| {
        let (_, told) = Asks::default()
            .ask(libc::SYS_setresgid, "1001 1002 1003")
            .ask(libc::SYS_setresuid, "2001 2002 2003")
            .ask(libc::SYS_setuid, "0")
            .ask(libc::SYS_capset, "words:0x20080522,0 words:0,0,0,0,0,0")
            .told(&["setresgid", "setresuid", "setuid", "capset"]);
        let actor = |index: usize| {
            ["uid", "euid", "suid", "gid", "egid", "capabilities"].map(|id| told[index].number(&format!("/{id}")))
        };
        let before = actor(0);
        assert_eq!(before[..5], [0, 0, 0, 1001, 1002]);
        assert_ne!(before[5], 0);
        assert_eq!((actor(1), told[1].result()), ([2001, 2002, 2003, 1001, 1002, 0], 0));
        assert_eq!((actor(2), told[2].result()), (actor(1), i64::from(-libc::EPERM)), "an attempt");
        assert_eq!(told[3].text("/kind"), "capset");
    });
}

/// A directory below which mounts are private to the process that asks.
fn private() -> Asks {
    Asks::default()
        .ask(libc::SYS_unshare, &format!("{}", libc::CLONE_NEWNS))
        .ask(libc::SYS_mount, &format!("@none @/ 0 {} 0", libc::MS_REC | libc::MS_PRIVATE))
}

#[test]
fn mounts_roots_and_namespaces_are_told() {
    again_if_missed(|| {
        let place = directory();
        let path = place.path().to_str().unwrap();
        let (results, told) = private()
            .ask(libc::SYS_mount, &format!("@source @{path} @tmpfs 0 0"))
            .ask(libc::SYS_umount2, &format!("@{path} 2"))
            .ask(libc::SYS_openat, "-100 @/proc/self/ns/mnt 0 0")
            .ask(libc::SYS_setns, &format!("$4 {}", libc::CLONE_NEWNS))
            .step(format!("ask-child {} {} 0 0 0 0", libc::SYS_clone, libc::CLONE_NEWUTS | libc::SIGCHLD))
            .step(format!("ask-child {} longs:{},0,0,0,0,0,0,0 64", libc::SYS_clone3, libc::CLONE_NEWIPC))
            // A child like any other.
            .step(format!("ask-child {} {} 0 0 0 0", libc::SYS_clone, libc::SIGCHLD))
            .ask(libc::SYS_chroot, &format!("@{path}"))
            .ask(libc::SYS_chroot, "@none/such")
            .told(&["unshare", "mount", "mount", "umount2", "setns", "clone", "clone3", "chroot", "chroot"]);
        assert_eq!(told[0].number("/args/0"), i64::from(libc::CLONE_NEWNS));
        let mounted = &told[2];
        assert_eq!((mounted.text("/name/raw"), mounted.text("/name/path")), (path, path));
        assert_eq!((mounted.text("/other/raw"), mounted.text("/other/path")), ("source", ""));
        assert_eq!((told[3].text("/name/path"), told[3].number("/args/1")), (path, 2));
        assert_eq!(told[4].number("/file/magic"), 0x6e73_6673, "a file of nsfs");
        for (told, (child, flag)) in
            told[5..7].iter().zip([(results[6], libc::CLONE_NEWUTS), (results[7], libc::CLONE_NEWIPC)])
        {
            assert_eq!((told.number("/args/0") & i64::from(flag), told.result()), (i64::from(flag), child));
            assert_eq!((told.number("/target/pid"), told.text("/kind")), (child, "unshare"));
        }
        assert_eq!((told[7].text("/path"), told[7].text("/name/raw")), (path, path));
        assert_eq!(told[7].text("/name/path"), "", "the root that the name started from is gone");
        assert_eq!((told[8].result(), told[8].text("/name/raw")), (i64::from(-libc::ENOENT), "none/such"));
    });
}

#[test]
fn mounts_by_the_new_calls_are_told() {
    again_if_missed(|| {
        let place = directory();
        let path = place.path().to_str().unwrap();
        let (results, told) = private()
            .ask(libc::SYS_fsopen, "@tmpfs 0")
            .ask(libc::SYS_fsconfig, "$2 1 @size @1m 0")
            .ask(libc::SYS_fsconfig, "$2 6 0 0 0")
            .ask(libc::SYS_fsmount, "$2 0 0")
            .ask(libc::SYS_move_mount, &format!("$5 @ -100 @{path} 4"))
            .ask(libc::SYS_open_tree, &format!("-100 @{path} 1"))
            .ask(libc::SYS_umount2, &format!("@{path} 2"))
            .told(&[
                "unshare",
                "mount",
                "fsopen",
                "fsconfig",
                "fsconfig",
                "fsmount",
                "move_mount",
                "open_tree",
                "umount2",
            ]);
        assert_eq!((told[2].text("/name/raw"), told[2].result()), ("tmpfs", results[2]));
        assert_eq!((told[3].text("/name/raw"), told[3].text("/other/raw")), ("size", "1m"));
        assert_eq!((told[3].text("/name/path"), told[3].text("/other/path")), ("", ""));
        assert_eq!((told[5].text("/path"), told[5].result()), ("/", results[5]));
        assert_eq!((told[6].text("/other/path"), told[6].number("/args/0")), (path, results[5]));
        assert_eq!((told[7].text("/name/path"), told[7].number("/file/magic")), (path, 0x0102_1994));
    });
}

#[test]
fn what_is_asked_of_the_kernel_itself_is_told() {
    again_if_missed(|| {
        // Names and values of `union bpf_attr`: an array with one entry, called "kernel_tests".
        let mut attributes = "words:2,4,4,1,0,0,0".to_owned();
        for word in b"kernel_tests".chunks(4) {
            write!(attributes, ",{}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])).unwrap();
        }
        attributes.push_str(",0,0,0,0,0,0,0,0");
        let file = directory();
        let path = file.path().join("m.ko");
        fs::write(&path, "no module").unwrap();
        let path = path.to_str().unwrap();
        let (results, told) = Asks::default()
            .ask(libc::SYS_bpf, &format!("0 {attributes} 72"))
            // An entry looked up in it.
            .ask(libc::SYS_bpf, "1 longs:0,0,0,0 32")
            .ask(libc::SYS_openat, &format!("-100 @{path} 0 0"))
            .ask(libc::SYS_finit_module, "$2 @one=1 0")
            .ask(libc::SYS_init_module, "@nothing 7 @two=2")
            .ask(libc::SYS_delete_module, "@no_such_module 0x800")
            .ask(libc::SYS_kexec_load, "0 99 0 0")
            .step("ring 0")
            .told(&["bpf", "finit_module", "init_module", "delete_module", "kexec_load", "io_uring_setup"]);
        assert_eq!((told[0].result(), args(&told[0])[..2].to_vec()), (results[0], vec![0, 2]));
        assert_eq!(told[0].text("/name/raw"), "kernel_tests");
        assert_eq!((told[1].text("/path"), told[1].text("/other/raw")), (path, "one=1"));
        assert_eq!((told[2].text("/other/raw"), told[3].text("/name/raw")), ("two=2", "no_such_module"));
        assert!(told[1..5].iter().all(|told| told.result() < 0), "attempts: {told:?}");
        assert_eq!((told[5].number("/args/0"), told[5].result()), (4, results[7]));
    });
}

#[test]
fn memory_that_code_is_written_to_and_run_from_is_told() {
    again_if_missed(|| {
        let (results, told) = Asks::default()
            .ask(libc::SYS_mmap, "0 4096 7 0x22 -1 0")
            .ask(libc::SYS_mmap, "0 4096 3 0x22 -1 0")
            .ask(libc::SYS_mprotect, "$1 4096 5")
            .ask(libc::SYS_memfd_create, "@kernel-tests 0")
            .ask(libc::SYS_userfaultfd, "0xdead0000")
            // What is executable only, and was so from the beginning; and what is not.
            .ask(libc::SYS_mmap, "0 4096 5 0x22 -1 0")
            .ask(libc::SYS_mprotect, "$5 4096 1")
            .told(&["mmap", "mprotect", "memfd_create", "userfaultfd"]);
        assert_eq!((told[0].result(), told[0].number("/args/2")), (results[0], 7));
        assert_eq!((told[1].number("/args/0"), told[1].number("/args/2")), (results[1], 5));
        assert_eq!((told[2].text("/path"), told[2].text("/name/raw")), ("memfd:kernel-tests", "kernel-tests"));
        assert_eq!((told[2].number("/file/links"), told[2].number("/file/magic")), (0, 0x0102_1994));
        assert!(told[3].result() < 0);
    });
}
