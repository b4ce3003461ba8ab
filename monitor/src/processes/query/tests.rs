use super::*;
use crate::processes::testing::{exec, exec_of, exit, exit_of, fork, id, table};

#[test]
fn a_process_is_told_with_all_that_is_known() {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/usr/sbin/sshd");
    fork(&mut table, 1, 2);
    let mut record = exec_of(&table, 1, 2, "/bin/sh");
    (record.uid, record.euid, record.gid, record.loginuid) = (1000, 0, 100, Some(1000));
    record.tty = b"pts/3".to_vec();
    record.cwd = b"/home/\xff".to_vec();
    record.args = vec![b"-sh".to_vec(), b"a\nb\x01".to_vec(), b"\xfe".to_vec()];
    table.on_exec(&record);
    let pid = id(&table, 2).pid;
    let query = Query { pid: Some(pid), ..Query::default() };
    let answer = table.query(&query, |id, object| {
        object.insert("tcp".to_owned(), json!({ "pid": id.pid }));
    });
    assert_eq!(answer["total"], 1);
    let process = &answer["processes"][0];
    for (key, value) in [
        ("pid", json!(pid)),
        ("ppid", json!(pid - 1)),
        ("exe", json!("/bin/sh")),
        ("argv", json!(["-sh", "a\nb\u{1}", "\\xfe"])),
        ("cwd", json!("/home/\\xff")),
        ("comm", json!("sh")),
        ("uid", json!(1000)),
        ("euid", json!(0)),
        ("gid", json!(100)),
        ("loginuid", json!(1000)),
        ("tty", json!("pts/3")),
        ("unit", json!(null)),
        ("container", json!(null)),
        ("group", json!("sh")),
        ("exit", json!(null)),
        ("state", json!(null)),
        ("cpu_seconds", json!({ "user": 0.0, "system": 0.0 })),
        ("ancestors", json!([{ "pid": pid - 1, "exe": "/usr/sbin/sshd" }])),
        ("tcp", json!({ "pid": pid })),
    ] {
        assert_eq!(process[key], value, "{key}");
    }
    let start: jiff::Timestamp = process["start_time"].as_str().unwrap().parse().unwrap();
    assert_eq!(start.as_millisecond(), table.clock().unix_ns(record.process.start_ns) / 1_000_000);
}

#[test]
fn an_end_is_told() {
    let mut table = table(100);
    for (n, status) in [(1, 3 << 8), (2, 0x80 | 11)] {
        exec(&mut table, 0, n, "/bin/x");
        let mut record = exit_of(&table, n);
        record.status = status;
        table.on_exit(&record);
    }
    let answer = table.query(&Query::default(), |_, _| {});
    let exit = |at: usize| answer["processes"][at]["exit"].clone();
    assert_eq!((exit(0)["code"].clone(), exit(0)["signal"].clone()), (json!(3), json!(null)));
    assert_eq!((exit(1)["code"].clone(), exit(1)["signal"].clone()), (json!(null), json!("SIGSEGV")));
    assert_eq!(exit(1)["core_dumped"], true);
    assert_eq!(answer["processes"][0]["state"], "exited");
}

#[test]
fn filter_order_and_limit() {
    let mut table = table(100);
    for (n, exe) in [(1, "/bin/a"), (2, "/bin/b"), (3, "/bin/a"), (4, "/bin/a")] {
        exec(&mut table, 0, n, exe);
        if n == 3 {
            exit(&mut table, n);
        }
    }
    table.settle();
    table.settle();
    let pids = |query: Query| {
        let answer = table.query(&query, |_, _| {});
        let pids = answer["processes"].as_array().unwrap().iter().map(|process| process["pid"].as_u64().unwrap());
        (pids.map(|pid| pid - 5_000_000).collect::<Vec<_>>(), answer["total"].as_u64().unwrap())
    };
    let group = |name: &str| Some(name.to_owned());
    assert_eq!(pids(Query { group: group("a"), ..Query::default() }), (vec![1, 3, 4], 3));
    assert_eq!(pids(Query { group: group("a"), limit: 1, sort: Sort::Start, pid: None }), (vec![4], 3));
    assert_eq!(pids(Query { sort: Sort::Cpu, limit: 2, ..Query::default() }), (vec![3, 1], 4));
    assert_eq!(pids(Query { group: group("none"), ..Query::default() }), (vec![], 0));
    assert_eq!(Sort::from_name("memory"), Some(Sort::Memory));
    assert_eq!(Sort::from_name("size"), None);
}
