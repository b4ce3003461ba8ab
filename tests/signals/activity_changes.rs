//! Names and attributes of files changed, by name and by descriptor.

use std::{
    fs::{self, File, OpenOptions},
    os::{
        fd::AsRawFd as _,
        unix::fs::{PermissionsExt as _, symlink},
    },
    path::Path,
    ptr,
};

use monitor_tests::again_if_missed;
use serde_json::Value;

use super::activity::{c_string, expect_one, logging, of, place, same_file};

const CHANGES: &str = r#""unlink", "rmdir", "rename", "link", "symlink", "mkdir", "mknod", "chmod", "chown", "truncate",
    "setxattr", "utimens""#;

#[test]
fn every_change_of_a_file_is_told() {
    again_if_missed(|| {
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
        for (kind, call) in
            [("chmod", "fchmod"), ("chown", "fchown"), ("truncate", "ftruncate"), ("utimens", "utimensat")]
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
    });
}
