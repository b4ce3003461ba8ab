//! Which libraries a process has in its memory, and how to get hold of their files.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Most bytes of a list of mappings that are read: thirty thousand of them.
const MAPS_MAX: u64 = 4 << 20;

/// A library in a process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    /// As the kernel names it; for a process with another root, as that one does or does not.
    pub(super) path: String,
    /// Its inode.
    pub(super) inode: u64,
    /// The addresses of one of its mappings, as `/proc/PID/map_files` names it.
    pub(super) range: String,
}

/// Is this the name of a library that is looked for? Wheels of Python bring theirs as `libssl-1a2b3c4d.so.3`.
pub(super) fn is_library(name: &str) -> bool {
    ["libssl.", "libssl-", "libgnutls."].iter().any(|start| name.starts_with(start)) && name.contains(".so")
}

/// The libraries that `pid` has in its memory, each file once.
///
/// # Errors
/// When there is no such process, or none of its own.
pub(super) fn of_process(pid: u32) -> io::Result<Vec<Mapped>> {
    // Most need less; to grow from nothing takes a system call for each doubling.
    let mut text = Vec::with_capacity(32 << 10);
    File::open(format!("/proc/{pid}/maps"))?.take(MAPS_MAX).read_to_end(&mut text)?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// `55d0c8e00000-55d0c8e02000 r-xp 00002000 fe:00 131 /usr/lib/libssl.so.3` (proc(5)).
fn parse(text: &str) -> Vec<Mapped> {
    let mut found: Vec<Mapped> = Vec::new();
    for line in text.lines() {
        // Cheap first: most lines are others.
        if !line.contains("/lib") {
            continue;
        }
        let mut words = line.splitn(6, ' ');
        let (Some(range), Some(inode), Some(path)) = (words.next(), words.nth(3), words.next()) else { continue };
        let path = path.trim_start();
        let name = path.strip_suffix(" (deleted)").unwrap_or(path).rsplit('/').next().unwrap_or_default();
        let Ok(inode) = inode.parse() else { continue };
        if is_library(name) && !found.iter().any(|other| other.inode == inode) {
            found.push(Mapped { path: path.to_owned(), inode, range: range.to_owned() });
        }
    }
    found
}

/// Opens the file that `pid` has mapped: in the process's own tree of files, whatever that is; and where the file has been
/// replaced since, as an update does, by the mapping itself, for which the kernel wants CAP_CHECKPOINT_RESTORE.
///
/// # Errors
/// When it is not to be had in any of these ways.
pub(super) fn open(pid: u32, mapped: &Mapped) -> io::Result<File> {
    let is_it = |file: &File| file.metadata().is_ok_and(|found| found.is_file() && found.ino() == mapped.inode);
    let inside = in_root(Path::new(&format!("/proc/{pid}/root")), &mapped.path);
    if let Some(file) = inside.ok().filter(is_it) {
        return Ok(file);
    }
    // Of a process that has only changed its root, the kernel tells the path from ours.
    if let Some(file) = in_root(Path::new("/"), &mapped.path).ok().filter(is_it) {
        return Ok(file);
    }
    let file = File::open(format!("/proc/{pid}/map_files/{}", mapped.range))?;
    if is_it(&file) { Ok(file) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
}

/// Opens a path below a root, which no link may lead out of. Never waits for a pipe that somebody has put there.
fn in_root(root: &Path, path: &str) -> io::Result<File> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?.into())
}

/// Where distributions keep the libraries of the host itself.
const DIRECTORIES: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// The host's own libraries. Nobody may have mapped them yet.
pub(super) fn of_host() -> Vec<File> {
    let entries = DIRECTORIES.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_library));
    named.filter_map(|entry| in_root(Path::new("/"), entry.path().to_str()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_once_under_any_of_their_names() {
        let text = "\
55d0-55d1 r--p 00000000 fe:00 100                        /usr/bin/thing\n\
7f01-7f02 r--p 00000000 fe:00 131                        /usr/lib/x86_64-linux-gnu/libssl.so.3\n\
7f02-7f03 r-xp 0001f000 fe:00 131                        /usr/lib/x86_64-linux-gnu/libssl.so.3\n\
7f04-7f05 r-xp 00000000 00:2a 77                         /site packages/x.libs/libssl-81ffa89e.so.1.1 (deleted)\n\
7f06-7f07 r-xp 00000000 fe:00 132                        /usr/lib/x86_64-linux-gnu/libgnutls.so.30.34.3\n\
7f08-7f09 r-xp 00000000 fe:00 133                        /usr/lib/x86_64-linux-gnu/libcrypto.so.3\n\
7f0a-7f0b r-xp 00000000 fe:00 134                        /usr/lib/x86_64-linux-gnu/libgnutlsxx.so.30\n\
7ffd-7ffe rw-p 00000000 00:00 0                          [stack]\n";
        let found: Vec<(u64, String)> = parse(text).into_iter().map(|mapped| (mapped.inode, mapped.range)).collect();
        assert_eq!(found, [(131, "7f01-7f02".to_owned()), (77, "7f04-7f05".to_owned()), (132, "7f06-7f07".to_owned())]);
        assert_eq!(parse(text)[1].path, "/site packages/x.libs/libssl-81ffa89e.so.1.1 (deleted)");
        assert!(parse("\u{fffd} /lib\n/libssl.so\n").is_empty());
    }

    #[test]
    fn no_link_leads_out_of_a_root_and_no_pipe_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        std::os::unix::fs::symlink("/etc/passwd", path.join("libssl.so.1")).unwrap();
        fs::write(path.join("libssl.so.3"), "here").unwrap();
        std::os::unix::fs::symlink("/libssl.so.3", path.join("libssl.so.2")).unwrap();
        assert!(in_root(path, "/libssl.so.1").is_err());
        let read = |name: &str| io::read_to_string(in_root(path, name).unwrap()).unwrap();
        assert_eq!((read("/libssl.so.3"), read("/libssl.so.2")), ("here".to_owned(), "here".to_owned()));
        let pipe = path.join("libssl.so.4");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let mapped = Mapped {
            path: pipe.to_str().unwrap().to_owned(),
            inode: fs::metadata(&pipe).unwrap().ino(),
            range: "0-1".to_owned(),
        };
        assert!(open(std::process::id(), &mapped).is_err());
    }
}
