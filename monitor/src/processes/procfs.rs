//! What `/proc/PID` tells about one process. Every reader copes with a process that vanishes between two files.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    sync::LazyLock,
};

use serde::{Deserialize, Serialize};

use super::{ProcessId, usage::Usage};
use crate::signals::exec::ExecFile;

/// A kernel thread (`PF_KTHREAD` of `include/linux/sched.h`).
const PF_KTHREAD: u64 = 0x0020_0000;
/// Inode number of the user namespace that the kernel starts with (`PROC_USER_INIT_INO` of `include/linux/proc_ns.h`).
const FIRST_USER_NAMESPACE: u64 = 0xeffffffd;
/// Most threads of a process that are added up; a file is read for each.
const THREADS: usize = 64;
/// Most descriptors that are counted one by one, on kernels before 6.2.
const DESCRIPTORS: usize = 16_384;

static PAGE: LazyLock<u64> = LazyLock::new(|| rustix::param::page_size() as u64);

/// At most `limit` bytes of `/proc/PID/FILE`.
pub(super) fn read(pid: u32, file: &str, limit: usize) -> io::Result<Vec<u8>> {
    read_path(&format!("/proc/{pid}/{file}"), limit)
}

fn read_path(path: &str, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(limit.min(1 << 10));
    File::open(path)?.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Every process id there is now.
pub(super) fn pids() -> io::Result<Vec<u32>> {
    let number = |name: &OsStr| name.to_str()?.parse().ok();
    Ok(std::fs::read_dir("/proc")?.flatten().filter_map(|entry| number(&entry.file_name())).collect())
}

/// `/proc/PID/stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stat {
    pub(super) comm: Vec<u8>,
    /// One letter: `R`, `S`, `D`, `Z`, ….
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) process_group: u32,
    pub(super) session: u32,
    pub(super) tty: Vec<u8>,
    pub(super) kernel_thread: bool,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
    pub(super) threads: u32,
    pub(super) start_ticks: u64,
    pub(super) virtual_bytes: u64,
    pub(super) resident_bytes: u64,
    /// Wait status of a zombie; 0 for who may not see it.
    pub(super) exit_status: u32,
}

impl Stat {
    /// Reads and parses the file.
    pub(super) fn read(pid: u32) -> io::Result<Self> {
        let bytes = read(pid, "stat", 4 << 10)?;
        Self::parse(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat is not understood"))
    }

    /// The name is in parentheses and may contain anything, also parentheses and line feeds: it ends at the last one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let open = bytes.iter().position(|&byte| byte == b'(')?;
        let close = bytes.iter().rposition(|&byte| byte == b')')?;
        let comm = bytes.get(open + 1..close)?.to_vec();
        let rest = std::str::from_utf8(&bytes[close + 1..]).ok()?;
        // proc(5) counts from 1, and the state is field 3.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
        let unsigned = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            comm,
            state: *fields.first()?.as_bytes().first()?,
            parent: number(4)?.try_into().ok()?,
            // Of a process that is about to be gone they are -1 or 0.
            process_group: number(5)?.try_into().unwrap_or(0),
            session: number(6)?.try_into().unwrap_or(0),
            tty: tty(number(7)?),
            kernel_thread: unsigned(9)? & PF_KTHREAD != 0,
            minor_faults: unsigned(10)?,
            major_faults: unsigned(12)?,
            user_ticks: unsigned(14)?,
            system_ticks: unsigned(15)?,
            threads: unsigned(20)?.try_into().ok()?,
            start_ticks: unsigned(22)?,
            virtual_bytes: unsigned(23)?,
            resident_bytes: unsigned(24)?.saturating_mul(*PAGE),
            exit_status: unsigned(52).unwrap_or(0).try_into().unwrap_or(0),
        })
    }

    /// Its last thread is gone; only its parent has not asked yet. While other threads run on, a leader that ended is
    /// a zombie too.
    pub(super) fn ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

/// Name of the terminal with this device number (`new_encode_dev` of `include/linux/kdev_t.h`); empty: none.
fn tty(device: i64) -> Vec<u8> {
    let device = device as u64 & 0xffff_ffff;
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match (major, minor) {
        (0, 0) => Vec::new(),
        (4, 0..=63) => format!("tty{minor}").into_bytes(),
        (4, _) => format!("ttyS{}", minor - 64).into_bytes(),
        (5, 1) => b"console".to_vec(),
        (136..=143, _) => format!("pts/{}", minor + (major - 136) * 256).into_bytes(),
        _ => format!("{major}:{minor}").into_bytes(),
    }
}

/// What is wanted of `/proc/PID/status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) uid: u32,
    pub(super) euid: u32,
    pub(super) gid: u32,
    pub(super) egid: u32,
    pub(super) suid: u32,
    /// Effective capabilities, one bit each.
    pub(super) capabilities: u64,
    /// Of one thread only, the one the file is for.
    pub(super) voluntary: u64,
    pub(super) involuntary: u64,
}

impl Status {
    pub(super) fn read(pid: u32) -> io::Result<Self> {
        read(pid, "status", 8 << 10).map(|bytes| Self::parse(&bytes))
    }

    /// The name in the first line cannot fake another line: the kernel escapes line feeds there.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut status = Self::default();
        for line in bytes.split(|&byte| byte == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Some((key, values)) = line.split_once(':') else { continue };
            if key == "CapEff" {
                status.capabilities = u64::from_str_radix(values.trim(), 16).unwrap_or(0);
                continue;
            }
            let mut values = values.split_ascii_whitespace().map(|value| value.parse::<u64>().unwrap_or(0));
            let mut id = || values.next().unwrap_or(0).try_into().unwrap_or(u32::MAX);
            match key {
                "Uid" => (status.uid, status.euid, status.suid) = (id(), id(), id()),
                "Gid" => (status.gid, status.egid) = (id(), id()),
                "voluntary_ctxt_switches" => status.voluntary = values.next().unwrap_or(0),
                "nonvoluntary_ctxt_switches" => status.involuntary = values.next().unwrap_or(0),
                _ => {}
            }
        }
        status
    }

    /// Context switches of all threads that live now, at most [`THREADS`] of them: with more, or after threads have
    /// ended, it is less than the truth, which the exit record completes.
    pub(super) fn switches(pid: u32, main: &Self, threads: u32) -> (u64, u64) {
        if threads <= 1 {
            return (main.voluntary, main.involuntary);
        }
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            return (main.voluntary, main.involuntary);
        };
        let status = |name: &OsStr| {
            let path = format!("/proc/{pid}/task/{}/status", name.to_str()?);
            read_path(&path, 8 << 10).ok().map(|bytes| Self::parse(&bytes))
        };
        tasks
            .flatten()
            .take(THREADS)
            .filter_map(|entry| status(&entry.file_name()))
            .fold((0, 0), |sum, thread| (sum.0 + thread.voluntary, sum.1 + thread.involuntary))
    }
}

/// `/proc/PID/io`: rchar, wchar, read_bytes, write_bytes.
pub(super) fn io_bytes(pid: u32) -> io::Result<[u64; 4]> {
    read(pid, "io", 1 << 10).map(|bytes| parse_io(&bytes))
}

fn parse_io(bytes: &[u8]) -> [u64; 4] {
    let text = String::from_utf8_lossy(bytes);
    let value = |key: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")?.parse().ok());
        found.unwrap_or(0)
    };
    [value("rchar"), value("wchar"), value("read_bytes"), value("write_bytes")]
}

/// Open file descriptors. Since Linux 6.2 the directory's size says how many; before, they are counted.
pub(super) fn open_fds(pid: u32) -> io::Result<u32> {
    let path = format!("/proc/{pid}/fd");
    let count = match std::fs::metadata(&path)?.size() {
        0 => std::fs::read_dir(&path)?.take(DESCRIPTORS).count() as u64,
        size => size,
    };
    Ok(count.try_into().unwrap_or(u32::MAX))
}

/// The program's file as the exec record names it: without ` (deleted)`, and `memfd:NAME` for one in memory.
pub(super) fn exe(pid: u32) -> io::Result<Vec<u8>> {
    let link = format!("/proc/{pid}/exe");
    let target = std::fs::read_link(&link)?.into_os_string();
    let path = target.as_bytes();
    let Some(name) = path.strip_suffix(b" (deleted)") else { return Ok(path.to_vec()) };
    // A file may be called that; the link itself knows whether the file still has a name.
    if std::fs::metadata(&link).is_ok_and(|file| file.nlink() > 0) {
        return Ok(path.to_vec());
    }
    Ok(name.strip_prefix(b"/").filter(|rest| rest.starts_with(b"memfd:")).unwrap_or(name).to_vec())
}

/// The program's file as the exec record describes it, but for its times: the link leads to the file itself, whatever
/// has its name by now. Which layer of an overlay it lies in, and whether it was mounted there, `/proc` does not tell.
pub(super) fn exe_file(pid: u32) -> io::Result<ExecFile> {
    let link = format!("/proc/{pid}/exe");
    let file = std::fs::metadata(&link)?;
    let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    Ok(ExecFile {
        mode: file.mode(),
        links: file.nlink().try_into().unwrap_or(u32::MAX),
        owner: file.uid(),
        inode: file.ino(),
        device: major << 20 | minor,
        magic: rustix::fs::statfs(&link)?.f_type as u64,
        foreign_mounts: std::fs::metadata(format!("/proc/{pid}/ns/user"))?.ino() != FIRST_USER_NAMESPACE,
        ..ExecFile::default()
    })
}

/// The working directory.
pub(super) fn cwd(pid: u32) -> io::Result<Vec<u8>> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).map(|path| path.into_os_string().as_bytes().to_vec())
}

/// The user who logged in; None: nobody did, or the kernel does not keep it.
pub(super) fn loginuid(pid: u32) -> Option<u32> {
    let bytes = read(pid, "loginuid", 32).ok()?;
    let uid = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
    (uid != u32::MAX).then_some(uid)
}

/// Everything that the table wants to know about a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) id: ProcessId,
    pub(super) stat: Stat,
    pub(super) status: Status,
    pub(super) exe: Vec<u8>,
    pub(super) file: ExecFile,
    pub(super) args: Vec<u8>,
    /// More arguments than were read.
    pub(super) args_cut: bool,
    pub(super) cwd: Vec<u8>,
    pub(super) loginuid: Option<u32>,
    pub(super) cgroup: Vec<u8>,
}

impl Snapshot {
    /// None when there is no such process, or it vanished meanwhile. A file that alone cannot be read leaves its part
    /// empty: a kernel thread has no program, and not every process may be asked everything.
    pub(super) fn read(pid: u32, args: usize) -> Option<Self> {
        let stat = Stat::read(pid).ok()?;
        let status = Status::read(pid).ok()?;
        let mut arguments = read(pid, "cmdline", args + 1).unwrap_or_default();
        let args_cut = arguments.len() > args;
        arguments.truncate(args);
        let snapshot = Self {
            id: ProcessId { pid, start_ticks: stat.start_ticks },
            exe: exe(pid).unwrap_or_default(),
            file: exe_file(pid).unwrap_or_default(),
            args: arguments,
            args_cut,
            cwd: cwd(pid).unwrap_or_default(),
            loginuid: loginuid(pid),
            cgroup: read(pid, "cgroup", 16 << 10).unwrap_or_default(),
            status,
            stat,
        };
        // The pid may have become another process's while the files were read.
        (Stat::read(pid).ok()?.start_ticks == snapshot.id.start_ticks).then_some(snapshot)
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Usage {
        let (voluntary, involuntary) = Status::switches(self.id.pid, &self.status, self.stat.threads);
        let mut usage = Usage::of_stat(&self.stat);
        (usage.voluntary_switches, usage.involuntary_switches) = (voluntary, involuntary);
        if let Ok(bytes) = io_bytes(self.id.pid) {
            usage.set_io(bytes);
        }
        usage
    }
}

#[cfg(test)]
mod tests;
