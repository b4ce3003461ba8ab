//! Programs that speak TLS: Debian's Python and curl with OpenSSL, wget with GnuTLS. Each under a name of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use monitor_tests::{Guard, directory, unique};

/// A place for them with a certificate.
pub(super) struct Place(tempfile::TempDir);

impl Place {
    pub(super) fn new() -> Self {
        let place = Self(directory());
        let made = Command::new("/usr/bin/openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(place.path())
            .output()
            .expect("openssl (package openssl)");
        assert!(made.status.success(), "{made:?}");
        for (name, text) in [("server.py", include_str!("server.py")), ("client.py", include_str!("client.py"))] {
            fs::write(place.path().join(name), text).unwrap();
        }
        place
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A copy of a program with a name that no other has.
    pub(super) fn program(&self, path: &str, stem: &str) -> (PathBuf, String) {
        let name = unique(stem);
        let copy = self.path().join(&name);
        monitor_tests::copy(&fs::canonicalize(path).unwrap_or_else(|error| panic!("{path}: {error}")), &copy);
        (copy, name)
    }

    /// A command that runs one of the scripts, and the name of its program.
    pub(super) fn python(&self, script: &str, stem: &str) -> (Command, String) {
        let (program, name) = self.program("/usr/bin/python3", stem);
        let mut command = Command::new(program);
        command.env("PYTHONHOME", "/usr").arg(self.path().join(script)).arg(self.path());
        (command, name)
    }

    /// Serves by one of the ways of `server.py`.
    pub(super) fn serve(&self, way: &str) -> Peer {
        let (mut command, name) = self.python("server.py", "ps");
        Peer::spawn(command.arg(way), name)
    }

    /// Is connected to a server, and asks when it is told to.
    pub(super) fn ask(&self, way: &str, port: &str) -> Peer {
        let (mut command, name) = self.python("client.py", "pc");
        let mut client = Peer::spawn(command.args([way, port]), name);
        assert_eq!(client.line(), "connected");
        client
    }

    /// Asks once for each path with a program that ends then. The name of the program.
    pub(super) fn fetch(&self, path: &str, port: &str, paths: &[&str]) -> String {
        let (program, name) = self.program(path, "pf");
        let mut command = Command::new(program);
        if path.ends_with("curl") {
            command.args(["--silent", "--cacert", "certificate.pem"]);
        } else {
            command.args(["--quiet", "--ca-certificate=certificate.pem", "--output-document=/dev/null"]);
        }
        command.args(paths.iter().map(|path| format!("https://localhost:{port}{path}")));
        let output = command.current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        name
    }
}

/// A program with which one speaks line by line.
pub(super) struct Peer {
    /// The name of its program: the group of its metrics.
    pub(super) name: String,
    _process: Guard,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    pub(super) fn spawn(command: &mut Command, name: String) -> Self {
        let mut process = Guard::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (input, output) = process.pipes();
        Self { name, _process: process, input, output: BufReader::new(output) }
    }

    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Has a client ask so often.
    pub(super) fn times(&mut self, count: u32) {
        writeln!(self.input, "{count}").unwrap();
        assert_eq!(self.line(), "asked");
    }
}
