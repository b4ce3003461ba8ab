//! What the kernel leaves out and tells (Linux 7: programs that would interrupt themselves): a test that waits for it waits
//! in vain, and tries again.

use std::{
    cell::RefCell,
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind},
    thread,
    time::{Duration, Instant},
};

use crate::{DEADLINE, Daemon, expected, patience};

/// How long something is waited for where the kernel has left out programs.
const SHORT: Duration = Duration::from_secs(3);
/// How often a test is tried at most.
const ATTEMPTS: u32 = 5;
/// Programs that tell what tests wait for.
const PROGRAMS: [&str; 8] = [
    "sys_exit",
    "activity_ring_request",
    "process_fork",
    "process_exit",
    "exec",
    "tcp_send",
    "tcp_receive",
    "tcp_state",
];

thread_local! {
    /// While a test of this thread is tried: daemons that were there before, by process id, and how often the kernel had
    /// left out their programs then.
    static BEFORE: RefCell<Option<Vec<(u32, u64)>>> = const { RefCell::new(None) };
}

/// Why a test gave up: what it waits for may have been left out.
struct Missed;

/// Runs a test, again where it gave up over what the kernel says it left out.
///
/// # Panics
/// As the test does.
pub fn again_if_missed(test: impl Fn()) {
    for _ in 1..ATTEMPTS {
        BEFORE.set(Some(Vec::new()));
        let end = catch_unwind(AssertUnwindSafe(&test));
        BEFORE.set(None);
        match end {
            Ok(()) => return,
            Err(cause) if cause.is::<Missed>() => {}
            Err(cause) => resume_unwind(cause),
        }
    }
    test();
}

impl Daemon {
    /// This daemon was there before the test: what the kernel left out until now is not why the test waits in vain.
    pub fn is_older_than_the_test(&self) {
        if !expected::may_miss() {
            return;
        }
        BEFORE.with_borrow_mut(|before| {
            if let Some(known) = before.as_mut().filter(|known| known.iter().all(|(pid, _)| *pid != self.pid())) {
                known.push((self.pid(), self.missed(&PROGRAMS)));
            }
        });
    }

    /// How often the kernel has left out programs of this daemon's since the test was begun.
    fn missed_in_this_attempt(&self) -> u64 {
        let before = BEFORE.with_borrow(|before| {
            let known = before.iter().flatten().find(|(pid, _)| *pid == self.pid());
            known.map_or(0, |(_, missed)| *missed)
        });
        self.missed(&PROGRAMS) - before
    }

    /// Tries until it works, as [`crate::until`]; for a shorter time where the kernel says that it has left out programs of
    /// this daemon's since the test was begun.
    ///
    /// # Panics
    /// With the last reason when the time is over; for [`again_if_missed`] when something was left out.
    #[track_caller]
    pub fn awaited<T, E: Display>(&self, mut attempt: impl FnMut() -> Result<T, E>) -> T {
        let begin = Instant::now();
        loop {
            let reason = match attempt() {
                Ok(value) => return value,
                Err(reason) => reason,
            };
            let waited = begin.elapsed();
            assert!(waited < patience(DEADLINE), "not within {waited:?}: {reason}");
            if waited >= patience(SHORT) && expected::may_miss() && self.missed_in_this_attempt() > 0 {
                eprintln!("not within {waited:?}, and the kernel has left out programs: {reason}");
                panic_any(Missed);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
