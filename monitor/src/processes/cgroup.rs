//! Which systemd unit or container a process belongs to, from its cgroup.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{ProcessId, procfs};

/// A cgroup and what its path says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Path from the root of its hierarchy, as `/proc/PID/cgroup` has it; invalid UTF-8 as `\xNN`.
    pub path: String,
    /// The systemd service it runs in, such as `nginx.service`, unescaped. A slice, a session and the service manager of
    /// a user are none, nor is the service of the container runtime that a container runs under.
    pub unit: Option<String>,
    /// The container it runs in.
    pub container: Option<Container>,
}

/// A container, as far as a cgroup path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `docker`, `containerd`, `crio`, `podman`, `kubernetes` (runtime unknown), `lxc` or `nspawn`.
    pub runtime: &'static str,
    /// The runtime's id of it, 64 hexadecimal digits; for `lxc` and `nspawn` its name.
    pub id: String,
}

impl Container {
    /// What people call it: the first 12 digits of an id, or the name.
    pub fn short(&self) -> &str {
        if is_id(self.id.as_bytes()) { &self.id[..12] } else { &self.id }
    }
}

impl Cgroup {
    /// From the contents of `/proc/PID/cgroup`. Of several hierarchies that one counts which tells most; among equals
    /// the unified one, then systemd's own, then the first that is not at its root.
    pub(super) fn parse(file: &[u8]) -> Self {
        let mut best: Option<((u8, u8), Self)> = None;
        for line in file.split(|&byte| byte == b'\n') {
            let mut fields = line.splitn(3, |&byte| byte == b':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let cgroup = Self::from_path(path);
            let told = 2 * u8::from(cgroup.container.is_some()) + u8::from(cgroup.unit.is_some());
            let preference = match controllers {
                _ if cgroup.path == "/" => 0,
                b"" => 3,
                b"name=systemd" => 2,
                _ => 1,
            };
            if best.as_ref().is_none_or(|(score, _)| (told, preference) > *score) {
                best = Some(((told, preference), cgroup));
            }
        }
        best.map(|(_, cgroup)| cgroup).unwrap_or_default()
    }

    fn from_path(path: &[u8]) -> Self {
        // The cgroup has been removed while a process (a zombie) is still in it.
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        let components: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        let container = find_container(&components);
        // A service that surrounds the container is the one of the runtime.
        let below = container.as_ref().map_or(0, |(_, depth)| depth + 1);
        Self {
            path: super::text::lossy(path),
            unit: find_unit(components.get(below..).unwrap_or(&[])),
            container: container.map(|(container, _)| container),
        }
    }
}

/// The innermost service.
fn find_unit(components: &[&[u8]]) -> Option<String> {
    let (at, name) = components.iter().enumerate().rev().find(|(_, name)| name.ends_with(b".service"))?;
    // A user's service manager: what it started (an application, a terminal) is not a part of it. Its own processes
    // are in init.scope.
    let manager = name.starts_with(b"user@");
    if manager && components.get(at + 1).is_some_and(|child| *child != b"init.scope") {
        return None;
    }
    Some(super::text::lossy(&unescape(name)))
}

/// systemd escapes bytes in unit names as `\xNN`.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = rest
            .strip_prefix(b"\\x")
            .and_then(|digits| digits.get(..2))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &rest[4..] } else { after };
    }
    bytes
}

/// The innermost container and the index of the component that names it.
fn find_container(components: &[&[u8]]) -> Option<(Container, usize)> {
    (0..components.len()).rev().find_map(|at| container_at(components, at).map(|container| (container, at)))
}

fn container_at(components: &[&[u8]], at: usize) -> Option<Container> {
    let name = components[at];
    let parent = at.checked_sub(1).map(|above| components[above]);
    let named = |runtime, name: &[u8]| Some(Container { runtime, id: super::text::lossy(&unescape(name)) });
    let scope = name.strip_suffix(b".scope").unwrap_or(name);
    for (prefix, runtime) in [
        (b"docker-".as_slice(), "docker"),
        (b"cri-containerd-", "containerd"),
        (b"nerdctl-", "containerd"),
        (b"crio-", "crio"),
        (b"libpod-", "podman"),
    ] {
        if let Some(id) = scope.strip_prefix(prefix).filter(|id| is_id(id)) {
            return named(runtime, id);
        }
    }
    // containerd with the systemd driver but a path of the other one: `…slice:cri-containerd:ID`.
    if let Some(id) = name.rsplit(|&byte| byte == b':').next().filter(|id| id.len() < name.len() && is_id(id)) {
        return named("containerd", id);
    }
    let machine = name.strip_suffix(b".scope").and_then(|scope| scope.strip_prefix(b"machine-"));
    if let Some(machine) = machine.filter(|machine| !machine.is_empty()) {
        return named("nspawn", machine);
    }
    for prefix in [b"lxc.payload.".as_slice(), b"lxc.monitor."] {
        if let Some(container) = name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
            return named("lxc", container);
        }
    }
    match parent? {
        b"docker" if is_id(name) => named("docker", name),
        b"libpod_parent" | b"libpod" if is_id(name) => named("podman", name),
        b"lxc" | b"lxc.payload" => named("lxc", name),
        _ if is_id(name) && components[..at].iter().any(|part| part.starts_with(b"kubepods")) => {
            named("kubernetes", name)
        }
        _ => None,
    }
}

fn is_id(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit)
}

/// Most remembered cgroups; a host with more just reads `/proc` more often.
const CACHE: usize = 1024;
/// How long a remembered cgroup is believed: its id may be given to another one after it is removed.
const LIFETIME_NS: u64 = Duration::from_secs(10).as_nanos() as u64;

/// The same where the process is in no cgroup of version 2 but its root, so that only the address of its set of cgroups
/// tells: the kernel gives it to another set as soon as nobody is in these any more.
const LIFETIME_OF_ADDRESS_NS: u64 = Duration::from_millis(100).as_nanos() as u64;
/// The id of the root of version 2.
const ROOT: u64 = 1;

/// How long what was remembered by these ids is believed.
fn lifetime_ns(ids: (u64, u64)) -> u64 {
    if ids.0 <= ROOT { LIFETIME_OF_ADDRESS_NS } else { LIFETIME_NS }
}

/// The ids of a cgroup, and what `/proc` said of it.
type Answer = ((u64, u64), Option<Vec<u8>>);

/// Remembers cgroups by the ids in exec records, so that a storm of execs does not read `/proc` for each.
#[derive(Debug, Default)]
pub(super) struct CgroupCache {
    by_id: HashMap<(u64, u64), (u64, Arc<Cgroup>)>,
    /// One copy of each path, however many processes are in it.
    by_file: HashMap<Box<[u8]>, Arc<Cgroup>>,
    /// `/proc` is not asked.
    offline: bool,
    /// What `/proc` said is noted here: the ids, and the file.
    pub(super) journal: Option<Vec<Answer>>,
}

impl CgroupCache {
    pub(super) fn new(offline: bool) -> Self {
        Self { offline, ..Self::default() }
    }

    /// The cgroup of `process`, which has just told its ids. None when it is gone already.
    pub(super) fn by_id(&mut self, process: ProcessId, ids: (u64, u64), now_ns: u64) -> Option<Arc<Cgroup>> {
        if let Some((since, cgroup)) = self.by_id.get(&ids)
            && now_ns.saturating_sub(*since) < lifetime_ns(ids)
        {
            return Some(Arc::clone(cgroup));
        }
        let file = self.file(process);
        if let Some(journal) = &mut self.journal {
            journal.push((ids, file.clone()));
        }
        let cgroup = self.intern(&file?);
        if self.by_id.len() >= CACHE {
            self.by_id.retain(|ids, (since, _)| now_ns.saturating_sub(*since) < lifetime_ns(*ids));
        }
        // (0, 0): the kernel could not tell.
        if self.by_id.len() < CACHE && ids != (0, 0) {
            self.by_id.insert(ids, (now_ns, Arc::clone(&cgroup)));
        }
        Some(cgroup)
    }

    /// The cgroup of a process from `/proc`; None when it is gone, or its pid is another process's now.
    pub(super) fn read(&mut self, process: ProcessId) -> Option<Arc<Cgroup>> {
        self.file(process).map(|file| self.intern(&file))
    }

    fn file(&self, process: ProcessId) -> Option<Vec<u8>> {
        if self.offline {
            return None;
        }
        let file = procfs::read(process.pid, "cgroup", 16 << 10).ok()?;
        let still = procfs::Stat::read(process.pid).ok()?.start_ticks == process.start_ticks;
        still.then_some(file)
    }

    /// What `/proc` once said of the cgroup with these ids; it holds until something else is said.
    pub(super) fn recall(&mut self, ids: (u64, u64), file: Option<&[u8]>) {
        match file {
            Some(file) if ids != (0, 0) && (self.by_id.len() < CACHE || self.by_id.contains_key(&ids)) => {
                let cgroup = self.intern(file);
                // No time is later: it is always believed.
                self.by_id.insert(ids, (u64::MAX, cgroup));
            }
            _ => drop(self.by_id.remove(&ids)),
        }
    }

    /// The shared copy of what this `/proc/PID/cgroup` says.
    pub(super) fn intern(&mut self, file: &[u8]) -> Arc<Cgroup> {
        if let Some(cgroup) = self.by_file.get(file) {
            return Arc::clone(cgroup);
        }
        if self.by_file.len() >= CACHE {
            self.by_file.retain(|_, cgroup| Arc::strong_count(cgroup) > 1);
        }
        let cgroup = Arc::new(Cgroup::parse(file));
        if self.by_file.len() < CACHE {
            self.by_file.insert(file.into(), Arc::clone(&cgroup));
        }
        cgroup
    }
}

#[cfg(test)]
mod tests;
