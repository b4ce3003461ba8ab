//! `monitor audit verify`: reads a trail as whoever doubts it would, and says what is wrong and where.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use super::Kind;
use super::head::{self, Head, Kept};
use super::lines::{self, Line};
use super::prune::Pruned;
use super::record::{Digest, Record, Seal};
use super::segment::{self, Segment};

/// Most problems that are listed; all are counted.
const LISTED: usize = 100;

/// Something that is not as the daemon wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Name of the segment.
    pub segment: String,
    /// Line in it, from 1; 0: it is about the segment as a whole.
    pub line: u64,
    /// Number of the record, where it is known.
    pub sequence: Option<u64>,
    /// What.
    pub what: String,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// The same by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Number of the first record.
    pub first: Option<u64>,
    /// The last record.
    pub last: Option<Head>,
    /// Bytes behind the last record that are none: it is being written, or the daemon was killed while it was.
    pub torn_bytes: u64,
    /// What is wrong: the first hundred.
    pub problems: Vec<Problem>,
    /// How much is.
    pub problem_count: u64,
}

impl Report {
    fn wrong(&mut self, segment: &str, line: u64, sequence: Option<u64>, what: String) {
        self.problem_count += 1;
        if self.problems.len() < LISTED {
            self.problems.push(Problem { segment: segment.to_owned(), line, sequence, what });
        }
    }
}

/// Reads the trail in `directory`. `expected` is a head that was kept elsewhere.
///
/// # Errors
/// When the directory or a file in it cannot be read.
pub fn verify(directory: &Path, seal: &Seal, expected: Option<Head>) -> io::Result<Report> {
    // Before the segments: a daemon that runs adds to them meanwhile.
    let kept = head::read(directory)?;
    let segments = segment::list(directory)?;
    let mut check =
        Check { seal, report: Report::default(), last: None, began: None, pruned: Vec::new(), wanted: Vec::new() };
    match kept {
        // Before the first record there is nothing that must be there.
        Kept::Head(Head { sequence: 0, .. }) => {}
        Kept::Head(head) => check.wanted.push((head, "the file `head`")),
        Kept::Unreadable => check.report.wrong(
            "head",
            1,
            None,
            "it says no number and hash: whether records are missing at the end cannot be told".to_owned(),
        ),
        Kept::None if segments.is_empty() => {}
        Kept::None => check.report.wrong(
            "head",
            0,
            None,
            "it is missing: whether records are missing at the end cannot be told".to_owned(),
        ),
    }
    check.wanted.extend(expected.map(|head| (head, "the head that was given")));
    let mut seen = vec![false; check.wanted.len()];
    for (index, segment) in segments.iter().enumerate() {
        check.segment(segment, index + 1 == segments.len(), &mut seen)?;
    }
    Ok(check.finish(&seen))
}

struct Check<'a> {
    seal: &'a Seal,
    report: Report,
    /// The record before.
    last: Option<Head>,
    /// Where the first record is, its number, and what it says of the one before.
    began: Option<(String, u64, Digest)>,
    /// What the trail says was removed.
    pruned: Vec<(u64, Option<Digest>)>,
    /// Records that must be there, and who says so.
    wanted: Vec<(Head, &'static str)>,
}

impl Check<'_> {
    fn segment(&mut self, segment: &Segment, newest: bool, seen: &mut [bool]) -> io::Result<()> {
        let name = segment.name();
        self.report.segments += 1;
        let mut records = 0_u64;
        lines::each(&File::open(&segment.path)?, |line| {
            match Record::parse(line.text, self.seal).filter(|_| line.whole) {
                Some(record) => {
                    if records == 0 {
                        self.opening(&name, segment, &record);
                    }
                    records += 1;
                    self.record(&name, line, &record, seen);
                }
                None if newest && !line.whole => self.report.torn_bytes = line.end - line.offset,
                None => {
                    let next = self.last.map(|last| last.sequence + 1);
                    self.report.wrong(&name, line.number, next, "it is no record".to_owned());
                }
            }
            ControlFlow::Continue(())
        })?;
        // A daemon that was killed between making a segment and writing to it: what was acknowledged is in those before, or
        // the head tells that it is not.
        let untouched = || io::Result::Ok(segment.first == self.next() && fs::metadata(&segment.path)?.len() == 0);
        if records == 0 && !(newest && (self.report.torn_bytes > 0 || untouched()?)) {
            self.report.wrong(&name, 0, None, "it has no record".to_owned());
        }
        Ok(())
    }

    /// Number of the record that comes next.
    fn next(&self) -> u64 {
        self.last.map_or(0, |last| last.sequence) + 1
    }

    fn opening(&mut self, name: &str, segment: &Segment, record: &Record<'_>) {
        if record.kind != Kind::Segment.name() || record.sequence != segment.first {
            let what = format!(
                "a segment of this name begins with a record {} of kind segment: it was renamed, or its beginning removed",
                segment.first
            );
            self.report.wrong(name, 1, Some(record.sequence), what);
        }
    }

    fn record(&mut self, name: &str, line: Line<'_>, record: &Record<'_>, seen: &mut [bool]) {
        let sequence = record.sequence;
        self.report.records += 1;
        *self.report.kinds.entry(record.kind.chars().take(32).collect()).or_default() += 1;
        let mut wrong = |what: String| self.report.wrong(name, line.number, Some(sequence), what);
        if !record.sealed {
            wrong("it was changed: its hash is not that of what it says".to_owned());
        }
        match self.last {
            None => {
                self.report.first = Some(sequence);
                self.began = Some((name.to_owned(), sequence, record.previous));
            }
            Some(last) if sequence == last.sequence + 1 => {
                if record.previous != last.hash {
                    wrong(format!(
                        "it does not follow the record {} that stands before it: one of the two was put in the place of another",
                        last.sequence
                    ));
                }
            }
            Some(last) if sequence > last.sequence => {
                wrong(format!("records {} to {} are missing before it", last.sequence + 1, sequence - 1));
            }
            Some(last) => wrong(format!("it stands in the wrong place, or twice: behind record {}", last.sequence)),
        }
        let head = Head { sequence, hash: record.hash };
        if self.last.is_none_or(|last| sequence > last.sequence) {
            self.last = Some(head);
        }
        for ((wanted, _), seen) in self.wanted.iter().zip(seen) {
            *seen |= record.sealed && *wanted == head;
        }
        if record.sealed {
            self.content(name, line.number, record);
        }
    }

    /// What the trail says of itself.
    fn content(&mut self, name: &str, line: u64, record: &Record<'_>) {
        if record.kind == Kind::Pruned.name()
            && let Ok(pruned) = serde_json::from_str::<Pruned>(record.body.get())
        {
            self.pruned.push((pruned.last, Digest::parse(&pruned.last_hash)));
        } else if record.kind == Kind::Missing.name() {
            let what = format!(
                "the daemon found at its start that acknowledged records before this one were gone: {}",
                record.body.get()
            );
            self.report.wrong(name, line, Some(record.sequence), what);
        }
    }

    fn finish(mut self, seen: &[bool]) -> Report {
        if let Some((segment, first, previous)) = self.began.take()
            && first > 1
            && !self.pruned.contains(&(first - 1, Some(previous)))
        {
            let what = format!(
                "the trail begins with record {first}, and nothing in it says that the {} before were removed by the daemon",
                first - 1
            );
            self.report.wrong(&segment, 1, Some(first), what);
        }
        for ((head, whose), seen) in self.wanted.iter().zip(seen) {
            // Before the first one it may have been removed for want of room; that is judged above.
            let gone = self.report.first.is_some_and(|first| head.sequence < first);
            if !seen && !gone {
                let at = self.last.map_or(0, |last| last.sequence);
                let what = if head.sequence > at {
                    format!(
                        "records {} to {} are missing at the end: {whose} says that they were there",
                        at + 1,
                        head.sequence
                    )
                } else {
                    format!(
                        "{whose} says that record {} has the hash {}: the trail was made anew from there or before",
                        head.sequence, head.hash
                    )
                };
                self.report.wrong("end", 0, Some(head.sequence), what);
            }
        }
        self.report.last = self.last;
        self.report
    }
}
