//! `protect`, where the kernel asks BPF programs: what others may not do to the daemon, root included, and what they may.

use std::{collections::BTreeMap, fs, os::unix::process::ExitStatusExt as _, process::Command};

use monitor_tests::{DEADLINE, Daemon, Workload, held, until};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde_json::Value;

use super::{check, doctor};

const PROTECTED: &str = "[protect]\nenabled = true\n";

const EPERM: i64 = -1;
const EACCES: i64 = -13;
const PTRACE_SEIZE: u32 = 0x4206;
/// Commands of bpf(2).
const PROG_GET_FD_BY_ID: u32 = 13;
const MAP_GET_FD_BY_ID: u32 = 14;
/// Where pid 1 looks, whenever an orphan has ended, whom to kill (`tests/guest/init.rs`).
const KILL_BY_INIT: &str = "/run/kill-by-init";

/// Lets another process ask all that; what each call returned, and who it was.
fn ask(asks: &[String]) -> (Vec<i64>, u32) {
    let words: Vec<String> = asks.iter().map(|ask| format!("ask {ask}")).collect();
    let steps: Vec<&str> = words
        .iter()
        .enumerate()
        .flat_map(|(at, ask)| {
            let plus = if at == 0 { None } else { Some("+") };
            plus.into_iter().chain(ask.split(' '))
        })
        .collect();
    let mut workload = Workload::spawn(&steps);
    let results = asks.iter().map(|_| workload.line().parse().unwrap()).collect();
    (results, workload.finish().pid)
}

fn denied(daemon: &Daemon) -> BTreeMap<String, u64> {
    let metrics = daemon.fresh_metrics();
    let of = |what: &str| metrics.find("monitor_protect_denied_total", &[("what", what)]).unwrap() as u64;
    ["signal", "ptrace", "map", "program"].map(|what| (what.to_owned(), of(what))).into()
}

#[test]
fn others_may_look_at_the_daemon_and_ask_it_to_stop_and_no_more() {
    let daemon = Daemon::start(PROTECTED);
    let metrics = daemon.metrics();
    assert_eq!(
        metrics.find("monitor_signal_up", &[("signal", "protect"), ("state", "full")]),
        Some(1.0),
        "{}",
        daemon.log()
    );
    // Whoever waits for the daemon to come up looks where its threads are (/proc/PID/stack), which is more than to look.
    let before = denied(&daemon);
    assert_eq!((before["signal"], before["map"], before["program"]), (0, 0, 0), "{before:?}");
    let pid = daemon.pid();
    let own = held(pid);
    let (maps, programs) = (own.maps, own.programs);
    assert!(maps.len() > 20 && programs.len() > 20, "{maps:?} {programs:?}");

    let kill = |signal: i32| format!("{} {pid} {signal}", libc::SYS_kill);
    let signals = [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGQUIT, libc::SIGABRT, libc::SIGTSTP, 64];
    let mut asks: Vec<String> = signals.map(kill).to_vec();
    // A thread of it is the daemon, too.
    let thread = fs::read_dir(format!("/proc/{pid}/task")).unwrap().last().unwrap().unwrap().file_name();
    asks.push(format!("{} {pid} {} {}", libc::SYS_tgkill, thread.to_str().unwrap(), libc::SIGKILL));
    let of_signals = asks.len();
    asks.push(format!("{} {PTRACE_SEIZE} {pid} 0 0", libc::SYS_ptrace));
    asks.push(format!("{} {pid} longs:4096,8 1 longs:4096,8 1 0", libc::SYS_process_vm_readv));
    let of_traces = asks.len() - of_signals;
    asks.push(format!("{} -100 @/proc/{pid}/mem 0 0", libc::SYS_openat));
    let by_id = |command: u32| move |id: &u64| format!("{} {command} words:{id},0,0,0 16", libc::SYS_bpf);
    asks.extend(maps.iter().map(by_id(MAP_GET_FD_BY_ID)));
    // For reading only: a program could be loaded with it that writes.
    asks.push(format!("{} {MAP_GET_FD_BY_ID} words:{},0,8,0 16", libc::SYS_bpf, maps.first().unwrap()));
    asks.extend(programs.iter().map(by_id(PROG_GET_FD_BY_ID)));
    let (results, who) = ask(&asks);
    for (asked, result) in asks.iter().zip(&results) {
        let expected = if asked.contains("/mem") { EACCES } else { EPERM };
        assert_eq!(*result, expected, "{asked}");
    }

    // All of it was counted and told.
    let counted = denied(&daemon);
    let more = |what: &str| counted[what] - before[what];
    assert_eq!((more("signal"), more("map")), (of_signals as u64, maps.len() as u64 + 1), "{counted:?}");
    assert_eq!(more("ptrace"), of_traces as u64 + 1, "{counted:?}");
    // Linux 7.3 asks twice about a program.
    let asked = programs.len() as u64;
    assert!(more("program") == asked || more("program") == 2 * asked, "{counted:?}");
    for what in ["signal", "ptrace", "map", "program"] {
        let event = until(DEADLINE, || {
            let events = daemon.events("rule=agent_tamper_denied");
            let of = |event: &&Value| event["process"]["pid"] == who && event["evidence"]["evt.arg.what"] == what;
            let found = events.iter().find(of).cloned();
            found.ok_or_else(|| format!("{what}: {events:?}"))
        });
        assert_eq!(event["severity"], "critical", "{event}");
    }
    let trail = fs::read_dir(daemon.directory().join("audit")).unwrap();
    let trail: String = trail.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok()).collect();
    assert!(trail.contains("agent_tamper_denied"), "not in the audit trail");

    // What else others do is let through: to look, to ask it to read its configuration again, and all of it to others.
    assert!(!fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty());
    let mut other = Workload::spawn(&["say", "ready", "+", "wait"]);
    assert_eq!(other.line(), "ready");
    let victim = other.pid();
    // An array with one entry. Before Linux 5.11 maps count as locked memory, of which the daemon has its part.
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).unwrap();
    let map = "0 words:2,4,4,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0 72";
    let (results, _) = ask(&[
        kill(0),
        kill(libc::SIGHUP),
        kill(libc::SIGCONT),
        format!("{} {map}", libc::SYS_bpf),
        format!("{} {PTRACE_SEIZE} {victim} 0 0", libc::SYS_ptrace),
        format!("{} {victim} {}", libc::SYS_kill, libc::SIGKILL),
    ]);
    assert!(results.iter().all(|result| *result >= 0), "{results:?}");
    assert_eq!(denied(&daemon), counted);
    drop(other);

    // It has seen all the time, and stops when it is asked to.
    assert_eq!(daemon.metrics().sum("monitor_agent_blind", &[]), 0.0);
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}\n{}", daemon.log());
    // What it forbade ends with it.
    let unprotected = Daemon::start("");
    let (results, _) = ask(&[format!("{} {} {}", libc::SYS_kill, unprotected.pid(), libc::SIGKILL)]);
    assert_eq!(results, [0]);
}

#[test]
fn the_first_process_may_end_it() {
    let daemon = Daemon::start(PROTECTED);
    let (results, _) = ask(&[format!("{} {} {}", libc::SYS_kill, daemon.pid(), libc::SIGKILL)]);
    assert_eq!(results, [EPERM]);
    fs::write(KILL_BY_INIT, daemon.pid().to_string()).unwrap();
    // An orphan, whose end the first process sees.
    // SAFETY: the child only makes another one and ends, as its child does.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe {
            libc::fork();
            libc::_exit(0);
        }
    }
    let mut status = 0;
    // SAFETY: the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    let pid = daemon.pid();
    until(DEADLINE, || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    });
    let (status, _) = daemon.stop();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    fs::remove_file(KILL_BY_INIT).unwrap();
}

#[test]
fn the_doctor_sees_that_the_kernel_asks() {
    let verdict = |command: &mut Command| check(command, "self-protection");
    let off = verdict(&mut doctor());
    assert_eq!((&off["verdict"], text(&off).contains("off by protect.enabled")), (&"ok".into(), true), "{off}");
    let on = verdict(doctor().env("MONITOR_PROTECT_ENABLED", "true"));
    assert_eq!((&on["verdict"], text(&on)), (&"ok".into(), "the kernel asks and forbids"), "{on}");
}

fn text(check: &Value) -> &str {
    check["found"].as_str().unwrap()
}
