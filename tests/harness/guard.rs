//! Ends a program when the test process ends, however that happens.

use std::{
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::workload;

/// A child that does not outlive the test process.
///
/// The parent-death signal of the kernel will not do: it comes when the *thread* that started the child ends, and every
/// test has a thread of its own. So a second small program holds the end of a pipe, and stops the first when the pipe
/// breaks.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    watchdog: Child,
    /// Closed by the kernel when this process ends.
    _leash: ChildStdin,
}

impl Guard {
    /// Starts `command`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let mut watchdog = Command::new(workload::program())
            .args(["watchdog", &child.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("start the watchdog");
        let leash = watchdog.stdin.take().expect("the watchdog has a pipe");
        Self { child, watchdog, _leash: leash }
    }

    /// Process id of the child.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it reads and what it writes, where these are pipes.
    ///
    /// # Panics
    /// When they are not, or somebody has them.
    pub fn pipes(&mut self) -> (ChildStdin, ChildStdout) {
        let input = self.child.stdin.take().expect("its input is a pipe");
        (input, self.child.stdout.take().expect("its output is a pipe"))
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the child is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).expect("the process is there");
    }

    /// Has the child ended, and how?
    ///
    /// # Panics
    /// Only if the child were not ours.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// Asks the child to stop with SIGTERM, and insists with SIGKILL after `patience`. How it ended, and how long that
    /// took.
    ///
    /// # Panics
    /// Only if the child were not ours.
    pub fn stop(&mut self, patience: Duration) -> (std::process::ExitStatus, Duration) {
        let begin = Instant::now();
        if let Some(status) = self.ended() {
            return (status, Duration::ZERO);
        }
        // It may be stopped (SIGSTOP): then it would never see the other one.
        for signal in [Signal::CONT, Signal::TERM] {
            let _ = kill_process(pid(&self.child), signal);
        }
        loop {
            if let Some(status) = self.ended() {
                return (status, begin.elapsed());
            }
            if begin.elapsed() >= patience {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}
