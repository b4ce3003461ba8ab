//! A disk of our own: a file that the kernel serves as a block device.

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{DEADLINE, until};

// include/uapi/linux/loop.h
const LOOP_SET_DIRECT_IO: u64 = 0x4c08;
const LOOP_CTL_GET_FREE: u64 = 0x4c82;
const LOOP_SET_FD: u64 = 0x4c00;
const LOOP_SET_STATUS64: u64 = 0x4c04;
/// Detach when the last one closes the device.
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// A loop device. The kernel detaches it when this is dropped, and when the test process ends in any other way.
#[derive(Debug)]
pub struct Disk {
    device: File,
    file: PathBuf,
    /// Its name, such as `loop0`.
    pub name: String,
    _directory: tempfile::TempDir,
}

impl Disk {
    /// A disk of this many blocks of 4 KiB.
    ///
    /// # Panics
    /// When the kernel has no loop devices.
    pub fn new(blocks: u64) -> Self {
        let directory = crate::directory();
        let file = directory.path().join("disk");
        // All of it written, so that using the disk does not change the file that it is on.
        fs::write(&file, vec![0; usize::try_from(blocks).expect("a small disk") * 4096]).expect("make the file");
        let backing = open(&file);
        let control = open(Path::new("/dev/loop-control"));
        let (device, name) = until(DEADLINE, || {
            // SAFETY: this request takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            assert!(number >= 0, "no loop device is free: {}", std::io::Error::last_os_error());
            let name = format!("loop{number}");
            let device = open(&Path::new("/dev").join(&name));
            // Somebody else may have been faster: then it is busy, and another one is free.
            // SAFETY: this request takes a descriptor.
            if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD, backing.as_raw_fd()) } != 0 {
                return Err(format!("{name}: {}", std::io::Error::last_os_error()));
            }
            // struct loop_info64: the flags are 52 bytes from its start, of 232.
            let mut info = [0_u32; 58];
            info[13] = LO_FLAGS_AUTOCLEAR;
            // SAFETY: the structure outlives the call, which reads it.
            let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_STATUS64, info.as_ptr()) };
            assert_eq!(result, 0, "set {name} up: {}", std::io::Error::last_os_error());
            Ok((device, name))
        });
        // Where udev runs, it reads every new disk; let it be done before anything is counted.
        if Path::new("/run/udev/control").exists() {
            let _ = Command::new("udevadm").args(["settle", "--timeout=10"]).status();
        }
        Self { device, file, name, _directory: directory }
    }

    /// Path of the device.
    pub fn path(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// Cuts the file under the disk, which keeps its size: what is behind the end can no longer be read.
    ///
    /// # Panics
    /// When it cannot be cut.
    pub fn cut(&self, blocks: u64) {
        fs::OpenOptions::new()
            .write(true)
            .open(&self.file)
            .and_then(|file| file.set_len(blocks * 4096))
            .expect("cut it");
        // Linux 5.10 tells of what it could not read only so, and else makes it up of zeros. Later kernels always tell,
        // and not every file system can do it.
        // SAFETY: this request takes a number.
        unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_SET_DIRECT_IO, 1_u64) };
    }
}

fn open(path: &Path) -> File {
    let options = File::options().read(true).write(true).open(path);
    options.unwrap_or_else(|error| panic!("open {}: {error}", path.display()))
}
