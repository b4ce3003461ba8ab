use std::process::{Command, Stdio};

use monitor_common::signals::process::ExitRecord;

use super::*;
use crate::processes::testing::{SECOND, exec, exec_of, exit, exit_of, fork, id, key, settle, table, value};
use crate::processes::{Exit, process::Ending};

fn pids(table: &ProcessTable, id: ProcessId) -> Vec<u32> {
    table.ancestors(id).map(|process| process.id.pid - 5_000_000).collect()
}

/// 1 is a shell; it forks 2, which executes `/tmp/x` and ends.
fn in_order(order: &[&str]) -> ProcessTable {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/bin/sh");
    for record in order {
        match *record {
            "fork" => fork(&mut table, 1, 2),
            "exec" => exec(&mut table, 1, 2, "/tmp/x"),
            _ => exit(&mut table, 2),
        }
    }
    settle(&mut table);
    table
}

#[test]
fn every_order_of_records_ends_the_same() {
    let wanted = in_order(&["fork", "exec", "exit"]);
    for order in [
        ["fork", "exit", "exec"],
        ["exec", "fork", "exit"],
        ["exec", "exit", "fork"],
        ["exit", "fork", "exec"],
        ["exit", "exec", "fork"],
    ] {
        let table = in_order(&order);
        let process = table.get(id(&table, 2)).unwrap();
        assert_eq!(&*process.image.exe, b"/tmp/x", "{order:?}");
        assert_eq!(process.parent, Some(id(&table, 1)), "{order:?}");
        assert_eq!(process.exit.map(|exit| exit.status), Some(Some(0)), "{order:?}");
        assert_eq!((process.execs, process.comm.as_bytes()), (1, b"x".as_slice()), "{order:?}");
        assert_eq!(table.groups().name_of(process.group), Some("x"));
        for (metric, labels) in [
            ("monitor_process_cpu_seconds_total", ["x", "user"].as_slice()),
            ("monitor_process_page_faults_total", &["x", "minor"]),
            ("monitor_process_exits_total", &["x", "ok"]),
            ("monitor_process_starts_total", &["x"]),
            ("monitor_process_forks_total", &["sh"]),
        ] {
            assert_eq!(value(&table, metric, labels), value(&wanted, metric, labels), "{metric} {order:?}");
            assert!(value(&table, metric, labels) > Some(0.0), "{metric} {order:?}");
        }
    }
}

#[test]
fn a_process_of_five_milliseconds_is_counted_in_full_and_once() {
    let mut table = in_order(&["fork", "exec", "exit"]);
    for _ in 0..3 {
        settle(&mut table);
        exit(&mut table, 2);
    }
    assert_eq!(value(&table, "monitor_process_cpu_seconds_total", &["x", "user"]), Some(0.004));
    assert_eq!(value(&table, "monitor_process_read_bytes_total", &["x"]), Some(1_000.0));
    assert_eq!(value(&table, "monitor_process_exits_total", &["x", "ok"]), Some(1.0));
    assert_eq!(value(&table, "monitor_processes", &["x"]), None);
    assert_eq!(value(&table, "monitor_processes", &["sh"]), Some(1.0));
}

#[test]
fn an_end_is_counted_only_after_a_round_in_which_its_exec_could_come() {
    let mut table = table(100);
    fork(&mut table, 1, 2);
    exit(&mut table, 2);
    table.settle();
    assert_eq!(value(&table, "monitor_process_exits_total", &["_unknown", "ok"]), Some(0.0));
    exec(&mut table, 1, 2, "/tmp/x");
    table.settle();
    assert_eq!(value(&table, "monitor_process_exits_total", &["x", "ok"]), Some(1.0));
}

#[test]
fn a_child_is_what_its_parent_is_until_it_execs() {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/usr/sbin/server");
    fork(&mut table, 1, 2);
    let [parent, child] = [1, 2].map(|n| table.get(id(&table, n)).unwrap());
    assert!(Arc::ptr_eq(&parent.image, &child.image), "one copy for both");
    assert_eq!(parent.group, child.group);
    assert_eq!(table.group_of(key(&table, 2)), child.group);
    assert_eq!(child.image.argv().collect::<Vec<_>>(), [b"/usr/sbin/server".as_slice(), b"-v"]);
    exec(&mut table, 1, 2, "/bin/helper");
    assert_eq!(table.groups().name_of(table.group_of(key(&table, 2))), Some("helper"));
    assert_eq!(table.group_of(key(&table, 9)), GroupId::UNKNOWN);
}

#[test]
fn ancestors_are_the_true_ones_and_outlive_their_end() {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/usr/sbin/sshd");
    for n in 2..=5 {
        fork(&mut table, n - 1, n);
        exec(&mut table, n - 1, n, &format!("/bin/step{n}"));
    }
    for n in 1..=4 {
        exit(&mut table, n);
    }
    // Its exec names init, which it was given to when its parent ended.
    let exec = exec_of(&table, 0, 5, "/bin/late");
    table.on_exec(&exec);
    let last = id(&table, 5);
    let later = key(&table, 5).start_ns + 3_600 * SECOND;
    table.expire(later);
    assert_eq!(pids(&table, last), [4, 3, 2, 1]);
    let record = exit_of(&table, 5);
    table.on_exit(&ExitRecord { header: monitor_common::record::Header { time_ns: later, ..record.header }, ..record });
    table.expire(later + 59 * SECOND);
    assert_eq!(pids(&table, last), [4, 3, 2, 1], "an ended process that is still kept has its ancestors too");
    table.expire(later + 60 * SECOND);
    assert_eq!((table.len(), table.exited.len(), table.ancestors.len()), (0, 0, 0));
    assert_eq!(table.removed(Removal::Expired), 5);
    assert_eq!(table.by_pid.len(), 0);
}

#[test]
fn chains_are_told_sixteen_deep_and_circles_are_refused() {
    let mut table = table(100);
    for n in 1..=40 {
        fork(&mut table, n, n + 1);
    }
    assert_eq!(pids(&table, id(&table, 40)), (24..40).rev().collect::<Vec<_>>());
    // A parent that is younger, oneself, and a circle within one tick.
    let (a, b) = (id(&table, 50), ProcessId { pid: 6_000_000, ..id(&table, 50) });
    for (child, parent) in [(id(&table, 3), id(&table, 4)), (a, a), (a, b), (b, a)] {
        table.ensure_bare(child, 0);
        table.ensure_bare(parent, 0);
        table.set_parent(child, parent);
    }
    assert_eq!(table.get(id(&table, 3)).unwrap().parent, Some(id(&table, 2)));
    assert_eq!((table.get(a).unwrap().parent, table.get(b).unwrap().parent), (Some(b), None));
}

#[test]
fn a_pid_used_again_is_another_process() {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/bin/first");
    let first = id(&table, 1);
    let mut second = exec_of(&table, 0, 2, "/bin/second");
    second.process.tgid = first.pid;
    table.on_exec(&second);
    let second = ProcessId::from_key(second.process);
    assert_eq!(table.find(first.pid).unwrap().id, second);
    assert_eq!(&*table.get(first).unwrap().image.exe, b"/bin/first");
    // The pid is taken, so the first has ended, though nobody told.
    assert_eq!(table.get(first).unwrap().exit.unwrap().status, None);
    // Its record was only late: it is what counts, once.
    table.settle();
    exit(&mut table, 1);
    settle(&mut table);
    assert_eq!(table.get(first).unwrap().exit.unwrap().status, Some(0));
    assert_eq!(value(&table, "monitor_process_exits_total", &["first", "ok"]), Some(1.0));
    assert_eq!(value(&table, "monitor_process_exits_total", &["first", "unknown"]), Some(0.0));
    assert_eq!(table.repaired(Repair::Exit), 0);
}

#[test]
fn a_record_that_the_kernel_held_back_is_what_counts() {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/bin/first");
    let unseen = Exit::unseen(key(&table, 1).start_ns + SECOND);
    table.end(id(&table, 1), unseen, Ending::Lost);
    settle(&mut table);
    assert!(!table.get(id(&table, 1)).unwrap().alive());
    assert_eq!(table.repaired(Repair::Exit), 0, "nobody knows yet how it ended");
    exit(&mut table, 1);
    settle(&mut table);
    let exits = |reason| value(&table, "monitor_process_exits_total", &["first", reason]);
    assert_eq!((exits("ok"), exits("unknown")), (Some(1.0), Some(0.0)));
    assert_eq!(value(&table, "monitor_process_cpu_seconds_total", &["first", "user"]), Some(0.004));
    table.expire(u64::MAX);
    assert_eq!(table.repaired(Repair::Exit), 0);
    assert!(table.is_empty() && table.exited.is_empty());
}

#[test]
fn a_record_after_the_end_was_counted_adds_only_what_was_used() {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/bin/first");
    exec(&mut table, 1, 2, "/bin/child");
    let lost = Exit::unseen(key(&table, 1).start_ns + SECOND);
    table.end(id(&table, 1), lost, Ending::Lost);
    settle(&mut table);
    // It would be forgotten now, but for its child.
    table.expire(u64::MAX);
    assert_eq!(table.repaired(Repair::Exit), 1);
    exit(&mut table, 1);
    settle(&mut table);
    assert_eq!(value(&table, "monitor_process_exits_total", &["first", "unknown"]), Some(1.0));
    assert_eq!(value(&table, "monitor_process_exits_total", &["first", "ok"]), Some(0.0));
    assert_eq!(value(&table, "monitor_process_cpu_seconds_total", &["first", "user"]), Some(0.004));
    exit(&mut table, 2);
    settle(&mut table);
    table.expire(u64::MAX);
    table.expire(u64::MAX);
    assert!(table.is_empty() && table.exited.is_empty());
}

#[test]
fn a_full_table_lets_the_ended_go_first() {
    let mut table = table(4);
    for n in 1..=4 {
        exec(&mut table, 0, n, "/bin/x");
    }
    exit(&mut table, 3);
    exit(&mut table, 2);
    exec(&mut table, 0, 5, "/bin/x");
    assert!(table.get(id(&table, 2)).is_none(), "2 ended before 3");
    assert_eq!(value(&table, "monitor_process_exits_total", &["x", "ok"]), Some(1.0), "counted before it went");
    exec(&mut table, 0, 6, "/bin/x");
    exec(&mut table, 0, 7, "/bin/x");
    assert!(table.get(id(&table, 3)).is_none() && table.get(id(&table, 1)).is_none(), "1 is silent for longest");
    assert_eq!([Removal::Exited, Removal::Ancestor, Removal::Living].map(|why| table.removed(why)), [2, 0, 1]);
}

#[test]
fn who_had_to_go_while_alive_is_not_counted_twice() {
    let mut table = table(2);
    for n in 1..=3 {
        exec(&mut table, 0, n, "/bin/x");
    }
    assert!(table.get(id(&table, 1)).is_none());
    exit(&mut table, 1);
    exit(&mut table, 3);
    settle(&mut table);
    let used = value(&table, "monitor_process_cpu_seconds_total", &["x", "user"]);
    assert_eq!(used, Some(0.004), "only that of 3, which was never forgotten");
}

#[test]
fn parents_go_last() {
    let mut table = table(4);
    for n in 2..=4 {
        fork(&mut table, 1, n);
        exec(&mut table, 1, n, "/bin/x");
    }
    exec(&mut table, 0, 1, "/bin/parent");
    fork(&mut table, 1, 2);
    assert_eq!(table.get(id(&table, 1)).map(|process| process.children), Some(1));
    for n in 5..20 {
        fork(&mut table, 1, n);
    }
    assert!(table.get(id(&table, 1)).is_some());
    assert_eq!(pids(&table, id(&table, 19)), [1]);
}

#[test]
fn a_fork_storm_stays_within_the_bounds() {
    let mut table = table(512);
    exec(&mut table, 0, 1, "/bin/bomb");
    let mut time_ns = 0;
    for n in 2..20_000 {
        // Each forks the next and ends: a chain of which only the last lives.
        fork(&mut table, n - 1, n);
        exec(&mut table, n - 1, n, &format!("/tmp/{n}"));
        exit(&mut table, n - 1);
        time_ns = key(&table, n).start_ns;
        table.settle();
        if n % 64 == 0 {
            table.expire(time_ns);
        }
        assert!(table.len() <= 512 && table.groups().count().0 <= 512 + 50);
    }
    assert!(table.removed(Removal::Ancestor) > 10_000);
    assert_eq!(pids(&table, id(&table, 19_999)).len(), 16);
    exit(&mut table, 19_999);
    table.expire(time_ns + 3_600 * SECOND);
    assert_eq!((table.len(), table.by_pid.len(), table.ancestors.len()), (0, 0, 0));
    table.rebalance(time_ns);
    table.rebalance(time_ns + 3_600 * SECOND);
    assert_eq!(table.groups().count(), (0, 0));
}

#[test]
fn long_arguments_are_cut_but_their_length_is_told() {
    let mut table = table(10);
    let mut exec = exec_of(&table, 0, 1, "/bin/x");
    exec.args = vec![b"x".to_vec(), vec![b'y'; 5_000], b"z".to_vec()];
    exec.args_length = 5_004;
    exec.comm = b"a)\n\xff".to_vec();
    table.on_exec(&exec);
    let process = table.get(id(&table, 1)).unwrap();
    assert_eq!((process.image.args.len(), process.image.args_length, process.image.args_cut), (4096, 5_004, true));
    let argv: Vec<&[u8]> = process.image.argv().collect();
    assert_eq!((argv.len(), argv[0], argv[1].len()), (2, b"x".as_slice(), 4_094));
    assert_eq!(process.comm.as_bytes(), b"a)\n\xff");
    // No arguments at all, and an empty one, are not the same.
    exec.args = vec![];
    table.on_exec(&exec);
    assert_eq!(table.get(id(&table, 1)).unwrap().image.argv().count(), 0);
    exec.args = vec![vec![]];
    table.on_exec(&exec);
    assert_eq!(table.get(id(&table, 1)).unwrap().image.argv().collect::<Vec<_>>(), [b""]);
}

#[test]
fn ended_processes_keep_less_of_their_arguments() {
    let mut table = table(10);
    let mut record = exec_of(&table, 0, 1, "/bin/x");
    record.args = vec![vec![b'y'; 3_000]];
    record.args_length = 3_001;
    table.on_exec(&record);
    exec(&mut table, 0, 3, "/bin/y");
    fork(&mut table, 1, 2);
    exit(&mut table, 2);
    settle(&mut table);
    let args = |table: &ProcessTable, n| {
        let image = &table.get(id(table, n)).unwrap().image;
        (image.args.len(), image.args_length, image.args_cut)
    };
    assert_eq!(args(&table, 2), (3_001, 3_001, false), "its parent has them anyway");
    table.expire(u64::MAX);
    exit(&mut table, 1);
    settle(&mut table);
    assert_eq!(args(&table, 1), (512, 3_001, true));
}

#[test]
fn a_late_record_of_an_older_process_with_the_pid_does_not_make_it_live() {
    let mut table = table(10);
    let mut newer = exec_of(&table, 0, 2, "/bin/newer");
    newer.process.tgid = key(&table, 1).tgid;
    table.on_exec(&newer);
    exec(&mut table, 0, 1, "/bin/older");
    assert_eq!(table.find(newer.process.tgid).unwrap().id, ProcessId::from_key(newer.process));
    assert_eq!(table.get(id(&table, 1)).unwrap().exit.map(|exit| exit.status), Some(None));
}

#[test]
fn a_new_configuration_puts_everybody_in_the_right_group() {
    let mut table = table(10);
    exec(&mut table, 0, 1, "/usr/bin/postgres");
    exec(&mut table, 0, 2, "/bin/sh");
    let rules = vec![super::super::GroupRule { name: "database".into(), exe: vec!["postgres".into()] }];
    table.set_group_options(GroupOptions { rules, ..GroupOptions::default() });
    let name = |n| table.groups().name_of(table.group_of(key(&table, n))).unwrap();
    assert_eq!((name(1), name(2)), ("database", "sh"));
}

#[test]
fn a_fork_of_an_unknown_parent_counts_as_unknown() {
    let mut table = table(10);
    fork(&mut table, 1, 2);
    assert_eq!(value(&table, "monitor_process_forks_total", &["_unknown"]), Some(1.0));
}

#[test]
fn the_excluded_process_is_never_known() {
    let myself = std::process::id();
    let options = Options { exclude: Some(myself), ..Options::default() };
    let mut table = ProcessTable::new(options, Groups::new(GroupOptions::default()));
    let start_ticks = procfs::Stat::read(myself).unwrap().start_ticks;
    let key = ProcessKey { start_ns: start_ticks * 10_000_000, tgid: myself, reserved: 0 };
    let resolved = table.resolve(key);
    table.on_exit(&ExitRecord { process: key, ..ExitRecord::default() });
    assert!(table.is_empty() && resolved.pid == myself);
}

#[test]
fn the_test_process_and_its_child_are_found_in_proc() {
    let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let mut table = table(100_000);
    assert!(table.seed().unwrap() >= 2);
    let process = table.find(child.id()).unwrap();
    assert_eq!(process.parent.map(|parent| parent.pid), Some(std::process::id()));
    assert_eq!(process.image.argv().collect::<Vec<_>>(), [b"sleep".as_slice(), b"60"]);
    assert_eq!(process.credentials.uid, rustix::process::getuid().as_raw());
    let (id, group) = (process.id, process.group);
    assert_eq!(table.ancestors(id).next().map(|parent| parent.id.pid), Some(std::process::id()));
    // What it used before the table was made is in no total.
    assert_eq!(value(&table, "monitor_process_cpu_seconds_total", &["_other", "user"]).unwrap_or(0.0), 0.0);
    // A kernel record of the same process finds the same entry.
    let key = ProcessKey { start_ns: id.start_ticks * 10_000_000 + 123_456, tgid: id.pid, reserved: 0 };
    assert_eq!((table.resolve(key), table.group_of(key)), (id, group));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_unknown_process_is_looked_up_once_it_is_named() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let start_ticks = procfs::Stat::read(child.id()).unwrap().start_ticks;
    let key = ProcessKey { start_ns: start_ticks * 10_000_000, tgid: child.id(), reserved: 0 };
    let mut table = table(100);
    let earlier = ProcessKey { start_ns: key.start_ns - 10_000_000, ..key };
    let wrong = table.resolve(earlier);
    assert!(table.get(wrong).is_none(), "another process with this pid is not it");
    let found = table.resolve(key);
    let exe = table.get(found).map(|process| process.image.exe.clone());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(exe.is_some_and(|exe| !exe.is_empty()));
}
