//! Files opened, as the kernel tells it: with its own file and path, by whatever name or way it is reached.

use std::{
    collections::BTreeSet,
    ffi::{CString, c_long},
    fs::{self, File},
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, symlink},
    },
    path::Path,
    process::{Command, Stdio},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use monitor_tests::{DEADLINE, Daemon, again_if_missed, slowness, until};
use serde_json::Value;

use super::activity::{c_string, descriptor, expect, expect_one, logging, of, place, same_file, tid, told};

#[test]
fn every_way_to_open_a_file_tells_the_kernels_file() {
    again_if_missed(|| {
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
        daemon.awaited(|| if told(&daemon).len() > before { Ok(()) } else { Err("not told") });
        assert_eq!(told(&daemon).len(), before + 1);
    });
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
    again_if_missed(|| {
        let (_keep, place) = place();
        let secret = place.join("secret-by-any-name");
        fs::write(&secret, "x").unwrap();
        fs::create_dir(place.join("other")).unwrap();
        let daemon = logging(&format!("[activity]\nwatch = [\"{}\"]\nbulk_rate = 0\n", secret.display()));

        let open = |name: &Path, path: &Path| {
            let before = told(&daemon).len();
            File::open(name).unwrap();
            let told = daemon.awaited(|| match told(&daemon).get(before) {
                Some(activity) => Ok(activity.clone()),
                None => Err(format!("{} was not told", name.display())),
            });
            assert_eq!(
                (&told["path"], &told["kind"]),
                (&path.to_str().unwrap().into(), &"file_open".into()),
                "{told:#}"
            );
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
        let link = daemon.awaited(|| told(&daemon).get(before).cloned().ok_or("the link was not told"));
        assert_eq!(
            (&link["kind"], &link["name"]["path"]),
            (&"link".into(), &secret.to_str().unwrap().into()),
            "{link:#}"
        );
        assert_eq!(link["other"]["path"], place.join("other/twin").to_str().unwrap(), "{link:#}");
        open(&place.join("other/twin"), &place.join("other/twin"));

        // Another file of this name, and one that nobody watches.
        let before = told(&daemon).len();
        fs::write(place.join("other/public"), "z").unwrap();
        let namesake = place.join("other/secret-by-any-name");
        fs::write(&namesake, "y").unwrap();
        let made = daemon.awaited(|| told(&daemon).get(before).cloned().ok_or("the namesake was not told"));
        assert_eq!(made["path"], namesake.to_str().unwrap(), "{made:#}");
        assert!(!daemon.log().contains("other/public"));
    });
}

#[test]
fn an_attempt_is_told_with_what_it_was_refused_for() {
    again_if_missed(|| {
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
    });
}

#[test]
fn an_argument_that_is_rewritten_meanwhile_does_not_change_what_was_opened() {
    again_if_missed(|| {
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
                // On a busy machine the other thread may not run for a while.
                let raced = |opened: &[u64]| opened.iter().any(|inode| *inode != opened[0]);
                while opened.len() < opens || opened.len() < 50 * opens && !raced(&opened) {
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
        let told = expect(&daemon, opened.len(), |activity| {
            activity["tid"] == opener && activity["result"].as_i64() >= Some(0)
        });
        for (activity, inode) in told.iter().zip(opened) {
            let path = if inode == fs::metadata(&one).unwrap().ino() { &one } else { &two };
            assert_eq!(
                (&activity["path"], &activity["file"]["inode"]),
                (&path.to_str().unwrap().into(), &inode.into())
            );
        }
    });
}

#[test]
fn activities_are_told_also_where_system_calls_are_not_counted_or_not_timed() {
    again_if_missed(|| {
        for config in [
            "[signals]\nsyscalls = false\n",
            "[syscalls]\ntiming = \"counts\"\n",
            "[syscalls]\ntiming = \"adaptive\"\n",
        ] {
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
    });
}

#[test]
fn who_wrote_a_program_is_known_when_it_runs() {
    again_if_missed(|| {
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
    });
}

#[test]
fn what_is_selected_changes_with_the_configuration() {
    again_if_missed(|| {
        let (_keep, place) = place();
        let config = |watch: &str| {
            format!(
                "[log]\nlevel = \"info,monitor::activity=debug\"\n[rules]\ndefaults = false\n[activity]\nwatch = [{watch}]\nbulk_rate = 0\n"
            )
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
    });
}
