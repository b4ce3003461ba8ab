//! Whom the kernel program leaves alone.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use monitor_tests::{DEADLINE, Daemon, binary, unique, until};
use rustix::process::{Pid, Signal, kill_process};

use super::scene::{Fared, KILL, Scene, attached, decision, words};

#[test]
fn whoever_is_on_the_list_is_left_alone() {
    let scene = Scene::new("proc.exepath startswith DIR/");
    let (listed, below, other) =
        (scene.program("listed"), scene.program("below/a/program"), scene.program("listed-not"));
    let place = scene.path();
    let allow = format!("{KILL}allow = [\"{0}/listed\", \"{0}/below/**\"]\n", place.display());
    let daemon = scene.start(&allow);
    for program in [&listed, &below] {
        let (fared, pid) = scene.run(program);
        assert_eq!(fared, Fared::Ran);
        let decision = decision(&daemon, pid);
        assert_eq!((&decision["outcome"], &decision["in_kernel"]), (&"refused".into(), &false.into()), "{decision}");
    }
    scene.killed(&daemon, &other);
}

/// A control group of the test's own, of whichever hierarchy there is.
struct Group(PathBuf);

impl Group {
    fn all() -> Vec<Self> {
        let roots = ["freezer", "systemd", "unified", ""].map(|name| Path::new("/sys/fs/cgroup").join(name));
        let there = roots.into_iter().filter(|root| root.join("cgroup.procs").exists());
        let all = there.map(|root| Self(root.join(unique("exk"))));
        all.inspect(|group| fs::create_dir(&group.0).unwrap()).collect()
    }

    /// A script that runs a program in it.
    fn wrapper(&self, scene: &Scene, program: &Path) -> PathBuf {
        let path = scene.rules.path().join(unique("wrap"));
        let text =
            format!("#!/bin/sh\necho $$ > {}/cgroup.procs\nexec {} \"$@\"\n", self.0.display(), program.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        until(DEADLINE, || fs::remove_dir(&self.0).map_err(|error| error.to_string()));
    }
}

#[test]
fn nobody_in_the_daemons_own_control_group_is_killed() {
    let groups = Group::all();
    assert!(!groups.is_empty(), "there are control groups");
    for group in &groups {
        let scene = Scene::new("proc.exepath startswith DIR/");
        let program = scene.program("program");
        let wrapper = group.wrapper(&scene, &binary());
        let daemon = Daemon::launch(&wrapper, "127.0.0.1:0", &scene.config(KILL), |_| {});
        assert_eq!(attached(&daemon), Some(1.0), "{}", daemon.log());
        let (fared, pid) = scene.run(&group.wrapper(&scene, &program));
        assert_eq!(fared, Fared::Ran, "{}", group.0.display());
        let decision = decision(&daemon, pid);
        assert_eq!((&decision["outcome"], &decision["in_kernel"]), (&"refused".into(), &false.into()), "{decision}");
        // Who is in another one is.
        scene.killed(&daemon, &program);
        drop(daemon);
    }
}

#[test]
fn the_daemons_parent_is_not_killed() {
    let scene = Scene::new("proc.exepath startswith DIR/");
    let (program, directory) = (scene.program("program"), tempfile::tempdir().unwrap());
    let (config, log) = (directory.path().join("monitor.toml"), directory.path().join("log"));
    fs::write(&config, scene.config(KILL)).unwrap();
    let file = scene.path().join("made");
    // A shell that starts the daemon, and then becomes the program.
    let script =
        "\"$1\" run --listen 127.0.0.1:0 --config \"$2\" 2>\"$3\" >/dev/null & echo $!; read go; shift 3; exec \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(binary()).arg(&config).arg(&log).arg(&program).args(words(&file));
    command.env("MONITOR_AUDIT_DIRECTORY", directory.path().join("audit"));
    command.env("MONITOR_RULES_STATE", directory.path().join("seen"));
    let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut line, mut says) = (String::new(), BufReader::new(shell.stdout.take().unwrap()));
    says.read_line(&mut line).unwrap();
    let daemon = Stopped(line.trim().parse().ok().and_then(Pid::from_raw).unwrap());
    until(DEADLINE, || {
        // The shell makes the file a moment after it says so.
        let log = fs::read_to_string(&log).unwrap_or_default();
        if log.contains("killed in the kernel at exec rules=1") { Ok(()) } else { Err(log) }
    });
    // Where the kernel may leave the program on the hook out, one time out of some.
    let killed = (0..3).any(|_| scene.run(&program).0 == Fared::Killed);
    assert!(killed, "{}", fs::read_to_string(&log).unwrap());
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(Scene::fared(shell.wait().unwrap(), &file), Fared::Ran, "{}", fs::read_to_string(&log).unwrap());
    drop(daemon);
}

/// A daemon that is nobody's to wait for: it is told to stop at the end.
struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::TERM);
    }
}
