//! The audit trail of a process that is killed again and again while it writes: whatever it was told is safe must be there.
//! The test runs itself as that process.

#![expect(clippy::expect_used, reason = "a test fails by a panic")]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use monitor::audit::{Digest, Head, Kind, Options, Seal, Sync, Trail, read_segments, verify};
use serde_json::json;

/// How often the writer is killed.
const KILLS: u32 = 60;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--write") {
        Some(at) => write(&PathBuf::from(&arguments[at + 1]), &arguments[at + 2]),
        None => {
            for policy in ["interval", "never"] {
                survives_kills(policy);
            }
        }
    }
}

fn options(directory: &Path, policy: &str) -> Options {
    Options {
        directory: directory.to_owned(),
        sync: if policy == "never" { Sync::Never } else { Sync::Interval },
        segment_size: 1 << 20,
        total_size: 8 << 20,
        seal: Seal::Hash,
    }
}

/// Writes until it is killed, and prints what is acknowledged.
fn write(directory: &Path, policy: &str) {
    let trail = Trail::open(&options(directory, policy), &json!({})).expect("open the trail");
    let mut out = std::io::stdout();
    for number in 0_u64.. {
        // The kernel lets a kill come between two pages of a long line.
        let length = if number % 5 == 0 { 200_000 } else { usize::try_from(number % 700).expect("small") };
        trail.record(Kind::Alert, &json!({ "number": number, "text": "x".repeat(length) }));
        if number % 3 == 0 {
            let head =
                trail.acknowledged(Kind::Response, &json!({ "number": number }), PATIENCE).expect("acknowledged");
            writeln!(out, "{} {}", head.sequence, head.hash).expect("print");
        }
    }
}

fn survives_kills(policy: &str) {
    let directory = tempfile::tempdir().expect("make a directory");
    let trail = directory.path().join("audit");
    let (mut told, mut judged, mut torn) = (0, 0, 0);
    for round in 0..KILLS {
        let acknowledged = run_and_kill(&trail, policy, u64::from(round * 7_919 % 20_000));
        let report = verify(&trail, &Seal::Hash, None).expect("read the trail");
        assert_eq!(report.problem_count, 0, "round {round}: {:?}", report.problems);
        torn += u32::from(report.torn_bytes > 0);
        told += acknowledged.len();
        judged += look_for(&trail, &acknowledged);
    }
    // One in each round at least; how many more depends on the disk.
    assert!(judged >= KILLS as usize, "only {judged} acknowledged records of {told} were left to be looked for");
    println!("{policy}: {KILLS} kills, {told} records acknowledged, {judged} looked for and found, {torn} torn ends");
}

/// Lets a writer write for so long, kills it, and returns what it was told is safe.
fn run_and_kill(trail: &Path, policy: &str, microseconds: u64) -> Vec<Head> {
    let mut writer = Command::new(std::env::current_exe().expect("this program"))
        .args(["--write", trail.to_str().expect("text"), policy])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the writer");
    let mut lines = BufReader::new(writer.stdout.take().expect("its output")).lines();
    let mut acknowledged = Vec::new();
    let mut take =
        |line: std::io::Result<String>| {
            let line = line.expect("text");
            // The last line may be cut off by the kill.
            acknowledged.extend(line.split_once(' ').and_then(|(sequence, hash)| {
                Some(Head { sequence: sequence.parse().ok()?, hash: Digest::parse(hash)? })
            }));
        };
    take(lines.next().expect("it begins"));
    let until = Instant::now() + Duration::from_micros(microseconds);
    while Instant::now() < until {
        take(lines.next().expect("it goes on"));
    }
    writer.kill().expect("kill it");
    lines.for_each(take);
    writer.wait().expect("wait for it");
    acknowledged
}

/// Every one must be there, but for those removed for want of room. Returns how many were looked for.
fn look_for(trail: &Path, acknowledged: &[Head]) -> usize {
    let (mut first, mut kept) = (u64::MAX, HashMap::new());
    read_segments(trail, &Seal::Hash, |record, _| {
        first = first.min(record.sequence);
        kept.insert(record.sequence, record.hash);
        std::ops::ControlFlow::Continue(())
    })
    .expect("read the trail");
    let mut looked_for = 0;
    for head in acknowledged.iter().filter(|head| head.sequence >= first) {
        assert_eq!(kept.get(&head.sequence), Some(&head.hash), "record {} was acknowledged", head.sequence);
        looked_for += 1;
    }
    looked_for
}
