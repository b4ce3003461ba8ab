use monitor_common::record::{Header, ProcessKey};
use monitor_common::signals::exec::Stdio;
use zerocopy::{FromZeros, IntoBytes};

use super::*;

/// What follows the head of a record.
#[derive(Clone, Copy)]
struct Tail<'a> {
    exe: &'a [&'a [u8]],
    cwd: &'a [&'a [u8]],
    args: &'a [u8],
    env: &'a [u8],
}

const TAIL: Tail<'static> = Tail { exe: &[b"cat", b"bin", b"usr"], cwd: &[b"me", b"home"], args: b"", env: b"" };

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

/// A record as the kernel writes it: /usr/bin/cat.
fn record(kind: Kind, tail: Tail<'_>, change: impl FnOnce(&mut ExecHead)) -> Vec<u8> {
    let ended =
        |components: &[&[u8]]| components.iter().flat_map(|name| [name, &[0][..]].concat()).collect::<Vec<u8>>();
    let (exe, cwd) = (ended(tail.exe), ended(tail.cwd));
    let mut head = ExecHead::new_zeroed();
    head.header = Header { kind: kind as u16, cpu: 1, abi: ABI_VERSION, sequence: 9, time_ns: 77 };
    head.process = ProcessKey { start_ns: 5_000_000_000, tgid: 4321, reserved: 0 };
    head.parent = ProcessKey { start_ns: 4_000_000_000, tgid: 4320, reserved: 0 };
    (head.inode, head.magic, head.device, head.owner) = (11, 0xef53, 0x10_0002, 12);
    (head.cgroup_id, head.cgroup_set) = (13, 14);
    (head.uid, head.euid, head.gid, head.egid, head.loginuid) = (1000, 1001, 1002, 1003, u32::MAX);
    (head.suid, head.cap_effective, head.session, head.process_group) = (1004, 0x1ff, 4300, 4310);
    (head.modified_ns, head.changed_ns, head.upper_layer) = (15, 16, 1);
    (head.mounted, head.user_namespace) = (1, 2);
    (head.mode, head.links) = (0o100_755, 1);
    (head.args_length, head.args_copied) = (length(tail.args), length(tail.args));
    (head.env_length, head.env_copied) = (length(tail.env), length(tail.env));
    head.stdio[1] = Stdio { kind: 2, ..Stdio::default() };
    head.comm[..3].copy_from_slice(b"cat");
    head.tty[..5].copy_from_slice(b"pts/0");
    (head.exe_length, head.cwd_length, head.filename_length) = (length(&exe), length(&cwd), 3);
    change(&mut head);
    let mut bytes = [head.as_bytes(), &exe, &cwd, b"cat"].concat();
    if kind == Kind::ExecLong {
        bytes.resize(offset_of!(ExecLong, args), 0xaa);
    }
    bytes.extend_from_slice(tail.args);
    if kind == Kind::ExecLong {
        bytes.resize(offset_of!(ExecLong, env), 0xaa);
    }
    bytes.extend_from_slice(tail.env);
    bytes
}

fn short(args: &[u8], env: &[u8], change: impl FnOnce(&mut ExecHead)) -> Exec {
    decode(&record(Kind::Exec, Tail { args, env, ..TAIL }, change)).unwrap()
}

#[test]
fn every_field_arrives() {
    let exec = short(b"cat\0a b\0", b"HOME=/root\0LD_PRELOAD=/x.so\0", |_| {});
    let expected = Exec {
        time_ns: 77,
        cpu: 1,
        process: ProcessKey { start_ns: 5_000_000_000, tgid: 4321, reserved: 0 },
        parent: ProcessKey { start_ns: 4_000_000_000, tgid: 4320, reserved: 0 },
        exe: b"/usr/bin/cat".to_vec(),
        cwd: b"/home/me".to_vec(),
        filename: b"cat".to_vec(),
        args: vec![b"cat".to_vec(), b"a b".to_vec()],
        args_length: 8,
        env: vec![(b"LD_PRELOAD".to_vec(), b"/x.so".to_vec())],
        uid: 1000,
        euid: 1001,
        suid: 1004,
        capabilities: 0x1ff,
        session: 4300,
        process_group: 4310,
        gid: 1002,
        egid: 1003,
        tty: b"pts/0".to_vec(),
        comm: b"cat".to_vec(),
        file: ExecFile {
            mode: 0o100_755,
            links: 1,
            owner: 12,
            inode: 11,
            device: 0x10_0002,
            magic: 0xef53,
            modified_ns: 15,
            changed_ns: 16,
            upper_layer: true,
            mounted: true,
            foreign_mounts: true,
        },
        stdio: [Stdio::default(), Stdio { kind: 2, ..Stdio::default() }, Stdio::default()],
        cgroup_id: 13,
        cgroup_set: 14,
        ..Exec::default()
    };
    assert_eq!(exec, expected);
}

#[test]
fn a_long_record_has_its_parts_at_their_places() {
    let args = vec![b'x'; ARGS];
    let mut env = b"LD_AUDIT=".to_vec();
    env.resize(ENVIRONMENT_ROOM, b'y');
    let tail = Tail { args: &args, env: &env, ..TAIL };
    let bytes = record(Kind::ExecLong, tail, |_| {});
    assert_eq!(bytes.len(), size_of::<ExecLong>());
    let exec = decode(&bytes).unwrap();
    assert_eq!(
        (&exec.exe[..], &exec.cwd[..], &exec.filename[..]),
        (&b"/usr/bin/cat"[..], &b"/home/me"[..], &b"cat"[..])
    );
    assert_eq!((exec.args, exec.env[0].1.len()), (vec![args.clone()], ENVIRONMENT_ROOM - 9));
    // The same of the other kind has no gaps.
    let packed = decode(&record(Kind::Exec, tail, |_| {})).unwrap();
    assert_eq!((packed.args, packed.exe), (vec![args.clone()], exec.exe));
}

#[test]
fn an_exec_of_the_usual_size_takes_little_more_than_a_kilobyte() {
    // A shell's environment; what the rings are measured by (`limits::SECURITY_RING`).
    let tail = Tail { args: &[b'a'; 60], env: &[b'e'; 600], ..TAIL };
    assert!(record(Kind::Exec, tail, |_| {}).len() <= 1160, "{}", record(Kind::Exec, tail, |_| {}).len());
}

#[test]
fn paths_at_the_edges() {
    let exe = |exe: &[&[u8]], cut: u32, links: u32| {
        let change = |head: &mut ExecHead| (head.exe_cut, head.links) = (cut, links);
        decode(&record(Kind::Exec, Tail { exe, ..TAIL }, change)).unwrap().exe
    };
    assert_eq!(exe(&[], 0, 1), b"/");
    assert_eq!(exe(&[b"/"], 0, 1), b"/");
    assert_eq!(exe(&[b"x", b"/"], 0, 1), b"/x");
    assert_eq!(exe(&[b"c", b"b"], 1, 1), b".../b/c");
    assert_eq!(exe(&[], 1, 1), b".../");
    assert_eq!(exe(&[b"memfd:a/b"], 0, 0), b"memfd:a/b");
    // A file of that name in the root directory is no memfd.
    assert_eq!(exe(&[b"memfd:a"], 0, 1), b"/memfd:a");
    assert_eq!(exe(&[b"memfd:a", b"tmp"], 0, 0), b"/tmp/memfd:a");
    assert_eq!(exe(&[b"\xff\n"], 0, 1), b"/\xff\n");
}

#[test]
fn arguments_at_the_edges() {
    let args = |block: &[u8]| short(block, b"", |_| {}).args;
    assert_eq!(args(b""), Vec::<Vec<u8>>::new());
    assert_eq!(args(b"\0"), [b""]);
    assert_eq!(args(b"a\0\0"), [&b"a"[..], b""]);
    assert_eq!(args(b"a\0bc"), [&b"a"[..], b"bc"]);
}

#[test]
fn cut_arguments_say_so_with_their_true_length() {
    let exec = short(b"aa\0b", b"", |head| head.args_length = 40_000);
    assert!(exec.args_truncated);
    assert_eq!((exec.args_length, exec.args), (40_000, vec![b"aa".to_vec(), b"b".to_vec()]));
    let unread = short(b"", b"", |head| (head.args_length, head.env_length) = (10, 10));
    assert!(unread.args_truncated && unread.env_truncated && unread.args.is_empty());
}

#[test]
fn a_variable_given_twice_stays_twice() {
    let exec = short(b"", b"LD_PRELOAD=a\0LD_PRELOADX=n\0LD_PRELOAD\0=x\0LD_PRELOAD=b=c\0", |_| {});
    let pair = |value: &[u8]| (b"LD_PRELOAD".to_vec(), value.to_vec());
    assert_eq!(exec.env, [pair(b"a"), pair(b"b=c")]);
}

#[test]
fn records_that_lie_are_refused_with_the_reason() {
    let tail = Tail { args: b"a\0", ..TAIL };
    let refused = |change: fn(&mut ExecHead)| decode(&record(Kind::Exec, tail, change)).unwrap_err();
    let too_long = |field, said, room| DecodeError::Length { field, said, room };
    assert_eq!(refused(|head| head.header.abi = 1), DecodeError::Abi { found: 1 });
    assert_eq!(refused(|head| head.header.kind = 4), DecodeError::NotExec { kind: 4 });
    assert_eq!(refused(|head| head.header.kind = 1), DecodeError::NotExec { kind: 1 });
    assert_eq!(refused(|head| head.header.kind = 99), DecodeError::NotExec { kind: 99 });
    let many = u32::try_from(ARGS).unwrap() + 1;
    assert_eq!(
        decode(&record(Kind::Exec, tail, |head| (head.args_copied, head.args_length) = (many, many))).unwrap_err(),
        too_long("arguments", many, ARGS)
    );
    assert_eq!(
        refused(|head| (head.env_copied, head.env_length) = (u32::MAX, u32::MAX)),
        too_long("environment", u32::MAX, ENVIRONMENT_ROOM)
    );
    assert_eq!(refused(|head| head.args_copied = 3), DecodeError::Copied { field: "arguments", copied: 3, length: 2 });
    assert_eq!(refused(|head| head.filename_length = 1025), too_long("filename", 1025, PATH));
    assert_eq!(refused(|head| head.exe_length = 1281), too_long("exe", 1281, PATH_ROOM));
    assert_eq!(refused(|head| head.cwd_length = 2), DecodeError::Unterminated { field: "cwd" });
    // Within the room there might be, but not within the record.
    let need = size_of::<ExecHead>() + 12 + 8 + 3 + 2 + 500;
    let have = need - 500;
    assert_eq!(refused(|head| (head.env_copied, head.env_length) = (500, 500)), DecodeError::Short { have, need });
}

#[test]
fn a_record_cut_short_anywhere_is_refused() {
    for kind in [Kind::Exec, Kind::ExecLong] {
        let whole = record(kind, Tail { args: b"a\0", env: b"x\0", ..TAIL }, |_| {});
        for end in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            assert!(matches!(decode(&whole[..end]), Err(DecodeError::Short { have, .. }) if have == end), "{end}");
        }
        // The ring may round the length up.
        let longer = [whole.as_slice(), &[0; 8]].concat();
        assert_eq!(decode(&longer), decode(&whole));
    }
}

#[test]
fn no_damage_makes_it_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let whole = record(Kind::Exec, Tail { args: b"a\0b\0", env: b"LD_AUDIT=1\0", ..TAIL }, |_| {});
    let (mut taken, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random(6) {
            // Of the head much is taken as it is, of the lengths nothing is: damage there half of the time.
            let below = if round % 2 == 0 { 172 } else { bytes.len() };
            bytes[random(below)] = u8::try_from(random(256)).unwrap();
        }
        bytes.truncate(whole.len() - if round % 5 == 0 { random(whole.len()) } else { 0 });
        match decode(&bytes) {
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}
