//! What `cargo xtask bench` measures with. `work` runs workloads, `attach` is an observer that does next to nothing,
//! `programs` reads the kernel's own account of programs, `alerts` does what rules find and waits until it is told, `busy`
//! and `member` are a machine's load.
//!
//! All take their orders on standard input and end with it, so that nothing is left when the bench is interrupted.

mod alerts;
mod crowd;
mod life;
mod load;
mod net;
mod programs;
mod workloads;

use std::{
    env,
    io::{self, BufRead as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use aya::{Btf, Ebpf, EbpfLoader, programs::BtfTracePoint};
use rustix::thread::{CpuSet, sched_setaffinity};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", cpu, directory] => work(cpu.parse().context("the CPU is a number")?, Path::new(directory)),
        ["attach", object, program, ref hooks @ ..] => attach(object, program, hooks),
        ["programs", object, pid] => programs::measure(object, pid.parse().context("the process id is a number")?),
        ["alerts", address, directory, count] => {
            alerts::measure(address, Path::new(directory), count.parse().context("how many is a number")?)
        }
        ["busy"] => load::busy(),
        ["member"] => load::member(),
        _ => bail!(
            "usage: monitor-bench work CPU DIRECTORY | attach OBJECT PROGRAM HOOK... | programs OBJECT PID | alerts ADDRESS DIRECTORY COUNT"
        ),
    }
}

/// Runs the workloads named on standard input, one a line; answers each with its nanoseconds an operation, by the clock
/// and of CPU time. `directory` is for files.
fn work(cpu: usize, directory: &Path) -> Result<()> {
    // Threads and children inherit it.
    pin(cpu)?;
    for line in io::stdin().lock().lines() {
        let cost = workloads::run(line?.trim(), directory)?;
        let cpu = cost.cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.3}"));
        answer(&format!("{:.3} {cpu}", cost.clock))?;
    }
    Ok(())
}

fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("move to CPU {cpu}"))
}

/// Attaches a program to hooks and waits for the end of standard input.
fn attach(object: &str, program: &str, hooks: &[&str]) -> Result<()> {
    let attached: Vec<Ebpf> = hooks.iter().map(|hook| attached(object, program, hook)).collect::<Result<_>>()?;
    answer("ready")?;
    io::stdin().lock().lines().for_each(drop);
    drop(attached);
    Ok(())
}

/// The object, with one of its programs attached to a hook: a program is loaded for one hook.
fn attached(object: &str, program: &str, hook: &str) -> Result<Ebpf> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = EbpfLoader::new().load_file(object).with_context(|| format!("load {object}"))?;
    let program: &mut BtfTracePoint = ebpf.program_mut(program).context("no such program")?.try_into()?;
    program.load(hook, &btf)?;
    program.attach()?;
    Ok(ebpf)
}

fn answer(line: &str) -> Result<()> {
    println!("{line}");
    io::stdout().flush().context("answer")
}
