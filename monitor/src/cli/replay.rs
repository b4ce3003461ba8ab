//! `monitor record` and `monitor replay`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use super::console::Console;
use super::exit::Exit;
use crate::bpf::BpfError;
use crate::capture::{self, CaptureError, Ending, Meta, RecordOptions, ReplayOptions};
use crate::config::Loaded;
use crate::config::mistake::printable;
use crate::config::model::Choice as _;
use crate::events::{Alert, Format, Store};

/// Prints alerts as the daemon would.
struct Printer<'a, 'b> {
    console: &'a mut Console<'b>,
    format: Format,
    store: Option<Store>,
    written: std::io::Result<()>,
}

impl<'a, 'b> Printer<'a, 'b> {
    fn new(console: &'a mut Console<'b>, format: Format) -> Self {
        Self { console, format, store: None, written: Ok(()) }
    }

    fn print(&mut self, meta: &Meta, alert: &Alert) {
        let store = self.store.get_or_insert_with(|| Store::new(1).with_host(meta.host.clone()));
        let published = store.publish(alert);
        if self.written.is_ok() {
            let other = self.format.render(&published.json);
            let text = String::from_utf8_lossy(other.as_deref().unwrap_or(&published.json));
            self.written = self.console.print(&format!("{text}\n"));
        }
    }

    fn end(self, done: Exit) -> Exit {
        match self.console.ended(self.written) {
            Exit::OK => done,
            failed => failed,
        }
    }
}

/// Goes through a recording.
pub(super) fn run(file: &Path, rules: Option<PathBuf>, format: &str, console: &mut Console<'_>) -> Exit {
    let options = ReplayOptions { rules, disable: Vec::new() };
    let format = Format::WORDS.iter().find(|(word, _)| *word == format).map_or(Format::Native, |(_, format)| *format);
    let mut printer = Printer::new(console, format);
    let replayed = match capture::replay(file, &options, |meta, alert| printer.print(meta, alert)) {
        Ok(replayed) => replayed,
        Err(error) => {
            printer.console.complain(&printable(&error.to_string()));
            return if matches!(error, CaptureError::Rules(_)) { Exit::CONFIG } else { Exit::FAILURE };
        }
    };
    let Some(cut) = &replayed.cut else { return printer.end(Exit::OK) };
    let what = match cut {
        Ending::Whole => "ends without its last entry: the recorder was killed".to_owned(),
        Ending::Cut { offset } => format!("was cut off: the frame at byte {offset} is not whole"),
        Ending::Damaged { offset } => format!("is damaged: the frame at byte {offset} has a wrong checksum"),
    };
    let (name, rounds, records) = (printable(&file.to_string_lossy()), replayed.rounds, replayed.records);
    printer
        .console
        .complain(&format!("{name} {what}; the {rounds} rounds ({records} records) before it were gone through"));
    printer.end(Exit::FAILURE)
}

/// Records.
pub fn record(file: &Path, options: &RecordOptions, loaded: &Loaded, console: &mut Console<'_>) -> Exit {
    let stop = Arc::new(AtomicBool::new(false));
    if let Err(error) = listen(Arc::clone(&stop)) {
        console.complain(&format!("cannot wait for signals: {error}"));
        return Exit::FAILURE;
    }
    let mut printer = Printer::new(console, Format::Native);
    let stopped = || stop.load(Ordering::Relaxed);
    match capture::record(file, &loaded.config, options, &stopped, |meta, alert| printer.print(meta, alert)) {
        Ok(records) => {
            printer.console.complain(&format!("{records} records are in {}", printable(&file.to_string_lossy())));
            printer.end(Exit::OK)
        }
        Err(error) => {
            printer.console.complain(&printable(&error.to_string()));
            match error {
                CaptureError::Kernel(BpfError::Permission(_)) => Exit::NO_PRIVILEGE,
                CaptureError::Kernel(_) => Exit::UNAVAILABLE,
                CaptureError::Rules(_) => Exit::CONFIG,
                _ => Exit::FAILURE,
            }
        }
    }
}

/// SIGINT and SIGTERM end the recording in order.
fn listen(stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("monitor-signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop.store(true, Ordering::Relaxed);
    })?;
    Ok(())
}
