//! Killed in the kernel at exec, before the program's first instruction. Every rule here is about programs in a directory of
//! the test's own, or about a user id that nobody else here runs as.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use monitor_tests::{DEADLINE, Daemon, binary, copy, directory, program, unique, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::monitor;

/// A user that nobody here is.
const NOBODY_ELSE: u32 = 64_217;
/// Respond, and kill about these rules.
const KILL: &str = "[respond]\nenabled = true\ndry_run = false\nrate = 10000\nkill = [\"at_exec_*\"]\n";
/// `O_CREAT | O_WRONLY`.
const MAKE: i32 = 0o101;

/// A directory with programs, and one with rules.
struct Scene {
    place: tempfile::TempDir,
    rules: tempfile::TempDir,
}

/// How a program fared.
#[derive(Debug, PartialEq, Eq)]
enum Fared {
    /// It did what it is there for.
    Ran,
    /// It was killed before its first act.
    Killed,
    /// It was killed after it.
    Late,
}

impl Scene {
    fn new(condition: &str) -> Self {
        let scene = Self { place: directory(), rules: tempfile::tempdir().unwrap() };
        scene.rule(condition);
        scene
    }

    /// Where its programs are, as the kernel resolves it.
    fn path(&self) -> PathBuf {
        fs::canonicalize(self.place.path()).unwrap()
    }

    /// There is one rule, about execs; `DIR` stands for the directory.
    fn rule(&self, condition: &str) {
        self.write("at_exec_test", condition, "");
    }

    fn write(&self, name: &str, condition: &str, more: &str) {
        let condition = condition.replace("DIR", self.path().to_str().unwrap());
        let text = format!(
            "- rule: {name}\n  desc: a test\n  condition: >\n    evt.type in (execve, execveat) and ({condition})\n  \
             output: ran %proc.exepath\n  priority: WARNING\n{more}"
        );
        fs::write(self.rules.path().join("rules.yaml"), text).unwrap();
    }

    fn config(&self, respond: &str) -> String {
        format!("[rules]\ndefaults = false\ndirectory = \"{}\"\n{respond}", self.rules.path().display())
    }

    fn start(&self, respond: &str) -> Daemon {
        Daemon::start(&self.config(respond))
    }

    /// Works by other rules and another configuration from now on.
    fn reload(&self, daemon: &Daemon, respond: &str) {
        fs::write(daemon.directory().join("monitor.toml"), self.config(respond)).unwrap();
        let answer = daemon.post("/-/reload");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// A program there that makes the file that it is given.
    fn program(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        copy(&program(), &path);
        path
    }

    /// Runs it.
    fn run(&self, program: &Path) -> (Fared, u32) {
        self.run_as(Command::new(program))
    }

    fn run_as(&self, mut command: Command) -> (Fared, u32) {
        let file = self.path().join(unique("made"));
        let mut child = command.args(words(&file)).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        (Self::fared(child.wait().unwrap(), &file), pid)
    }

    fn fared(status: ExitStatus, file: &Path) -> Fared {
        let fared = match (status.signal(), file.exists()) {
            (None, true) if status.success() => Fared::Ran,
            (Some(libc::SIGKILL), false) => Fared::Killed,
            (Some(libc::SIGKILL), true) => Fared::Late,
            other => panic!("{status} {other:?}"),
        };
        let _ = fs::remove_file(file);
        fared
    }
}

/// Lets the program make this file, and live long enough to be killed.
fn words(file: &Path) -> Vec<String> {
    let call = libc::SYS_openat.to_string();
    let words =
        ["ask", &call, "-100", &format!("@{}", file.display()), &MAKE.to_string(), "0x180", "+", "sleep", "400"];
    words.map(str::to_owned).to_vec()
}

/// What was decided, by the audit trail.
fn decisions(daemon: &Daemon) -> Vec<Value> {
    let files = fs::read_dir(daemon.directory().join("audit")).unwrap();
    let text: String = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok()).collect();
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["kind"] == "response").map(|record| record["body"].clone()).collect()
}

/// Those about one process, when there is one.
fn decision(daemon: &Daemon, pid: u32) -> Value {
    let of = |all: &[Value]| -> Vec<Value> { all.iter().filter(|one| one["process"]["pid"] == pid).cloned().collect() };
    let found = until(DEADLINE, || match of(&decisions(daemon)) {
        found if found.is_empty() => Err(format!("nothing about {pid}: {}", daemon.log())),
        found => Ok(found),
    });
    // What else there is comes with the alert, which is told before or with it.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(of(&decisions(daemon)).len(), 1, "{found:?}");
    found[0].clone()
}

fn attached(daemon: &Daemon) -> Option<f64> {
    let labels = [("signal", "exec_kill"), ("hook", "sched_process_exec")];
    daemon.metrics().find("monitor_hook_attached", &labels)
}

fn responses(daemon: &Daemon, outcome: &str) -> Option<f64> {
    daemon.fresh_metrics().find("monitor_responses_total", &[("action", "kill"), ("outcome", outcome)])
}

#[test]
fn whoever_is_to_be_killed_never_gets_to_its_first_act() {
    const RUNS: usize = 200;
    let scene = Scene::new("proc.exepath startswith DIR/in/");
    let (inside, beside) = (scene.program("in/deeper/program"), scene.program("in-between"));
    let daemon = scene.start(KILL);
    assert_eq!(attached(&daemon), Some(1.0), "{}", daemon.log());
    let mut killed = Vec::new();
    for run in 0..RUNS {
        let (fared, pid) = scene.run(&inside);
        assert_eq!(fared, Fared::Killed, "run {run}");
        killed.push(pid);
        if run % 20 == 0 {
            assert_eq!(scene.run(&beside).0, Fared::Ran, "its path only looks the same");
        }
    }
    // Each is told once, whether its alert was held back as a repetition or not.
    let told = until(DEADLINE, || match decisions(&daemon) {
        told if told.len() < RUNS => Err(format!("{} told", told.len())),
        told => Ok(told),
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(decisions(&daemon).len(), RUNS);
    for (one, pid) in told.iter().zip(&killed) {
        let says = ["rule", "action", "outcome", "in_kernel"].map(|name| one[name].clone());
        assert_eq!(says, ["at_exec_test".into(), "kill".into(), "done".into(), Value::Bool(true)], "{one}");
        assert_eq!(one["process"]["pid"], *pid);
        assert_eq!(one["process"]["exe"], inside.to_str().unwrap());
    }
    assert_eq!(responses(&daemon, "done"), Some(RUNS as f64));
    assert!(!daemon.events("rule=at_exec_test").is_empty(), "the rule alerts all the same");
    let process = daemon.ended(killed[0]);
    assert_eq!(process["exit"]["signal"], "SIGKILL", "{process}");
}

#[test]
fn each_thing_that_can_be_asked_is_answered_as_by_the_engine() {
    let scene = Scene::new("proc.exepath = DIR/nobody");
    let daemon = scene.start(KILL);
    let name = unique("exk");
    let ours = scene.program(&name);
    let other = scene.program("other/program");
    let owned = scene.path().join("owned");
    fs::copy(program(), &owned).unwrap();
    chown(&owned, Some(NOBODY_ELSE), None).unwrap();
    let long = scene.program(&format!("{}/{}/program", "l".repeat(120), "m".repeat(120)));
    use Fared::{Killed, Ran};
    let check = |condition: &str, program: &Path, wanted: Fared| {
        scene.rule(condition);
        scene.reload(&daemon, KILL);
        let (fared, pid) = scene.run(program);
        assert_eq!(fared, wanted, "{condition} of {}\n{}", program.display(), daemon.log());
        if wanted == Killed {
            assert_eq!(decision(&daemon, pid)["in_kernel"], true, "{condition}");
        }
    };
    check(&format!("proc.exepath = DIR/{name}"), &ours, Killed);
    check(&format!("proc.exepath = DIR/{name}"), &other, Ran);
    check(&format!("proc.exepath = DIR/{}", &name[..name.len() - 1]), &ours, Ran);
    check(&format!("proc.exepath in (DIR/x, DIR/{name}, DIR/y)"), &ours, Killed);
    check("proc.exepath startswith DIR and not proc.exepath startswith DIR/other/", &other, Ran);
    check("proc.exepath startswith DIR and not proc.exepath startswith DIR/other/", &ours, Killed);
    check("proc.exepath startswith DIR and proc.exepath != DIR/other/program", &other, Ran);
    check("proc.exepath pmatch (DIR/other)", &other, Killed);
    check("proc.exepath pmatch (DIR/oth)", &other, Ran);
    check("proc.exepath glob \"DIR/oth*\"", &other, Killed);
    check(&format!("proc.name = {name}"), &ours, Killed);
    check(&format!("proc.name startswith {}", &name[..name.len() - 1]), &ours, Killed);
    check(&format!("proc.name = {}", &name[..name.len() - 1]), &ours, Ran);
    check(&format!("proc.exe.owner.uid = {NOBODY_ELSE}"), &owned, Killed);
    check(&format!("proc.exe.owner.uid >= {NOBODY_ELSE} and proc.exe.owner.uid < {NOBODY_ELSE}"), &owned, Ran);
    check("proc.exepath startswith DIR and user.uid != 0", &ours, Ran);
    check("proc.exepath startswith DIR and not (user.uid != 0 or proc.exe.deleted=true)", &ours, Killed);
    check("proc.exepath startswith DIR and proc.is_exe_upper_layer=true", &ours, Ran);
    // What is longer than the kernel compares is compared as far as it goes.
    check(&format!("proc.exepath startswith DIR/{}", "l".repeat(120)), &long, Killed);
    check(&format!("proc.exepath startswith DIR/{}x", "l".repeat(120)), &long, Ran);

    // Who runs it. The directory is open for everybody as far as it is ours.
    let run_as_nobody = || {
        let mut command = Command::new(&ours);
        command.uid(NOBODY_ELSE).gid(NOBODY_ELSE).current_dir("/");
        scene.run_as(command).0
    };
    if fs::metadata(scene.path()).unwrap().mode() & 0o7777 != 0o1777 {
        fs::set_permissions(scene.path(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    }
    scene.rule(&format!("user.uid = {NOBODY_ELSE} and user.ruid > {} and group.gid = {NOBODY_ELSE}", NOBODY_ELSE - 1));
    scene.reload(&daemon, KILL);
    assert_eq!(run_as_nobody(), Killed);
    assert_eq!(scene.run(&ours).0, Ran);

    // Files without a name. Who is asked for is our own user: others may run such files, too.
    let nameless = |words: &[&str]| {
        let mut command = Command::new(&ours);
        command.args(words).uid(NOBODY_ELSE).gid(NOBODY_ELSE).current_dir("/").stdout(Stdio::null());
        command.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap()
    };
    let mine = format!("user.uid = {NOBODY_ELSE} and ");
    let memfd: &[&str] = &["exec-memfd", "/bin/true"];
    let deleted: &[&str] = &["exec-deleted", "+", "sleep", "1"];
    for (condition, words, killed) in [
        ("proc.is_exe_from_memfd=true", memfd, true),
        ("proc.is_exe_from_memfd=true", deleted, false),
        ("proc.exepath startswith memfd:x", memfd, true),
        ("proc.exepath = memfd:", memfd, false),
        ("proc.exe.deleted=true and proc.is_exe_from_memfd=false", memfd, false),
        ("proc.exe.deleted=true and proc.is_exe_from_memfd=false", deleted, true),
        ("proc.exe.deleted in (true) and proc.exe.deleted exists", deleted, true),
    ] {
        scene.rule(&format!("{mine}{condition}"));
        scene.reload(&daemon, KILL);
        assert!(
            monitor(&["rules", "explain", "at_exec_test", scene.rules.path().to_str().unwrap()])
                .stdout
                .contains("in the kernel")
        );
        let status = nameless(words);
        assert_eq!(status.signal() == Some(libc::SIGKILL), killed, "{condition} {words:?}: {status}");
    }
}

#[test]
fn a_rehearsal_kills_nobody_and_has_no_program_on_the_hook() {
    let scene = Scene::new("proc.exepath startswith DIR/");
    let program = scene.program("program");
    let daemon = scene.start(&KILL.replace("dry_run = false", "dry_run = true"));
    assert_eq!(attached(&daemon), Some(0.0));
    let (fared, pid) = scene.run(&program);
    assert_eq!(fared, Fared::Ran);
    // It may have ended by the time that it would have been killed.
    assert!(matches!(decision(&daemon, pid)["outcome"].as_str(), Some("dry_run" | "refused")));

    // The rule asks by itself, and for a rehearsal.
    scene.write("of_itself", "proc.exepath startswith DIR/", "  respond:\n    action: kill\n    dry_run: true\n");
    scene.reload(&daemon, KILL);
    assert_eq!((scene.run(&program).0, attached(&daemon)), (Fared::Ran, Some(0.0)));
    scene.write("of_itself", "proc.exepath startswith DIR/", "  respond:\n    action: kill\n    dry_run: false\n");
    scene.reload(&daemon, KILL);
    assert_eq!((scene.run(&program).0, attached(&daemon)), (Fared::Killed, Some(1.0)));
}

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
    assert_eq!(scene.run(&other).0, Fared::Killed);
}

#[test]
fn no_more_are_killed_than_the_rate_allows_in_the_kernel_and_from_user_space_together() {
    let scene = Scene::new("proc.exepath startswith DIR/");
    let program = scene.program("program");
    let daemon = scene.start(&KILL.replace("10000", "3"));
    // One may be earned meanwhile, in twenty seconds.
    let begin = std::time::Instant::now();
    let fared: Vec<(Fared, u32)> = (0..8).map(|_| scene.run(&program)).collect();
    let killed = fared.iter().filter(|(fared, _)| *fared == Fared::Killed).count();
    let most = 3 + begin.elapsed().as_secs() as usize / 20 + 1;
    assert!((3..=most).contains(&killed), "{fared:?}");
    assert!(fared[..3].iter().all(|(fared, _)| *fared == Fared::Killed), "{fared:?}");
    for (fared, pid) in &fared {
        let decision = decision(&daemon, *pid);
        let outcome = if *fared == Fared::Killed { "done" } else { "refused" };
        assert_eq!((&decision["outcome"], &decision["in_kernel"]), (&outcome.into(), &true.into()), "{decision}");
    }
    assert_eq!(responses(&daemon, "refused"), Some((8 - killed) as f64));
}

#[test]
fn other_rules_take_effect_with_a_reload_and_without_any_nothing_is_on_the_hook() {
    let scene = Scene::new("proc.exepath startswith DIR/one/");
    let (one, two) = (scene.program("one/program"), scene.program("two/program"));
    let fared = || [scene.run(&one).0, scene.run(&two).0];
    use Fared::{Killed, Ran};
    let daemon = scene.start(KILL);
    assert_eq!(fared(), [Killed, Ran]);
    // Twice and more: there are two tables, which take turns.
    for _ in 0..3 {
        scene.rule("proc.exepath startswith DIR/two/");
        scene.reload(&daemon, KILL);
        assert_eq!(fared(), [Ran, Killed]);
        scene.rule("proc.exepath startswith DIR/one/");
        scene.reload(&daemon, KILL);
        assert_eq!(fared(), [Killed, Ran]);
    }
    scene.reload(&daemon, "");
    assert_eq!((fared(), attached(&daemon)), ([Ran, Ran], Some(0.0)));
    scene.reload(&daemon, KILL);
    assert_eq!((fared(), attached(&daemon)), ([Killed, Ran], Some(1.0)));
    // A file with a mistake changes nothing.
    scene.rule("proc.exepath startwith DIR/two/");
    assert_eq!(daemon.post("/-/reload").status, 400);
    assert_eq!(fared(), [Killed, Ran]);
}

#[test]
fn what_the_kernel_cannot_judge_is_killed_from_user_space() {
    let scene = Scene::new("proc.exepath startswith DIR/ and proc.cmdline contains wait");
    let program = scene.program("program");
    let daemon = scene.start(KILL);
    assert_eq!(attached(&daemon), Some(0.0));
    let mut child = Command::new(&program).arg("wait").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    let decision = decision(&daemon, child.id());
    assert_eq!((&decision["outcome"], &decision["in_kernel"]), (&"done".into(), &false.into()), "{decision}");
    let config = daemon.directory().join("monitor.toml");
    let explain = || monitor(&["rules", "explain", "at_exec_test", "--config", config.to_str().unwrap()]).stdout;
    let said = explain();
    assert!(
        said.contains("from user space, because the kernel program cannot compare proc.cmdline contains wait"),
        "{said}"
    );
    scene.rule("proc.exepath startswith DIR/");
    let said = explain();
    assert!(said.contains("killed in the kernel at exec"), "{said}");
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
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
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
        assert_eq!(scene.run(&program).0, Fared::Killed, "who is in another one is");
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
        let log = fs::read_to_string(&log).unwrap();
        if log.contains("killed in the kernel at exec rules=1") { Ok(()) } else { Err(log) }
    });
    assert_eq!(scene.run(&program).0, Fared::Killed);
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

#[test]
fn what_the_ring_has_no_room_for_is_killed_and_counted() {
    const RUNS: usize = 250;
    let scene = Scene::new("proc.exepath startswith DIR/");
    let program = scene.program("program");
    let daemon = scene.start(&format!("{KILL}[kernel]\nsecurity_ring = \"128KiB\"\n"));
    daemon.signal(Signal::STOP);
    let fared: Vec<Fared> = (0..RUNS).map(|_| scene.run(&program).0).collect();
    daemon.signal(Signal::CONT);
    assert!(fared.iter().all(|fared| *fared == Fared::Killed), "{fared:?}");
    let lost = || {
        let labels = [("signal", "exec_kill"), ("cause", "ring_full")];
        daemon.fresh_metrics().find("monitor_lost_total", &labels).unwrap() as usize
    };
    until(DEADLINE, || {
        let told = decisions(&daemon).iter().filter(|one| one["in_kernel"] == true).count();
        let lost = lost();
        if lost > 0 && told > 0 && told + lost == RUNS { Ok(()) } else { Err(format!("{told} told, {lost} lost")) }
    });
}
