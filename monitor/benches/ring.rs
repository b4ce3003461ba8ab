//! How many records a second the daemon's own drain takes out of the telemetry ring, and at what cost: `ring OBJECT
//! SECONDS RATE`, where OBJECT is `bench-ring-ebpf` and RATE is in records a second, 0 for as many as possible.
//!
//! The producer's kernel side is the code of the real programs, the consumer waits as the pipeline does; what is done
//! with a record afterwards is not part of it. `cargo xtask bench --ring` builds and runs this, and measures that too.

use std::{
    env,
    hint::black_box,
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray, RingBuf},
    programs::BtfTracePoint,
};
use monitor::{
    bpf::drain::{Account, Drain, Pace},
    sys,
};
use monitor_common::{knobs::Knobs, limits, loss::Loss, signals::process::ForkRecord};
use rustix::{
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Records a call, as in `monitor-ebpf/src/bench_ring.rs`.
const BURST: u64 = 16;
/// Calls between two looks at the clock.
const CALLS: u64 = 16;

fn main() -> Result<()> {
    // cargo adds --bench.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [object, seconds, rate] = arguments.as_slice() else { bail!("usage: ring OBJECT SECONDS RATE") };
    let (seconds, rate): (f64, f64) = (seconds.parse().context("SECONDS")?, rate.parse().context("RATE")?);
    let cpus = thread::available_parallelism()?.get();
    let mut ebpf = load(object)?;
    let ring = RingBuf::try_from(ebpf.take_map("TELEMETRY").context("no ring")?)?;
    let stop = AtomicBool::new(false);
    let (produced, consumed) = thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(ring, &stop));
        let producer = scope.spawn(move || produce(cpus - 1, Duration::from_secs_f64(seconds), rate));
        let produced = producer.join();
        stop.store(true, Ordering::Release);
        (produced, consumer.join())
    });
    let (Ok(produced), Ok(consumed)) = (produced, consumed) else { bail!("a thread panicked") };
    let ((produced, took), (account, cpu)) = (produced?, consumed?);
    let lost = lost(&ebpf)?;
    println!("seconds {:.3}", took.as_secs_f64());
    println!("produced {produced}");
    println!("received {}", account.received);
    println!("lost {lost}");
    println!("missing {}", account.missing);
    println!("malformed {}", account.malformed);
    println!("record_bytes {}", account.bytes / account.received.max(1));
    println!("consumer_cpu_seconds {:.6}", cpu.as_secs_f64());
    if produced != account.received + lost {
        bail!("{} records are neither received nor counted as lost", produced - account.received - lost);
    }
    Ok(())
}

fn load(object: &str) -> Result<Ebpf> {
    let btf = Btf::from_sys_fs()?;
    let knobs = Knobs { telemetry_wake: u64::from(limits::TELEMETRY_RING / 2), ..Knobs::default() };
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .override_global("KNOBS", knobs.as_bytes(), true)
        .override_global("PRODUCER", &u64::from(std::process::id()), true)
        .override_global("CALL", &(libc::SYS_getppid as u64), true)
        .map_max_entries("SECURITY", 4096)
        .map_max_entries("TELEMETRY", limits::TELEMETRY_RING)
        .load_file(object)
        .with_context(|| format!("load {object}"))?;
    let program: &mut BtfTracePoint = ebpf.program_mut("produce").context("no producer")?.try_into()?;
    program.load("sys_enter", &btf)?;
    program.attach()?;
    Ok(ebpf)
}

/// Makes the calls, on one CPU. Returns how many records were asked for, and in what time.
fn produce(cpu: usize, time: Duration, rate: f64) -> Result<(u64, Duration)> {
    pin(cpu)?;
    let begin = Instant::now();
    let mut calls = 0;
    while begin.elapsed() < time {
        let due = if rate == 0.0 { u64::MAX } else { (begin.elapsed().as_secs_f64() * rate) as u64 / BURST };
        if calls >= due {
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        for _ in 0..CALLS.min(due - calls) {
            black_box(rustix::process::getppid());
            calls += 1;
        }
    }
    Ok((calls * BURST, begin.elapsed()))
}

/// Takes records as the pipeline does, on the first CPU: looks from time to time, and when the kernel side wakes it.
/// Returns what came, and the CPU time it took.
fn consume(ring: RingBuf<MapData>, stop: &AtomicBool) -> Result<(Account, Duration)> {
    pin(0)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut drain = Drain::new(ring);
        let mut pace = Pace::new();
        let waker = sys::watch(drain.ring().as_fd().try_clone_to_owned()?)?;
        loop {
            // Before the look: what was produced before is then seen by it.
            let last = stop.load(Ordering::Acquire);
            let taken = drain.drain(Pace::BATCH, |_, record| {
                black_box(ForkRecord::read_from_bytes(record).ok());
            });
            if last && taken == 0 {
                return Ok((drain.account(), cpu_time()));
            }
            tokio::select! {
                biased;
                ready = waker.readable() => ready?.clear_ready(),
                () = tokio::time::sleep(pace.next(taken)) => {}
            }
        }
    })
}

fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("move to CPU {cpu}"))
}

/// Of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
}

/// What the kernel side counted as lost.
fn lost(ebpf: &Ebpf) -> Result<u64> {
    let map = ebpf.map("LOST").context("no account of losses")?;
    let lost: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
    Ok(lost.get(&(Loss::ForkRing as u32), 0)?.iter().sum())
}
