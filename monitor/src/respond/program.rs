//! Runs the configured program: the alert on standard input, an empty environment, for a bounded time, a few at once.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};

/// Most programs at one time.
const MOST: usize = 4;
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Where it finds others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that run.
#[derive(Clone, Debug, Default)]
pub(super) struct Programs(Arc<AtomicUsize>);

/// One of them; its place is free again when this is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Programs {
    /// Starts `program`, and tells `ended` how it ended.
    pub(super) fn start(
        &self,
        program: &Path,
        arguments: &[String],
        alert: Bytes,
        timeout: Duration,
        ended: impl FnOnce(Result<(), String>) + Send + 'static,
    ) -> Result<(), String> {
        let place = Place(Arc::clone(&self.0));
        if self.0.fetch_add(1, Ordering::AcqRel) >= MOST {
            return Err(format!("{MOST} programs run already"));
        }
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own, so that what it starts ends with it.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        if let Some(mut input) = child.stdin.take() {
            // Who does not read holds up this thread only, until he is killed.
            let feed = move || {
                let _ = input.write_all(&alert).and_then(|()| input.write_all(b"\n"));
            };
            let _ = thread::Builder::new().name("monitor-respond-in".to_owned()).spawn(feed);
        }
        let wait = move || {
            ended(attend(&mut child, timeout));
            drop(place);
        };
        thread::Builder::new()
            .name("monitor-respond-run".to_owned())
            .spawn(wait)
            .map(drop)
            .map_err(|error| format!("no thread to wait for it: {error}"))
    }
}

fn attend(child: &mut Child, timeout: Duration) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
            Ok(None) => {
                let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
                let _ = child.wait();
                return Err(format!("it was killed after {timeout:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
