use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use super::*;
use crate::events::Severity;

const PATIENCE: Duration = Duration::from_secs(10);

fn event(seq: u64, size: usize) -> Arc<Published> {
    let number = seq.to_string();
    let json = format!("{}{number}", "0".repeat(size.saturating_sub(number.len()))).into();
    Arc::new(Published { seq, severity: Severity::Low, rule: "r".into(), json })
}

fn options(file: &Path) -> SinkOptions {
    SinkOptions {
        format: Format::Native,
        output: Output::File,
        file: file.to_owned(),
        rotate_size: 1 << 20,
        rotate_keep: 3,
    }
}

fn loads(sink: &Sink) -> [u64; 4] {
    let shared = &sink.shared;
    [&shared.written, &shared.lost_queue, &shared.lost_error, &shared.lost_closed]
        .map(|counter| counter.load(Ordering::Relaxed))
}

fn wait(sink: &Sink, until: impl Fn([u64; 4]) -> bool) {
    let start = Instant::now();
    while !until(loads(sink)) {
        assert!(start.elapsed() < PATIENCE, "{:?}", loads(sink));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn lines(path: &Path) -> Vec<u64> {
    fs::read_to_string(path).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn a_file_of_lines_is_made_with_its_directory_for_its_owner_only() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b/events.jsonl");
    let sink = Sink::open(&options(&path)).unwrap();
    for seq in 0..500 {
        sink.write(&event(seq, 10));
    }
    assert!(sink.close(PATIENCE));
    assert_eq!(lines(&path), (0..500).collect::<Vec<_>>());
    assert_eq!(loads(&sink), [500, 0, 0, 0]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&root.path().join("a"))), (0o600, 0o750));
}

#[test]
fn what_is_there_already_stays() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("e");
    fs::write(&path, "1\n").unwrap();
    let sink = Sink::open(&options(&path)).unwrap();
    sink.write(&event(2, 1));
    assert!(sink.close(PATIENCE));
    assert_eq!(lines(&path), [1, 2]);
}

#[test]
fn half_a_line_that_is_there_already_spoils_only_itself() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("e");
    fs::write(&path, "1\n{\"schema\":\"mon").unwrap();
    let sink = Sink::open(&options(&path)).unwrap();
    sink.write(&event(2, 0));
    sink.write(&event(3, 0));
    assert!(sink.close(PATIENCE));
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n{\"schema\":\"mon\n2\n3\n");
}

#[test]
fn a_grown_file_makes_way_and_only_so_many_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("e");
    // Ten bytes a line with its end: three lines a file.
    let sink = Sink::open(&SinkOptions { rotate_size: 30, rotate_keep: 2, ..options(&path) }).unwrap();
    for seq in 1..=11 {
        sink.write(&event(seq, 9));
    }
    assert!(sink.close(PATIENCE));
    assert_eq!(lines(&path), [10, 11]);
    assert_eq!(lines(&root.path().join("e.1")), [7, 8, 9]);
    assert_eq!(lines(&root.path().join("e.2")), [4, 5, 6]);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    assert_eq!(loads(&sink), [11, 0, 0, 0]);
}

#[test]
fn nothing_old_is_kept_when_none_is_wanted_and_a_line_may_exceed_the_limit() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("e");
    let sink = Sink::open(&SinkOptions { rotate_size: 5, rotate_keep: 0, ..options(&path) }).unwrap();
    for seq in 1..=3 {
        sink.write(&event(seq, 9));
    }
    assert!(sink.close(PATIENCE));
    assert_eq!(lines(&path), [3]);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_rotation_that_fails_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("e");
    // A directory that is not empty stands where the old file should go.
    fs::create_dir_all(root.path().join("e.1/x")).unwrap();
    let sink = Sink::open(&SinkOptions { rotate_size: 5, rotate_keep: 1, ..options(&path) }).unwrap();
    for seq in 1..=5 {
        sink.write(&event(seq, 9));
    }
    assert!(sink.close(PATIENCE));
    assert_eq!(lines(&path), [1, 2, 3, 4, 5]);
}

#[test]
fn a_file_moved_away_is_opened_anew_when_asked() {
    let root = tempfile::tempdir().unwrap();
    let (path, moved) = (root.path().join("e"), root.path().join("moved"));
    let sink = Sink::open(&options(&path)).unwrap();
    sink.write(&event(1, 1));
    wait(&sink, |[written, ..]| written == 1);
    fs::rename(&path, &moved).unwrap();
    sink.reopen();
    sink.write(&event(2, 1));
    assert!(sink.close(PATIENCE));
    assert_eq!((lines(&moved), lines(&path)), (vec![1], vec![2]));
}

#[test]
fn a_file_that_somebody_removed_comes_back_with_the_rotation() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("e");
    let sink = Sink::open(&SinkOptions { rotate_size: 5, ..options(&path) }).unwrap();
    sink.write(&event(1, 9));
    wait(&sink, |[written, ..]| written == 1);
    fs::remove_file(&path).unwrap();
    sink.write(&event(2, 9));
    assert!(sink.close(PATIENCE));
    assert_eq!(lines(&path), [2]);
}

#[test]
fn a_full_disk_loses_counted_events_and_each_next_one_is_tried() {
    let sink = Sink::open(&SinkOptions { rotate_size: 1, ..options(Path::new("/dev/full")) }).unwrap();
    for seq in 0..4 {
        sink.write(&event(seq, 9));
    }
    wait(&sink, |[_, _, errors, _]| errors == 4);
    assert!(sink.shared.failing.load(Ordering::Relaxed));
    assert!(sink.close(PATIENCE));
    assert_eq!(loads(&sink), [0, 0, 4, 0]);
}

#[test]
fn a_directory_that_vanishes_is_survived() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("d/e");
    let sink = Sink::open(&options(&path)).unwrap();
    fs::remove_dir_all(root.path().join("d")).unwrap();
    sink.reopen();
    sink.write(&event(1, 1));
    wait(&sink, |[_, _, errors, _]| errors == 1);
    fs::create_dir(root.path().join("d")).unwrap();
    sink.write(&event(2, 1));
    assert!(sink.close(PATIENCE));
    assert_eq!((lines(&path), loads(&sink)), (vec![2], [1, 0, 1, 0]));
    assert!(!sink.shared.failing.load(Ordering::Relaxed));
}

#[test]
fn an_output_that_cannot_be_opened_is_named() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("f"), "").unwrap();
    let error = Sink::open(&options(&root.path().join("f/e"))).unwrap_err().to_string();
    assert!(error.contains("f for events") && error.contains("events.file"), "{error}");
    assert!(matches!(Sink::open(&options(root.path())), Err(SinkError::File { .. })));
}

fn pipe() -> (File, Sink) {
    let (read, write) = io::pipe().unwrap();
    let target = writer::Target::Stream(File::from(std::os::fd::OwnedFd::from(write)));
    let sink = Sink::start(Output::Stdout, Format::Native, target, Arc::default()).unwrap();
    (File::from(std::os::fd::OwnedFd::from(read)), sink)
}

#[test]
fn a_reader_that_goes_away_turns_the_stream_off() {
    let (read, sink) = pipe();
    drop(read);
    for seq in 0..3 {
        sink.write(&event(seq, 9));
    }
    assert!(sink.close(PATIENCE));
    assert_eq!(loads(&sink), [0, 0, 0, 3]);
}

#[test]
fn a_reader_that_never_reads_holds_up_nobody() {
    let (read, sink) = pipe();
    let start = Instant::now();
    // More than pipe (64 KiB) and queue (1024 events) hold.
    for seq in 0..3000 {
        sink.write(&event(seq, 1000));
    }
    assert!(!sink.close(Duration::from_millis(300)));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let [_, queue, ..] = loads(&sink);
    assert!(queue >= 3000 - 1024 - 70, "{queue}");
    drop(read);
    wait(&sink, |lost| lost.iter().sum::<u64>() == 3000);
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let (_read, sink) = pipe();
    for seq in 0..40 {
        sink.write(&event(seq, 1 << 20));
    }
    let [_, queue, ..] = loads(&sink);
    assert!((23..=24).contains(&queue), "{queue}");
    assert!(sink.shared.queued_bytes.load(Ordering::Relaxed) <= QUEUE_BYTES);
}

#[test]
fn lines_arrive_whole() {
    let (mut read, sink) = pipe();
    sink.write(&event(1, 100_000));
    sink.write(&event(2, 1));
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        text
    });
    assert!(sink.close(PATIENCE));
    drop(sink);
    let text = reader.join().unwrap();
    assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [100_000, 1]);
    assert!(text.ends_with('\n'));
}

#[test]
fn a_named_pipe_without_reader_is_an_error_and_no_wait() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(Sink::open(&options(&path)), Err(SinkError::File { .. })));
}

#[test]
fn no_output_takes_everything() {
    let sink = Sink::open(&SinkOptions { output: Output::None, ..options(Path::new("/nowhere/e")) }).unwrap();
    sink.write(&event(1, 1));
    assert!(sink.close(PATIENCE));
    assert_eq!(loads(&sink), [0; 4]);
}
