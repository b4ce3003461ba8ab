use std::{io::Write, process::Stdio};

use super::*;

const TAIL: &str = "S 1 2 3 34816 5 4194304 11 12 13 14 15 16 17 18 20 0 21 0 22 23 24 \
    18446744073709551615 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 256";

#[test]
fn the_fields_of_stat_are_where_proc_5_says() {
    let stat = Stat::parse(format!("42 (name) {TAIL}\n").as_bytes()).unwrap();
    let wanted = Stat {
        comm: b"name".to_vec(),
        state: b'S',
        parent: 1,
        process_group: 2,
        session: 3,
        tty: b"pts/0".to_vec(),
        kernel_thread: false,
        minor_faults: 11,
        major_faults: 13,
        user_ticks: 15,
        system_ticks: 16,
        threads: 21,
        start_ticks: 22,
        virtual_bytes: 23,
        resident_bytes: 24 * *PAGE,
        exit_status: 256,
    };
    assert_eq!(stat, wanted);
}

#[test]
fn hostile_names_do_not_shift_the_fields() {
    for name in ["a b", ") R 1 (", "x)\n(y", "", "))))", "\u{1}\u{1b}[0m"] {
        let stat = Stat::parse(format!("42 ({name}) {TAIL}").as_bytes()).unwrap();
        assert_eq!((stat.comm.as_slice(), stat.parent, stat.start_ticks), (name.as_bytes(), 1, 22));
    }
    let mut bytes = b"42 (\xff\xfe) ".to_vec();
    bytes.extend_from_slice(TAIL.as_bytes());
    assert_eq!(Stat::parse(&bytes).unwrap().comm, b"\xff\xfe");
    for broken in ["", "42", "42 (x", "42 (x) S 1", ")(", "42 (x) S a b c"] {
        assert_eq!(Stat::parse(broken.as_bytes()), None, "{broken}");
    }
}

#[test]
fn terminals_have_their_names() {
    for (device, name) in [
        (0, ""),
        (34816, "pts/0"),
        (0x8800 | 7, "pts/7"),
        ((136 << 8) | 0x10_0001, "pts/257"),
        (1025, "tty1"),
        ((4 << 8) | 64, "ttyS0"),
        ((5 << 8) | 1, "console"),
        ((204 << 8) | 64, "204:64"),
    ] {
        assert_eq!(tty(device), name.as_bytes(), "{device:#x}");
    }
}

#[test]
fn status_and_io_are_parsed() {
    let text = b"Name:\tx\\nUid:\t9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nvoluntary_ctxt_switches:\t10\n\
        nonvoluntary_ctxt_switches:\t11\nCapPrm:\tff\nCapEff:\t000001fffeffffff\n";
    let capabilities = 0x1ff_feff_ffff;
    let wanted = Status { uid: 1, euid: 2, suid: 3, gid: 5, egid: 6, capabilities, voluntary: 10, involuntary: 11 };
    assert_eq!(Status::parse(text), wanted);
    assert_eq!(Status::parse(b"Uid:\nGid\nUid: x"), Status::default());
    let io = b"rchar: 1\nwchar: 2\nsyscr: 9\nsyscw: 9\nread_bytes: 3\nwrite_bytes: 4\ncancelled_write_bytes: 9\n";
    assert_eq!(parse_io(io), [1, 2, 3, 4]);
    assert_eq!(parse_io(b"\xff"), [0; 4]);
}

#[test]
fn a_renamed_child_is_read_as_it_is() {
    // The shell's own printf, so that it renames the shell; the quotes are the shell's.
    let program = r"printf 'a) Z 1\n(\377\001' > /proc/$$/comm; echo ready; read line";
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", program, "\u{1}", ""])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let snapshot = Snapshot::read(child.id(), 4096).unwrap();
    child.stdin.take().unwrap().flush().unwrap();
    child.wait().unwrap();
    assert_eq!(snapshot.stat.comm, b"a) Z 1\n(\xff\x01");
    assert_eq!(snapshot.stat.parent, std::process::id());
    let args = super::super::text::lossy(&snapshot.args);
    assert!(args.starts_with("/bin/sh\0-c\0printf") && args.ends_with("\0\x01\0\0"), "{args:?}");
    assert_eq!(snapshot.cwd, std::env::current_dir().unwrap().into_os_string().as_bytes());
    assert!(snapshot.exe.starts_with(b"/") && !snapshot.stat.kernel_thread && !snapshot.stat.ended());
    // A shell is root's wherever it is installed.
    let file = std::fs::metadata("/bin/sh").unwrap();
    assert_eq!((snapshot.file.inode, snapshot.file.of_root()), (file.ino(), true), "{:?}", snapshot.file);
}

#[test]
fn the_test_process_sees_itself() {
    let pid = std::process::id();
    let snapshot = Snapshot::read(pid, 16).unwrap();
    assert_eq!(snapshot.exe, std::env::current_exe().unwrap().into_os_string().as_bytes());
    assert_eq!((snapshot.status.uid, snapshot.args.len() <= 16), (rustix::process::getuid().as_raw(), true));
    assert!(open_fds(pid).unwrap() >= 3);
    assert!(snapshot.usage().voluntary_switches > 0 && snapshot.stat.threads > 1);
    assert!(pids().unwrap().contains(&pid));
}

#[test]
fn a_deleted_program_keeps_its_name() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["sleeper", "odd (deleted)"] {
        let path = directory.path().join(name);
        std::fs::copy("/bin/sleep", &path).unwrap();
        let mut child = std::process::Command::new(&path).arg("60").spawn().unwrap();
        let before = exe(child.id()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let after = exe(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((before.as_slice(), after.as_slice()), (path.as_os_str().as_bytes(), path.as_os_str().as_bytes()));
    }
}

#[test]
fn nobody_is_not_found() {
    assert!(Snapshot::read(u32::MAX, 16).is_none());
    assert_eq!(loginuid(u32::MAX), None);
}
