//! What `cargo xtask bench` measures with: `work CPU` runs workloads, `attach OBJECT PAIR` is an
//! observer that does next to nothing.
//!
//! Both take their orders on standard input and end with it, so that nothing is left when the bench is interrupted.

mod workloads;

use std::{
    env,
    io::{self, BufRead as _, Write as _},
};

use anyhow::{Context as _, Result, bail};
use aya::{Btf, EbpfLoader, programs::BtfTracePoint};
use rustix::thread::{CpuSet, sched_setaffinity};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", cpu] => work(cpu.parse().context("the CPU is a number")?),
        ["attach", object, pair] => attach(object, pair),
        _ => bail!("usage: monitor-bench work CPU | monitor-bench attach OBJECT PAIR"),
    }
}

/// Runs the workloads named on standard input, one a line; answers each with its nanoseconds an operation.
fn work(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    // Threads and children inherit it.
    sched_setaffinity(None, &cpus).with_context(|| format!("move to CPU {cpu}"))?;
    for line in io::stdin().lock().lines() {
        let nanoseconds = workloads::run(line?.trim())?;
        println!("{nanoseconds:.3}");
        io::stdout().flush()?;
    }
    Ok(())
}

/// Attaches the programs `PAIR_enter` and `PAIR_exit` and waits for the end of standard input.
fn attach(object: &str, pair: &str) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = EbpfLoader::new().load_file(object).with_context(|| format!("load {object}"))?;
    for (half, hook) in [("enter", "sys_enter"), ("exit", "sys_exit")] {
        let program: &mut BtfTracePoint =
            ebpf.program_mut(&format!("{pair}_{half}")).context("no such program")?.try_into()?;
        program.load(hook, &btf)?;
        program.attach()?;
    }
    println!("ready");
    io::stdout().flush()?;
    io::stdin().lock().lines().for_each(drop);
    Ok(())
}
