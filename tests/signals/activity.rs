//! What tests of activities have in common, and whether every system call of this kernel that takes a path is accounted for.

use std::{
    collections::BTreeSet,
    ffi::{CString, c_long},
    fs,
    os::{
        fd::{FromRawFd as _, OwnedFd, RawFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
    process::Command,
    thread,
};

use monitor_tests::{Daemon, binary};
use serde_json::Value;

/// A directory of the test's own, by its true name.
pub(super) fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::Builder::new().prefix("kernel-tests-").tempdir().unwrap();
    let path = fs::canonicalize(directory.path()).unwrap();
    (directory, path)
}

/// A daemon that logs activities.
pub(super) fn logging(config: &str) -> Daemon {
    Daemon::start(&format!("[log]\nlevel = \"info,monitor::activity=debug\"\n[rules]\ndefaults = false\n{config}"))
}

/// What it told so far of this process, in the order of time.
pub(super) fn told(daemon: &Daemon) -> Vec<Value> {
    let own = std::process::id();
    let log = daemon.log();
    let lines = log.lines().filter_map(|line| line.split_once("monitor::activity: ")?.1.parse().ok());
    lines.filter(|activity: &Value| activity["pid"] == own).collect()
}

/// Waits for the activities that `wanted` picks out, as many as that; and there are no more.
#[track_caller]
pub(super) fn expect(daemon: &Daemon, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    daemon.awaited(|| {
        let found: Vec<Value> = told(daemon).into_iter().filter(&wanted).collect();
        if found.len() == count { Ok(found) } else { Err(format!("{} of {count}: {found:#?}", found.len())) }
    })
}

#[track_caller]
pub(super) fn expect_one(daemon: &Daemon, wanted: impl Fn(&Value) -> bool) -> Value {
    expect(daemon, 1, wanted).remove(0)
}

pub(super) fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// A descriptor, or why there is none.
pub(super) fn descriptor(result: c_long) -> std::io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: the call has just returned it, to nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(std::io::Error::last_os_error()),
    }
}

pub(super) fn tid() -> u64 {
    rustix::thread::gettid().as_raw_nonzero().get() as u64
}

/// Thread id and path are enough to tell what one thread did to one file.
pub(super) fn of<'a>(kind: &'a str, path: &'a Path) -> impl Fn(&Value) -> bool + 'a {
    let (tid, path) = (tid(), path.to_str().unwrap());
    move |activity| {
        activity["tid"] == tid
            && activity["kind"] == kind
            && (activity["path"] == path || activity["name"]["path"] == path)
    }
}

pub(super) fn same_file(activity: &Value, path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    assert_eq!(activity["file"]["inode"], metadata.ino(), "{activity:#}");
    assert_eq!(activity["file"]["device"], major << 20 | minor, "{activity:#}");
    assert_eq!(activity["file"]["mode"], metadata.mode(), "{activity:#}");
}

#[test]
fn every_system_call_that_takes_a_path_is_told_or_left_out_for_a_reason() {
    let page = Command::new(binary()).args(["docs", "activities"]).output().unwrap().stdout;
    let page = String::from_utf8(page).unwrap();
    let accounted: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    // The kernel's own list, by a mount that goes with this thread.
    let (_keep, place) = place();
    let calls = thread::scope(|scope| {
        let look = scope.spawn(|| {
            // SAFETY: changes this thread's view of the file systems only.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_FS) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            let flags = rustix::mount::MountPropagationFlags::REC | rustix::mount::MountPropagationFlags::PRIVATE;
            rustix::mount::mount_change("/", flags).unwrap();
            rustix::mount::mount("tracefs", &place, "tracefs", rustix::mount::MountFlags::empty(), None).unwrap();
            let calls = fs::read_dir(place.join("events/syscalls")).unwrap().filter_map(|entry| {
                let entry = entry.unwrap();
                let call = entry.file_name().to_str()?.strip_prefix("sys_enter_")?.to_owned();
                let format = fs::read_to_string(entry.path().join("format")).unwrap();
                format.contains("field:const char * ").then_some(call)
            });
            calls.collect::<BTreeSet<String>>()
        });
        look.join().unwrap()
    });
    assert!(calls.len() > 60 && calls.contains("openat"), "{calls:?}");
    let forgotten: Vec<_> = calls.iter().filter(|call| !accounted.contains(call.as_str())).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}
