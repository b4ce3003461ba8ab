//! Real servers and the programs that ask them, as the distribution has them, each under a program name of its own: so
//! nobody else's are counted with them.

use std::{
    env,
    fs::{self, File, Permissions},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::{DEADLINE, Guard, copy, patience, unique, until};

/// Who runs servers that refuse to be root: `nobody`, of every distribution.
pub const NOBODY: u32 = 65_534;

/// What asks a server has ended by then, or never will.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take to stop by itself: nothing that it has is needed any more.
const STOPS: Duration = Duration::from_secs(3);

/// A program of the distribution's. Its directory is removed when it is dropped.
#[derive(Debug)]
pub struct Installed {
    /// Its name, which no other process has: the `group` of its metrics.
    pub name: String,
    path: PathBuf,
    directory: tempfile::TempDir,
}

impl Installed {
    /// A program that `cargo xtask setup` has installed.
    ///
    /// # Panics
    /// When it is not there.
    pub fn new(program: &str) -> Self {
        // Not where the build is: who is not root may not be let in there.
        let directory = tempfile::tempdir().expect("make a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("let everybody in");
        let name = unique("t");
        let path = directory.path().join(&name);
        copy(&find(program), &path);
        Self { name, path, directory }
    }

    /// The same where it is and as it is called: one that looks for others beside itself.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn in_place(program: &str) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("let everybody in");
        Self { name: program.to_owned(), path: find(program), directory }
    }

    /// A directory of its own that everybody may read.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file there.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file there.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, content).expect("write a file");
        path
    }

    /// Makes a directory there that [`NOBODY`] may write to.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn room(&self, name: &str) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(&path).expect("make a directory");
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("give it to nobody");
        path
    }

    /// Runs it to its successful end; what it printed.
    ///
    /// # Panics
    /// When it fails, or does not end in time.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments, |_| {});
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("it prints text")
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn output(&self, arguments: &[&str], set: impl FnOnce(&mut Command)) -> Output {
        let mut command = Command::new("timeout");
        let seconds = patience(PATIENCE).as_secs().to_string();
        command.args(["--signal=KILL", &seconds]).arg(&self.path).args(arguments).stdin(Stdio::null());
        plain(&mut command, self.directory());
        set(&mut command);
        command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"))
    }
}

/// A running server. It and all that it started are stopped when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Its program.
    pub program: Installed,
    process: Guard,
}

impl Server {
    /// Starts it in the foreground, and waits until `ready`.
    ///
    /// # Panics
    /// With what it printed, when it ends or does not become ready.
    pub fn start<E: std::fmt::Display>(
        program: Installed,
        set: impl FnOnce(&mut Command),
        mut ready: impl FnMut() -> Result<(), E>,
    ) -> Self {
        let log = File::create(program.file("log")).expect("make its log");
        let mut command = Command::new(&program.path);
        plain(&mut command, program.directory());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second descriptor")).stderr(log).process_group(0);
        set(&mut command);
        let process = Guard::spawn(&mut command);
        let mut server = Self { program, process };
        until(DEADLINE, || match server.process.ended() {
            Some(status) => panic!("the server ended with {status}: {}", server.log()),
            None => ready().map_err(|error| format!("{error}: {}", server.log())),
        });
        server
    }

    /// The same of one that listens at an address, which is all that is waited for.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn listening(program: Installed, address: SocketAddr, set: impl FnOnce(&mut Command)) -> Self {
        Self::start(program, set, || TcpStream::connect(address).map(drop))
    }

    /// The name of its program.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.program.file("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(pid) = Pid::from_raw(self.process.id().cast_signed()) else { return };
        let end = Instant::now() + patience(STOPS);
        let _ = kill_process_group(pid, Signal::TERM);
        // Not waited for as yet: so long the number is its group's and nobody else's.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while Instant::now() < end && matches!(waitid(WaitId::Pid(pid), options), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// An address that nobody listens on.
///
/// # Panics
/// When there is none.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("find a free port")
}

/// Settings of whoever runs the tests must not matter.
fn plain(command: &mut Command, directory: &Path) {
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .env("LC_ALL", "C")
        .current_dir(directory);
}

/// Where a program is. Those of PostgreSQL are not what is in `PATH` under their names, which only looks for them.
fn find(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    // The distribution's, and not what somebody has put before it.
    let path = env::var_os("PATH").unwrap_or_default();
    let path = ["/usr/bin".into(), "/usr/sbin".into()].into_iter().chain(env::split_paths(&path));
    let mut places = versions.into_iter().rev().chain(path);
    let found = places.find_map(|place| Some(place.join(program)).filter(|path| path.is_file()));
    let found = found.unwrap_or_else(|| panic!("{program} is not installed: cargo xtask setup"));
    // The name that it is found by may be a link to the file.
    found.canonicalize().unwrap_or(found)
}
