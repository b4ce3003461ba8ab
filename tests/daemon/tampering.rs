//! The heartbeat, and what is told when somebody makes the daemon blind. Each test does it to a daemon of its own, as root
//! can: through maps opened by their numbers, and from inside of the process.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use monitor_common::signals::activity::Class;
use monitor_tests::{DEADLINE, Daemon, Tables, until};
use serde_json::Value;

/// The event that the daemon is blind, for this cause.
fn blind(daemon: &Daemon, cause: &str) -> Value {
    until(3 * DEADLINE, || {
        let events = daemon.events("rule=agent_blind");
        let caused = |event: &&Value| event["evidence"]["cause"].as_array().unwrap().iter().any(|one| one == cause);
        events.iter().find(caused).cloned().ok_or_else(|| format!("{cause}: {events:?}"))
    })
}

/// Waits until the daemon says that it sees: that beats come back which were made from now on.
fn sees(daemon: &Daemon) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    until(3 * DEADLINE, || {
        let metrics = daemon.metrics();
        let last = metrics.find("monitor_heartbeat_timestamp_seconds", &[]).unwrap_or(0.0);
        let heartbeat = &daemon.json("/api/v1/status")["heartbeat"];
        let heard = last > now && heartbeat["last"].is_string() && heartbeat["blind"].is_null();
        if heard { Ok(()) } else { Err(format!("{last} {now} {heartbeat}")) }
    });
    assert_eq!(daemon.get("/-/ready").status, 200);
    assert_eq!(daemon.metrics().sum("monitor_agent_blind", &[]), 0.0);
}

fn trail(daemon: &Daemon) -> String {
    let files = fs::read_dir(daemon.directory().join("audit")).unwrap();
    files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok()).collect()
}

#[test]
fn a_heartbeat_comes_from_the_kernel_every_two_seconds() {
    let daemon = Daemon::start("");
    let last = || daemon.metrics().find("monitor_heartbeat_timestamp_seconds", &[]);
    let first = until(DEADLINE, || last().ok_or("no heartbeat"));
    let second = until(DEADLINE, || last().filter(|second| *second > first).ok_or("no other heartbeat"));
    let apart = Duration::from_secs_f64(second - first);
    assert!(apart >= Duration::from_millis(1_900), "{apart:?}");
    let metrics = daemon.metrics();
    let round_trip = metrics.find("monitor_heartbeat_round_trip_seconds", &[]).unwrap();
    assert!(round_trip > 0.0 && round_trip < 1.0, "{round_trip}");
    // It is told as a heartbeat, and of nobody: the daemon leaves itself out.
    let beats = metrics.find("monitor_activity_records_total", &[("kind", "heartbeat")]).unwrap();
    assert!(beats >= 2.0, "{beats}");
    assert_eq!(daemon.process(daemon.pid()), None);
    sees(&daemon);
    assert_eq!(daemon.events("rule=agent_blind"), Vec::<Value>::new());
}

#[test]
fn a_selection_that_was_emptied_is_told_and_put_right() {
    let daemon = Daemon::start("");
    sees(&daemon);
    let tables = Tables::of(daemon.pid());
    tables.select_nothing();
    let event = blind(&daemon, "selection");
    assert_eq!((&event["severity"], &event["process"]["pid"]), (&"critical".into(), &daemon.pid().into()), "{event}");
    assert!(!tables.selects_nothing(), "it was not put right");
    sees(&daemon);
    until(DEADLINE, || if trail(&daemon).contains("agent_blind") { Ok(()) } else { Err("not in the audit trail") });
}

#[test]
fn programs_taken_out_of_their_array_are_missed_and_put_back() {
    let daemon = Daemon::start("");
    sees(&daemon);
    let tables = Tables::of(daemon.pid());
    tables.take_out(Class::Process);
    let event = blind(&daemon, "silent");
    assert!(event["evidence"]["heartbeats_missing"].as_u64() >= Some(4), "{event}");
    // What it could not see is a loss, too.
    assert!(daemon.metrics().sum("monitor_lost_total", &[("cause", "program_missing")]) >= 3.0);
    sees(&daemon);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_link_that_is_closed_from_inside_is_told() {
    let daemon = Daemon::start("");
    sees(&daemon);
    let link = link_of(daemon.pid(), "sys_exit");
    inject::close(daemon.pid(), link);
    blind(&daemon, "links");
    // Without the program on sys_exit nothing comes back any more.
    blind(&daemon, "silent");
    let metrics = daemon.metrics();
    for cause in ["links", "silent"] {
        assert_eq!(metrics.find("monitor_agent_blind", &[("cause", cause)]), Some(1.0), "{cause}");
    }
    assert!(metrics.find("monitor_heartbeats_missed_total", &[]) >= Some(3.0));
    let ready = daemon.get("/-/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("no heartbeat"), "{}", ready.text());
}

/// The descriptor by which a process holds the link of its program with this name.
#[cfg(target_arch = "x86_64")]
fn link_of(pid: u32, name: &str) -> i32 {
    let value =
        |info: &str, key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u32>().ok());
    let named = |id: u32| {
        aya::programs::loaded_programs().flatten().any(|info| info.id() == id && info.name_as_str() == Some(name))
    };
    let links = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let info = fs::read_to_string(entry.path()).ok()?;
        value(&info, "link_id:")?;
        named(value(&info, "prog_id:")?).then(|| entry.file_name().to_str().unwrap().parse().unwrap())
    });
    links.last().unwrap_or_else(|| panic!("process {pid} has no link of {name}"))
}

/// Makes another process do what it would not.
#[cfg(target_arch = "x86_64")]
mod inject {
    use std::{mem, ptr};

    fn trace(request: libc::c_uint, pid: i32, data: usize) {
        // SAFETY: `data` is a number, or the address of registers that live as long as the call.
        let result = unsafe { libc::ptrace(request, pid, ptr::null_mut::<libc::c_void>(), data) };
        assert!(result >= 0, "ptrace {request}: {}", std::io::Error::last_os_error());
    }

    fn wait(pid: i32) {
        let mut status = 0;
        // SAFETY: the status is ours.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }, pid);
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
    }

    /// Lets the first thread of process `pid`, which waits in a system call, close a descriptor.
    pub(super) fn close(pid: u32, descriptor: i32) {
        let pid = i32::try_from(pid).unwrap();
        trace(libc::PTRACE_SEIZE, pid, 0);
        trace(libc::PTRACE_INTERRUPT, pid, 0);
        wait(pid);
        // SAFETY: all bytes zero is a value of it.
        let mut before: libc::user_regs_struct = unsafe { mem::zeroed() };
        trace(libc::PTRACE_GETREGS, pid, &raw mut before as usize);
        let mut asked = before;
        // Back onto the instruction that it waits in, which is two bytes long.
        asked.rip -= 2;
        asked.rax = libc::SYS_close as u64;
        asked.orig_rax = u64::MAX;
        asked.rdi = descriptor as u64;
        trace(libc::PTRACE_SETREGS, pid, &raw mut asked as usize);
        trace(libc::PTRACE_SINGLESTEP, pid, 0);
        wait(pid);
        trace(libc::PTRACE_GETREGS, pid, &raw mut asked as usize);
        assert_eq!(asked.rax, 0, "it could not be closed");
        // As if the call that it waited in had been interrupted.
        before.rax = -libc::EINTR as u64;
        before.orig_rax = u64::MAX;
        trace(libc::PTRACE_SETREGS, pid, &raw mut before as usize);
        trace(libc::PTRACE_DETACH, pid, 0);
    }
}
