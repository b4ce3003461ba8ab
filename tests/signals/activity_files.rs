//! Files opened and changed, as the kernel tells it: each kind with its file, path, result and actor; by whatever name or
//! way a file is reached; and what happens when there is more than anybody can take.

use std::{
    collections::BTreeSet,
    ffi::{CString, c_long},
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{MetadataExt as _, PermissionsExt as _, symlink},
        },
    },
    path::Path,
    process::{Command, Stdio},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use monitor_common::{loss::Loss, record::Ring};
use monitor_tests::{DEADLINE, Daemon, Tables, alone, everywhere, slowness, until};
use serde_json::Value;

const CHANGES: &str = r#""unlink", "rmdir", "rename", "link", "symlink", "mkdir", "mknod", "chmod", "chown", "truncate",
    "setxattr", "utimens""#;

/// A directory of the test's own, by its true name.
fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::Builder::new().prefix("kernel-tests-").tempdir().unwrap();
    let path = fs::canonicalize(directory.path()).unwrap();
    (directory, path)
}

/// A daemon that logs activities.
fn logging(config: &str) -> Daemon {
    Daemon::start(&format!("[log]\nlevel = \"info,monitor::activity=debug\"\n{config}"))
}

/// What it told so far of this process, in the order of time.
fn told(daemon: &Daemon) -> Vec<Value> {
    let own = std::process::id();
    let log = daemon.log();
    let lines = log.lines().filter_map(|line| line.split_once("monitor::activity: ")?.1.parse().ok());
    lines.filter(|activity: &Value| activity["pid"] == own).collect()
}

/// Waits for the activities that `wanted` picks out, as many as that; and there are no more.
#[track_caller]
fn expect(daemon: &Daemon, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    until(DEADLINE, || {
        let found: Vec<Value> = told(daemon).into_iter().filter(&wanted).collect();
        if found.len() == count { Ok(found) } else { Err(format!("{} of {count}: {found:#?}", found.len())) }
    })
}

#[track_caller]
fn expect_one(daemon: &Daemon, wanted: impl Fn(&Value) -> bool) -> Value {
    expect(daemon, 1, wanted).remove(0)
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// A descriptor, or why there is none.
fn descriptor(result: c_long) -> std::io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: the call has just returned it, to nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn tid() -> u64 {
    rustix::thread::gettid().as_raw_nonzero().get() as u64
}

/// Thread id and path are enough to tell what one thread did to one file.
fn of<'a>(kind: &'a str, path: &'a Path) -> impl Fn(&Value) -> bool + 'a {
    let (tid, path) = (tid(), path.to_str().unwrap());
    move |activity| {
        activity["tid"] == tid
            && activity["kind"] == kind
            && (activity["path"] == path || activity["name"]["path"] == path)
    }
}

fn same_file(activity: &Value, path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    assert_eq!(activity["file"]["inode"], metadata.ino(), "{activity:#}");
    assert_eq!(activity["file"]["device"], major << 20 | minor, "{activity:#}");
    assert_eq!(activity["file"]["mode"], metadata.mode(), "{activity:#}");
}

#[test]
fn every_way_to_open_a_file_tells_the_kernels_file() {
    let (_keep, place) = place();
    let daemon = logging(&format!("[activity]\nwatch = [\"{}/\"]\nbulk_rate = 0\n", place.display()));
    let path = place.join("made");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"#!/bin/sh\n").unwrap();
    let made = expect_one(&daemon, of("file_open", &path));
    assert_eq!((&made["file"]["created"], &made["call"]), (&Value::Bool(true), &Value::from("openat")));
    assert_eq!(
        (&made["uid"], &made["via"]),
        (&Value::from(rustix::process::getuid().as_raw()), &Value::from("native"))
    );
    assert!(made["result"].as_i64().unwrap() >= 0 && made["capabilities"].as_u64().unwrap() != 0, "{made:#}");
    same_file(&made, &path);

    let name = c_string(&path);
    let how = [libc::O_RDONLY as u64, 0, 0];
    // SAFETY: the name and what else is pointed to outlive each call.
    let opened = unsafe {
        [
            #[cfg(target_arch = "x86_64")]
            ("open", libc::syscall(libc::SYS_open, name.as_ptr(), libc::O_RDWR)),
            #[cfg(target_arch = "x86_64")]
            ("creat", libc::syscall(libc::SYS_creat, name.as_ptr(), 0o600)),
            ("openat2", libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, name.as_ptr(), how.as_ptr(), 24)),
            ("open_by_handle_at", by_handle(&name)),
        ]
    };
    for (call, result) in opened {
        // Not every file system of the kernels tested has handles.
        let Ok(fd) = descriptor(result) else {
            assert_eq!(call, "open_by_handle_at", "{:?}", std::io::Error::last_os_error());
            continue;
        };
        let told = expect_one(&daemon, |activity| activity["call"] == call && activity["tid"] == tid());
        assert_eq!((&told["path"], &told["result"]), (&path.to_str().unwrap().into(), &fd.as_raw_fd().into()));
        assert_eq!(told["file"]["created"], false, "{told:#}");
        same_file(&told, &path);
    }
    // What was told so far is all there was: listing the directory is no opening of a file.
    let before = told(&daemon).len();
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    File::open(&path).unwrap();
    until(DEADLINE, || if told(&daemon).len() > before { Ok(()) } else { Err("not told") });
    assert_eq!(told(&daemon).len(), before + 1);
}

/// Opens a file by its handle.
///
/// # Safety
/// None is needed: the name is a string.
unsafe fn by_handle(name: &CString) -> c_long {
    // `struct file_handle`: room for the handle, its type, and the handle.
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let mut mount = 0_i32;
    // SAFETY: everything pointed to is as large as the calls say.
    unsafe {
        if libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            name.as_ptr(),
            handle.as_mut_ptr(),
            &raw mut mount,
            0,
        ) != 0
        {
            return -1;
        }
        libc::syscall(libc::SYS_open_by_handle_at, libc::AT_FDCWD, handle.as_mut_ptr(), libc::O_RDONLY)
    }
}

#[test]
fn a_watched_file_is_known_by_whatever_name_it_is_opened() {
    let (_keep, place) = place();
    let secret = place.join("secret-by-any-name");
    fs::write(&secret, "x").unwrap();
    fs::create_dir(place.join("other")).unwrap();
    let daemon = logging(&format!("[activity]\nwatch = [\"{}\"]\nbulk_rate = 0\n", secret.display()));

    let open = |name: &Path, path: &Path| {
        let before = told(&daemon).len();
        File::open(name).unwrap();
        let told = until(DEADLINE, || match told(&daemon).get(before) {
            Some(activity) => Ok(activity.clone()),
            None => Err(format!("{} was not told", name.display())),
        });
        assert_eq!((&told["path"], &told["kind"]), (&path.to_str().unwrap().into(), &"file_open".into()), "{told:#}");
        same_file(&told, &secret);
    };
    open(&secret, &secret);
    open(&place.join("other/../secret-by-any-name"), &secret);
    symlink("../secret-by-any-name", place.join("other/link")).unwrap();
    // The symbolic link itself is no change of the file.
    open(&place.join("other/link"), &secret);
    open(&Path::new("/proc/self/root").join(secret.strip_prefix("/").unwrap()), &secret);

    // In a mount namespace of this thread's own, which goes with it.
    thread::scope(|scope| {
        scope.spawn(|| {
            fs::write(place.join("other/bound"), "").unwrap();
            // SAFETY: changes this thread's view of the file systems only.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_FS) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            let flags = rustix::mount::MountPropagationFlags::REC | rustix::mount::MountPropagationFlags::PRIVATE;
            rustix::mount::mount_change("/", flags).unwrap();
            rustix::mount::mount_bind(&secret, place.join("other/bound")).unwrap();
            open(&place.join("other/bound"), &place.join("other/bound"));
        });
    });
    assert!(!daemon.log().contains("secret-by-any-name/"), "a file has nothing below it");

    // Giving it another name is a change of it, and the other name is no way round.
    let before = told(&daemon).len();
    fs::hard_link(&secret, place.join("other/twin")).unwrap();
    let link = until(DEADLINE, || told(&daemon).get(before).cloned().ok_or("the link was not told"));
    assert_eq!((&link["kind"], &link["name"]["path"]), (&"link".into(), &secret.to_str().unwrap().into()), "{link:#}");
    assert_eq!(link["other"]["path"], place.join("other/twin").to_str().unwrap(), "{link:#}");
    open(&place.join("other/twin"), &place.join("other/twin"));

    // Another file of this name, and one that nobody watches.
    let before = told(&daemon).len();
    fs::write(place.join("other/public"), "z").unwrap();
    let namesake = place.join("other/secret-by-any-name");
    fs::write(&namesake, "y").unwrap();
    let made = until(DEADLINE, || told(&daemon).get(before).cloned().ok_or("the namesake was not told"));
    assert_eq!(made["path"], namesake.to_str().unwrap(), "{made:#}");
    assert!(!daemon.log().contains("other/public"));
}

#[test]
fn an_attempt_is_told_with_what_it_was_refused_for() {
    let (_keep, place) = place();
    let missing = place.join("missing-file");
    let daemon = logging(&format!("[activity]\nwatch = [\"{}\"]\nbulk_rate = 0\n", missing.display()));
    let base = File::open(&place).unwrap();
    File::open(&missing).unwrap_err();
    // By a descriptor of the directory, with more slashes and dots than needed.
    rustix::fs::openat(&base, ".//x/../missing-file", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
        .unwrap_err();
    let attempts = expect(&daemon, 2, of("file_open", &missing));
    assert_eq!(attempts[0]["result"], -libc::ENOENT);
    assert_eq!(attempts[1]["name"]["raw"], ".//x/../missing-file");
    assert!(attempts.iter().all(|attempt| attempt.get("file").is_none() && attempt.get("path").is_none()));
    // It fails as a directory, and is there as a file.
    fs::write(&missing, "").unwrap();
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::WRONLY;
    rustix::fs::open(&missing, flags, rustix::fs::Mode::empty()).unwrap_err();
    let attempts = expect(&daemon, 4, of("file_open", &missing));
    assert_eq!(attempts[3]["result"], -libc::ENOTDIR);
}

#[test]
fn every_change_of_a_file_is_told() {
    let (_keep, place) = place();
    let daemon = logging(&format!("[activity]\nkinds = [{CHANGES}]\nbulk_rate = 0\n"));
    let path = |name: &str| place.join(name);
    let c = |name: &str| c_string(&place.join(name));
    let (file, moved) = (path("file"), path("moved"));
    let open = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&file).unwrap();
    let fd = open.as_raw_fd();
    let one = |kind: &str, path: &Path, call: &str| -> Value {
        expect_one(&daemon, |activity| of(kind, path)(activity) && activity["call"] == call)
    };

    // By name.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).unwrap();
    let told = expect_one(&daemon, of("chmod", &file));
    assert!(told["args"].as_array().unwrap().iter().any(|argument| *argument == 0o4755), "{told:#}");
    assert_eq!((&told["result"], told["pid"].as_u64()), (&0.into(), Some(std::process::id().into())));
    std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
    expect_one(&daemon, of("chown", &file));
    let (name, other) = (c("file"), c("moved"));
    // SAFETY: all strings outlive the calls.
    unsafe {
        assert_eq!(libc::truncate(name.as_ptr(), 7), 0);
        assert_eq!(libc::utimensat(libc::AT_FDCWD, name.as_ptr(), ptr::null(), 0), 0);
        // Not every file system keeps attributes: an attempt is told all the same.
        libc::setxattr(name.as_ptr(), c"user.one".as_ptr(), b"1".as_ptr().cast(), 1, 0);
    }
    one("truncate", &file, "truncate");
    one("utimens", &file, "utimensat");
    assert_eq!(one("setxattr", &file, "setxattr")["other"]["raw"], "user.one");

    // By descriptor: the kernel's own file.
    // SAFETY: the descriptor is open.
    unsafe {
        assert_eq!(libc::fchmod(fd, 0o600), 0);
        assert_eq!(libc::fchown(fd, 0, 0), 0);
        assert_eq!(libc::ftruncate(fd, 3), 0);
        assert_eq!(libc::futimens(fd, ptr::null()), 0);
        libc::fsetxattr(fd, c"user.two".as_ptr(), b"2".as_ptr().cast(), 1, 0);
        libc::fremovexattr(fd, c"user.two".as_ptr());
    }
    for (kind, call) in [("chmod", "fchmod"), ("chown", "fchown"), ("truncate", "ftruncate"), ("utimens", "utimensat")]
    {
        let told = expect_one(&daemon, |activity| {
            of(kind, &file)(activity) && activity["call"] == call && activity.get("file").is_some()
        });
        same_file(&Value::clone(&told), &file);
    }
    assert_eq!(one("setxattr", &file, "fsetxattr")["other"]["raw"], "user.two");
    one("setxattr", &file, "fremovexattr");

    // Names.
    symlink("/etc/shadow", path("symbolic")).unwrap();
    let told = expect_one(&daemon, of("symlink", &path("symbolic")));
    assert_eq!((&told["other"]["raw"], &told["other"]["path"]), (&"/etc/shadow".into(), &"".into()));
    fs::hard_link(&file, path("hard")).unwrap();
    let told = expect_one(&daemon, of("link", &file));
    assert_eq!(told["other"]["path"], path("hard").to_str().unwrap());
    let base = File::open(&place).unwrap();
    // SAFETY: all strings outlive the calls.
    unsafe {
        let at = base.as_raw_fd();
        assert_eq!(libc::syscall(libc::SYS_renameat2, at, c"file".as_ptr(), libc::AT_FDCWD, other.as_ptr(), 0), 0);
        assert_eq!(libc::mknodat(at, c"pipe".as_ptr(), libc::S_IFIFO | 0o600, 0), 0);
        assert_eq!(libc::mkdirat(at, c"directory".as_ptr(), 0o700), 0);
        assert_eq!(libc::unlinkat(at, c"directory".as_ptr(), libc::AT_REMOVEDIR), 0);
        assert_eq!(libc::unlinkat(at, c"hard".as_ptr(), 0), 0);
    }
    assert_eq!(one("rename", &file, "renameat2")["other"]["path"], moved.to_str().unwrap());
    one("mknod", &path("pipe"), "mknodat");
    one("mkdir", &path("directory"), "mkdirat");
    one("rmdir", &path("directory"), "unlinkat");
    one("unlink", &path("hard"), "unlinkat");
    fs::create_dir(path("again")).unwrap();
    fs::remove_dir(path("again")).unwrap();
    expect_one(&daemon, of("mkdir", &path("again")));
    expect_one(&daemon, of("rmdir", &path("again")));
    fs::remove_file(path("nothing")).unwrap_err();
    assert_eq!(expect_one(&daemon, of("unlink", &path("nothing")))["result"], -libc::ENOENT);
}

#[test]
fn an_argument_that_is_rewritten_meanwhile_does_not_change_what_was_opened() {
    const OPENS: usize = 3_000;
    let (_keep, place) = place();
    let (one, two) = (place.join("a-file-of-one"), place.join("a-file-of-two"));
    fs::write(&one, "1").unwrap();
    fs::write(&two, "2").unwrap();
    let daemon = logging(&format!("[activity]\nwatch = [\"{}/\"]\nbulk_rate = 0\n", place.display()));
    let opens = OPENS / slowness() as usize;
    // The two names differ in their last three bytes, which another thread keeps rewriting.
    let mut name = c_string(&one).into_bytes_with_nul();
    let (address, end) = (name.as_mut_ptr() as usize, name.len() - 4);
    let stop = AtomicBool::new(false);
    let (opener, opened) = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for text in [b"two", b"one"] {
                    // SAFETY: bytes of `name`, which outlives this thread; that the kernel reads them meanwhile is the
                    // point of it.
                    text.iter().enumerate().for_each(|(index, byte)| unsafe {
                        ptr::write_volatile((address as *mut u8).add(end + index), *byte);
                    });
                }
            }
        });
        let opener = scope.spawn(|| {
            let mut opened = Vec::new();
            while opened.len() < opens {
                // SAFETY: as above.
                let result = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, address, libc::O_RDONLY) };
                // The names between the two, such as `twe`, are none.
                if let Ok(fd) = descriptor(result) {
                    opened.push(File::from(fd).metadata().unwrap().ino());
                }
            }
            stop.store(true, Ordering::Relaxed);
            (tid(), opened)
        });
        opener.join().unwrap()
    });
    assert_eq!(opened.iter().collect::<BTreeSet<_>>().len(), 2, "the race was not run");
    let told = expect(&daemon, opens, |activity| activity["tid"] == opener && activity["result"].as_i64() >= Some(0));
    for (activity, inode) in told.iter().zip(opened) {
        let path = if inode == fs::metadata(&one).unwrap().ino() { &one } else { &two };
        assert_eq!((&activity["path"], &activity["file"]["inode"]), (&path.to_str().unwrap().into(), &inode.into()));
    }
}

/// Opens a file that nobody watches, so many times.
fn storm(path: &Path, count: usize) {
    for _ in 0..count {
        File::open(path).unwrap();
    }
}

#[test]
fn a_flood_of_what_is_frequent_costs_no_record_of_what_is_rare() {
    const RARE: usize = 500;
    const OPENS: usize = 20_000;
    let _turn = alone();
    let (_keep, place) = place();
    fs::create_dir(place.join("watched")).unwrap();
    let config = format!(
        "[kernel]\nbulk_ring = \"64KiB\"\n[activity]\nkinds = [\"file_open\"]\nwatch = [\"{}/\"]\nbulk_rate = 0\n",
        place.join("watched").display()
    );
    let daemon = Daemon::start(&config);
    let tables = Tables::of(daemon.pid());
    let frequent = place.join("frequent");
    fs::write(&frequent, "").unwrap();
    let base = File::open(place.join("watched")).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| storm(&frequent, OPENS / slowness() as usize));
        }
        for _ in 0..RARE {
            // SAFETY: strings outlive the calls.
            unsafe {
                assert_eq!(libc::mkdirat(base.as_raw_fd(), c"rare".as_ptr(), 0o700), 0);
                assert_eq!(libc::unlinkat(base.as_raw_fd(), c"rare".as_ptr(), libc::AT_REMOVEDIR), 0);
            }
            thread::yield_now();
        }
    });
    let metrics = until(DEADLINE, || {
        everywhere();
        let metrics = daemon.fresh_metrics();
        let find = |name, ring: Ring| metrics.find(name, &[("ring", ring.name())]).unwrap();
        let received = find("monitor_ring_records_total", Ring::Security);
        let (numbered, missing) =
            (tables.numbered(Ring::Security) as f64, find("monitor_ring_missing_total", Ring::Bulk));
        let lost = tables.lost(Loss::ActivityBulkRing) as f64;
        if received == numbered && missing == lost {
            Ok(metrics)
        } else {
            Err(format!("{received} of {numbered}, {missing} {lost}"))
        }
    });
    assert_eq!(tables.lost(Loss::ActivityRing) + tables.lost(Loss::ExecRing), 0);
    assert!(tables.lost(Loss::ActivityBulkRing) > 0, "the bulk ring was never full: no flood");
    let missed = daemon.missed(&["sys_exit"]) as f64;
    for kind in ["mkdir", "rmdir"] {
        let told = metrics.find("monitor_activity_records_total", &[("kind", kind)]).unwrap();
        assert!(told <= RARE as f64 && told + missed >= RARE as f64, "{told} {kind}, {missed} missed");
    }
    let bulk = |name| metrics.find(name, &[("ring", "bulk")]).unwrap();
    assert_eq!(bulk("monitor_ring_malformed_total"), 0.0);
}

#[test]
fn who_sends_too_much_is_throttled_and_that_is_told_but_not_what_is_watched() {
    let _turn = alone();
    let (_keep, place) = place();
    let (frequent, rare) = (place.join("frequent"), place.join("rare-in-a-flood"));
    fs::write(&frequent, "").unwrap();
    let config = format!("[activity]\nkinds = [\"file_open\"]\nwatch = [\"{}\"]\nbulk_rate = 50\n", rare.display());
    let daemon = logging(&config);
    storm(&frequent, 300);
    let log = until(DEADLINE, || {
        let log = daemon.log();
        if log.contains(r#""kind":"throttle""#) { Ok(log) } else { Err("no throttle was told") }
    });
    let line = log.lines().find(|line| line.contains(r#""kind":"throttle""#)).unwrap();
    let told: Value = line.split_once("monitor::activity: ").unwrap().1.parse().unwrap();
    assert_eq!((&told["result"], told["args"][0].as_u64() > told["time_ns"].as_u64()), (&1.into(), true), "{told:#}");
    // What is watched comes all the same.
    fs::write(&rare, "").unwrap();
    expect_one(&daemon, of("file_open", &rare));
    let metrics = daemon.fresh_metrics();
    let lost = metrics.find("monitor_lost_total", &[("signal", "activity"), ("cause", "throttled")]).unwrap();
    assert!(lost >= 100.0, "{lost}");
    assert!(metrics.find("monitor_activity_throttles_total", &[]).unwrap() >= 1.0);
    assert_eq!(metrics.find("monitor_ring_missing_total", &[("ring", "bulk")]), Some(0.0), "none was numbered");
    // When time has passed it may send again, and that is told with what was kept back.
    let ended = until(DEADLINE, || {
        storm(&frequent, 1);
        let log = daemon.log();
        let mut throttles = log.lines().filter_map(|line| {
            let told: Value = line.split_once("monitor::activity: ")?.1.parse().ok()?;
            (told["kind"] == "throttle" && told["result"] == 0).then_some(told)
        });
        throttles.next().ok_or("the end was not told")
    });
    assert!(ended["args"][0].as_u64() >= Some(100), "{ended:#}");
}

#[test]
fn activities_are_told_also_where_system_calls_are_not_counted_or_not_timed() {
    for config in
        ["[signals]\nsyscalls = false\n", "[syscalls]\ntiming = \"counts\"\n", "[syscalls]\ntiming = \"adaptive\"\n"]
    {
        let (_keep, place) = place();
        let daemon = logging(&format!("{config}[activity]\nwatch = [\"{}/\"]\nbulk_rate = 0\n", place.display()));
        let path = place.join("file");
        fs::write(&path, "").unwrap();
        expect_one(&daemon, of("file_open", &path));
        // A thread that the daemon has never seen before.
        thread::scope(|scope| {
            let other = place.join("other");
            scope.spawn(move || fs::write(&other, "").unwrap());
        });
        expect_one(&daemon, |activity| activity["path"] == place.join("other").to_str().unwrap());
        // The daemon's own files are its own affair.
        assert!(!daemon.log().contains(&format!("\"pid\":{},", daemon.pid())), "{config}");
    }
}

#[test]
fn who_wrote_a_program_is_known_when_it_runs() {
    let (_keep, place) = place();
    let daemon = logging("[activity]\nkinds = [\"file_open\"]\nbulk_rate = 0\n");
    let program = place.join("written-program");
    fs::copy("/bin/true", &program).unwrap();
    let mut child = until(DEADLINE, || Command::new(&program).stdin(Stdio::null()).spawn());
    child.wait().unwrap();
    let written = &daemon.ended(child.id())["exe_written"];
    assert_eq!(written["pid"], std::process::id(), "{written}");
    let mut child = Command::new("/bin/true").stdin(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    assert_eq!(daemon.ended(child.id())["exe_written"], Value::Null, "nobody has written /bin/true lately");
}

#[test]
fn what_is_selected_changes_with_the_configuration() {
    let (_keep, place) = place();
    let config = |watch: &str| {
        format!("[log]\nlevel = \"info,monitor::activity=debug\"\n[activity]\nwatch = [{watch}]\nbulk_rate = 0\n")
    };
    let daemon = Daemon::start(&config(""));
    let path = place.join("file");
    fs::write(&path, "").unwrap();
    fs::write(daemon.directory().join("monitor.toml"), config(&format!("\"{}/\"", place.display()))).unwrap();
    assert_eq!(daemon.post("/-/reload").status, 200);
    fs::write(&path, "").unwrap();
    expect_one(&daemon, of("file_open", &path));
    let watched = daemon.fresh_metrics();
    assert_eq!(watched.find("monitor_activity_watched", &[("by", "directory")]), Some(1.0));
    fs::write(daemon.directory().join("monitor.toml"), config("")).unwrap();
    assert_eq!(daemon.post("/-/reload").status, 200);
    fs::write(&path, "").unwrap();
    // Something that would come later has come: nothing of the file came before.
    assert_eq!(daemon.fresh_metrics().find("monitor_activity_watched", &[("by", "directory")]), Some(0.0));
    assert_eq!(told(&daemon).len(), 1);
}
