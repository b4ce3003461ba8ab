//! Control groups as machines have them: version 2, version 1, and both.

use std::{fs, path::Path};

use monitor_tests::{DEADLINE, Daemon, Workload, until};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{check, doctor};

/// Where all of them are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// A container's id.
const ID: &str = "4c01db0b339ce4dbd9a1a1b7a3e6d19d8f4a1d5c0b2b3c4d5e6f708192a3b4c5";

/// Mounts, unmounted in the end, and what is there otherwise is mounted again.
struct Mounts(Vec<String>);

impl Mounts {
    /// Nothing mounted.
    fn none() -> Self {
        unmount(ROOT, UnmountFlags::empty()).unwrap();
        Self(Vec::new())
    }

    fn add(&mut self, kind: &str, place: &str, options: &std::ffi::CStr) {
        fs::create_dir_all(place).unwrap();
        let options = Some(options).filter(|options| !options.is_empty());
        mount(kind, place, kind, MountFlags::empty(), options)
            .unwrap_or_else(|error| panic!("mount {kind} at {place} with {options:?}: {error}"));
        self.0.push(place.to_owned());
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for place in self.0.iter().rev() {
            let _ = unmount(place.as_str(), UnmountFlags::DETACH);
        }
        let _ = mount("cgroup2", ROOT, "cgroup2", MountFlags::empty(), None);
    }
}

/// A process is in the cgroup at `path` and executes something there: group, unit and container as the daemon tells them.
fn inside(daemon: &Daemon, path: &Path) -> (String, String, String) {
    fs::create_dir_all(path).unwrap();
    let mut workload = Workload::spawn(&["say", "here", "+", "wait", "+", "exec", "+", "say", "there", "+", "wait"]);
    assert_eq!(workload.line(), "here");
    fs::write(path.join("cgroup.procs"), workload.pid().to_string()).unwrap();
    workload.go();
    assert_eq!(workload.line(), "there");
    let process = until(DEADLINE, || {
        let process = daemon.seen(workload.pid());
        if process["execs"] == 2 { Ok(process) } else { Err(process.to_string()) }
    });
    workload.finish();
    until(DEADLINE, || fs::remove_dir(path));
    let text = |key: &str| process[key].as_str().unwrap_or_default().to_owned();
    (text("group"), text("unit"), process["container"]["id"].as_str().unwrap_or_default().to_owned())
}

/// Both kinds of place below the mount of a hierarchy.
fn services_and_containers_are_told(daemon: &Daemon, hierarchy: &str) {
    let below = |path: &str| Path::new(hierarchy).join(path);
    let (group, unit, container) = inside(daemon, &below("system.slice/guest.service"));
    assert_eq!((group.as_str(), unit.as_str(), container.as_str()), ("guest.service", "guest.service", ""));
    let (group, unit, container) = inside(daemon, &below(&format!("system.slice/docker-{ID}.scope")));
    assert_eq!((group.as_str(), unit.as_str(), container.as_str()), ("container:4c01db0b339c", "", ID));
}

#[test]
fn version_2() {
    assert_eq!(check(&mut doctor(), "control groups")["found"], "version 2");
    services_and_containers_are_told(&Daemon::start(""), ROOT);
}

#[test]
fn version_1() {
    let mut mounts = Mounts::none();
    let nothing = check(&mut doctor(), "control groups");
    assert_eq!((&nothing["verdict"], nothing["lost"].is_string()), (&"warning".into(), true), "{nothing}");

    mounts.add("tmpfs", ROOT, c"");
    mounts.add("cgroup", "/sys/fs/cgroup/pids", c"pids");
    mounts.add("cgroup", "/sys/fs/cgroup/systemd", c"none,name=systemd");
    assert_eq!(check(&mut doctor(), "control groups")["found"], "version 1");
    let daemon = Daemon::start("");
    services_and_containers_are_told(&daemon, "/sys/fs/cgroup/systemd");
    // Some tools use one controller only.
    services_and_containers_are_told(&daemon, "/sys/fs/cgroup/pids");
}

#[test]
fn version_1_with_a_tree_of_version_2() {
    let mut mounts = Mounts::none();
    mounts.add("tmpfs", ROOT, c"");
    mounts.add("cgroup2", "/sys/fs/cgroup/unified", c"");
    mounts.add("cgroup", "/sys/fs/cgroup/systemd", c"none,name=systemd");
    let found = check(&mut doctor(), "control groups")["found"].clone();
    assert_eq!(found, "hybrid: version 1 with a version 2 tree");
    let daemon = Daemon::start("");
    services_and_containers_are_told(&daemon, "/sys/fs/cgroup/systemd");
    services_and_containers_are_told(&daemon, "/sys/fs/cgroup/unified");
}
