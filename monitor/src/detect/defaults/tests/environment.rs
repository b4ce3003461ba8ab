//! `ld_preload_env`: whose libraries a program is made to load.

use std::sync::Arc;

use super::book::{Rulebook, run};
use crate::detect::Event;
use crate::processes::Image;

const RULE: &str = "ld_preload_env";
const PATH: &str = "LD_LIBRARY_PATH";

/// Runs a program with this variable set.
fn with(exe: &str, name: &str, value: &str) -> Event {
    run(exe, &["x"], |exec| exec.env = vec![(name.into(), value.into())])
}

/// The parent is this program, started with this library path if any; its child still is the same before its exec.
fn parent(book: &mut Rulebook, exe: &str, path: Option<&str>) {
    let env = path.map(|path| (PATH.into(), path.into())).into_iter().collect();
    let image = Arc::new(Image { exe: exe.as_bytes().into(), env, ..Image::default() });
    for pid in [20, 30] {
        book.host.change(pid, |process| process.image = Arc::clone(&image));
    }
}

#[test]
fn a_preloaded_library_is_told_by_where_it_lies() {
    let book = Rulebook::new();
    for name in ["LD_PRELOAD", "LD_AUDIT"] {
        for value in
            ["/tmp/x.so", "/dev/shm/x.so", "libfakeroot.so:/var/tmp/x.so", "./x.so", "../x.so", "/home/me/x.so"]
        {
            book.finds(&with("/usr/bin/ls", name, value), RULE);
        }
        book.misses(&with("/usr/bin/ls", name, "libfakeroot-sysv.so"), RULE);
        book.misses(&with("/usr/bin/ls", name, "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"), RULE);
    }
}

#[test]
fn a_library_path_to_where_everybody_may_write() {
    let book = Rulebook::new();
    // Any program, whoever started it.
    for value in ["/tmp", "/usr/lib:/tmp/", "/var/tmp:/usr/lib", "/dev/shm", "/dev/shm/x", "/usr/lib:/run/lock/x"] {
        book.finds(&with("/home/me/tool", PATH, value), RULE);
    }
    for value in ["/usr/lib", "/home/me/target/debug/deps", "/opt/tmp", "/tmpfiles", "/srv/dev/shm"] {
        book.misses(&with("/usr/bin/ls", PATH, value), RULE);
    }
}

#[test]
fn a_library_path_below_such_a_directory_is_told_where_a_shell_gives_it_to_a_program_of_the_system() {
    let mut book = Rulebook::new();
    let system = with("/usr/bin/ls", PATH, "/usr/lib:/tmp/x/lib");
    parent(&mut book, "/usr/bin/bash", None);
    book.finds(&system, RULE);
    // One's own program with the libraries that were built with it.
    book.misses(&with("/tmp/x/bin/tool", PATH, "/tmp/x/lib"), RULE);
    for exe in ["/usr/bin/python3.11", "/usr/bin/env", "/usr/bin/perl"] {
        parent(&mut book, exe, None);
        book.finds(&system, RULE);
    }
    // A build tool sets it for its compilers, and whatever they start has it, too.
    parent(&mut book, "/home/me/.cargo/bin/cargo", None);
    book.misses(&system, RULE);
    parent(&mut book, "/usr/bin/dash", Some("/usr/lib:/tmp/x/lib"));
    book.misses(&system, RULE);
    // Another one is a new one.
    parent(&mut book, "/usr/bin/dash", Some("/tmp/other"));
    book.finds(&system, RULE);
}
