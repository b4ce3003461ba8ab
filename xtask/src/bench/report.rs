//! What came out of a comparison, for people and for programs.

use std::fmt::Write as _;

use super::{
    budget::{self, Figures},
    json,
    machine::Machine,
    options::Options,
    results::{Results, Row},
    statistics::Quartiles,
    subject::Subject,
};

/// One block a workload, one line a subject.
pub(super) fn table(results: &Results, subjects: &[&'static Subject], options: &Options) -> String {
    let mut text = String::from(
        "median (quartiles) of paired rounds; added: ns an operation over bare; x floor: added, as a multiple of what empty\n\
         programs on the same hooks add in the same round; speed: operations a second, bare is 1; by CPU: the same a second\n\
         of CPU time\n",
    );
    for workload in &options.workloads {
        let rows = subjects.iter().filter_map(|subject| Some((subject, results.row(workload, subject)?)));
        let _ = writeln!(text, "\n{}: {}", workload.name, workload.what);
        let _ = writeln!(
            text,
            "  {:<12} {:>12} {:>28} {:>20} {:>20} {:>8}",
            "", "ns/op", "added ns", "x floor", "speed", "by CPU"
        );
        for (subject, row) in rows {
            line(&mut text, subject, &row);
        }
    }
    text.push('\n');
    for subject in subjects {
        let floor = if subject.floor == subject.name { "" } else { subject.floor };
        let _ = writeln!(text, "  {:<12} {:<12} {}", subject.name, floor, subject.what);
    }
    for (subject, reason) in &results.failed {
        let _ = writeln!(text, "NOT MEASURED: {subject}: {reason}");
    }
    let highest = results.loads.iter().copied().fold(0.0, f64::max);
    let _ = write!(text, "{} rounds, seed {}, highest load {highest:.2}", options.rounds, options.seed);
    let _ = write!(text, ", {} measurements repeated for others' observers", results.repeated);
    if results.disturbed > 0 {
        let _ = write!(text, ", {} KEPT WITH THEM", results.disturbed);
    }
    text.push('\n');
    text
}

fn line(text: &mut String, subject: &Subject, row: &Row) {
    let digits = usize::from(row.time.median < 10_000.0);
    let of_floor = row.of_floor.map_or("-".to_owned(), |quartiles| shown(quartiles, 2));
    let by_cpu = row.cpu_speed.map_or("-".to_owned(), |quartiles| format!("{:.3}", quartiles.median));
    let (time, added, speed) = (row.time.median, shown(row.added, digits), shown(row.speed, 3));
    let _ =
        writeln!(text, "  {:<12} {time:>12.digits$} {added:>28} {of_floor:>20} {speed:>20} {by_cpu:>8}", subject.name);
}

pub(super) fn shown(Quartiles { low, median, high }: Quartiles, digits: usize) -> String {
    format!("{median:.digits$} ({low:.digits$}..{high:.digits$})")
}

/// Everything, each pair of each round too.
pub(super) fn compared(
    results: &Results,
    machine: &Machine,
    subjects: &[&'static Subject],
    options: &Options,
) -> String {
    let mut rows = Vec::new();
    for workload in &options.workloads {
        for subject in subjects {
            let Some(row) = results.row(workload, subject) else { continue };
            let pairs = results.of(workload.name, subject.name).iter();
            rows.push(json::object([
                ("workload", json::string(workload.name)),
                ("subject", json::string(subject.name)),
                ("floor", json::string(subject.floor)),
                ("ns", json::quartiles(Some(row.time))),
                ("added_ns", json::quartiles(Some(row.added))),
                ("times_floor", json::quartiles(row.of_floor)),
                ("speed", json::quartiles(Some(row.speed))),
                ("cpu_speed", json::quartiles(row.cpu_speed)),
                (
                    "bare_observed_ns",
                    json::array(
                        pairs.map(|pair| {
                            json::array([json::number(pair.bare.clock), json::number(pair.observed.clock)])
                        }),
                    ),
                ),
            ]));
        }
    }
    let failed = results
        .failed
        .iter()
        .map(|(name, reason)| json::object([("subject", json::string(name)), ("reason", json::string(reason))]));
    with_machine(
        machine,
        options,
        [
            ("loads", json::array(results.loads.iter().copied().map(json::number))),
            ("repeated", results.repeated.to_string()),
            ("disturbed", results.disturbed.to_string()),
            ("not_measured", json::array(failed)),
            ("results", json::array(rows)),
            ("budgets", budget::json(results, &Figures::new())),
        ],
    )
}

/// The figures of another kind of bench.
pub(super) fn figures(figures: &Figures, machine: &Machine, options: &Options) -> String {
    let members = figures.iter().map(|(name, value)| (*name, json::number(*value)));
    let members = [("figures", json::object(members)), ("budgets", budget::json(&Results::default(), figures))];
    with_machine(machine, options, members)
}

fn with_machine<'a>(
    machine: &Machine,
    options: &Options,
    members: impl IntoIterator<Item = (&'a str, String)>,
) -> String {
    let head = [
        ("revision", json::string(&machine.revision)),
        ("cpu", json::string(&machine.model)),
        ("cpus", machine.cpus.to_string()),
        ("kernel", json::string(&machine.kernel)),
        ("rounds", options.rounds.to_string()),
        ("seed", options.seed.to_string()),
        ("load_before", json::number(machine.load)),
    ];
    json::object(head.into_iter().chain(members)) + "\n"
}
