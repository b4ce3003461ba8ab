//! The kernel tests on other kernels: stock Debian kernels in virtual machines, nothing of which is installed here.
//!
//! Each machine boots a kernel with a first file system of our making, whose first program (`tests/guest/init.rs`) asks
//! `monitor doctor`, runs the tests, and reports on the console. Without hardware support a processor is emulated, 10 to
//! 30 times slower than a real one: the tests are told by `TEST_SLOWNESS`.

mod apt;
mod arm64;
mod console;
mod cpio;
mod image;
mod kernel;
mod modules;
mod qemu;
mod report;
mod series;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) use series::{Series, list};

use crate::{
    project::{Project, places},
    step::seconds,
};
use apt::Apt;
use image::Built;
use kernel::Kernel;
use qemu::{Guest, Outcome};
use report::Row;
use series::Arch;

/// The oldest kernel that the daemon runs on in full breadth, and the newest: what every change has to pass.
pub(crate) const ENDS: [Series; 2] = [Series::of(5, 10), Series::NEWEST];

/// Can what is built here run in the machines?
pub(crate) const HERE: bool = cfg!(target_arch = "x86_64");

/// How many times slower than on a real processor things may be when it is emulated.
const SLOWNESS: u32 = 8;

/// Tests outside of `signals::` that depend on the kernel. The others look at files, arguments and HTTP.
const DAEMON_TESTS: [&str; 8] = [
    "daemon::doctor::",
    "daemon::exec_kill::spared::",
    "daemon::exec_kill::whoever_is_to_be_killed",
    "daemon::no_btf::",
    "daemon::lifecycle::a_killed_daemon",
    "daemon::lifecycle::a_terminating_signal",
    "daemon::lifecycle::sigterm",
    "daemon::privileges::the_capabilities",
];

/// How long a machine may take after it has come up.
const DEADLINE: Duration = Duration::from_secs(1800);

/// A machine for a kernel.
struct Shape {
    arch: Arch,
    /// What its files are called after the kernel.
    name: &'static str,
    cpus: u32,
    /// Words of the kernel's command line.
    words: &'static str,
    /// What it goes through.
    plan: fn(Option<&str>) -> String,
}

const SHAPES: [Shape; 3] = [
    Shape { arch: Arch::X86, name: "", cpus: 2, words: "", plan: main_plan },
    Shape { arch: Arch::Arm64, name: "", cpus: 2, words: "", plan: kernel_plan },
    // More processors than copies of the hot counters; and tasks are preempted inside of the kernel, too, where it can.
    Shape { arch: Arch::X86, name: "-many", cpus: 10, words: "preempt=full", plan: many_plan },
];

/// Each test's time is told, too.
const TIMES: &str = "-Zunstable-options --report-time";

/// Tests for the machine with many processors.
const MANY: &str = "many_cpus::";

/// What the main machine of each kernel runs: a name, a program and its arguments a line.
fn main_plan(filter: Option<&str>) -> String {
    let kernel = kernel_plan(filter);
    let filter = filter.unwrap_or_default();
    format!("{kernel}guest /disk/debug/deps/guest {TIMES} --test-threads=1 --skip {MANY} {filter}\n")
}

/// On arm64 this is all: what is done to a machine is about its kernel, and not about the processor.
fn kernel_plan(filter: Option<&str>) -> String {
    let mut tests = vec!["signals::"];
    tests.extend(DAEMON_TESTS);
    let tests = filter.map_or_else(|| tests.join(" "), str::to_owned);
    format!("kernel /disk/debug/deps/kernel {TIMES} --test-threads=3 {tests}\n")
}

fn many_plan(_: Option<&str>) -> String {
    format!("guest /disk/debug/deps/guest {TIMES} --test-threads=1 {MANY}\n")
}

/// Runs the tests on these kernels and prints a table.
pub(crate) fn test(project: &Project, kernels: &[Series], filter: Option<&str>) -> Result<()> {
    ensure!(HERE, "the machines have x86-64 processors, and what is built here is for another kind");
    let directory = project.target.join("vm");
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    // Two at a time would share a disk, and be twice as slow.
    let lock = File::create(directory.join("lock")).context("make a lock file")?;
    lock.lock().context("wait for whoever tests kernels in this checkout")?;
    let (mut userlands, mut fetched) = (Vec::new(), Vec::new());
    for arch in [Arch::X86, Arch::Arm64] {
        let wanted: Vec<Series> = kernels.iter().copied().filter(|series| series.arch == arch).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut apt = None;
        userlands.push(Userland::new(arch, project, &mut apt, &directory)?);
        fetched.extend(wanted.into_iter().map(|series| (series, kernel::kernel(series, &mut apt))));
    }
    let bench = Bench { project, userlands, directory, filter };
    let rows = bench.all(&fetched);
    fs::write(bench.directory.join("kernels.json"), report::json(&rows)).context("write the results")?;
    for userland in &bench.userlands {
        drop(fs::remove_file(&userland.disk));
    }
    println!("\n{}\n\n  as JSON, with each test: {}/kernels.json", report::table(&rows), bench.shown().display());
    println!("  what each machine said:  {}/KERNEL.log", bench.shown().display());
    let bad: Vec<String> = rows
        .iter()
        .map(|row| (row.series, row.verdict()))
        .filter(|(_, (word, _))| *word != "passed")
        .map(|(series, (word, reason))| format!("{series} {word}: {reason}"))
        .collect();
    if !bad.is_empty() {
        bail!("{}", bad.join("\n  "));
    }
    Ok(())
}

/// What machines with one kind of processor have in common.
struct Userland {
    arch: Arch,
    built: Built,
    program: PathBuf,
    disk: PathBuf,
}

impl Userland {
    fn new(arch: Arch, project: &Project, apt: &mut Option<Apt>, directory: &Path) -> Result<Self> {
        let built = match arch {
            Arch::X86 => Built::new(project)?,
            Arch::Arm64 => arm64::built(project, apt)?,
        };
        let program = qemu::program(arch);
        let program = places()?.program(program).with_context(|| format!("{program} is not installed"))?;
        let disk = image::disk(&built, arch.prefix(), directory)?;
        Ok(Self { arch, built, program, disk })
    }
}

/// What all machines have in common.
struct Bench<'a> {
    project: &'a Project,
    userlands: Vec<Userland>,
    directory: PathBuf,
    filter: Option<&'a str>,
}

impl Bench<'_> {
    fn shown(&self) -> &Path {
        self.project.short(&self.directory)
    }

    /// As many machines at a time as there are processors here: each emulates all of its own in one thread.
    fn all(&self, kernels: &[(Series, Result<Kernel>)]) -> Vec<Row> {
        let wanted = |shape: &&Shape| shape.name.is_empty() || self.filter.is_none_or(|filter| filter.contains("many"));
        // The long ones first.
        let jobs: Vec<(usize, Series, &Kernel, &Shape)> = SHAPES
            .iter()
            .filter(wanted)
            .flat_map(|shape| kernels.iter().enumerate().map(move |kernel| (shape, kernel)))
            .filter(|(shape, (_, (series, _)))| shape.arch == series.arch)
            .filter_map(|(shape, (at, (series, kernel)))| Some((at, *series, kernel.as_ref().ok()?, shape)))
            .collect();
        let workers = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
        let emulated = if jobs.iter().any(|job| qemu::is_emulated(job.1.arch)) { ", emulated" } else { "" };
        println!("==> {} machines, {workers} at a time{emulated}", jobs.len());
        let (jobs, results) = (Mutex::new(jobs.into_iter()), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some((at, series, kernel, shape)) = next(&jobs) {
                        let outcome = self.one(series, kernel, shape);
                        results.lock().unwrap_or_else(PoisonError::into_inner).push((at, outcome));
                    }
                });
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let rows = kernels.iter().enumerate().map(|(at, (series, kernel))| {
            let outcomes = results.extract_if(.., |(row, _)| *row == at).map(|(_, outcome)| outcome);
            let ran = kernel.as_ref().map(|kernel| (kernel.release.clone(), outcomes.collect::<Result<Vec<_>>>()));
            let (release, result) = match ran {
                Ok((release, Ok(outcomes))) => (release, report::Result::Ran(outcomes)),
                Ok((release, Err(error))) => (release, report::Result::Unavailable(format!("{error:#}"))),
                Err(error) => ("-".to_owned(), report::Result::Unavailable(format!("{error:#}"))),
            };
            Row { series: *series, release, result }
        });
        rows.collect()
    }

    fn one(&self, series: Series, kernel: &Kernel, shape: &Shape) -> Result<Outcome> {
        let name = format!("{series}{}", shape.name);
        let begin = Instant::now();
        let modules = modules::closure(kernel, modules::WANTED)?;
        let userland = self.userlands.iter().find(|userland| userland.arch == series.arch).context("no userland")?;
        let slowness = if qemu::is_emulated(series.arch) { SLOWNESS } else { 1 };
        let plan = format!("slowness {slowness}\n{}", (shape.plan)(self.filter));
        let initramfs = self.directory.join(format!("{name}.cpio"));
        fs::write(&initramfs, image::initramfs(&userland.built, &modules, &plan)?)?;
        let log = self.directory.join(format!("{name}.log"));
        let guest = Guest {
            arch: series.arch,
            program: &userland.program,
            kernel: &kernel.image,
            initramfs: &initramfs,
            disk: &userland.disk,
            cpus: shape.cpus,
            words: shape.words,
            log: &log,
            deadline: DEADLINE,
        };
        let outcome = guest.run();
        drop(fs::remove_file(&initramfs));
        let outcome = outcome?;
        let (passed, failed) = (outcome.heard.passed.len(), outcome.heard.failed.len());
        println!("    {name:<12} {passed} passed, {failed} failed, in {}", seconds(begin.elapsed()));
        for name in &outcome.heard.again {
            println!("        tried again, because the kernel left out programs and said so: {name}");
        }
        for name in &outcome.heard.failed {
            println!("        FAILED {name}");
        }
        Ok(outcome)
    }
}

fn next<T>(jobs: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).next()
}
