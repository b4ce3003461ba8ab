use std::{
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::*;
use crate::processes::testing::{SECOND, exec, id, settle, table, value};

fn sleeper() -> Child {
    Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap()
}

fn stop(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_busy_child_is_counted_while_it_lives() {
    let mut table = table(10_000);
    let child = Command::new("dd").args(["if=/dev/zero", "of=/dev/null", "bs=64k"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut now_ns = boot_ns();
    // Only the child is in the table.
    table.learn_pid(child.id(), now_ns).unwrap();
    let group = loop {
        now_ns += SLOW_NS;
        table.refresh(now_ns, 100_000);
        let process = table.find(child.id()).unwrap();
        let usage = process.usage;
        if usage.cpu_ns() >= 100_000_000 && usage.read_chars > 1 << 20 && usage.involuntary_switches > 0 {
            break table.groups.name_of(process.group).unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "{usage:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    stop(child);
    let cpu = ["user", "system"].map(|mode| value(&table, "monitor_process_cpu_seconds_total", &[&group, mode]));
    assert!(cpu[0].unwrap() + cpu[1].unwrap() > 0.0999, "{group} {cpu:?}");
    assert!(value(&table, "monitor_process_read_bytes_total", &[&group]) > Some(1_048_576.0));
    assert!(value(&table, "monitor_process_resident_memory_bytes", &[&group]) > Some(1_000_000.0));
    assert_eq!(value(&table, "monitor_process_threads", &[&group]), Some(1.0));
    assert!(value(&table, "monitor_process_open_fds", &[&group]) >= Some(3.0));
}

#[test]
fn a_lost_exit_is_noticed_but_not_before_its_record_had_time() {
    let mut table = table(10_000);
    let mut child = sleeper();
    let (id, _) = table.learn_pid(child.id(), boot_ns()).unwrap();
    child.kill().unwrap();
    // Still a zombie: not lost, however long that takes.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !Stat::read(id.pid).unwrap().ended() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    let now_ns = boot_ns();
    assert!(table.refresh(now_ns - LATE_NS, 1_000));
    assert!(table.refresh(now_ns, 1_000));
    assert!(table.get(id).unwrap().alive());
    child.wait().unwrap();
    table.refresh(now_ns, 1_000);
    table.refresh(now_ns + LATE_NS - 1, 1_000);
    assert!(table.get(id).unwrap().alive());
    table.refresh(now_ns + LATE_NS, 1_000);
    settle(&mut table);
    assert_eq!(table.get(id).unwrap().exit, Some(Exit::unseen(now_ns + LATE_NS)));
    let group = table.groups.name_of(table.get(id).unwrap().group).unwrap().to_owned();
    assert_eq!(
        value(&table, "monitor_process_exits_total", &[&group, "unknown"]).unwrap_or(0.0),
        0.0,
        "its record may come"
    );
    table.expire(u64::MAX);
    assert_eq!(table.repaired(Repair::Exit), 1);
    assert_eq!(value(&table, "monitor_process_exits_total", &[&group, "unknown"]), Some(1.0));
}

#[test]
fn a_lost_birth_is_found_once_it_is_not_young() {
    let mut table = table(100_000);
    table.seed().unwrap();
    let child = sleeper();
    let start_ns = Stat::read(child.id()).unwrap().start_ticks * 10_000_000;
    table.rescan().unwrap();
    let early = table.find(child.id()).is_some() && boot_ns() < start_ns + LATE_NS;
    let deadline = Instant::now() + Duration::from_secs(30);
    while table.find(child.id()).is_none() && Instant::now() < deadline {
        table.rescan().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let found = table.find(child.id()).map(|process| process.parent.map(|parent| parent.pid));
    stop(child);
    assert!(!early, "its record may still come");
    assert_eq!(found, Some(Some(std::process::id())));
    assert!(table.repaired(Repair::Start) >= 1);
}

#[test]
fn slices_reach_every_process() {
    let mut table = table(100);
    for n in 1..=10 {
        exec(&mut table, 0, n, "/bin/x");
    }
    let calls: Vec<bool> = (0..4).map(|_| table.refresh(SECOND, 3)).collect();
    assert_eq!(calls, [false, false, false, true]);
    for n in 1..=10 {
        assert_eq!(table.get(id(&table, n)).unwrap().missing_ns, Some(SECOND), "{n}");
    }
}

#[test]
fn a_renamed_process_has_its_new_name() {
    let mut table = table(10_000);
    let program = r"printf '(new) \377\n' > /proc/$$/comm; read line";
    let mut child = Command::new("/bin/sh").args(["-c", program]).stdin(Stdio::piped()).spawn().unwrap();
    let (id, _) = table.learn_pid(child.id(), boot_ns()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while table.get(id).unwrap().comm.as_bytes() != b"(new) \xff\n" && Instant::now() < deadline {
        table.refresh(boot_ns(), 1_000);
        std::thread::sleep(Duration::from_millis(10));
    }
    let comm = table.get(id).unwrap().comm;
    drop(child.stdin.take());
    stop(child);
    assert_eq!(comm.as_bytes(), b"(new) \xff\n");
}
