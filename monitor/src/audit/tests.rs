use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::log::Log;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn options(directory: &Path) -> Options {
    Options {
        directory: directory.join("audit"),
        sync: Sync::Never,
        segment_size: 2_000,
        total_size: 1 << 20,
        seal: Seal::Hash,
    }
}

fn fill(options: &Options, records: u32) {
    let (mut log, _) = Log::open(options).unwrap();
    for number in 0..records {
        log.append(Kind::Alert, Timestamp::UNIX_EPOCH, &json!({ "number": number, "text": "line\nfeed" }).to_string())
            .unwrap();
    }
    log.sync().unwrap();
}

fn files(options: &Options) -> Vec<PathBuf> {
    segment::list(&options.directory).unwrap().into_iter().map(|segment| segment.path).collect()
}

fn check(options: &Options) -> Report {
    verify(&options.directory, &options.seal, None).unwrap()
}

/// Segment, line, number and the beginning of the text of each problem.
fn problems(report: &Report) -> Vec<(String, u64, Option<u64>, String)> {
    let short = |problem: &Problem| {
        let what = problem.what.split_inclusive([':', ',']).next().unwrap_or_default();
        (problem.segment.clone(), problem.line, problem.sequence, what.to_owned())
    };
    report.problems.iter().map(short).collect()
}

/// A trail of a few segments, and the same after somebody did something to the lines of the first.
fn after(change: impl FnOnce(&mut Vec<String>)) -> Vec<(String, u64, Option<u64>, String)> {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    fill(&options, 20);
    assert!(check(&options).problems.is_empty());
    let path = files(&options)[0].clone();
    let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    assert!(lines.len() > 5, "{}", lines.len());
    change(&mut lines);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    problems(&check(&options))
}

fn first() -> String {
    segment::name(1)
}

#[test]
fn a_trail_is_whole_lines_of_json_in_segments() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    fill(&options, 20);
    let report = check(&options);
    assert_eq!((report.problem_count, report.first), (0, Some(1)), "{:?}", report.problems);
    assert!(report.segments >= 3 && report.records == 20 + report.segments, "{report:?}");
    assert_eq!(report.kinds["segment"], report.segments);
    let text = fs::read_to_string(&files(&options)[0]).unwrap();
    let record: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(record["body"], json!({ "number": 0, "text": "line\nfeed" }));
    assert_eq!(record["time"], "1970-01-01T00:00:00.000000000Z");
    // As anybody can check it.
    let line = text.lines().next().unwrap();
    let sealed = &line[..line.rfind(",\"hash\"").unwrap()];
    assert!(line.ends_with(&format!("{}\"}}", Seal::Hash.digest(sealed.as_bytes()))));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&options.directory), mode(&files(&options)[0])), (0o700, 0o600));
}

#[test]
fn an_edit_is_found_where_it_is() {
    let found = after(|lines| lines[3] = lines[3].replace("\"number\":2", "\"number\":7"));
    assert_eq!(found, [(first(), 4, Some(4), "it was changed:".to_owned())]);
}

#[test]
fn an_edit_with_its_hash_made_anew_breaks_the_link_behind_it() {
    let found = after(|lines| {
        let edited = lines[3].replace("\"number\":2", "\"number\":7");
        let sealed = edited[..edited.rfind(",\"hash\"").unwrap()].to_owned();
        lines[3] = format!("{sealed},\"hash\":\"{}\"}}", Seal::Hash.digest(sealed.as_bytes()));
    });
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].1, found[0].2), (5, Some(5)));
    assert!(found[0].3.starts_with("it does not follow the record 4"), "{found:?}");
}

#[test]
fn a_removal_a_swap_and_a_repetition_are_found() {
    let found = after(|lines| drop(lines.remove(3)));
    assert_eq!(found, [(first(), 4, Some(5), "records 4 to 4 are missing before it".to_owned())]);
    let found = after(|lines| lines.swap(2, 3));
    let at: Vec<_> = found.iter().map(|problem| (problem.1, problem.2)).collect();
    assert_eq!(at, [(3, Some(4)), (4, Some(3))]);
    let found = after(|lines| lines.insert(3, lines[1].clone()));
    assert_eq!(found, [(first(), 4, Some(2), "it stands in the wrong place,".to_owned())]);
    let found = after(|lines| lines[2] = "{\"sequence\":3}".to_owned());
    assert_eq!(found[0], (first(), 3, Some(3), "it is no record".to_owned()));
}

#[test]
fn a_removed_segment_is_found_wherever_it_was() {
    for index in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path());
        fill(&options, 20);
        let segments = files(&options);
        let removed = index.min(segments.len() - 1);
        fs::remove_file(&segments[removed]).unwrap();
        let report = check(&options);
        assert_eq!(report.problem_count, 1, "{index}: {:?}", report.problems);
        let what = &report.problems[0].what;
        let expected = match removed {
            0 => "the trail begins with record",
            last if last + 1 == segments.len() => "missing at the end",
            _ => "are missing before it",
        };
        assert!(what.contains(expected), "{index}: {what}");
    }
}

#[test]
fn a_chain_made_anew_is_convicted_by_a_head_that_was_kept_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    fill(&options, 5);
    let kept = check(&options).last.unwrap();
    assert_eq!(verify(&options.directory, &Seal::Hash, Some(kept)).unwrap().problem_count, 0);
    fs::remove_dir_all(&options.directory).unwrap();
    fill(&options, 6);
    // The numbers in the bodies are the same: a forger would change one.
    let other = Head { hash: Seal::Hash.digest(b"other"), ..kept };
    assert_eq!(check(&options).problem_count, 0);
    let report = verify(&options.directory, &Seal::Hash, Some(other)).unwrap();
    assert!(report.problems[0].what.contains("was made anew"), "{:?}", report.problems);
}

#[test]
fn with_a_key_nobody_without_it_can_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let keyed = Options { seal: Seal::with_key(&[7; 32]).unwrap(), ..options(directory.path()) };
    fill(&keyed, 3);
    assert_eq!(check(&keyed).problem_count, 0);
    let plain = Options { seal: Seal::Hash, ..keyed.clone() };
    assert_eq!(check(&plain).problem_count, 5, "four records and the head");
    let before = fs::read(&files(&keyed)[0]).unwrap();
    assert!(matches!(Log::open(&plain), Err(AuditError::Sealed { .. })));
    assert_eq!(fs::read(&files(&keyed)[0]).unwrap(), before, "nothing was touched");
    let short = directory.path().join("key");
    fs::write(&short, "short").unwrap();
    assert!(read_key(&short).unwrap_err().to_string().contains("it has 5 bytes"));
}

#[test]
fn one_daemon_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let first = Log::open(&options).unwrap();
    assert!(matches!(Log::open(&options), Err(AuditError::Busy(_))));
    drop(first);
    Log::open(&options).unwrap();
}

#[test]
fn the_oldest_segments_go_and_the_trail_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { total_size: 4_000, ..options(directory.path()) };
    for _ in 0..10 {
        fill(&options, 20);
        let size: u64 = files(&options).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(size < 4_000 + 2_500, "{size}");
        let report = check(&options);
        assert_eq!(report.problem_count, 0, "{:?}", report.problems);
        assert!(report.first > Some(1) && report.kinds["pruned"] > 0);
    }
    // Somebody else removes one more.
    fs::remove_file(&files(&options)[0]).unwrap();
    let report = check(&options);
    assert_eq!(report.problem_count, 1);
    assert!(report.problems[0].what.contains("nothing in it says"), "{:?}", report.problems);
}

/// The daemon can be killed, or the power go, when any number of bytes has reached the disk.
#[test]
fn a_trail_that_ends_anywhere_is_put_right() {
    let whole = tempfile::tempdir().unwrap();
    let options_whole = options(whole.path());
    fill(&options_whole, 8);
    let last = files(&options_whole).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let before = check(&options_whole).records - bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert!(before > 0 && bytes.len() > 500, "the end is in the second segment");
    for length in 0..=bytes.len() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path());
        fs::create_dir(&options.directory).unwrap();
        for path in files(&options_whole) {
            fs::copy(&path, options.directory.join(path.file_name().unwrap())).unwrap();
        }
        let path = options.directory.join(last.file_name().unwrap());
        fs::write(&path, &bytes[..length]).unwrap();
        let lines = bytes[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        let rest = length - bytes[..length].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);

        let (mut log, found) = Log::open(&options).unwrap();
        assert_eq!(found.last.map(|last| last.sequence), Some(before + lines), "{length}");
        let torn = found.torn.map(|torn| (torn.bytes, fs::read(options.directory.join(torn.moved_to)).unwrap()));
        let expected = (rest > 0).then(|| (rest as u64, bytes[length - rest..length].to_vec()));
        assert_eq!(torn, expected, "{length}");
        log.append(Kind::Start, Timestamp::UNIX_EPOCH, "{}").unwrap();
        log.sync().unwrap();
        drop(log);
        let report = check(&options);
        assert_eq!(report.problem_count, 0, "{length}: {:?}", report.problems);
        assert!(report.records > before + lines, "{length}");
    }
}

/// The daemon can be killed between making a segment and writing to it.
#[test]
fn a_segment_that_was_only_made_is_nobodys_fault_where_it_belongs() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    fill(&options, 20);
    let next = check(&options).last.unwrap().sequence + 1;
    let place = |first| options.directory.join(segment::name(first));
    fs::write(place(next), "").unwrap();
    assert_eq!(problems(&check(&options)), []);
    fs::rename(place(next), place(next + 1)).unwrap();
    let wrong = |first| (segment::name(first), 0, None, "it has no record".to_owned());
    assert_eq!(problems(&check(&options)), [wrong(next + 1)]);
    fs::remove_file(place(next + 1)).unwrap();
    // One that was emptied is missed by the head.
    let newest = files(&options).pop().unwrap();
    fs::write(newest, "").unwrap();
    assert!(check(&options).problems.iter().any(|problem| problem.what.contains("missing at the end")));
}

/// So it can at the very first one, wherever that is.
#[test]
fn a_first_start_that_was_killed_is_nobodys_fault() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let first = options.directory.join(segment::name(1));
    drop(Log::open(&options).unwrap());
    assert_eq!(problems(&check(&options)), []);
    fs::write(&first, "").unwrap();
    assert_eq!(problems(&check(&options)), []);
    fs::write(&first, r#"{"seq":1,"ti"#).unwrap();
    assert_eq!((problems(&check(&options)), check(&options).torn_bytes), (vec![], 12));
    fs::remove_file(&first).unwrap();
    // The head says nothing yet of the records that are there.
    let begun = fs::read(options.directory.join("head")).unwrap();
    fill(&options, 3);
    fs::write(options.directory.join("head"), begun).unwrap();
    assert_eq!(problems(&check(&options)), []);
    fs::remove_file(options.directory.join("head")).unwrap();
    assert!(problems(&check(&options)).iter().any(|problem| problem.3.contains("it is missing")));
}

/// The same, where the head says that the end was acknowledged.
#[test]
fn acknowledged_records_that_are_gone_are_told_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    fill(&options, 3);
    let path = files(&options)[0].clone();
    let text = fs::read_to_string(&path).unwrap();
    let kept: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&path, kept).unwrap();
    assert!(check(&options).problems[0].what.contains("records 3 to 4 are missing at the end"));
    let trail = Trail::open(&options, &json!({})).unwrap();
    let missing = trail.found().missing.clone().unwrap();
    assert_eq!((missing.first, missing.last), (3, 4));
    assert!(trail.close(&json!({}), PATIENCE));
    let report = check(&options);
    assert_eq!(report.problem_count, 1);
    assert!(
        report.problems[0].what.contains("acknowledged records before this one were gone"),
        "{:?}",
        report.problems
    );
    fs::write(options.directory.join("head"), "x").unwrap();
    assert!(check(&options).problems[0].what.contains("it says no number and hash"));
}

#[test]
fn a_run_tells_how_the_one_before_ended() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { sync: Sync::Interval, segment_size: 1 << 20, ..options(directory.path()) };
    let trail = Trail::open(&options, &json!({ "version": "1" })).unwrap();
    let head = trail.acknowledged(Kind::Response, &json!({ "x": 1 }), PATIENCE).unwrap();
    assert_eq!(trail.head(), head);
    trail.record(Kind::Reload, &json!({}));
    assert!(trail.close(&json!({}), PATIENCE));
    let again = Trail::open(&options, &json!({ "version": "2" })).unwrap();
    again.acknowledged(Kind::Reload, &json!({}), PATIENCE).unwrap();
    let mut starts = Vec::new();
    read_segments(&options.directory, &options.seal, |record, _| {
        if record.kind == "start" {
            let body: Value = serde_json::from_str(record.body.get()).unwrap();
            starts.push((body["before"].clone(), body["daemon"]["version"].clone()));
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(starts, [(json!("none"), json!("1")), (json!("stopped"), json!("2"))]);
    let report = check(&options);
    assert_eq!((report.problem_count, report.kinds["reload"], report.kinds["stop"]), (0, 2, 1));
}

#[test]
fn a_body_that_is_too_long_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let (mut log, _) = Log::open(&options).unwrap();
    let body = json!({ "text": "ä".repeat(1 << 20) }).to_string();
    log.append(Kind::Alert, Timestamp::UNIX_EPOCH, &body).unwrap();
    log.append(Kind::Alert, Timestamp::UNIX_EPOCH, "{}").unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(check(&options).problem_count, 0);
    let text = fs::read_to_string(&files(&options)[0]).unwrap();
    assert!(text.contains(&format!("\"too_long\":{}", body.len())));
    // A line without an end is no reason to read it into memory.
    fs::write(&files(&options)[0], vec![b'x'; 3 << 20]).unwrap();
    assert!(check(&options).problem_count > 0);
}
