use std::fs;
use std::path::{Path, PathBuf};

use monitor_common::record::{ABI_VERSION, Header, Kind, ProcessKey, Ring};
use monitor_common::signals::exec::ExecHead;
use monitor_common::signals::exec_kill::ExecKillRecord;
use monitor_common::signals::process::ForkRecord;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::*;
use crate::detect::eval::Limits;
use crate::events::Store;

const SECOND: u64 = 1_000_000_000;

fn key(n: u32) -> ProcessKey {
    ProcessKey { start_ns: 1_000 * SECOND + u64::from(n) * SECOND, tgid: 5_000_000 + n, reserved: 0 }
}

fn header(kind: Kind, time_ns: u64) -> Header {
    Header { kind: kind as u16, cpu: 0, abi: ABI_VERSION, sequence: 1, time_ns }
}

fn fork(parent: u32, child: u32) -> Vec<u8> {
    let mut record = ForkRecord::new_zeroed();
    record.header = header(Kind::Fork, key(child).start_ns);
    (record.parent, record.child) = (key(parent), key(child));
    record.as_bytes().to_vec()
}

/// Process `n` executes a file in this directory.
fn exec(n: u32, parent: u32, directory: &str, name: &str) -> Vec<u8> {
    let mut head = ExecHead::new_zeroed();
    head.header = header(Kind::Exec, key(n).start_ns + SECOND / 2);
    (head.process, head.parent) = (key(n), key(parent));
    (head.mode, head.links, head.loginuid) = (0o100_755, 1, u32::MAX);
    let exe = [name.as_bytes(), b"\0", directory.as_bytes(), b"\0"].concat();
    let args = [name.as_bytes(), b"\0"].concat();
    head.exe_length = u32::try_from(exe.len()).unwrap();
    (head.args_length, head.args_copied) = (u32::try_from(args.len()).unwrap(), u32::try_from(args.len()).unwrap());
    [head.as_bytes(), &exe, &args].concat()
}

/// Rounds in which a process, its child and so on each execute something; every third from /tmp.
fn make(path: &Path, rounds: u32, ended: bool) {
    make_with(path, rounds, ended, |_| None);
}

/// The same, in each round with another record in the security ring.
fn make_with(path: &Path, rounds: u32, ended: bool, more: impl Fn(u32) -> Option<Vec<u8>>) {
    let mut writer = Writer::create(path).unwrap();
    let named = vec![("probe".to_owned(), vec!["tool3".to_owned()])];
    writer.meta(&Meta {
        host: "recorded".to_owned(),
        ..Meta::here(4096, 1_700_000_000_000_000_000, 0, named, Limits::default())
    });
    for n in 1..=rounds {
        let directory = if n % 3 == 0 { "tmp" } else { "usr" };
        writer.tee(Ring::Bulk, None);
        writer.tee(Ring::Security, None);
        writer.tee(Ring::Security, Some(&exec(n, n - 1, directory, &format!("tool{n}"))));
        if let Some(record) = more(n) {
            writer.tee(Ring::Security, Some(&record));
        }
        writer.tee(Ring::Telemetry, None);
        writer.tee(Ring::Telemetry, Some(&fork(n - 1, n)));
        writer.tee(Ring::Security, None);
        let now_ns = key(n).start_ns + SECOND;
        writer.end_round(&End { now_ns, boot_ns: 1_700_000_000_000_000_000, expired: true, ..End::default() });
        // A frame for each round, so that there are many ends.
        writer.flush().unwrap();
    }
    if ended {
        writer.end();
        writer.flush().unwrap();
    }
}

/// One rule, beside the recording: what these tests are about is the file, and they read it thousands of times.
fn one_rule(path: &Path) -> ReplayOptions {
    let rules = path.with_file_name("one.yaml");
    if !rules.exists() {
        let one = "- rule: exec_tmp\n  desc: x\n  condition: evt.type=execve and proc.exepath startswith /tmp/\n  output: \
                   ran %proc.exepath\n  priority: WARNING\n";
        fs::write(&rules, one).unwrap();
    }
    ReplayOptions { rules: Some(rules), disable: Vec::new() }
}

fn run(path: &Path) -> (Replayed, String) {
    run_with(path, &one_rule(path))
}

fn run_with(path: &Path, options: &ReplayOptions) -> (Replayed, String) {
    let store = Store::new(1).with_host("x".to_owned());
    let mut text = String::new();
    let replayed = replay(path, options, |meta, alert| {
        assert_eq!(meta.host, "recorded");
        text.push_str(std::str::from_utf8(&store.publish(alert).json).unwrap());
        text.push('\n');
    })
    .unwrap();
    (replayed, text)
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recording");
    (directory, path)
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let (_directory, path) = file();
    make(&path, 12, true);
    let default = ReplayOptions::default();
    let (replayed, text) = run_with(&path, &default);
    assert_eq!((replayed.rounds, replayed.records, replayed.alerts, replayed.cut), (12, 24, 4, None));
    for _ in 0..3 {
        assert_eq!(run_with(&path, &default).1, text);
    }
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["rule"], &first["process"]["exe"]), (&"exec_tmp".into(), &"/tmp/tool3".into()));
    // From the recording's clock, and its own names for groups.
    assert_eq!(first["time"], "2023-11-14T22:30:03.500000000Z");
    assert_eq!(first["process"]["group"], "probe");
    assert_eq!(first["process"]["ancestors"][0]["exe"], "/usr/tool2");
}

#[test]
fn what_was_done_in_the_kernel_is_no_event() {
    let (_directory, path) = file();
    make(&path, 12, true);
    let (_, without) = run(&path);
    fs::remove_file(&path).unwrap();
    // Just behind the exec, and in a record that is too short.
    let killed = |n: u32| {
        let mut record = ExecKillRecord::new_zeroed();
        record.header = header(Kind::ExecKill, key(n).start_ns + SECOND / 2 + 1);
        (record.process, record.table, record.outcome) = (key(n), 1, 1);
        let length = if n == 5 { 40 } else { size_of::<ExecKillRecord>() };
        Some(record.as_bytes()[..length].to_vec())
    };
    make_with(&path, 12, true, killed);
    let (replayed, with) = run(&path);
    assert_eq!((replayed.records, replayed.alerts, replayed.cut), (36, 4, None));
    assert_eq!(with, without);
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_read_up_to_its_last_whole_frame() {
    let (_directory, path) = file();
    make(&path, 6, true);
    let bytes = fs::read(&path).unwrap();
    let (whole, text) = run(&path);
    assert_eq!(whole.cut, None);
    let (mut seen, options) = (Vec::new(), one_rule(&path));
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        match replay(&path, &options, |_, _| ()) {
            Ok(replayed) => {
                assert!(replayed.cut.is_some(), "{length}");
                seen.push(replayed.rounds);
            }
            Err(CaptureError::NoRecording(_)) => assert!(length < 8, "{length}"),
            Err(CaptureError::Empty(_)) => assert!(seen.is_empty(), "{length}"),
            Err(error) => panic!("{length}: {error}"),
        }
    }
    assert!(seen.is_sorted(), "never less for more bytes");
    seen.dedup();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
    let (cut, shorter) = run(&path);
    assert!(matches!(cut.cut, Some(Ending::Cut { .. } | Ending::Whole)) && text.starts_with(&shorter));
}

#[test]
fn a_changed_byte_is_noticed() {
    let (_directory, path) = file();
    make(&path, 3, true);
    let bytes = fs::read(&path).unwrap();
    let options = one_rule(&path);
    for at in (8..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        match replay(&path, &options, |_, _| ()) {
            Ok(replayed) => assert!(replayed.cut.is_some(), "{at}"),
            Err(error) => assert!(matches!(error, CaptureError::Empty(_)), "{at}: {error}"),
        }
    }
}

#[test]
fn another_file_and_another_version_are_told() {
    let (directory, path) = file();
    fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
    let error = replay(&path, &ReplayOptions::default(), |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("is no recording"), "{error}");
    fs::write(&path, b"MONREC\x09\0").unwrap();
    let error = replay(&path, &ReplayOptions::default(), |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("a recording of version 9, this program reads 3"), "{error}");
    let other = directory.path().join("other");
    let mut writer = Writer::create(&other).unwrap();
    writer.meta(&Meta { abi: ABI_VERSION + 1, monitor: "9.9".to_owned(), ..Meta::default() });
    writer.flush().unwrap();
    let error = replay(&other, &ReplayOptions::default(), |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("use monitor 9.9, which recorded it"), "{error}");
    assert!(Writer::create(&other).is_err(), "nothing is written over");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn other_rules_find_other_things() {
    let (directory, path) = file();
    make(&path, 6, true);
    let rules = directory.path().join("rules.d");
    fs::create_dir(&rules).unwrap();
    let only = "- rule: other\n  desc: x\n  condition: evt.type=execve and proc.name=no_such_program\n  output: x\n  \
                priority: INFO\n";
    fs::write(rules.join("a.yaml"), only).unwrap();
    let options = ReplayOptions { rules: Some(rules.clone()), disable: Vec::new() };
    assert_eq!(replay(&path, &options, |_, _| ()).unwrap().alerts, 0);
    fs::write(rules.join("x.yaml"), "nonsense = ").unwrap();
    assert!(matches!(replay(&path, &options, |_, _| ()), Err(CaptureError::Rules(_))));
}

/// What `/proc` says of a process that the records only mention is in the recording, and is not asked for again.
#[test]
fn what_proc_said_is_recorded() {
    use crate::processes::{Fact, ProcessId};
    let mut live = replay::table(&[], 0, false);
    live.keep_facts();
    live.seed().unwrap();
    let facts = live.take_facts();
    let me = live.find(std::process::id()).unwrap();
    let text = serde_json::to_string(&facts).unwrap();
    let facts: Vec<Fact> = serde_json::from_str(&text).unwrap();
    let mut replayed = replay::table(&[], 0, true);
    assert_eq!(replayed.seed().unwrap(), 0, "it looks nothing up");
    replayed.recall(&facts, 0);
    let known = replayed.get(me.id).unwrap();
    assert_eq!((&known.image.exe, &known.cgroup, known.parent), (&me.image.exe, &me.cgroup, me.parent));
    assert_eq!(known.credentials, me.credentials);
    let chain = |table: &crate::processes::ProcessTable| table.ancestors(me.id).map(|process| process.id).collect();
    let (one, other): (Vec<ProcessId>, Vec<ProcessId>) = (chain(&live), chain(&replayed));
    assert_eq!(one, other);
}

/// The file of a rule that has seen these texts.
fn seen(rule: &str, texts: &[&str]) -> Vec<u8> {
    let long = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat();
    let entry = |text: &&str| {
        let key = [&[1], long(format!("{text}\0").as_bytes()).as_slice()].concat();
        [long(&key), SECOND.to_le_bytes().to_vec()].concat()
    };
    let entries: Vec<Vec<u8>> = texts.iter().map(entry).collect();
    let count = u32::try_from(texts.len()).unwrap().to_le_bytes();
    let body = [long(rule.as_bytes()), [0; 8].to_vec(), count.to_vec(), entries.concat()].concat();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [b"MONSEEN1".as_slice(), &length, &crc32fast::hash(&body).to_le_bytes(), &body].concat()
}

/// What the pipeline knows beside the records: which watched path a file is, what rules had seen, and how many alerts of a
/// rule are published.
#[test]
fn what_the_pipeline_knew_is_recorded() {
    use monitor_common::signals::activity::FileKey;

    use crate::signals::activity::WatchedPaths;
    let (directory, path) = file();
    let rules = directory.path().join("first.yaml");
    let text = "- rule: first\n  desc: x\n  condition: evt.type=execve\n  output: x\n  priority: INFO\n  first_seen:\n    \
                of: [proc.exepath]\n";
    fs::write(&rules, text).unwrap();
    let mut watched = WatchedPaths::default();
    watched.insert(FileKey { inode: 7, device: 8, reserved: 0 }, b"/etc/\xff".to_vec());
    let record = |seen: Option<&[u8]>, burst: u32, to: &Path| {
        let mut writer = Writer::create(to).unwrap();
        let limits = Limits { burst, per_second: 1 };
        writer.meta(&Meta { host: "recorded".to_owned(), ..Meta::here(4096, 0, 0, Vec::new(), limits) });
        seen.into_iter().for_each(|seen| writer.seen(seen));
        writer.watched(&watched);
        writer.tee(Ring::Security, None);
        for n in 1..=3 {
            writer.tee(Ring::Security, Some(&exec(2, 1, "usr", &format!("tool{n}"))));
        }
        writer.end_round(&End { now_ns: key(4).start_ns, ..End::default() });
        writer.end();
        writer.flush().unwrap();
    };
    let options = ReplayOptions { rules: Some(rules), disable: Vec::new() };
    record(None, 50, &path);
    assert_eq!(run_with(&path, &options).0.alerts, 3);
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.meta().unwrap().limits(), Limits { burst: 50, per_second: 1 });
    let round = reader.round().unwrap().unwrap();
    assert_eq!(round.watched.unwrap().path(8, 7), Some(&b"/etc/\xff"[..]));

    let one = directory.path().join("one");
    record(None, 1, &one);
    assert_eq!(run_with(&one, &options).0.alerts, 1, "the others are too many");
    let none = directory.path().join("none");
    record(Some(&seen("first", &["/usr/tool1", "/usr/tool3"])), 50, &none);
    assert_eq!(run_with(&none, &options).0.alerts, 1, "two are known");
    let damaged = directory.path().join("damaged");
    record(Some(b"nonsense"), 50, &damaged);
    let error = replay(&damaged, &options, |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("what rules had seen does not begin"), "{error}");
}
