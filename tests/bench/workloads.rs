//! The workloads. Each is run in chunks, and the chunk at the 20th percentile speaks for the run: on a shared machine
//! the slower ones tell about the neighbours, and the fastest is an accident. CPU time is that of all chunks.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{crowd, life, net};

/// Longest time of one run: an observer may be a hundred times as slow as none.
const MOST: Duration = Duration::from_millis(700);

/// Nanoseconds an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    /// By the clock.
    pub(super) clock: f64,
    /// CPU time of this process and of its children that have ended, where it can be told.
    pub(super) cpu: Option<f64>,
}

/// Runs the workload called `name`.
pub(super) fn run(name: &str, directory: &Path) -> Result<Cost> {
    match name {
        "getppid" => getppid(),
        "read+write" => read_write(),
        "open+close" => open_close(),
        "fork+exec" => life::fork_exec(),
        "fork" => life::fork(),
        "find" => life::find(),
        "build" => life::build(directory),
        "fio" => life::fio(directory),
        "tcp" => net::connections(),
        "ping-pong" => net::ping_pong(),
        "bulk" => net::bulk(),
        _ => match name.strip_prefix("crowd-") {
            Some(processes) => crowd::run(processes.parse().context("the number of processes")?),
            None => bail!("no workload {name:?}"),
        },
    }
}

fn getppid() -> Result<Cost> {
    chunks(300, 1_000, || {
        std::hint::black_box(rustix::process::getppid());
        Ok(())
    })
}

/// One byte from /dev/zero to /dev/null: two system calls.
fn read_write() -> Result<Cost> {
    let (source, sink) = (File::open("/dev/zero")?, File::options().write(true).open("/dev/null")?);
    let mut byte = [0];
    chunks(300, 500, || {
        rustix::io::read(&source, &mut byte)?;
        rustix::io::write(&sink, &byte)?;
        Ok(())
    })
}

fn open_close() -> Result<Cost> {
    chunks(200, 300, || {
        File::open(life::TRUE)?;
        Ok(())
    })
}

/// The cost of `count` chunks of `size` operations, or of as many as there is time for. A tenth is run before, to warm
/// caches and the observer's tables.
pub(super) fn chunks(count: usize, size: usize, mut operation: impl FnMut() -> Result<()>) -> Result<Cost> {
    let mut chunk = || {
        let begin = Instant::now();
        (0..size).try_for_each(|_| operation())?;
        anyhow::Ok(begin.elapsed())
    };
    let begin = Instant::now();
    // What is done only once is too long for that.
    for _ in 0..if count > 1 { count.div_ceil(10) } else { 0 } {
        chunk()?;
        if begin.elapsed() > MOST / 10 {
            break;
        }
    }
    let (begin, before) = (Instant::now(), cpu_time()?);
    let mut times = Vec::with_capacity(count);
    while times.len() < count && (times.is_empty() || begin.elapsed() < MOST) {
        times.push(chunk()?);
    }
    let cpu = cpu_time()? - before;
    Ok(Cost {
        clock: percentile(&mut times, 20)?.as_nanos() as f64 / size as f64,
        cpu: Some(cpu.as_nanos() as f64 / (times.len() * size) as f64),
    })
}

/// The value that so many in a hundred stay below.
pub(super) fn percentile<T: Ord + Copy>(values: &mut [T], percent: usize) -> Result<T> {
    values.sort_unstable();
    values.get(values.len() * percent / 100).copied().context("nothing was measured")
}

/// CPU time of this process, its threads, and its children that have been waited for.
pub(super) fn cpu_time() -> Result<Duration> {
    let mut total = Duration::ZERO;
    for who in [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN] {
        // SAFETY: a struct of integers, for which all zeroes is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live struct of the right type.
        if unsafe { libc::getrusage(who, &raw mut usage) } != 0 {
            return Err(std::io::Error::last_os_error()).context("getrusage");
        }
        for time in [usage.ru_utime, usage.ru_stime] {
            total += Duration::from_secs(time.tv_sec.unsigned_abs());
            total += Duration::from_micros(time.tv_usec.unsigned_abs());
        }
    }
    Ok(total)
}
