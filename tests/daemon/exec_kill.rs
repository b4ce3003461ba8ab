//! Killed in the kernel at exec, before the program's first instruction. Every rule here is about programs in a directory of
//! the test's own, or about a user id that nobody else here runs as.

mod scene;
mod spared;

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use monitor_tests::{DEADLINE, Daemon, Samples, program, unique, until};
use rustix::process::Signal;
use serde_json::Value;

use super::support::monitor;
use scene::{Fared, KILL, NOBODY_ELSE, Scene, attached, decision, decisions, responses};

#[test]
fn whoever_is_to_be_killed_never_gets_to_its_first_act() {
    const RUNS: usize = 200;
    let scene = Scene::new("proc.exepath startswith DIR/in/");
    let (inside, beside) = (scene.program("in/deeper/program"), scene.program("in-between"));
    let daemon = scene.start(KILL);
    assert_eq!(attached(&daemon), Some(1.0), "{}", daemon.log());
    let (mut killed, mut left) = (Vec::new(), 0);
    for run in 0..RUNS {
        match scene.run(&inside) {
            (Fared::Killed, pid) => killed.push(pid),
            _ => left += 1,
        }
        if run % 20 == 0 {
            assert_eq!(scene.run(&beside).0, Fared::Ran, "its path only looks the same");
        }
    }
    let missed = missed(&daemon);
    assert!(left <= missed, "{left} were left alone, {missed} of them by the kernel");
    // Each is told once, whether its alert was held back as a repetition or not. Whom the kernel program was left out for,
    // user space killed, before its first act or after it.
    let in_kernel = || decisions(&daemon).into_iter().filter(|one| one["in_kernel"] == true).collect::<Vec<Value>>();
    until(DEADLINE, || match in_kernel().len() as u64 {
        told if told + missed < RUNS as u64 => Err(format!("{told} told, {missed} missed")),
        _ => Ok(()),
    });
    std::thread::sleep(Duration::from_millis(300));
    let told = in_kernel();
    // Where a record comes late, user space finds that the process has ended.
    let all = decisions(&daemon).iter().filter(|one| one["outcome"] != "refused").count();
    assert!(told.len() <= killed.len() && all <= RUNS, "{} killed, {} told, {all} decided", killed.len(), told.len());
    let pids: Vec<_> = told.iter().map(|one| one["process"]["pid"].as_u64().unwrap()).collect();
    assert!(pids.is_sorted_by(|one, next| one != next) && pids.iter().all(|pid| killed.contains(&(*pid as u32))));
    for one in &told {
        let says = ["rule", "action", "outcome"].map(|name| one[name].clone());
        assert_eq!(says, ["at_exec_test", "kill", "done"].map(Value::from), "{one}");
        assert_eq!(one["process"]["exe"], inside.to_str().unwrap());
    }
    assert!(responses(&daemon, "done") >= Some(killed.len() as f64));
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
        fs::set_permissions(scene.path(), fs::Permissions::from_mode(0o1777)).unwrap();
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
fn who_is_refused_by_the_hundred_is_told_as_a_number() {
    const RUNS: u64 = 150;
    let scene = Scene::new("proc.exepath startswith DIR/");
    let program = scene.program("program");
    let daemon = scene.start(&KILL.replace("10000", "1"));
    // They come at once, however fast they are run: nobody is heard meanwhile.
    daemon.signal(Signal::STOP);
    let mut running: Vec<_> = (0..RUNS).map(|_| Command::new(&program).arg("exit").arg("0").spawn().unwrap()).collect();
    let killed = running.iter_mut().filter_map(|one| one.wait().unwrap().signal()).count() as u64;
    assert_eq!(killed, 1);
    daemon.signal(Signal::CONT);
    let refused: Vec<u64> = until(DEADLINE, || {
        let decisions = decisions(&daemon);
        let refused = decisions.iter().filter(|one| one["outcome"] == "refused" && one["in_kernel"] == true);
        let times: Vec<u64> = refused.map(|one| one["times"].as_u64().unwrap()).collect();
        let told = times.iter().sum::<u64>();
        // It is asked when it has caught up, or it may have no answer.
        let missed = if told == RUNS - 1 || told < RUNS / 2 { 0 } else { missed(&daemon) };
        if told < RUNS && told + missed >= RUNS - 1 { Ok(times) } else { Err(format!("{times:?}, {missed} missed")) }
    });
    assert!(refused.len() < 100, "{refused:?}");
    assert!(responses(&daemon, "refused") >= Some(refused.iter().sum::<u64>() as f64));
}

/// How often the kernel left the program on the hook out: since Linux 7, where one may interrupt itself. User space has the
/// exec all the same.
fn missed(daemon: &Daemon) -> u64 {
    daemon.missed(&["exec_kill"])
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
    // To wait for it would close its input, and that ends it.
    let input = child.stdin.take();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    drop(input);
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

#[test]
fn what_the_ring_has_no_room_for_is_killed_and_counted() {
    const RUNS: u64 = 250;
    let scene = Scene::new("proc.exepath startswith DIR/");
    let program = scene.program("program");
    let daemon = scene.start(&format!("{KILL}[kernel]\nsecurity_ring = \"128KiB\"\n"));
    daemon.signal(Signal::STOP);
    let killed = (0..RUNS).filter(|_| scene.run(&program).0 == Fared::Killed).count() as u64;
    daemon.signal(Signal::CONT);
    let lost = || {
        // Where processors are slow it has to catch up first.
        let page = Some(daemon.get("/metrics")).filter(|page| page.status == 200)?;
        let labels = [("signal", "exec_kill"), ("cause", "ring_full")];
        Samples::parse(page.text()).find("monitor_lost_total", &labels).map(|lost| lost as u64)
    };
    until(DEADLINE, || {
        let told = decisions(&daemon).iter().filter(|one| one["in_kernel"] == true).count() as u64;
        let lost = lost().unwrap_or(0);
        if lost > 0 && told > 0 && told + lost == killed { Ok(()) } else { Err(format!("{told} told, {lost} lost")) }
    });
    assert!(killed == RUNS || killed + missed(&daemon) >= RUNS, "{killed} of {RUNS}");
}
