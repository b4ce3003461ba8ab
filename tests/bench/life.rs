//! Workloads that start programs.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::workloads::{Cost, chunks, cpu_time};

/// A program that does nothing, to be found on every Linux.
pub(super) const TRUE: &str = "/bin/true";
/// A tree that every Linux has, too large to be looked at in a moment.
const TREE: &str = "/usr/share";
/// Libraries of the crate that is built, and functions of each.
const LIBRARIES: usize = 4;
const FUNCTIONS: usize = 8;
/// What fio reads from.
const FILE_MIB: u64 = 64;
/// How long it reads.
const READ: &str = "500ms";

pub(super) fn fork_exec() -> Result<Cost> {
    chunks(30, 12, || succeed(Command::new(TRUE).env_clear()))
}

/// A process that ends as soon as it is born.
pub(super) fn fork() -> Result<Cost> {
    chunks(200, 50, || {
        // SAFETY: this program has one thread here, and the child makes nothing but a system call.
        match unsafe { libc::fork() } {
            // SAFETY: ends the child at once; nothing of the parent's is run or dropped in it.
            0 => unsafe { libc::_exit(0) },
            child => {
                ensure!(child > 0, "fork: {}", io::Error::last_os_error());
                // SAFETY: the status is not wanted, which a null pointer says.
                let waited = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
                ensure!(waited == child, "waitpid: {}", io::Error::last_os_error());
                Ok(())
            }
        }
    })
}

/// Looks at each file of a tree, and finds nothing. One operation is the whole tree.
pub(super) fn find() -> Result<Cost> {
    let mut command = Command::new("find");
    command.args([TREE, "-size", "+999999k"]).stdout(Stdio::null());
    chunks(3, 1, || succeed(&mut command))
}

/// Builds a crate of several libraries with a compiler for each CPU. One operation is the whole crate.
pub(super) fn build(directory: &Path) -> Result<Cost> {
    let place = directory.join("crate");
    fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
    for library in 0..LIBRARIES {
        fs::write(place.join(format!("part{library}.rs")), source(library))?;
    }
    let compile = |library: usize| {
        let mut command = Command::new("rustc");
        command.current_dir(&place).args(["--edition=2021", "--crate-type=rlib", "-Copt-level=1", "-Ccodegen-units=4"]);
        // On all CPUs, not on that of this process alone.
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
        // SAFETY: between fork and exec nothing but a system call is made.
        unsafe { command.pre_exec(move || Ok(sched_setaffinity(None, &all)?)) };
        command.arg(format!("part{library}.rs"));
        command
    };
    chunks(1, 1, || {
        let cpus = fs::read_to_string("/proc/cpuinfo")?.matches("processor\t").count().max(1);
        let mut waiting = (0..LIBRARIES).map(compile);
        loop {
            let started: Vec<_> =
                waiting.by_ref().take(cpus).map(|mut command| command.spawn()).collect::<io::Result<_>>()?;
            if started.is_empty() {
                return Ok(());
            }
            for mut compiler in started {
                let status = compiler.wait()?;
                ensure!(status.success(), "rustc: {status}");
            }
        }
    })
}

/// A library that takes a compiler a little while.
fn source(library: usize) -> String {
    let mut text = String::from("use std::collections::BTreeMap;\n");
    for function in 0..FUNCTIONS {
        let step = 3 + function * LIBRARIES + library;
        text += &format!(
            "pub fn f{function}(text: &str) -> Vec<String> {{\n    let mut counts: BTreeMap<String, usize> = BTreeMap::new();\n    \
             for word in text.split(|c: char| c as usize % {step} == 0) {{ *counts.entry(word.to_uppercase()).or_default() += {step}; }}\n    \
             counts.into_iter().map(|(word, count)| format!(\"{{word}}={{count}}\")).collect()\n}}\n"
        );
    }
    text
}

/// Random reads of 4 KiB past the page cache, one after the other.
pub(super) fn fio(directory: &Path) -> Result<Cost> {
    let file = directory.join("fio.dat");
    let before = cpu_time()?;
    let begin = Instant::now();
    let output = Command::new("fio")
        .args(["--name=bench", "--rw=randread", "--bs=4k", "--direct=1", "--ioengine=psync", "--thread"])
        .args(["--time_based", &format!("--runtime={READ}"), &format!("--size={FILE_MIB}m"), "--randseed=1"])
        .arg(format!("--filename={}", file.display()))
        .arg("--output-format=json")
        .output()
        .context("start fio")?;
    ensure!(
        output.status.success(),
        "fio: {}; {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default()
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("read fio's report")?;
    let read = &report["jobs"][0]["read"];
    let (Some(count), Some(milliseconds)) = (read["total_ios"].as_f64(), read["runtime"].as_f64()) else {
        bail!("fio reports no reads after {:?}", begin.elapsed());
    };
    ensure!(count > 0.0, "fio read nothing");
    Ok(Cost { clock: milliseconds * 1e6 / count, cpu: Some((cpu_time()? - before).as_nanos() as f64 / count) })
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", command.get_program().display()))?;
    ensure!(status.success(), "{}: {status}", command.get_program().display());
    Ok(())
}
