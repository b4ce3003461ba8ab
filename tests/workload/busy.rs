//! Steps without an end, for tests that look at rates: they go on until the test kills the process.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use crate::{number, say};

/// Bytes of one record of the journal.
const RECORD: usize = 4096;

/// Whether there is such a step.
pub(crate) fn step(name: &str, words: &[&str]) -> bool {
    match (name, words) {
        ("serve-files", [directory]) => serve_files(Path::new(directory)),
        ("fetch-files", [address, file, pause]) => fetch_files(address, file, pause_of(pause)),
        ("keep-journal", [path, pause]) => keep_journal(Path::new(path), pause_of(pause)),
        ("storm", [pause]) => storm(pause_of(pause)),
        _ => return false,
    }
    true
}

fn pause_of(milliseconds: &str) -> Duration {
    Duration::from_millis(number(milliseconds))
}

/// A file server: each connection asks for a file by a line with its name, and gets it. Prints its address.
fn serve_files(directory: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    say(&listener.local_addr().expect("it is bound").to_string());
    for stream in listener.incoming() {
        let mut reader = BufReader::new(stream.expect("accept"));
        let mut name = String::new();
        reader.read_line(&mut name).expect("a request");
        let mut file = File::open(directory.join(name.trim_end())).expect("the file is there");
        io::copy(&mut file, reader.get_mut()).expect("send the file");
    }
}

/// Asks a file server for a file again and again.
fn fetch_files(address: &str, file: &str, pause: Duration) {
    loop {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(format!("{file}\n").as_bytes()).expect("ask");
        io::copy(&mut stream, &mut io::sink()).expect("receive the file");
        thread::sleep(pause);
    }
}

/// Appends records to a file, each of them safe on the disk before the next.
fn keep_journal(path: &Path, pause: Duration) {
    let mut journal = File::create(path).expect("make the journal");
    loop {
        journal.write_all(&[b'j'; RECORD]).expect("write");
        journal.sync_all().expect("fsync");
        thread::sleep(pause);
    }
}

/// Starts this program again and again, to end at once.
fn storm(pause: Duration) {
    let program = std::env::current_exe().expect("this process has an executable");
    loop {
        let status = Command::new(&program).args(["exit", "0"]).status().expect("start a process");
        assert!(status.success());
        thread::sleep(pause);
    }
}
