//! What each kernel program of the daemon costs, by the kernel's own account.
//!
//! The account is switched on for the moment of a workload only, because it costs more than some programs. What it costs
//! itself is measured along with them, by a program that does nothing, and taken off.

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    budget::Figures,
    machine::Machine,
    options::Options,
    process::{self, Lines, Worker},
    subject::Places,
    workload::Set,
};

/// The program that does nothing.
const EMPTY: &str = "empty";

/// One program's part of one workload.
#[derive(Clone, Debug, PartialEq)]
struct Program {
    name: String,
    runs: u64,
    nanoseconds: u64,
}

impl Program {
    /// As `monitor-bench programs` writes it.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let program = Self {
            name: words.next()?.to_owned(),
            runs: words.next()?.parse().ok()?,
            nanoseconds: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(program)
    }

    fn mean(&self) -> f64 {
        self.nanoseconds as f64 / self.runs as f64
    }
}

/// What is said about a program: its runs, its own nanoseconds a run, and its part of all programs' own time.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    runs: u64,
    own_ns: f64,
    share: f64,
}

/// Takes off what the account costs. The dearest comes first.
fn lines(programs: &[Program]) -> Result<(f64, Vec<Line>)> {
    let empty = programs.iter().find(|program| program.name == EMPTY && program.runs > 0);
    let account = empty.context("the empty program did not run")?.mean();
    let mut lines: Vec<Line> = programs
        .iter()
        .filter(|program| program.name != EMPTY && program.runs > 0)
        .map(|program| Line {
            name: program.name.clone(),
            runs: program.runs,
            own_ns: program.mean() - account,
            share: 0.0,
        })
        .collect();
    let all: f64 = lines.iter().map(|line| line.own_ns * line.runs as f64).sum();
    for line in &mut lines {
        line.share = line.own_ns * line.runs as f64 / all;
    }
    lines.sort_by(|one, other| other.share.total_cmp(&one.share));
    Ok((account, lines))
}

pub(super) fn measure(places: &Places, machine: &Machine, options: &Options) -> Result<Figures> {
    let mut worker = Worker::start(&places.loader, machine.cpu, &places.scratch)?;
    let daemon = process::daemon(places.against.as_deref().unwrap_or(&places.daemon), &places.scratch, &[])?;
    process::settled(&daemon)?;
    let pid = daemon.running.pid().to_string();
    let mut account = Lines::start(&places.loader, &["programs".as_ref(), places.object.as_os_str(), pid.as_ref()])?;
    println!("own ns: of a run, less what the kernel's account costs; share: of the own time of all programs");
    for workload in options.workloads.iter().filter(|workload| workload.set != Set::Crowd) {
        // What is learnt once is learnt now.
        worker.run(workload.name)?;
        account.ask("begin")?;
        ensure!(account.answer()? == "ready", "the account did not begin");
        let ran = worker.run(workload.name);
        account.ask("end")?;
        let mut programs = Vec::new();
        loop {
            let answer = account.answer()?;
            if answer == "end" {
                break;
            }
            let Some(program) = Program::parse(&answer) else { bail!("not a program: {answer:?}") };
            programs.push(program);
        }
        ran?;
        let (cost, lines) = lines(&programs)?;
        println!("\n{}: {}; the account costs {cost:.1} ns a run", workload.name, workload.what);
        println!("  {:<16} {:>10} {:>10} {:>7}", "program", "runs", "own ns", "share");
        for Line { name, runs, own_ns, share } in lines {
            println!("  {name:<16} {runs:>10} {own_ns:>10.1} {:>6.1}%", share * 100.0);
        }
    }
    daemon.running.stop()?;
    Ok(Figures::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_account_costs_is_taken_off_and_shares_are_of_the_rest() {
        let programs: Vec<Program> = ["sys_exit 100 9000", "empty 50 3000", "tcp_send 10 1600", "exec 0 0"]
            .iter()
            .map(|line| Program::parse(line).unwrap())
            .collect();
        let (account, lines) = lines(&programs).unwrap();
        assert!((account - 60.0).abs() < 1e-9);
        let shown: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.runs, line.own_ns, line.share)).collect();
        assert_eq!(shown, [("sys_exit", 100, 30.0, 0.75), ("tcp_send", 10, 100.0, 0.25)]);
        assert!(super::lines(&programs[..1]).is_err(), "without the empty program nothing can be taken off");
    }

    #[test]
    fn answers_are_read_and_nothing_else() {
        let program = Program { name: "exec".to_owned(), runs: 2, nanoseconds: 3000 };
        assert_eq!(Program::parse("exec 2 3000"), Some(program));
        for line in ["", "exec", "exec 2", "exec 2 3 4", "exec two 3"] {
            assert_eq!(Program::parse(line), None, "{line:?}");
        }
    }
}
