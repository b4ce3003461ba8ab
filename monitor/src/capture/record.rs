//! `monitor record`: loads the kernel programs for itself, and writes down what comes out of their rings. The daemon need
//! not run, and is not disturbed when it does. Rules are run, too, so that a replay can be compared with them.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::container::Writer;
use super::replay::table;
use super::{CaptureError, End, Meta, ReplayOptions};
use crate::bpf::{drain::Pace, wall::since_boot};
use crate::config::Config;
use crate::detect::eval::Engine;
use crate::events::{Alert, BootClock};
use crate::observer::{self, HostNames, HostSide, Judge, Judged, lost};
use crate::signals::activity::WatchedPaths;

/// Ended processes are forgotten this often.
const EXPIRE: Duration = Duration::from_secs(1);
/// What was recorded is in the file after so long.
const FLUSH: Duration = Duration::from_secs(1);
/// Longest wait between two looks at the rings and at whether to stop.
const LOOK: Duration = Duration::from_millis(10);

/// How to record.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// For how long.
    pub time: Duration,
    /// The recording ends when its file has so many bytes.
    pub most_bytes: u64,
    /// The rules that run meanwhile.
    pub rules: ReplayOptions,
}

/// Records until the time is over, the file is full, or `stop` says so. Every alert goes to `publish`. Returns how many
/// records there are.
///
/// # Errors
/// See [`CaptureError`].
pub fn record(
    path: &Path,
    config: &Config,
    options: &RecordOptions,
    stop: &dyn Fn() -> bool,
    mut publish: impl FnMut(&Meta, &Alert),
) -> Result<u64, CaptureError> {
    let mut judge = Judge::new(options.rules.engine()?);
    let mut writer = Writer::create(path)?;
    let mut kernel = observer::attach(config)?;
    kernel.select(observer::selection(config, &judge.engine), config.activity.bulk_rate);
    let named: Vec<_> = config.groups.iter().map(|group| (group.name.clone(), group.exe.clone())).collect();
    let mut table = table(&named, std::process::id(), false);
    table.keep_facts();
    let clock = BootClock::read();
    let meta = Meta::here(Pace::BATCH, clock.boot_ns(), since_boot(), named, config.rules.limits());
    writer.meta(&meta);
    judge.engine.set_limits(meta.limits());
    remember(&config.rules.state, &mut judge.engine);
    writer.seen(&judge.engine.seen());
    // As the replay has it, or the two would not agree.
    let host = HostNames { accounts: meta.accounts(), hostname: meta.host.clone() };
    // The hooks are attached already, so that nobody slips between.
    if let Err(error) = table.seed() {
        tracing::warn!(%error, "/proc cannot be read: the recording knows processes by number only");
    }
    let begin = Instant::now();
    let (mut flushed, mut expired, mut rewatched, mut records) = (begin, begin, begin, 0);
    let mut known = None;
    let mut pace = Pace::new();
    loop {
        let last = begin.elapsed() >= options.time || writer.written() >= options.most_bytes || stop();
        let batch = kernel.drain(Pace::BATCH, Some(&mut |ring, record| writer.tee(ring, record)));
        records += batch.taken as u64;
        let (clock, lost) = (BootClock::read(), lost(Some(&kernel)));
        if known.as_ref() != kernel.watched() {
            known = kernel.watched().cloned();
            writer.watched(known.as_ref().unwrap_or(&WatchedPaths::default()));
        }
        let world =
            HostSide { host: &host, watched: kernel.watched(), boot_time_ns: clock.boot_ns(), observer: meta.recorder };
        for happened in batch.happened {
            happened.apply(&mut table);
            for Judged { alert, .. } in judge.judge(&world.with(&table), happened, || (clock, lost)) {
                publish(&meta, &alert);
            }
        }
        table.settle();
        let mut end = End {
            now_ns: since_boot(),
            boot_ns: clock.boot_ns(),
            lost_security: lost.security_ring,
            lost_telemetry: lost.telemetry_ring,
            expired: false,
        };
        writer.facts(&table.take_facts());
        if expired.elapsed() >= EXPIRE {
            (expired, end.expired) = (Instant::now(), true);
            for Judged { alert, .. } in judge.advance(&world.with(&table), end.now_ns, || (clock, lost)) {
                publish(&meta, &alert);
            }
            table.expire(end.now_ns);
        }
        writer.end_round(&end);
        writer.settle()?;
        if last {
            writer.end();
            writer.flush()?;
            return Ok(records);
        }
        if rewatched.elapsed() >= observer::REWATCH {
            kernel.rewatch();
            rewatched = Instant::now();
        }
        if flushed.elapsed() >= FLUSH {
            writer.flush()?;
            flushed = Instant::now();
        }
        std::thread::sleep(pace.next(batch.taken).min(LOOK));
    }
}

/// Lets rules know what the daemon's know by now. Its file is only read: the daemon keeps it.
fn remember(path: &Path, engine: &mut Engine) {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("what rules have seen is not known: cannot read {}: {error}", path.display()),
        Ok(bytes) => {
            if let Err(damage) = engine.remember(&bytes) {
                tracing::warn!("what rules have seen is not known: {} {damage}", path.display());
            }
        }
    }
}
