//! What came out, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    Pair, WORKLOADS,
    machine::Machine,
    options::Options,
    statistics::Quartiles,
    subject::{EMPTY, Subject},
};

/// All pairs, and what happened meanwhile.
#[derive(Default)]
pub(super) struct Results {
    /// By workload and subject, one pair a round.
    pairs: BTreeMap<(String, &'static str), Vec<Pair>>,
    /// The load after each round.
    pub(super) loads: Vec<f64>,
    /// Measurements that were thrown away because somebody else observed at the same time.
    pub(super) repeated: usize,
    /// Measurements that were kept in spite of that.
    pub(super) disturbed: usize,
}

/// What is said about one subject under one workload.
struct Row {
    /// Observed, in nanoseconds an operation.
    time: Quartiles,
    /// Added by the observer, in nanoseconds an operation.
    added: Quartiles,
    /// Speed, as a part of the bare machine's.
    speed: Quartiles,
    /// Added, as a multiple of what the empty pair adds in the same round.
    of_empty: Option<Quartiles>,
}

impl Results {
    pub(super) fn add(&mut self, workload: &str, subject: &'static str, pair: Pair) {
        self.pairs.entry((workload.to_owned(), subject)).or_default().push(pair);
    }

    fn of(&self, workload: &str, subject: &'static str) -> &[Pair] {
        self.pairs.get(&(workload.to_owned(), subject)).map_or(&[], Vec::as_slice)
    }

    fn row(&self, workload: &str, subject: &'static str) -> Option<Row> {
        let pairs = self.of(workload, subject);
        let added = |pair: &Pair| pair.observed - pair.bare;
        // The rounds of both belong together: what slowed the machine in a round slowed both.
        let of_empty = pairs.iter().zip(self.of(workload, EMPTY)).map(|(pair, empty)| added(pair) / added(empty));
        Some(Row {
            time: Quartiles::of(pairs.iter().map(|pair| pair.observed))?,
            added: Quartiles::of(pairs.iter().map(added))?,
            speed: Quartiles::of(pairs.iter().map(|pair| pair.bare / pair.observed))?,
            of_empty: Quartiles::of(of_empty),
        })
    }

    /// One block a workload, one line a subject.
    pub(super) fn table(&self, subjects: &[Subject], options: &Options) -> String {
        let mut text = String::from(
            "median (quartiles) of paired rounds; added: ns an operation over bare; x empty: added, as a multiple of what\n\
             the empty pair adds in the same round; speed: operations a second, bare is 1\n",
        );
        for (workload, what) in WORKLOADS.iter().filter(|(name, _)| options.workloads.contains(name)) {
            let _ = writeln!(text, "\n{workload}: {what}");
            let _ = writeln!(text, "  {:<12} {:>10} {:>28} {:>20} {:>20}", "", "ns/op", "added ns", "x empty", "speed");
            for subject in subjects {
                let Some(row) = self.row(workload, subject.name) else { continue };
                let digits = usize::from(row.time.median < 10_000.0);
                let of_empty = row.of_empty.filter(|_| syscalls(workload)).map_or("-".to_owned(), |q| shown(q, 2));
                let (time, added, speed) = (row.time.median, shown(row.added, digits), shown(row.speed, 3));
                let _ =
                    writeln!(text, "  {:<12} {time:>10.digits$} {added:>28} {of_empty:>20} {speed:>20}", subject.name);
            }
        }
        text.push('\n');
        for subject in subjects {
            let _ = writeln!(text, "  {:<12} {}", subject.name, subject.what);
        }
        let highest = self.loads.iter().copied().fold(0.0, f64::max);
        let _ = write!(text, "{} rounds, seed {}, highest load {highest:.2}", options.rounds, options.seed);
        let _ = write!(text, ", {} measurements repeated for others' observers", self.repeated);
        if self.disturbed > 0 {
            let _ = write!(text, ", {} KEPT WITH THEM", self.disturbed);
        }
        text
    }

    /// Everything, each pair of each round too.
    pub(super) fn json(&self, machine: &Machine, subjects: &[Subject], options: &Options) -> String {
        let mut rows = Vec::new();
        for workload in &options.workloads {
            for subject in subjects {
                let Some(row) = self.row(workload, subject.name) else { continue };
                let of_empty = row.of_empty.filter(|_| syscalls(workload)).map_or("null".to_owned(), object);
                let pairs = self.of(workload, subject.name).iter();
                let pairs: Vec<String> = pairs.map(|pair| format!("[{:.3},{:.3}]", pair.bare, pair.observed)).collect();
                rows.push(format!(
                    "{{\"workload\":{},\"subject\":{},\"ns\":{},\"added_ns\":{},\"times_empty\":{of_empty},\"speed\":{},\"bare_observed_ns\":[{}]}}",
                    string(workload),
                    string(subject.name),
                    object(row.time),
                    object(row.added),
                    object(row.speed),
                    pairs.join(",")
                ));
            }
        }
        let loads: Vec<String> = self.loads.iter().map(|load| format!("{load:.2}")).collect();
        format!(
            "{{\"revision\":{},\"cpu\":{},\"cpus\":{},\"kernel\":{},\"rounds\":{},\"seed\":{},\"load_before\":{:.2},\"loads\":[{}],\"repeated\":{},\"disturbed\":{},\"results\":[\n{}\n]}}\n",
            string(&machine.revision),
            string(&machine.model),
            machine.cpus,
            string(&machine.kernel),
            options.rounds,
            options.seed,
            machine.load,
            loads.join(","),
            self.repeated,
            self.disturbed,
            rows.join(",\n")
        )
    }
}

/// Is the workload nothing but system calls? Only then is the empty pair all of the limit.
fn syscalls(workload: &str) -> bool {
    matches!(workload, "getppid" | "read+write" | "open+close")
}

fn shown(Quartiles { low, median, high }: Quartiles, digits: usize) -> String {
    format!("{median:.digits$} ({low:.digits$}..{high:.digits$})")
}

fn object(Quartiles { low, median, high }: Quartiles) -> String {
    format!("{{\"low\":{low:.4},\"median\":{median:.4},\"high\":{high:.4}}}")
}

/// A JSON string.
fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            character if character.is_control() => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            character => json.push(character),
        }
    }
    json + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_compare_within_a_round() {
        let mut results = Results::default();
        // A machine that becomes slower: the ratios stay.
        for slow in [1.0, 2.0, 3.0] {
            results.add("getppid", EMPTY, Pair { bare: 100.0 * slow, observed: 200.0 * slow });
            results.add("getppid", "default", Pair { bare: 100.0 * slow, observed: 250.0 * slow });
        }
        let row = results.row("getppid", "default").unwrap();
        assert_eq!(row.of_empty, Some(Quartiles { low: 1.5, median: 1.5, high: 1.5 }));
        assert_eq!(row.speed, Quartiles { low: 0.4, median: 0.4, high: 0.4 });
        assert_eq!(row.added, Quartiles { low: 225.0, median: 300.0, high: 375.0 });
        assert!(results.row("tcp", "default").is_none());
    }

    #[test]
    fn strings_stay_strings() {
        assert_eq!(string("AMD \"x\"\\\n"), r#""AMD \"x\"\\\u000a""#);
    }
}
