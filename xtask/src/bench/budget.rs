//! What the daemon may cost: the project's budgets, as ratios within one run where a time of its own would say nothing
//! about another machine.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{json, report::shown, results::Results, statistics::Quartiles};

/// What the kinds of bench that do not compare found out, by name.
pub(super) type Figures = BTreeMap<&'static str, f64>;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
enum Metric {
    /// Under a workload, what a subject adds, as a multiple of what another adds.
    Times(&'static str, &'static str, &'static str),
    /// Under a workload, the speed of a subject by the clock, as a part of bare.
    Speed(&'static str, &'static str),
    /// The same by CPU time: where all CPUs are at work, the clock tells about others as well.
    CpuSpeed(&'static str, &'static str),
    /// What a subject adds, the latter workload as a multiple of the former.
    Growth(&'static str, &'static str, &'static str),
    /// A figure of another kind of bench.
    Figure(&'static str),
}

use Metric::{CpuSpeed, Figure, Growth, Speed, Times};

/// One budget.
#[derive(Debug)]
struct Budget {
    what: &'static str,
    metric: Metric,
    /// More is better.
    at_least: bool,
    limit: f64,
    /// What is aimed at beyond it.
    stretch: Option<f64>,
}

const fn most(what: &'static str, metric: Metric, limit: f64, stretch: Option<f64>) -> Budget {
    Budget { what, metric, at_least: false, limit, stretch }
}

const fn least(what: &'static str, metric: Metric, limit: f64, stretch: Option<f64>) -> Budget {
    Budget { what, metric, at_least: true, limit, stretch }
}

#[rustfmt::skip]
static BUDGETS: &[Budget] = &[
    most("every call timed, x empty pair", Times("getppid", "default", "empty pair"), 1.65, Some(1.5)),
    most("every call timed, x empty pair", Times("read+write", "default", "empty pair"), 1.65, Some(1.5)),
    most("some calls timed, x empty pair", Times("getppid", "adaptive", "empty pair"), 1.2, Some(1.1)),
    most("some calls timed, x empty pair", Times("read+write", "adaptive", "empty pair"), 1.2, Some(1.1)),
    most("no call timed, x empty pair", Times("getppid", "counts", "empty pair"), 0.7, Some(0.62)),
    most("no call timed, x empty pair", Times("read+write", "counts", "empty pair"), 0.7, Some(0.62)),
    least("all signals and rules, part of bare", Speed("fork+exec", "default"), 0.94, Some(0.97)),
    least("all signals and rules, part of bare", Speed("tcp", "default"), 0.93, Some(0.97)),
    least("all signals and rules, part of bare", Speed("find", "default"), 0.88, Some(0.95)),
    least("all signals and rules, part of bare", CpuSpeed("build", "default"), 0.97, Some(0.99)),
    least("all signals and rules, part of bare", Speed("open+close", "default"), 0.45, Some(0.55)),
    most("a call, of 10000 processes / of 10", Growth("16384 slots", "crowd-10", "crowd-10000"), 1.1, None),
    least("records a second without loss, one minute", Figure("ring.records_per_second"), 1e6, Some(5e6)),
    most("... CPU of their reader, %", Figure("ring.consumer_cpu_percent"), 15.0, None),
    most("... records lost", Figure("ring.lost"), 0.0, None),
    most("an alert at rest, median ms", Figure("alerts.quiet_median_ms"), 10.0, None),
    most("... 99th percentile, ms", Figure("alerts.quiet_p99_ms"), 100.0, None),
    most("an alert under a build, median ms", Figure("alerts.build_median_ms"), 10.0, None),
    most("... 99th percentile, ms", Figure("alerts.build_p99_ms"), 100.0, None),
    least("redis-benchmark, part of bare", Figure("servers.redis"), 0.95, Some(0.98)),
    least("... of the daemon without l7", Figure("servers.redis_by_l7"), 0.95, Some(0.98)),
    least("the same pipelined, part of bare", Figure("servers.redis_pipelined"), 0.95, Some(0.98)),
    least("... of the daemon without l7", Figure("servers.redis_pipelined_by_l7"), 0.95, Some(0.98)),
    least("pgbench -S, part of bare", Figure("servers.pgbench"), 0.95, Some(0.98)),
    least("... of the daemon without l7", Figure("servers.pgbench_by_l7"), 0.95, Some(0.98)),
    least("ab on nginx, part of bare", Figure("servers.nginx"), 0.95, Some(0.98)),
    least("... of the daemon without l7", Figure("servers.nginx_by_l7"), 0.95, Some(0.98)),
    most("at rest, MB resident", Figure("rest.resident_mb"), 40.0, Some(25.0)),
    most("at rest, % of a CPU", Figure("rest.cpu_percent"), 0.5, Some(0.2)),
    most("10000 series, ms of CPU a scrape", Figure("load.scrape_cpu_ms"), 5.0, Some(1.0)),
    most("10000 series, saturated, p99 ms", Figure("load.scrape_p99_ms"), 20.0, None),
];

impl Metric {
    fn value(&self, results: &Results, figures: &Figures) -> Option<Quartiles> {
        match *self {
            Times(workload, subject, other) => results.times(workload, subject, other),
            Speed(workload, subject) => results.speed(workload, subject),
            CpuSpeed(workload, subject) => results.cpu_speed(workload, subject),
            Growth(subject, from, to) => results.growth(subject, from, to),
            Figure(name) => figures.get(name).map(|&value| Quartiles { low: value, median: value, high: value }),
        }
    }

    /// What it is of, and the option that measures it.
    fn source(&self) -> (String, String) {
        match *self {
            Times(workload, subject, _) => (format!("{workload}, {subject}"), String::new()),
            Speed(workload, subject) => (format!("{workload}, {subject}"), String::new()),
            CpuSpeed(workload, subject) => (format!("{workload}, {subject}, by CPU"), String::new()),
            Growth(subject, _, _) => (format!("getppid, {subject}"), " --processes".to_owned()),
            Figure(name) => {
                let mode = name.split_once('.').map_or(name, |(mode, _)| mode);
                (String::new(), format!(" --{mode}"))
            }
        }
    }
}

impl Budget {
    fn holds(&self, value: f64, limit: f64) -> bool {
        // A value that is no number holds nothing.
        if self.at_least { value >= limit } else { value <= limit }
    }

    fn verdict(&self, measured: Option<Quartiles>) -> String {
        match measured {
            None => format!("not measured: cargo xtask bench{}", self.metric.source().1),
            Some(Quartiles { median, .. }) if !self.holds(median, self.limit) => "NOT MET".to_owned(),
            Some(Quartiles { median, .. }) if self.stretch.is_some_and(|stretch| self.holds(median, stretch)) => {
                "met, stretch too".to_owned()
            }
            Some(_) => "met".to_owned(),
        }
    }
}

/// One line a budget. What was not measured here is left out, unless `all` are wanted.
pub(super) fn table(results: &Results, figures: &Figures, all: bool) -> String {
    let mut text = String::new();
    for budget in BUDGETS {
        let measured = budget.metric.value(results, figures);
        if measured.is_none() && !all {
            continue;
        }
        let sign = if budget.at_least { "≥" } else { "≤" };
        let stretch = budget.stretch.map_or(String::new(), |stretch| format!("({stretch})"));
        let shown = measured.map_or("-".to_owned(), |quartiles| match budget.metric {
            Figure(_) => format!("{:.2}", quartiles.median),
            _ => shown(quartiles, 3),
        });
        let _ = writeln!(
            text,
            "  {:<42} {:<22} {sign} {:<7} {stretch:<10} {shown:>22}  {}",
            budget.what,
            budget.metric.source().0,
            budget.limit,
            budget.verdict(measured)
        );
    }
    if !text.is_empty() {
        text.insert_str(0, "budgets\n");
    }
    text
}

/// The same for programs.
pub(super) fn json(results: &Results, figures: &Figures) -> String {
    json::array(BUDGETS.iter().filter_map(|budget| {
        let measured = budget.metric.value(results, figures)?;
        Some(json::object([
            ("what", json::string(budget.what)),
            ("of", json::string(&budget.metric.source().0)),
            (if budget.at_least { "at_least" } else { "at_most" }, json::number(budget.limit)),
            ("stretch", budget.stretch.map_or("null".to_owned(), json::number)),
            ("measured", json::quartiles(Some(measured))),
            ("met", budget.holds(measured.median, budget.limit).to_string()),
        ]))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{options::Options, results::tests::three_rounds, subject, workload};

    #[test]
    fn a_budget_is_met_at_its_limit_and_not_beyond() {
        let at_most = most("", Figure("x"), 1.5, Some(1.0));
        let at_least = least("", Figure("x"), 0.9, None);
        let verdict = |budget: &Budget, value: f64| budget.verdict(Quartiles::of([value]));
        assert_eq!(verdict(&at_most, 1.5), "met");
        assert_eq!(verdict(&at_most, 1.51), "NOT MET");
        assert_eq!(verdict(&at_most, 1.0), "met, stretch too");
        assert_eq!(verdict(&at_most, f64::NAN), "NOT MET");
        assert_eq!(verdict(&at_least, 0.9), "met");
        assert_eq!(verdict(&at_least, 0.89), "NOT MET");
        assert!(at_least.verdict(None).contains("bench --x"));
    }

    #[test]
    fn the_table_takes_each_ratio_from_its_place() {
        let mut results = Results::default();
        three_rounds(&mut results, "getppid", "empty pair", 200.0);
        three_rounds(&mut results, "getppid", "default", 260.0);
        three_rounds(&mut results, "getppid", "counts", 190.0);
        three_rounds(&mut results, "tcp", "default", 105.0);
        let text = table(&results, &Figures::from([("ring.lost", 3.0)]), false);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].contains("1.600") && lines[0].ends_with(" met"), "{text}");
        assert!(lines[1].contains("0.900") && lines[1].ends_with("NOT MET"), "{text}");
        assert!(lines[2].contains("0.952") && lines[2].ends_with(" met"), "{text}");
        assert!(lines[3].contains("3.00") && lines[3].ends_with("NOT MET"), "{text}");
        let all = table(&results, &Figures::new(), true);
        assert_eq!(all.lines().count(), BUDGETS.len() + 1);
        assert!(all.contains("not measured: cargo xtask bench --ring"), "{all}");
        assert!(json(&results, &Figures::new()).contains(r#""met":false"#));
    }

    #[test]
    fn budgets_speak_of_subjects_and_workloads_that_are_measured() {
        let measured = |workload: &str, subject: &str| {
            let arguments = ["--only", subject, "--workload", workload].map(str::to_owned);
            let chosen = subject::chosen(&Options::parse(&arguments).unwrap()).unwrap();
            assert!(chosen.iter().any(|found| found.name == subject), "{subject} is not measured with {workload}");
        };
        for budget in BUDGETS {
            match budget.metric {
                Times(workload, subject, other) => {
                    measured(workload, subject);
                    measured(workload, other);
                }
                Speed(workload, subject) | CpuSpeed(workload, subject) => measured(workload, subject),
                Growth(subject, from, to) => {
                    measured(from, subject);
                    measured(to, subject);
                }
                Figure(name) => assert!(name.contains('.'), "{name}"),
            }
            if let Some(stretch) = budget.stretch {
                assert!(budget.holds(stretch, budget.limit), "{}: the stretch is no stretch", budget.what);
            }
        }
        assert!(workload::find("crowd-10000").is_some());
    }
}
