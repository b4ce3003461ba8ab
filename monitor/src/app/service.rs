//! What the service manager is told (sd_notify(3)). Without one, nothing happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tracing::{debug, warn};

use crate::bpf::wall::since_boot;

/// A pipeline that has not come round for so long hangs.
pub(super) const HANGS: Duration = Duration::from_secs(5);
/// Between two looks at a pipeline that starts.
const STARTING: Duration = Duration::from_millis(10);

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager cannot be told");
    }
}

/// The daemon works.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The daemon reads its configuration again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Has the pipeline come round lately?
pub(super) fn alive(heartbeat: &AtomicU64) -> bool {
    let last = heartbeat.load(Ordering::Relaxed);
    since_boot().saturating_sub(last) < u64::try_from(HANGS.as_nanos()).unwrap_or(u64::MAX)
}

/// Tells the service manager when the pipeline has come round for the first time, and then feeds its watchdog as long
/// as the pipeline makes progress: a daemon that only still answers HTTP is not alive.
pub(super) async fn follow(status: String, heartbeat: Arc<AtomicU64>) {
    while heartbeat.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(STARTING).await;
    }
    ready(&status);
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut tick = tokio::time::interval(limit / 3);
    loop {
        tick.tick().await;
        if alive(&heartbeat) {
            tell(&[NotifyState::Watchdog]);
        } else {
            warn!("the observing thread hangs: the watchdog is not fed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_stopped_long_ago_is_not_alive() {
        assert!(alive(&AtomicU64::new(since_boot())));
        assert!(!alive(&AtomicU64::new(since_boot() - 6_000_000_000)));
    }
}
