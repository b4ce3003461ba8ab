use monitor_common::{
    record::{Header, ProcessKey},
    signals::activity::{FileObject, SocketObject},
};
use zerocopy::IntoBytes as _;

use super::*;

const PROCESS: ProcessKey = ProcessKey { start_ns: 7, tgid: 42, reserved: 0 };

fn head(act: Act) -> ActivityHead {
    let header = Header { kind: Kind::Activity as u16, abi: ABI_VERSION, time_ns: 9, cpu: 3, sequence: 1 };
    ActivityHead { header, process: PROCESS, act: act as u16, ..ActivityHead::default() }
}

fn record(mut head: ActivityHead, parts: [&[u8]; PARTS]) -> Vec<u8> {
    head.parts = parts.map(|part| part.len() as u32);
    [head.as_bytes(), &parts.concat()].concat()
}

#[test]
fn an_open_has_the_kernels_file_and_path() {
    let file = FileObject { inode: 5, device: 8 << 20 | 1, mode: 0o100_640, links: 1, ..FileObject::default() };
    let mut head = ActivityHead { file, result: 3, uid: 1000, cap_effective: 1 << 21, ..head(Act::FileOpen) };
    head.comm[..3].copy_from_slice(b"cat");
    #[cfg(target_arch = "x86_64")]
    {
        head.call = 257;
    }
    #[cfg(target_arch = "aarch64")]
    {
        head.call = 56;
    }
    let activity = decode(&record(head, [b"shadow\0etc\0", b"", b"", b"", b""])).unwrap();
    assert_eq!(activity.path, b"/etc/shadow");
    assert_eq!((activity.file, activity.result, activity.call), (Some(file), 3, "openat"));
    assert_eq!((activity.process, activity.time_ns, activity.cpu), (PROCESS, 9, 3));
    assert_eq!((activity.actor.uid, activity.actor.capabilities), (1000, 1 << 21));
    assert_eq!((activity.comm.as_slice(), activity.name, activity.target), (&b"cat"[..], None, None));
}

#[test]
fn names_are_put_together_with_what_they_are_relative_to() {
    let of = |base: &[u8], name: &[u8], other_base: &[u8], other: &[u8]| {
        let activity = decode(&record(head(Act::Rename), [b"", base, name, other_base, other])).unwrap();
        (activity.name.unwrap().path, activity.other.unwrap().path)
    };
    let both = of(b"etc\0", b"passwd", b"\0", b"/root/./x//../y/");
    assert_eq!(both, (b"/etc/passwd".to_vec(), b"/root/y".to_vec()));
    // Nobody climbs out of a root directory of its own by an absolute name, but by a relative one.
    let both = of(b"jail\0srv\0", b"/../../etc/passwd", b"jail\0srv\0", b"../etc/passwd");
    assert_eq!(both, (b"/srv/jail/etc/passwd".to_vec(), b"/srv/etc/passwd".to_vec()));
    let both = of(b"\0", b"../..", b"\0", b".");
    assert_eq!(both, (b"/".to_vec(), b"/".to_vec()));
}

#[test]
fn what_is_no_path_has_its_text_only() {
    let activity = decode(&record(head(Act::Symlink), [b"", b"tmp\0", b"link", b"", b"../etc/shadow"])).unwrap();
    let (name, text) = (activity.name.unwrap(), activity.other.unwrap());
    assert_eq!((name.path.as_slice(), name.raw.as_slice()), (&b"/tmp/link"[..], &b"link"[..]));
    assert_eq!((text.path.as_slice(), text.raw.as_slice()), (&b""[..], &b"../etc/shadow"[..]));
}

#[test]
fn what_is_cut_says_so() {
    let mut head = head(Act::FileOpen);
    head.cut = 1 << Part::Object as usize | 1 << Part::Name as usize | 1 << Part::Base as usize;
    let activity = decode(&record(head, [b"x\0", b"d\0", b"a", b"", b""])).unwrap();
    assert!(activity.path_cut);
    assert_eq!(activity.path, b".../x");
    let name = activity.name.unwrap();
    assert!(name.cut);
    assert_eq!(name.path, b".../d/a");
    // A name that could not be read at all is told, too.
    let name = decode(&record(head, [b"", b"", b"", b"", b""])).unwrap().name.unwrap();
    assert!(name.cut && name.raw.is_empty());
}

#[test]
fn an_address_of_a_unix_socket_is_no_list_of_components() {
    let socket = SocketObject { family: UNIX, ..SocketObject::default() };
    let head = ActivityHead { socket, ..head(Act::Connect) };
    let activity = decode(&record(head, [b"\0abstract", b"", b"", b"", b""])).unwrap();
    assert_eq!((activity.path.as_slice(), activity.socket), (&b"\0abstract"[..], Some(socket)));
}

#[test]
fn a_bad_record_is_an_error_with_its_reason() {
    let whole = record(head(Act::Rename), [b"a\0", b"b\0", b"c", b"d\0", b"e"]);
    for length in 0..whole.len() {
        assert!(matches!(decode(&whole[..length]), Err(DecodeError::Short { .. })), "cut at {length}");
    }
    let reject = |change: fn(&mut ActivityHead)| {
        let mut head = head(Act::Unlink);
        change(&mut head);
        decode(&[head.as_bytes(), &[b'x'; 4096]].concat()).unwrap_err()
    };
    assert_eq!(reject(|head| head.header.abi += 1), DecodeError::Abi { found: ABI_VERSION + 1 });
    assert_eq!(reject(|head| head.header.kind = 6), DecodeError::NotActivity { kind: 6 });
    assert_eq!(reject(|head| head.act = 0), DecodeError::Unknown { act: 0, via: 0 });
    assert_eq!(reject(|head| head.act = 300), DecodeError::Unknown { act: 300, via: 0 });
    assert_eq!(reject(|head| head.via = 3), DecodeError::Unknown { act: 2, via: 3 });
    assert_eq!(reject(|head| head.parts[2] = 1025), DecodeError::Length { part: "name", said: 1025, room: 1024 });
    assert_eq!(
        reject(|head| head.parts[4] = u32::MAX),
        DecodeError::Length { part: "other_name", said: u32::MAX, room: 1024 }
    );
    assert_eq!(reject(|head| head.parts[0] = 3), DecodeError::Unterminated { part: "object" });
}

/// Random heads in front of random bytes: whatever comes, it is an activity or an error.
#[test]
fn no_bytes_make_it_panic() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut decoded = 0;
    for round in 0..20_000 {
        let length = (random() % 3_000) as usize;
        let mut bytes: Vec<u8> =
            (0..length).map(|_| [0, b'/', b'.', b'a', random() as u8][random() as usize % 5]).collect();
        if round % 2 == 0
            && let Ok((head, _)) = ActivityHead::mut_from_prefix(&mut bytes)
        {
            head.header = self::head(Act::Unlink).header;
            head.act = (random() % 42) as u16;
            head.via = (random() % 3) as u16;
            head.parts = [(); PARTS].map(|()| (random() % 300) as u32);
            // Without paths, which have to end with a zero byte, more of them are well formed.
            if round % 4 == 0 {
                (head.parts[0], head.parts[1], head.parts[3]) = (0, 0, 0);
            }
        }
        decoded += usize::from(decode(&bytes).is_ok());
    }
    assert!(decoded > 100, "{decoded} of them were activities");
}

#[test]
fn what_the_programs_tell_of_themselves_has_a_name_that_rules_can_ask_for() {
    for (act, name) in [(Act::Throttle, "throttle"), (Act::Heartbeat, "heartbeat"), (Act::Denied, "denied")] {
        // Call number 0 is that of a real one.
        assert_eq!(decode(&record(head(act), [b""; PARTS])).unwrap().call, name);
    }
}
