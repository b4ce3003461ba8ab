//! What the kernel programs remember about threads, processes and sockets does not outlive them, and nothing that is
//! counted gets lost on the way there.

use std::path::Path;

use monitor_tests::{DEADLINE, Daemon, Samples, Tables, Workload, alone, shared, until};
use serde_json::Value;

fn calls(process: &Value, family: &str) -> u64 {
    process["syscalls"]["families"][family]["calls"].as_u64().unwrap_or(0)
}

fn slots_full(metrics: &Samples) -> f64 {
    metrics.find("monitor_lost_total", &[("signal", "process"), ("cause", "slots_full")]).unwrap()
}

/// A server that sends what its clients do not read, so that they close their connection by a reset as they end: the
/// kernel does that for a thread whose end the daemon has already been told.
fn ends_with_a_reset(more: &[&str]) -> (Workload, Workload) {
    let mut server =
        Workload::spawn(&["listen", "127.0.0.1", "+", "accept", "+", "send", "10", "+", "say", "sent", "+", "wait"]);
    let address = server.line();
    let mut steps = vec!["connect", &address, "+", "peek", "10", "+"];
    steps.extend(more);
    let client = Workload::spawn(&steps);
    assert_eq!(server.line(), "sent");
    (server, client)
}

#[test]
fn a_thread_that_closes_connections_as_it_ends_leaves_no_entry() {
    let daemon = Daemon::start("");
    let tables = Tables::of(daemon.pid());
    let (server, client) = ends_with_a_reset(&["exit", "0"]);
    let pid = client.finish().pid;
    let process = daemon.ended(pid);
    assert_eq!(process["tcp"]["resets_sent"], 1, "it closed as it ended: {process}");
    let left: Vec<_> = tables.threads().into_iter().filter(|(_, entry)| entry.tid == pid).collect();
    assert_eq!(left, []);
    assert_eq!(tables.slot_of(pid), None);
    // The next one with this id begins with its own first call.
    let mut next =
        Workload::spawn(&["sleep", "20", "+", "again-as", &pid.to_string(), "250", "+", "say", "done", "+", "wait"]);
    assert_eq!(next.line(), "done");
    next.finish();
    until(DEADLINE, || match daemon.ended(pid) {
        process
            if process["start_time"] == daemon.process(pid).unwrap()["start_time"]
                && calls(&process, "query") == 250 =>
        {
            Ok(())
        }
        other => Err(other.to_string()),
    });
    server.finish();
    tables.assert_clean();
}

#[test]
fn nothing_is_left_of_a_crowd_that_has_ended_in_every_way() {
    // So few slots that the dead give theirs back at once, also those of zombies.
    let daemon = Daemon::start("[processes]\nslots = 256\n");
    let tables = Tables::of(daemon.pid());
    let crowd: Vec<Workload> = (0..40)
        .map(|number| match number % 5 {
            0 => Workload::spawn(&["threads", "20", "10"]),
            1 => Workload::spawn(&["exec-from-thread", "+", "getppid", "10"]),
            2 => Workload::spawn(&["fork", "50"]),
            3 => Workload::spawn(&["spawn", "5", "+", "getppid", "1"]),
            _ => Workload::spawn(&["die", "9"]),
        })
        .collect();
    let resets: Vec<(Workload, Workload)> = (0..10).map(|_| ends_with_a_reset(&["exit", "0"])).collect();
    for one in crowd {
        one.end();
    }
    for (server, client) in resets {
        client.finish();
        server.finish();
    }
    tables.assert_clean();
}

#[test]
fn calls_are_not_lost_when_slots_are_scarce() {
    const CHILDREN: u32 = 6_000;
    let _turn = alone();
    let daemon = Daemon::start("[processes]\nslots = 512\n[metrics]\ngroups = 2000\n");
    // Nobody else synchronises a descriptor that is not open. All groups: whoever finds no slot counts in `_other`.
    let counted = || {
        let metrics = daemon.fresh_metrics();
        let errors = metrics.sum("monitor_syscall_errors_total", &[("family", "fsync"), ("errno", "EBADF")]);
        (errors, metrics)
    };
    assert_eq!(counted().0, 0.0);
    let crowd = Workload::spawn(&["fork-failing", &CHILDREN.to_string(), "7"]);
    crowd.finish();
    let (errors, metrics) = until(DEADLINE, || match counted() {
        found if found.0 >= f64::from(7 * CHILDREN) => Ok(found),
        (errors, _) => Err(format!("{errors} of {}", 7 * CHILDREN)),
    });
    assert_eq!(errors, f64::from(7 * CHILDREN));
    assert!(metrics.sum("monitor_syscalls_total", &[("family", "fsync")]) >= errors);
    println!("{} found no slot", slots_full(&metrics));
    Tables::of(daemon.pid()).assert_clean();
}

#[test]
fn a_zombie_is_accounted_for_once_also_after_it_gave_its_slot_back() {
    let daemon = Daemon::start("[processes]\nslots = 64\n");
    let mut workload =
        Workload::spawn(&["zombie", "321", "150", "+", "wait", "+", "reap", "+", "say", "gone", "+", "wait"]);
    let zombie: u32 = workload.line().parse().unwrap();
    let tables = Tables::of(daemon.pid());
    // This machine has more processes than that: the dead give their slots back at once.
    until(DEADLINE, || {
        daemon.fresh_metrics();
        if tables.slots().iter().any(|(_, slot)| slot.tgid == zombie) { Err("it has its slot") } else { Ok(()) }
    });
    assert!(Path::new(&format!("/proc/{zombie}")).exists());
    let cpu = |process: &Value| {
        let cpu = &process["cpu_seconds"];
        cpu["user"].as_f64().unwrap() + cpu["system"].as_f64().unwrap()
    };
    // The daemon has learnt from /proc what it used: the record of its end tells that again.
    let before = until(DEADLINE, || match daemon.seen(zombie) {
        process if cpu(&process) > 0.1 => Ok(process),
        other => Err(format!("not looked at: {other}")),
    });
    assert_eq!(calls(&before, "query"), 321);
    assert_eq!(before["exit"], Value::Null, "nobody has waited for it");
    workload.go();
    assert_eq!(workload.line(), "gone");
    let after = daemon.ended(zombie);
    assert_eq!(calls(&after, "query"), 321);
    assert!((0.15..2.0).contains(&cpu(&after)), "{after}");
    let group = workload.name.clone();
    let parent = daemon.ended(workload.finish().pid);
    let of_group = daemon.fresh_metrics().sum("monitor_process_cpu_seconds_total", &[("group", &group)]);
    let both = cpu(&parent) + cpu(&after);
    assert!((of_group - both).abs() < 1e-6, "{of_group} s in the group, {both} s by its two processes");
    tables.assert_clean();
}

#[test]
fn what_is_read_after_the_end_of_a_connection_leaves_no_socket() {
    let daemon = shared();
    let tables = Tables::of(daemon.pid());
    // The server says all it has and closes last; the client has closed its direction, so that its connection is closed
    // altogether when the server's end comes: with data in it that nobody has read yet.
    let mut server = Workload::spawn(&[
        "listen",
        "127.0.0.1",
        "+",
        "accept",
        "+",
        "receive-end",
        "+",
        "send",
        "3000",
        "+",
        "close",
        "+",
        "say",
        "closed",
        "+",
        "wait",
    ]);
    let address = server.line();
    let mut client = Workload::spawn(&[
        "connect",
        &address,
        "+",
        "shut",
        "+",
        "wait",
        "+",
        "until-closed",
        "+",
        "receive",
        "3000",
        "+",
        "say",
        "read",
        "+",
        "wait",
        "+",
        "close",
        "+",
        "say",
        "done",
        "+",
        "wait",
    ]);
    assert_eq!(server.line(), "closed");
    client.go();
    assert_eq!(client.line(), "read");
    let slot = tables.slot_of(client.pid()).expect("it lives");
    let own = || tables.sockets().into_iter().filter(|socket| socket.owner == slot).count();
    assert_eq!(own(), 0, "it is closed: nothing will come that could forget it");
    assert_eq!(daemon.seen(client.pid())["tcp"]["bytes_received"], 3_000);
    client.go();
    assert_eq!(client.line(), "done");
    assert_eq!(own(), 0);
    client.finish();
    server.finish();
}
