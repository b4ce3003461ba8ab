use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn v2(path: &str) -> Cgroup {
    Cgroup::parse(format!("0::{}\n", path.replace("ID", ID)).as_bytes())
}

#[test]
fn containers_of_every_runtime() {
    for (path, runtime, id) in [
        ("/system.slice/docker-ID.scope", "docker", ID),
        ("/docker/ID", "docker", ID),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", "docker", ID),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-ID.scope",
            "containerd",
            ID,
        ),
        ("/kubepods/besteffort/pod8c5b7a/ID", "kubernetes", ID),
        ("/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:ID", "containerd", ID),
        ("/kubepods.slice/kubepods-pod1.slice/crio-ID.scope", "crio", ID),
        ("/machine.slice/libpod-ID.scope/container", "podman", ID),
        ("/lxc/web", "lxc", "web"),
        ("/lxc.payload.web/init.scope", "lxc", "web"),
        ("/machine.slice/machine-deb\\x2d12.scope/payload", "nspawn", "deb-12"),
    ] {
        let cgroup = v2(path);
        let container = cgroup.container.unwrap_or_else(|| panic!("no container in {path}"));
        assert_eq!((container.runtime, container.id.as_str()), (runtime, id), "{path}");
        assert_eq!(cgroup.unit, None, "{path}");
    }
}

#[test]
fn no_containers() {
    for path in [
        "/",
        "/user.slice/user-0.slice/session-4.scope",
        "/docker/buildkit",
        "/docker-0123.scope",
        "/system.slice/crio.service",
        "/machine.slice",
        "/machine-.scope",
        "/ID",
        "/batch/76668f1074c01703373698bf13bcece8",
    ] {
        assert_eq!(v2(path).container, None, "{path}");
    }
}

#[test]
fn units_are_services() {
    for (path, unit) in [
        ("/system.slice/nginx.service", Some("nginx.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
        ("/system.slice/dev\\x2ddisk.service", Some("dev-disk.service")),
        ("/system.slice/odd\\xzz.service", Some("odd\\xzz.service")),
        ("/system.slice/runtime.service/payload/worker.service/a", Some("worker.service")),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service", Some("sync.service")),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("user@1000.service")),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-12.scope", None),
        ("/user.slice/user-1000.slice/session-2.scope", None),
        ("/system.slice", None),
        ("/init.scope", None),
        ("/", None),
    ] {
        assert_eq!(v2(path).unit.as_deref(), unit, "{path}");
    }
}

#[test]
fn a_service_in_a_container_is_kept_beside_it() {
    let cgroup = v2("/system.slice/docker-ID.scope/system.slice/nginx.service");
    assert_eq!(cgroup.unit.as_deref(), Some("nginx.service"));
    assert_eq!(cgroup.container.as_ref().map(Container::short), Some("0123456789ab"));
}

#[test]
fn the_hierarchy_that_tells_most_counts() {
    let hybrid =
        "12:pids:/system.slice/ssh.service\n1:name=systemd:/system.slice/ssh.service\n0::/system.slice/ssh.service\n";
    assert_eq!(Cgroup::parse(hybrid.as_bytes()).unit.as_deref(), Some("ssh.service"));
    // Version 1 with systemd's hierarchy: the unified line is at its root.
    let v1 = "4:memory:/\n1:name=systemd:/system.slice/cron.service\n0::/\n";
    assert_eq!(Cgroup::parse(v1.as_bytes()).path, "/system.slice/cron.service");
    // Docker without systemd: only the controllers know.
    let docker = format!("4:memory:/docker/{ID}\n1:name=systemd:/\n0::/\n");
    assert_eq!(Cgroup::parse(docker.as_bytes()).container.map(|container| container.id), Some(ID.to_owned()));
    // Nobody knows anything: the path that says at least something.
    assert_eq!(Cgroup::parse(b"4:memory:/api/7\n1:name=systemd:/\n0::/\n").path, "/api/7");
    assert_eq!(Cgroup::parse(b"0::/\n").path, "/");
}

#[test]
fn strange_files_and_removed_cgroups() {
    assert_eq!(Cgroup::parse(b""), Cgroup::default());
    assert_eq!(Cgroup::parse(b"garbage\n::\n0:"), Cgroup { path: String::new(), ..Cgroup::default() });
    assert_eq!(v2("/system.slice/a.service (deleted)").unit.as_deref(), Some("a.service"));
    assert_eq!(Cgroup::parse(b"0::/system.slice/\xff\x01.service\n").unit.as_deref(), Some("\\xff\u{1}.service"));
    assert_eq!(Cgroup::parse(b"0::/with:colons/b.service").unit.as_deref(), Some("b.service"));
}

#[test]
fn the_cache_is_bounded_and_forgets() {
    let stat = procfs::Stat::read(std::process::id()).unwrap();
    let myself = ProcessId { pid: std::process::id(), start_ticks: stat.start_ticks };
    let mut cache = CgroupCache::default();
    let first = cache.by_id(myself, (2, 1), 0).unwrap();
    let nobody = ProcessId { pid: myself.pid, start_ticks: 0 };
    assert_eq!(cache.by_id(nobody, (2, 1), LIFETIME_NS - 1), Some(Arc::clone(&first)), "not remembered");
    assert_eq!(cache.by_id(nobody, (2, 1), LIFETIME_NS), None, "believed for too long");
    // Where only an address tells, that is soon another set's.
    assert_eq!(cache.by_id(myself, (ROOT, 1), 0), Some(Arc::clone(&first)));
    assert_eq!(cache.by_id(nobody, (ROOT, 1), LIFETIME_OF_ADDRESS_NS - 1), Some(Arc::clone(&first)));
    assert_eq!(cache.by_id(nobody, (ROOT, 1), LIFETIME_OF_ADDRESS_NS), None, "believed for too long");
    for id in 0..5_000 {
        assert_eq!(cache.by_id(myself, (id, 7), LIFETIME_NS + id), Some(Arc::clone(&first)));
        cache.intern(format!("0::/{id}").as_bytes());
    }
    assert!(cache.by_id.len() <= CACHE && cache.by_file.len() <= CACHE);
}
