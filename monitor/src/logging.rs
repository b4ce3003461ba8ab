//! The daemon's own log: `tracing` to stderr, as text or JSON. What libraries write through the `log` crate, among it
//! the kernel programs' log through `aya-log`, arrives in it too:
//! `tracing-subscriber` installs the bridge and keeps the level of `log` at its own, also when that changes.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{KernelLevel, Log, LogFormat};

/// `aya-log` names the module of the kernel program as target.
const KERNEL_TARGET: &str = "monitor_ebpf";

/// The log cannot be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is none; a checked configuration has none of these.
    #[error("log.level {level:?} is not understood: {source}")]
    Level {
        /// What was configured.
        level: String,
        /// Why not.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A log has been set up before in this process.
    #[error("the log has been set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    /// The log is gone.
    #[error("the log's level cannot be changed: {0}")]
    Gone(#[from] reload::Error),
}

/// Changes the log while the daemon runs.
#[derive(Clone, Debug)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogHandle {
    /// Brings a new level into effect. The format stays until the next start.
    ///
    /// # Errors
    /// The level is none.
    pub fn reconfigure(&self, log: &Log) -> Result<(), LoggingError> {
        self.filter.reload(filter(log)?)?;
        Ok(())
    }
}

/// Sets up the log of this process.
///
/// # Errors
/// The level is none, or there is a log already.
pub fn init(log: &Log) -> Result<LogHandle, LoggingError> {
    let colors = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (subscriber, handle) = subscriber(log, io::stderr, colors)?;
    subscriber.try_init()?;
    Ok(handle)
}

fn subscriber<W>(
    log: &Log,
    writer: W,
    colors: bool,
) -> Result<(impl tracing::Subscriber + Send + Sync + use<W>, LogHandle), LoggingError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(log)?);
    let lines = match log.format {
        LogFormat::Text => fmt::layer().with_ansi(colors).with_writer(writer).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    Ok((tracing_subscriber::registry().with(filter).with(lines), LogHandle { filter: handle }))
}

/// The configured directives, and the kernel programs' own level.
fn filter(log: &Log) -> Result<EnvFilter, LoggingError> {
    let kernel = match log.kernel {
        KernelLevel::Off => "off",
        KernelLevel::Error => "error",
        KernelLevel::Warn => "warn",
        KernelLevel::Info => "info",
        KernelLevel::Debug => "debug",
        KernelLevel::Trace => "trace",
    };
    let directives = format!("{},{KERNEL_TARGET}={kernel}", log.level);
    EnvFilter::builder().parse(directives).map_err(|source| LoggingError::Level { level: log.level.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().expect("no panic"))).expect("text")
        }
    }

    fn log(level: &str, format: LogFormat) -> Log {
        Log { level: level.to_owned(), format, kernel: KernelLevel::Warn }
    }

    fn with_log(log: &Log, test: impl FnOnce(&Kept, &LogHandle)) {
        let kept = Kept::default();
        let writer = kept.clone();
        let (subscriber, handle) = subscriber(log, move || writer.clone(), false).expect("a log");
        tracing::subscriber::with_default(subscriber, || test(&kept, &handle));
    }

    #[test]
    fn a_line_has_time_level_and_place() {
        with_log(&log("info", LogFormat::Text), |kept, _| {
            tracing::info!(count = 3, "hello");
            let line = kept.take();
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(words[0].ends_with('Z') && words[0].contains('T'), "{line}");
            assert_eq!(words[1..], ["INFO", "monitor::logging::tests:", "hello", "count=3"]);
        });
    }

    #[test]
    fn json_is_one_object_per_line() {
        with_log(&log("info", LogFormat::Json), |kept, _| {
            tracing::warn!(count = 3, "two\nlines");
            let line = kept.take();
            assert_eq!(line.lines().count(), 1);
            let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(
                (&value["level"], &value["count"], &value["message"]),
                (&"WARN".into(), &3.into(), &"two\nlines".into())
            );
        });
    }

    #[test]
    fn a_new_level_takes_effect_at_once() {
        with_log(&log("warn", LogFormat::Text), |kept, handle| {
            tracing::info!("before");
            assert_eq!(kept.take(), "");
            handle.reconfigure(&log("debug", LogFormat::Text)).expect("a level");
            tracing::debug!("after");
            assert!(kept.take().contains("after"));
            handle.reconfigure(&log("warn,=", LogFormat::Text)).expect_err("no level");
            tracing::debug!("still");
            assert!(kept.take().contains("still"));
        });
    }

    #[test]
    fn the_kernel_programs_have_a_level_of_their_own() {
        with_log(&log("trace", LogFormat::Text), |kept, handle| {
            tracing::info!(target: "monitor_ebpf::signals::exec", "kernel");
            assert_eq!(kept.take(), "");
            let louder = Log { kernel: KernelLevel::Info, ..log("error", LogFormat::Text) };
            handle.reconfigure(&louder).expect("a level");
            tracing::info!(target: "monitor_ebpf::signals::exec", "kernel");
            assert!(kept.take().contains("kernel"));
        });
    }

    #[test]
    fn what_is_logged_cannot_move_the_cursor() {
        with_log(&log("info", LogFormat::Text), |kept, _| {
            let name = "\u{1b}[2Jx";
            tracing::info!(name, debug = ?name, "process {name}");
            let line = kept.take();
            assert!(!line.contains('\u{1b}'), "{line:?}");
        });
    }
}
