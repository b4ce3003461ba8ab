//! Only processes and control groups that a test made are touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::*;
use crate::audit::{self, Trail, read_segments};
use crate::events::{Alert, Published, Severity, Store, Subject};

/// A process of ours that waits to be ended.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn start_ticks(&self) -> u64 {
        act::Stat::read(self.pid()).unwrap().start_ticks
    }

    /// `S`, `T`, `Z`, …
    fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat[stat.rfind(')').unwrap()..].chars().nth(2).unwrap()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A responder with a trail of its own.
struct Set {
    directory: tempfile::TempDir,
    trail: Arc<Trail>,
    responder: Responder,
    asked: Vec<Deed>,
}

fn act_on(rules: &[(Action, &str)]) -> Options {
    let rules = rules.iter().map(|(action, rule)| (*action, vec![Glob::name(rule).unwrap()])).collect();
    Options { enabled: true, dry_run: false, rules, rate: 1_000, ..Options::default() }
}

impl Set {
    /// The observer's own control group is left out: the test shares it with its children.
    fn new(options: Options) -> Self {
        Self::guarded(options, Guard { cgroups: Vec::new(), ..Guard::here() })
    }

    fn guarded(options: Options, guard: Guard) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let audit = audit::Options {
            directory: directory.path().join("audit"),
            sync: audit::Sync::Never,
            segment_size: 1 << 20,
            total_size: 1 << 30,
            seal: audit::Seal::Hash,
        };
        let trail = Arc::new(Trail::open(&audit, &Value::Null).unwrap());
        let responder = Responder::start(options, guard, Arc::clone(&trail)).unwrap();
        Self { directory, trail, responder, asked: Vec::new() }
    }

    /// An alert about a process.
    fn alert(&self, pid: u32, start_ticks: u64, exe: &str) {
        let process = Subject { pid, start_ticks, exe: exe.to_owned(), ..Subject::default() };
        let alert = Alert::new(Timestamp::UNIX_EPOCH, "the_rule", Severity::High, process);
        let published: Arc<Published> = Store::new(1).publish(&alert);
        self.responder.respond(&alert, &published, &self.asked, false);
    }

    /// Action, outcome and reason of each response in the trail, when there are so many.
    fn told(&self, count: usize) -> Vec<(String, String, String)> {
        let mut told = Vec::new();
        until("the responses are told", || {
            told.clear();
            read_segments(&self.directory.path().join("audit"), &audit::Seal::Hash, |record, _| {
                if record.kind == "response" {
                    let body: Value = serde_json::from_str(record.body.get()).unwrap();
                    assert_eq!(body["rule"], "the_rule");
                    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                    told.push((text("action"), text("outcome"), text("why")));
                }
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
            told.len() >= count
        });
        told
    }

    fn one(&self) -> (String, String) {
        let told = self.told(1);
        assert_eq!(told.len(), 1);
        (told[0].1.clone(), told[0].2.clone())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.trail.close(&Value::Null, Duration::from_secs(5));
    }
}

#[test]
fn a_process_is_killed_by_descriptor_and_start_time() {
    let mut victim = Victim::new();
    let set = Set::new(act_on(&[(Action::Kill, "the_*")]));
    set.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    assert_eq!(set.one(), ("done".to_owned(), String::new()));
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(victim.0.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_process_with_another_start_time_is_another() {
    let victim = Victim::new();
    let set = Set::new(act_on(&[(Action::Kill, "*")]));
    set.alert(victim.pid(), victim.start_ticks() + 1, "/usr/bin/sleep");
    set.alert(victim.pid(), 0, "/usr/bin/sleep");
    let why: Vec<String> = set.told(2).into_iter().map(|told| told.2).collect();
    assert_eq!(why, [Refusal::Gone.to_string(), Refusal::Unknown.to_string()]);
    assert_ne!(victim.state(), 'Z');
}

#[test]
fn a_process_is_stopped() {
    let victim = Victim::new();
    let set = Set::new(act_on(&[(Action::Stop, "the_rule")]));
    set.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    assert_eq!(set.one().0, "done");
    until("it is stopped", || victim.state() == 'T');
}

#[test]
fn nothing_is_done_unless_it_is_switched_on_and_in_earnest() {
    let victim = Victim::new();
    let off = Set::new(Options { enabled: false, ..act_on(&[(Action::Kill, "*")]) });
    off.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    let other = Set::new(act_on(&[(Action::Kill, "another_rule")]));
    other.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    let rehearsal = Set::new(Options { dry_run: true, ..act_on(&[(Action::Kill, "*")]) });
    rehearsal.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    assert_eq!(rehearsal.one().0, "dry_run");
    assert!(off.told(0).is_empty() && other.told(0).is_empty());
    assert_ne!(victim.state(), 'Z');
    assert!(!Options::default().enabled && Options::default().dry_run, "the default does nothing, twice over");
    // A rule may ask for it itself, but not where all is off.
    let asked = [Deed { dry_run: true, ..Deed::new(Action::Stop) }, Deed { dry_run: true, ..Deed::new(Action::Kill) }];
    let deeds = act_on(&[(Action::Kill, "x")]).deeds("x", &asked);
    assert_eq!(deeds, [asked[0].clone(), Deed::new(Action::Kill)]);
    assert!(Options { enabled: false, ..act_on(&[(Action::Kill, "x")]) }.deeds("x", &asked).is_empty());
}

#[test]
fn some_are_never_touched() {
    let victim = Victim::new();
    let allow = vec![Glob::path("/opt/safe/*").unwrap()];
    // In case the guard were broken: nobody is hit.
    let options = Options { allow, dry_run: true, ..act_on(&[(Action::Kill, "*")]) };
    let set = Set::new(options.clone());
    let start = |pid| act::Stat::read(pid).map_or(1, |stat| stat.start_ticks);
    set.alert(1, start(1), "/sbin/init");
    set.alert(std::process::id(), start(std::process::id()), "/usr/bin/monitor");
    set.alert(victim.pid(), victim.start_ticks(), "/opt/safe/daemon");
    let mut expected = vec![Refusal::Init, Refusal::Observer, Refusal::Allowed];
    let parent = act::Stat::read(std::process::id()).unwrap().parent;
    if parent > 1 {
        set.alert(parent, start(parent), "/bin/sh");
        expected.push(Refusal::Observer);
    }
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let kernel_thread = numbers.into_iter().find(|pid| act::Stat::read(*pid).is_some_and(|stat| stat.kernel_thread));
    if let Some(pid) = kernel_thread {
        set.alert(pid, start(pid), "");
        expected.push(Refusal::KernelThread);
    }
    let why: Vec<String> = set.told(expected.len()).into_iter().map(|told| told.2).collect();
    assert_eq!(why, expected.iter().map(ToString::to_string).collect::<Vec<_>>());

    // Our own control group, as it is where the daemon is a service.
    let cgroups = vec![("0".to_owned(), "/a/b".to_owned())];
    let guard = Guard { own: Vec::new(), cgroups: cgroups.clone() };
    assert!(guard.shares(&cgroups) && !guard.shares(&[("0".to_owned(), "/".to_owned())]));
    assert!(guard.is_below("0", "/a") && guard.is_below("0", "/a/b"));
    assert!(!guard.is_below("0", "/a/bc") && !guard.is_below("0", "/a/b/c") && !guard.is_below("cpu", "/a"));
}

#[test]
fn a_storm_of_alerts_is_answered_no_faster_than_the_rate() {
    let victim = Victim::new();
    let set = Set::new(Options { rate: 3, dry_run: true, ..act_on(&[(Action::Kill, "*")]) });
    for _ in 0..10 {
        set.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    }
    let told = set.told(10);
    assert_eq!(told.iter().filter(|told| told.1 == "dry_run").count(), 3);
    assert!(told[9].2.contains("respond.rate"), "{told:?}");
}

fn script(directory: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_program_gets_the_alert_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display();
    let program = script(directory.path(), &format!("cat > {place}/alert; env > {place}/env; echo $# >> {place}/env"));
    let set = Set::new(Options { program: Some(program), ..act_on(&[(Action::Run, "*")]) });
    set.alert(77, 0, "/x");
    assert_eq!(set.one().0, "done");
    let alert: Value = serde_json::from_slice(&fs::read(directory.path().join("alert")).unwrap()).unwrap();
    assert_eq!((&alert["rule"], &alert["process"]["pid"]), (&"the_rule".into(), &77.into()));
    let env = fs::read_to_string(directory.path().join("env")).unwrap();
    // The shell adds a few of its own.
    assert!(!env.contains("CARGO") && !env.contains("HOME=") && env.contains("PATH=") && env.ends_with("0\n"), "{env}");
}

/// A rule may name a program with arguments, and may stay a rehearsal where others are in earnest.
#[test]
fn a_rule_asks_for_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let program = script(directory.path(), "test \"$1\" = right").to_str().unwrap().to_owned();
    let victim = Victim::new();
    let mut set = Set::new(act_on(&[]));
    let run = |argument: &str| Deed { command: vec![program.clone(), argument.to_owned()], ..Deed::new(Action::Run) };
    set.asked = vec![run("right"), Deed { dry_run: true, ..Deed::new(Action::Kill) }];
    set.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    let mut told = set.told(2);
    told.sort();
    let outcomes: Vec<_> = told.iter().map(|told| (told.0.as_str(), told.1.as_str())).collect();
    assert_eq!(outcomes, [("kill", "dry_run"), ("run", "done")]);
    set.asked = vec![run("wrong")];
    set.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    assert_eq!(set.told(3)[2].1, "failed");
    assert_ne!(victim.state(), 'Z');
}

#[test]
fn a_program_that_hangs_is_ended_with_what_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display();
    let program = script(directory.path(), &format!("sleep 1000 & echo $! > {place}/pid; wait"));
    let timeout = Duration::from_millis(500);
    let set = Set::new(Options { program: Some(program), timeout, ..act_on(&[(Action::Run, "*")]) });
    set.alert(77, 0, "/x");
    let (outcome, why) = set.one();
    assert_eq!(outcome, "failed");
    assert!(why.contains("killed after 500ms"), "{why}");
    let child: u32 = fs::read_to_string(directory.path().join("pid")).unwrap().trim().parse().unwrap();
    until("its child is gone", || {
        fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn a_few_programs_run_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let program = script(directory.path(), "sleep 2");
    let set = Set::new(Options { program: Some(program), ..act_on(&[(Action::Run, "*")]) });
    for _ in 0..6 {
        set.alert(77, 0, "/x");
    }
    let told = set.told(6);
    assert_eq!(told.iter().filter(|told| told.2.contains("4 programs run already")).count(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.1 == "done").count(), 4);
}

/// A control group of our own, in whichever hierarchy this host can freeze.
struct Group(PathBuf, &'static str);

impl Group {
    fn new() -> Option<Self> {
        let name = format!("monitor-test-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        for (mount, file) in [("", "cgroup.freeze"), ("unified", "cgroup.freeze"), ("freezer", "freezer.state")] {
            let path = root.join(mount).join(&name);
            if fs::create_dir(&path).is_ok() {
                if path.join(file).exists() {
                    return Some(Self(path, file));
                }
                let _ = fs::remove_dir(&path);
            }
        }
        None
    }

    fn frozen(&self) -> bool {
        let state = fs::read_to_string(self.0.join(self.1)).unwrap();
        matches!(state.trim(), "1" | "FROZEN")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join(self.1), if self.1 == "cgroup.freeze" { "0" } else { "THAWED" });
        let gone = || fs::remove_dir(&self.0).is_ok() || !self.0.exists();
        let begin = Instant::now();
        while !gone() && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_control_group_is_frozen() {
    let Some(group) = Group::new() else {
        // Nobody but root may make one; and root may, unless the hierarchy is mounted read-only.
        let readable = fs::create_dir(format!("/sys/fs/cgroup/monitor-test-try-{}", std::process::id()));
        assert!(readable.is_err(), "a control group can be made, but none that freezes");
        return;
    };
    let victim = Victim::new();
    fs::write(group.0.join("cgroup.procs"), victim.pid().to_string()).unwrap();
    let rehearsal = Set::new(Options { dry_run: true, ..act_on(&[(Action::Freeze, "*")]) });
    rehearsal.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    assert_eq!(rehearsal.one().0, "dry_run");
    assert!(!group.frozen());
    let set = Set::new(act_on(&[(Action::Freeze, "*")]));
    set.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    assert_eq!(set.one(), ("done".to_owned(), String::new()));
    until("it is frozen", || group.frozen());
    // Ours would be frozen with it.
    let own = Guard { own: Vec::new(), cgroups: act::cgroups(victim.pid()).unwrap() };
    let guarded = Set::guarded(act_on(&[(Action::Freeze, "*")]), own);
    guarded.alert(victim.pid(), victim.start_ticks(), "/usr/bin/sleep");
    assert_eq!(guarded.one().1, Refusal::OwnCgroup.to_string());
    drop(victim);
}
