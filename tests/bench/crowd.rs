//! Many processes that take turns on one CPU: each turn, one of them makes some system calls. Where an observer's state
//! of a process has left the cache, a turn shows it.

use std::{
    hint::black_box,
    io, ptr,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use anyhow::{Result, ensure};

use super::workloads::{Cost, percentile};

/// Calls a turn.
const CALLS: u32 = 100;
/// Turns that are measured, over all processes.
const TURNS: usize = 20_000;
/// Says that there are no more turns.
const END: u32 = 2;
const GO: u32 = 1;

/// Shared by all: whose turn it is, one word a process, and what each turn took, in nanoseconds.
struct Shared {
    turn: &'static [AtomicU32],
    took: &'static [AtomicU32],
}

/// Nanoseconds a call, when `processes` take turns. The median turn speaks for all.
pub(super) fn run(processes: usize) -> Result<Cost> {
    ensure!((1..=30_000).contains(&processes), "1 to 30000 processes");
    let rounds = TURNS.div_ceil(processes).max(2);
    let shared = Shared { turn: words(processes)?, took: words((rounds + 1) * processes)? };
    let mut children = Vec::with_capacity(processes);
    // One round more, to warm up.
    let result = fork_all(processes, &shared, &mut children)
        .and_then(|()| (0..=rounds).try_for_each(|round| go_round(&shared, round)));
    for (index, child) in children.into_iter().enumerate() {
        hand_over(&shared.turn[index + 1], END);
        // SAFETY: the status is not wanted, which a null pointer says.
        unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
    }
    result?;
    let mut turns: Vec<u32> = shared.took[processes..].iter().map(|time| time.load(Ordering::Relaxed)).collect();
    ensure!(turns.iter().all(|time| *time > 0), "a process missed its turn");
    let clock = f64::from(percentile(&mut turns, 50)?) / f64::from(CALLS);
    // The children's CPU time is told when they have ended, and then with that of their birth.
    Ok(Cost { clock, cpu: None })
}

/// The parent is the first of the crowd; makes the others.
fn fork_all(processes: usize, shared: &Shared, children: &mut Vec<libc::pid_t>) -> Result<()> {
    for index in 1..processes {
        // SAFETY: this program has one thread here; the child uses nothing but the shared words and system calls.
        match unsafe { libc::fork() } {
            0 => member(index, shared),
            child if child > 0 => children.push(child),
            _ => return Err(io::Error::last_os_error().into()),
        }
    }
    Ok(())
}

/// A child's life.
fn member(index: usize, shared: &Shared) -> ! {
    // Nobody is left when the bench is interrupted.
    // SAFETY: sets a number of this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let mut round = 0;
    while wait(&shared.turn[index]) != END {
        work(index, round, shared);
        round += 1;
        hand_over(&shared.turn[(index + 1) % shared.turn.len()], GO);
    }
    // SAFETY: ends the child; nothing of the parent's is run or dropped in it.
    unsafe { libc::_exit(0) }
}

/// The parent's turn, then everybody else's.
fn go_round(shared: &Shared, round: usize) -> Result<()> {
    work(0, round, shared);
    if shared.turn.len() > 1 {
        hand_over(&shared.turn[1], GO);
        ensure!(wait(&shared.turn[0]) == GO, "the round did not come back");
    }
    Ok(())
}

fn work(index: usize, round: usize, shared: &Shared) {
    let begin = Instant::now();
    for _ in 0..CALLS {
        black_box(rustix::process::getppid());
    }
    let took = u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX);
    if let Some(place) = shared.took.get(round * shared.turn.len() + index) {
        place.store(took, Ordering::Relaxed);
    }
}

/// Sleeps until the word is set, and takes it.
fn wait(word: &AtomicU32) -> u32 {
    loop {
        let value = word.swap(0, Ordering::Acquire);
        if value != 0 {
            return value;
        }
        // SAFETY: the word is live; the kernel only compares it.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, ptr::null::<libc::timespec>()) };
    }
}

fn hand_over(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // SAFETY: the address of a live word is all that the kernel takes of it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Words of memory that children share.
fn words(count: usize) -> Result<&'static [AtomicU32]> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: asks for new memory anywhere.
    let memory = unsafe { libc::mmap(ptr::null_mut(), count * size_of::<AtomicU32>(), protection, flags, -1, 0) };
    ensure!(memory != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
    // SAFETY: the mapping is as long, aligned to a page, full of zeroes, and never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast(), count) })
}
