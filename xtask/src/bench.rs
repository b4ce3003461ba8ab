//! `cargo xtask bench`: what the daemon costs. Claims about performance come from here and nowhere else.
//!
//! Everything is compared within one invocation: a round takes the subjects in random order, and each is measured against
//! the bare machine right before it, by one process on one CPU. What is claimed is a ratio or a difference of such pairs,
//! never a time of its own, and always with its spread.

mod alerts;
mod budget;
mod json;
mod load;
mod machine;
mod options;
mod peer;
mod process;
mod programs;
mod report;
mod rest;
mod results;
mod ring;
mod servers;
mod statistics;
mod subject;
mod usage;
mod workload;

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    daemon,
    needs::{Need, Proof, Purpose},
    project::{Project, is_root},
    setup::{self, setup},
    step::{Step, seconds},
};

use budget::Figures;
use machine::Machine;
pub(crate) use options::USAGE;
use options::{HELP, Mode, Options};
use process::{Cost, Worker};
use results::{Pair, Results};
use statistics::Random;
use subject::{Places, Subject};
use workload::{Set, Workload};

/// How many measurements are repeated because others had programs of their own loaded meanwhile. More: they are there to
/// stay.
const MOST_REPEATED: usize = 5;

const FIO: Need = Need {
    package: "fio",
    proof: Proof::Program("fio"),
    why: "reads from the disk in a workload",
    purpose: Purpose::Build,
};

/// Runs what the arguments ask for.
pub(crate) fn bench(project: &Project, arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{HELP}");
        return Ok(());
    }
    let options = Options::parse(arguments)?;
    ensure!(is_root(), "the bench starts the daemon, which needs root: sudo -E cargo xtask bench");
    setup(Purpose::Build)?;
    daemon::compile(project)?;
    let scratch = Scratch::new(project)?;
    let worker = compile_worker(project)?;
    let object = daemon::kernel_object(project, "bench-ebpf")?;
    let places = Places::new(project, worker, object, &scratch.0, &options);
    if options.workloads.iter().any(|workload| workload.set == Set::Disk) {
        setup::install(&[FIO])?;
    }
    let subjects = subject::chosen(&options)?;
    let machine = Machine::look(project)?;
    machine.wait_until_quiet(options.wait);
    println!("{}", machine.header());

    let figures = match options.mode {
        Mode::Compare => return compare(&places, &machine, &subjects, &options),
        Mode::Programs => programs::measure(&places, &machine, &options)?,
        Mode::Rest => rest::measure(&places)?,
        Mode::Load => load::measure(&places, &machine)?,
        Mode::Alerts => alerts::measure(&places, &machine)?,
        Mode::Servers => servers::measure(&places, &options)?,
        Mode::Ring => ring::measure(project, &places, &machine)?,
    };
    println!("{}", budget::table(&Results::default(), &figures, false));
    write_json(&options, || report::figures(&figures, &machine, &options))
}

/// Interleaved rounds.
fn compare(places: &Places, machine: &Machine, subjects: &[&'static Subject], options: &Options) -> Result<()> {
    ensure!(!subjects.is_empty(), "nobody is measured with these workloads");
    let begin = Instant::now();
    let mut random = Random::new(options.seed);
    let mut results = Results::default();
    for subject in subjects {
        if let Some(Err(error)) = subject.peer().map(peer::Peer::install) {
            println!("    {}: {error:#}", subject.name);
            results.failed.insert(subject.name, format!("{error:#}"));
        }
    }
    for round in 1..=options.rounds {
        let mut order = subjects.to_vec();
        random.shuffle(&mut order);
        order.retain(|subject| !results.failed.contains_key(subject.name));
        for subject in order {
            measure(places, machine, subject, options, &mut random, &mut results)
                .with_context(|| format!("round {round}, {}", subject.name))?;
        }
        let (load, took) = (machine::load(), seconds(begin.elapsed()));
        results.loads.push(load);
        println!("    round {round} of {}: {took}, load {load:.2}", options.rounds);
    }
    println!("\n{}", report::table(&results, subjects, options));
    println!("{}", budget::table(&results, &Figures::new(), options.only.is_empty()));
    write_json(options, || report::compared(&results, machine, subjects, options))
}

/// Every workload bare, then under the subject, by the same process.
fn measure(
    places: &Places,
    machine: &Machine,
    subject: &'static Subject,
    options: &Options,
    random: &mut Random,
    results: &mut Results,
) -> Result<()> {
    loop {
        let mut worker = Worker::start(&places.loader, machine.cpu, &places.scratch)?;
        let mut order = subject.workloads(options);
        random.shuffle(&mut order);
        let alone = machine::others(None) == 0;
        let bare = run_all(&mut worker, &order)?;
        let running = match subject.start(places) {
            // What others wrote may not run on this machine, and the table says why.
            Err(error) if subject.peer().is_some() => {
                println!("    {}: {error:#}", subject.name);
                results.failed.insert(subject.name, format!("{error:#}"));
                return Ok(());
            }
            started => started?,
        };
        let observed = run_all(&mut worker, &order)?;
        let alone = alone && machine::others(running.pid()) == 0;
        running.stop()?;
        if !alone && results.repeated < MOST_REPEATED {
            results.repeated += 1;
            println!("    {}: somebody else observes, tries again in 5 s", subject.name);
            thread::sleep(Duration::from_secs(5));
            continue;
        }
        results.disturbed += usize::from(!alone);
        for ((workload, bare), observed) in order.iter().zip(bare).zip(observed) {
            results.add(workload.name, subject.name, Pair { bare, observed });
        }
        return Ok(());
    }
}

fn run_all(worker: &mut Worker, order: &[&Workload]) -> Result<Vec<Cost>> {
    order.iter().map(|workload| worker.run(workload.name)).collect()
}

fn write_json(options: &Options, json: impl FnOnce() -> String) -> Result<()> {
    let Some(path) = &options.json else { return Ok(()) };
    fs::write(path, json()).with_context(|| format!("write {}", path.display()))?;
    println!("==> wrote {}", path.display());
    Ok(())
}

/// A directory for the files of one run.
struct Scratch(PathBuf);

impl Scratch {
    fn new(project: &Project) -> Result<Self> {
        let directory = project.target.join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(Self(directory))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            println!("    warning: remove {} by hand: {error}", self.0.display());
        }
    }
}

/// The program that runs the workloads.
fn compile_worker(project: &Project) -> Result<PathBuf> {
    let mut command = project.cargo("build");
    command.args(["--locked", "--release", "--package", "monitor-tests", "--bin", "monitor-bench"]);
    Step { what: "cargo build", why: "the workloads", remedy: "the compiler's message is above" }.shown(command)?;
    Ok(project.target.join("release/monitor-bench"))
}
