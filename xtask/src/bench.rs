//! `cargo xtask bench`: what the daemon costs. Claims about performance come from here and nowhere else.
//!
//! Everything is compared within one invocation: a round takes the subjects in random order, and each is measured against
//! the bare machine right before it, by one process on one CPU. What is claimed is a ratio or a difference of such pairs,
//! never a time of its own, and always with its spread.

mod machine;
mod options;
mod process;
mod report;
mod rest;
mod statistics;
mod subject;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    daemon,
    needs::Purpose,
    project::{Project, is_root, places},
    setup::setup,
    step::{Step, seconds},
};

use machine::Machine;
use options::Options;
pub(crate) use options::USAGE;
use process::Worker;
use report::Results;
use statistics::Random;
use subject::Subject;

/// What is run, with what an operation is.
const WORKLOADS: [(&str, &str); 5] = [
    ("getppid", "one system call that does nothing"),
    ("read+write", "one byte from /dev/zero to /dev/null, two system calls"),
    ("open+close", "two system calls"),
    ("fork+exec", "start /bin/true and wait for it"),
    ("tcp", "connect on loopback, one byte there and back, close"),
];

/// How many measurements are repeated because others had programs of their own loaded meanwhile. More: they are there to
/// stay.
const MOST_REPEATED: usize = 10;

/// Time and cost of one workload, bare and observed, in nanoseconds an operation.
#[derive(Clone, Copy, Debug)]
struct Pair {
    bare: f64,
    observed: f64,
}

/// Runs what the arguments ask for.
pub(crate) fn bench(project: &Project, arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    ensure!(is_root(), "the bench starts the daemon, which needs root: sudo -E cargo xtask bench");
    setup(Purpose::Build)?;
    daemon::compile(project)?;
    if options.rest {
        return rest::measure(project, &options);
    }
    let worker = compile_worker(project)?;
    let empty = compile_empty(project)?;
    let subjects = subject::all(project, &worker, &empty, &options);
    ensure!(!subjects.is_empty(), "no such subject");
    let machine = Machine::look(project)?;
    machine.wait_until_quiet(options.wait);
    println!("{}", machine.header());

    let begin = Instant::now();
    let mut random = Random::new(options.seed);
    let mut results = Results::default();
    for round in 1..=options.rounds {
        let mut order: Vec<&Subject> = subjects.iter().collect();
        random.shuffle(&mut order);
        for subject in order {
            measure(&worker, &machine, subject, &options, &mut random, &mut results)
                .with_context(|| format!("round {round}, {}", subject.name))?;
        }
        let (load, took) = (machine::load(), seconds(begin.elapsed()));
        results.loads.push(load);
        println!("    round {round} of {}: {took}, load {load:.2}", options.rounds);
    }
    println!("\n{}", results.table(&subjects, &options));
    if let Some(path) = &options.json {
        let json = results.json(&machine, &subjects, &options);
        fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
        println!("==> wrote {}", path.display());
    }
    Ok(())
}

/// Every workload bare, then under the subject, by the same process.
fn measure(
    worker: &Path,
    machine: &Machine,
    subject: &Subject,
    options: &Options,
    random: &mut Random,
    results: &mut Results,
) -> Result<()> {
    loop {
        let mut worker = Worker::start(worker, machine.cpu)?;
        let mut order: Vec<&str> = options.workloads.clone();
        random.shuffle(&mut order);
        let alone = machine::others(None) == 0;
        let bare = run_all(&mut worker, &order)?;
        let running = subject.start()?;
        let observed = run_all(&mut worker, &order)?;
        let alone = alone && machine::others(running.pid()) == 0;
        running.stop()?;
        if !alone && results.repeated < MOST_REPEATED {
            results.repeated += 1;
            println!("    {}: somebody else observes system calls, tries again in 5 s", subject.name);
            thread::sleep(Duration::from_secs(5));
            continue;
        }
        results.disturbed += usize::from(!alone);
        for ((workload, bare), observed) in order.iter().zip(bare).zip(observed) {
            results.add(workload, subject.name, Pair { bare, observed });
        }
        return Ok(());
    }
}

fn run_all(worker: &mut Worker, order: &[&str]) -> Result<Vec<f64>> {
    order.iter().map(|workload| worker.run(workload)).collect()
}

/// The program that runs the workloads.
fn compile_worker(project: &Project) -> Result<PathBuf> {
    let mut command = project.cargo("build");
    command.args(["--locked", "--release", "--package", "monitor-tests", "--bin", "monitor-bench"]);
    Step { what: "cargo build", why: "the workloads", remedy: "the compiler's message is above" }.shown(command)?;
    Ok(project.target.join("release/monitor-bench"))
}

/// The object with the empty programs.
fn compile_empty(project: &Project) -> Result<PathBuf> {
    let places = places()?;
    let toolchain = places.toolchain().0.context("no compiler for the kernel programs: cargo xtask setup")?;
    let linker = places.linker().context("bpf-linker is not installed: cargo xtask setup")?;
    let target = project.target.join("ebpf");
    let mut command = toolchain.cargo("build", &linker, &project.root, &target)?;
    command.args(["--bin", "bench-ebpf"]);
    Step { what: "cargo build", why: "the empty kernel programs", remedy: "cargo xtask setup" }.shown(command)?;
    Ok(target.join("bpfel-unknown-none/release/bench-ebpf"))
}
