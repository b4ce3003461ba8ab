//! Processes to be observed.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{CpuSet, sched_setaffinity};

/// The workload's executable, which cargo builds beside the tests.
///
/// # Panics
/// When it is not there.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("this process has an executable");
    // target/PROFILE/deps/kernel-HASH, target/PROFILE/monitor-soak
    let directory = tests.parent().expect("cargo's layout");
    let directory = if directory.ends_with("deps") { directory.parent().expect("cargo's layout") } else { directory };
    let program = directory.join("workload");
    assert!(program.exists(), "{} is not there: run the tests by `cargo test -p monitor-tests`", program.display());
    program
}

/// A directory for files that are executed or read: on the disk where the build is, neither in /tmp nor hidden, as far
/// as that is up to us. Removed when dropped.
///
/// # Panics
/// When it cannot be made.
pub fn directory() -> tempfile::TempDir {
    let program = program();
    let target = program.parent().and_then(Path::parent).expect("cargo's layout").join("tmp");
    fs::create_dir_all(&target).expect("make target/tmp");
    tempfile::Builder::new().prefix("kernel-").tempdir_in(target).expect("make a directory")
}

/// A name of at most 15 bytes (so that the kernel keeps all of it) that no other program has.
///
/// # Panics
/// When `stem` is longer than 4 bytes.
pub fn unique(stem: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    assert!(stem.len() <= 4, "the kernel would cut the name");
    format!("{stem}{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A process that does what its arguments say, step by step: see `tests/workload/main.rs`.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Name of its program, which no other process has: the `group` of its metrics.
    pub name: String,
    /// Path of its program.
    pub path: PathBuf,
    _directory: tempfile::TempDir,
}

/// How a workload ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Process id.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// What it used, as the kernel told its parent.
    pub usage: libc::rusage,
}

impl Workload {
    /// Starts a copy of the workload under a name of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(steps: &[&str]) -> Self {
        Self::spawn_with(steps, |_| {})
    }

    /// The same, with more to be set.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_with(steps: &[&str], set: impl FnOnce(&mut Command)) -> Self {
        let directory = directory();
        let name = unique("w");
        let path = directory.path().join(&name);
        copy(&program(), &path);
        let mut command = Command::new(&path);
        command.args(steps).stdin(Stdio::piped()).stdout(Stdio::piped());
        set(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {}: {error}", path.display()));
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { stdin: child.stdin.take(), stdout, child, name, path, _directory: directory }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it pass its next `wait`.
    ///
    /// # Panics
    /// When it is gone.
    pub fn go(&mut self) {
        self.stdin.as_mut().expect("not closed").write_all(b"g").expect("the workload reads");
    }

    /// The next line that it prints, without its end.
    ///
    /// # Panics
    /// When it ends before.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the workload prints text");
        assert!(line.ends_with('\n'), "the workload {} ended instead of printing a line", self.pid());
        line.trim_end().to_owned()
    }

    /// Waits for its end, whatever that is. Its stdin is closed, so a `wait` ends too.
    ///
    /// # Panics
    /// Only if it were not our child.
    pub fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let pid = self.child.id();
        let mut status = 0;
        // SAFETY: all bytes zero is a valid rusage.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to locals of the right type. `Child` cannot tell the usage.
        let waited = unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, &raw mut usage) };
        assert_eq!(waited, pid.cast_signed(), "wait for the workload: {}", std::io::Error::last_os_error());
        Ended { pid, status: ExitStatus::from_raw(status), usage }
    }

    /// Waits for its end, which must be a success.
    ///
    /// # Panics
    /// When it ended otherwise.
    pub fn finish(self) -> Ended {
        let ended = self.end();
        assert!(ended.status.success(), "the workload ended with {}", ended.status);
        ended
    }

    /// Sends a signal by number.
    ///
    /// # Panics
    /// When it is gone.
    pub fn kill(&self, signal: i32) {
        // SAFETY: no memory is involved, and the pid is of a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid().cast_signed(), signal) }, 0);
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // After `end` there is nobody to kill; the pid may even be another's by now.
        if self.stdin.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Gives an executable another name, or copies it where the other name is on another file system.
///
/// A link is better: a copy cannot be executed ("text file busy") while another thread of the tests happens to be
/// between fork and exec with our descriptor still open for writing.
///
/// # Panics
/// When it cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).expect("copy the program");
    let mut permissions = fs::metadata(to).expect("it was copied").permissions();
    permissions.set_mode(0o755);
    fs::set_permissions(to, permissions).expect("make it executable");
}

/// Lets every CPU give birth to a process, which executes a program and ends: whoever counts what each CPU does sees each
/// of them.
///
/// # Panics
/// When that fails.
pub fn everywhere() {
    let cpus = thread::available_parallelism().expect("there is one").get();
    thread::scope(|scope| {
        for cpu in 0..cpus {
            scope.spawn(move || {
                let mut only = CpuSet::new();
                only.set(cpu);
                sched_setaffinity(None, &only).expect("stay on one CPU");
                assert!(Command::new("/bin/true").status().expect("start /bin/true").success());
            });
        }
    });
}
