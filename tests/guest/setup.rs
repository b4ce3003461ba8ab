//! Makes a machine that has just been started fit for tests.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    mount::{MountFlags, mount},
    system::finit_module,
};

/// File systems, and where they belong.
const FILE_SYSTEMS: [(&str, &str); 10] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/dev/shm"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/var/tmp"),
    ("tmpfs", "/run"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("securityfs", "/sys/kernel/security"),
];

/// Mounts them.
pub(super) fn file_systems() {
    for (kind, place) in FILE_SYSTEMS {
        drop(fs::create_dir_all(place));
        if let Err(error) = mount(kind, place, kind, MountFlags::empty(), None) {
            println!("@@vm error cannot mount {kind} at {place}: {error}");
        }
    }
}

/// Loads the modules in the order in which they were packed.
pub(super) fn modules() {
    for name in fs::read_to_string("/modules/order").unwrap_or_default().lines() {
        let result = File::open(format!("/modules/{name}.ko")).map_err(|error| error.to_string());
        let result = result.and_then(|file| finit_module(file, c"", 0).map_err(|error| error.to_string()));
        if let Err(error) = result {
            println!("@@vm error cannot load module {name}: {error}");
        }
    }
}

/// Mounts the disk with the tests.
pub(super) fn disk() {
    // The driver finds it on its own time.
    for _ in 0..1_000 {
        if Path::new("/dev/vda").exists() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    if let Err(error) = mount("/dev/vda", "/disk", "ext4", MountFlags::empty(), None) {
        println!("@@vm error cannot mount the disk: {error}");
    }
}

/// Switches the loopback device on.
pub(super) fn network() {
    // SAFETY: no memory is involved.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    assert!(socket >= 0, "make a socket: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was just made and is nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all bytes zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        // A character has a sign on some processors.
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the structure outlives the call, which reads it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    assert_eq!(result, 0, "switch the loopback device on: {}", std::io::Error::last_os_error());
}
