//! Waiting.

use std::{
    env,
    fmt::Display,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How many times slower than a real one this machine is, by `TEST_SLOWNESS`: 1 unless its processor is
/// emulated.
///
/// # Panics
/// When that is no number.
pub fn slowness() -> u32 {
    static SLOWNESS: OnceLock<u32> = OnceLock::new();
    *SLOWNESS.get_or_init(|| {
        let text = env::var("TEST_SLOWNESS").unwrap_or_else(|_| "1".to_owned());
        text.parse().unwrap_or_else(|_| panic!("TEST_SLOWNESS={text} is no factor"))
    })
}

/// A bound on how long something may take, for this machine.
///
/// # Panics
/// As [`slowness`].
pub fn patience(duration: Duration) -> Duration {
    duration * slowness()
}

/// How long anything may take here. The machine may be small and busy; who passes does not wait that long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Tries until it works, for as long as that may take on this machine.
///
/// # Panics
/// With the last reason when `deadline` is over.
#[track_caller]
pub fn until<T, E: Display>(deadline: Duration, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let deadline = patience(deadline);
    let end = Instant::now() + deadline;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if Instant::now() >= end => panic!("not within {deadline:?}: {reason}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Waits for one's turn. A storm is everybody's: it goes into the rings of all daemons, also of one that a test keeps from
/// reading to see how much its ring holds. So those who make storms, and those who measure rings, take turns.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
