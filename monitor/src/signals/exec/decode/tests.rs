use monitor_common::record::{Header, ProcessKey};
use monitor_common::signals::exec::Stdio;
use zerocopy::{FromZeros, IntoBytes};

use super::*;

fn set_path(path: &mut Path, components: &[&[u8]]) {
    let names: Vec<u8> = components.iter().flat_map(|name| name.iter().copied().chain([0])).collect();
    path.names[..names.len()].copy_from_slice(&names);
    path.length = u32::try_from(names.len()).unwrap();
}

/// A record as the kernel writes it: /usr/bin/cat with two arguments.
fn record(kind: Kind, args: &[u8], env: &[u8], change: impl FnOnce(&mut ExecHead)) -> Vec<u8> {
    let mut head = ExecHead::new_zeroed();
    head.header = Header { kind: kind as u16, cpu: 1, abi: ABI_VERSION, sequence: 9, time_ns: 77 };
    head.process = ProcessKey { start_ns: 5_000_000_000, tgid: 4321, reserved: 0 };
    head.parent = ProcessKey { start_ns: 4_000_000_000, tgid: 4320, reserved: 0 };
    (head.inode, head.magic, head.device, head.owner) = (11, 0xef53, 0x10_0002, 12);
    (head.cgroup_id, head.cgroup_set) = (13, 14);
    (head.uid, head.euid, head.gid, head.egid, head.loginuid) = (1000, 1001, 1002, 1003, u32::MAX);
    (head.mode, head.links) = (0o100_755, 1);
    head.args_length = u32::try_from(args.len()).unwrap();
    head.args_copied = head.args_length;
    head.env_length = u32::try_from(env.len()).unwrap();
    head.env_copied = head.env_length;
    head.stdio[1] = Stdio { kind: 2, ..Stdio::default() };
    head.comm[..3].copy_from_slice(b"cat");
    head.tty[..5].copy_from_slice(b"pts/0");
    set_path(&mut head.exe, &[b"cat", b"bin", b"usr"]);
    set_path(&mut head.cwd, &[b"me", b"home"]);
    head.filename[..3].copy_from_slice(b"cat");
    head.filename_length = 3;
    change(&mut head);
    let (args_room, env_room) = match kind {
        Kind::ExecSmall => SMALL,
        Kind::ExecMedium => MEDIUM,
        _ => LARGE,
    };
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend_from_slice(args);
    bytes.resize(size_of::<ExecHead>() + args_room, 0);
    bytes.extend_from_slice(env);
    bytes.resize(size_of::<ExecHead>() + args_room + env_room, 0);
    bytes
}

fn small(args: &[u8], env: &[u8], change: impl FnOnce(&mut ExecHead)) -> Exec {
    decode(&record(Kind::ExecSmall, args, env, change)).unwrap()
}

#[test]
fn every_field_arrives() {
    let exec = small(b"cat\0a b\0", b"HOME=/root\0LD_PRELOAD=/x.so\0", |_| {});
    let expected = Exec {
        time_ns: 77,
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
        gid: 1002,
        egid: 1003,
        tty: b"pts/0".to_vec(),
        comm: b"cat".to_vec(),
        file: ExecFile { mode: 0o100_755, links: 1, owner: 12, inode: 11, device: 0x10_0002, magic: 0xef53 },
        stdio: [Stdio::default(), Stdio { kind: 2, ..Stdio::default() }, Stdio::default()],
        cgroup_id: 13,
        cgroup_set: 14,
        ..Exec::default()
    };
    assert_eq!(exec, expected);
}

#[test]
fn the_three_sizes_have_their_own_room() {
    for (kind, room) in [(Kind::ExecSmall, SMALL), (Kind::ExecMedium, MEDIUM), (Kind::ExecLarge, LARGE)] {
        let args = vec![b'x'; room.0];
        let mut env = b"LD_AUDIT=".to_vec();
        env.resize(room.1, b'y');
        let exec = decode(&record(kind, &args, &env, |_| {})).unwrap();
        assert_eq!(exec.args, [args]);
        assert_eq!(exec.env[0].1.len(), room.1 - 9);
    }
}

#[test]
fn paths_at_the_edges() {
    let exe = |components: &[&[u8]], cut: u32, links: u32| {
        small(b"", b"", |head| {
            set_path(&mut head.exe, components);
            (head.exe.cut, head.links) = (cut, links);
        })
        .exe
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
    let args = |block: &[u8]| small(block, b"", |_| {}).args;
    assert_eq!(args(b""), Vec::<Vec<u8>>::new());
    assert_eq!(args(b"\0"), [b""]);
    assert_eq!(args(b"a\0\0"), [&b"a"[..], b""]);
    assert_eq!(args(b"a\0bc"), [&b"a"[..], b"bc"]);
}

#[test]
fn cut_arguments_say_so_with_their_true_length() {
    let exec = small(b"aa\0b", b"", |head| head.args_length = 40_000);
    assert!(exec.args_truncated);
    assert_eq!((exec.args_length, exec.args), (40_000, vec![b"aa".to_vec(), b"b".to_vec()]));
    let unread = small(b"", b"", |head| (head.args_length, head.env_length) = (10, 10));
    assert!(unread.args_truncated && unread.env_truncated && unread.args.is_empty());
}

#[test]
fn a_variable_given_twice_stays_twice() {
    let exec = small(b"", b"LD_PRELOAD=a\0LD_PRELOADX=n\0LD_PRELOAD\0=x\0LD_PRELOAD=b=c\0", |_| {});
    let pair = |value: &[u8]| (b"LD_PRELOAD".to_vec(), value.to_vec());
    assert_eq!(exec.env, [pair(b"a"), pair(b"b=c")]);
}

#[test]
fn records_that_lie_are_refused_with_the_reason() {
    let refused = |change: fn(&mut ExecHead)| decode(&record(Kind::ExecSmall, b"a\0", b"", change)).unwrap_err();
    let length = |field, said, room| DecodeError::Length { field, said, room };
    assert_eq!(refused(|head| head.header.abi = 2), DecodeError::Abi { found: 2 });
    assert_eq!(refused(|head| head.header.kind = 4), DecodeError::NotExec { kind: 4 });
    assert_eq!(refused(|head| head.header.kind = 99), DecodeError::NotExec { kind: 99 });
    assert_eq!(refused(|head| (head.args_copied, head.args_length) = (1025, 1025)), length("arguments", 1025, SMALL.0));
    assert_eq!(
        refused(|head| (head.env_copied, head.env_length) = (u32::MAX, u32::MAX)),
        length("environment", u32::MAX, SMALL.1)
    );
    assert_eq!(refused(|head| head.args_copied = 3), DecodeError::Copied { field: "arguments", copied: 3, length: 2 });
    assert_eq!(refused(|head| head.filename_length = 1025), length("filename", 1025, 1024));
    assert_eq!(refused(|head| head.exe.length = 1281), length("exe", 1281, 1280));
    assert_eq!(refused(|head| head.cwd.length = 2), DecodeError::Unterminated { field: "cwd" });
}

#[test]
fn a_record_cut_short_anywhere_is_refused() {
    let whole = record(Kind::ExecSmall, b"a\0", b"", |_| {});
    for end in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        assert!(matches!(decode(&whole[..end]), Err(DecodeError::Short { have, .. }) if have == end), "{end}");
    }
    // The ring may round the length up.
    let longer = [whole.as_slice(), &[0; 8]].concat();
    assert_eq!(decode(&longer), decode(&whole));
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
    let whole = record(Kind::ExecSmall, b"a\0b\0", b"LD_AUDIT=1\0", |_| {});
    let (mut taken, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random(6) {
            // Lengths and flags are in the first 600 bytes; damage there half of the time.
            let below = if round % 2 == 0 { 600 } else { bytes.len() };
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
