//! Space in file systems. To ask one that does not answer (a network file system whose server is away) blocks whoever
//! asks, for hours; so a thread of its own does. sysinfo does not ask the usual ones of these (NFS, CIFS, autofs), but
//! it cannot know what is behind FUSE.

use std::{
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Instant,
};

use sysinfo::{DiskRefreshKind, Disks};

use crate::processes::text;

/// Space in one file system, bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filesystem {
    pub(super) device: String,
    pub(super) mountpoint: String,
    pub(super) fstype: String,
    pub(super) size: u64,
    pub(super) free: u64,
    pub(super) available: u64,
    pub(super) read_only: bool,
}

/// What the thread has found, and when.
pub(super) type Found = Arc<Mutex<Option<(Instant, Vec<Filesystem>)>>>;

/// Asks for the space in file systems, without waiting for the answer.
#[derive(Debug)]
pub(super) struct Filesystems {
    ask: SyncSender<()>,
    found: Found,
}

impl Filesystems {
    /// Starts the thread; it ends when this is dropped, unless a file system keeps it.
    ///
    /// # Errors
    ///
    /// No thread could be started, or sysinfo does not know this system.
    pub(super) fn start() -> std::io::Result<Self> {
        // One question is enough: who is busy answering need not be asked again.
        let (ask, asked) = sync_channel(1);
        let found = Found::default();
        let answer = Arc::clone(&found);
        let disks = Disks::new().map_err(std::io::Error::other)?;
        std::thread::Builder::new().name("filesystems".to_owned()).spawn(move || run(disks, &asked, &answer))?;
        Ok(Self { ask, found })
    }

    /// Wants new values. False: the thread is gone.
    pub(super) fn refresh(&self) -> bool {
        !matches!(self.ask.try_send(()), Err(TrySendError::Disconnected(())))
    }

    /// The latest values, and when they were.
    pub(super) fn latest(&self) -> Option<(Instant, Vec<Filesystem>)> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn run(mut disks: Disks, asked: &Receiver<()>, found: &Found) {
    while asked.recv().is_ok() {
        let list = list(&mut disks);
        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), list));
    }
}

fn list(disks: &mut Disks) -> Vec<Filesystem> {
    disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
    let mut found: Vec<Filesystem> = disks
        .iter()
        .filter(|disk| disk.total_space() > 0 && wanted(disk.mount_point(), disk.file_system().as_bytes()))
        .map(|disk| {
            // sysinfo has no word for what only root may use.
            let free = rustix::fs::statvfs(disk.mount_point()).map(|now| now.f_bfree.saturating_mul(now.f_frsize));
            Filesystem {
                device: text::lossy(disk.name().as_bytes()),
                mountpoint: text::lossy(disk.mount_point().as_os_str().as_bytes()),
                fstype: text::lossy(disk.file_system().as_bytes()),
                size: disk.total_space(),
                free: free.unwrap_or_else(|_| disk.available_space()),
                available: disk.available_space(),
                read_only: disk.is_read_only(),
            }
        })
        .collect();
    found.sort_by(|a, b| a.mountpoint.cmp(&b.mountpoint));
    found
}

/// Beyond what sysinfo leaves out (`/proc`, `/sys`, `/run`, pseudo and network file systems): what containers see, which
/// is on a file system that is listed anyway, and what only looks like a file system.
fn wanted(mountpoint: &Path, fstype: &[u8]) -> bool {
    let pseudo: [&[u8]; 8] =
        [b"binfmt_misc", b"bpf", b"debugfs", b"fusectl", b"nsfs", b"securityfs", b"tracefs", b"configfs"];
    let containers = ["/dev", "/var/lib/docker", "/var/lib/containers/storage", "/var/lib/kubelet/pods"];
    let root = mountpoint == Path::new("/");
    !pseudo.contains(&fstype)
        && (fstype != b"overlay" || root)
        && !containers.iter().any(|above| mountpoint.starts_with(above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_containers_are_left_out() {
        for (mountpoint, fstype, listed) in [
            ("/", "overlay", true),
            ("/home", "ext4", true),
            ("/var/lib/dockers", "xfs", true),
            ("/var/lib/docker/overlay2/a/merged", "overlay", false),
            ("/var/lib/kubelet/pods/a", "ext4", false),
            ("/merged", "overlay", false),
            ("/x", "tracefs", false),
        ] {
            assert_eq!(wanted(Path::new(mountpoint), fstype.as_bytes()), listed, "{mountpoint} {fstype}");
        }
    }

    #[test]
    fn asking_does_not_wait() {
        // A thread that never answers.
        let (ask, asked) = sync_channel(1);
        let filesystems = Filesystems { ask, found: Found::default() };
        let before = Instant::now();
        for _ in 0..1_000 {
            assert!(filesystems.refresh());
        }
        assert!(before.elapsed().as_secs() < 5 && filesystems.latest().is_none());
        drop(asked);
        assert!(!filesystems.refresh());
    }
}
