use super::*;
use crate::processes::{
    GroupOptions, Options,
    testing::{SECOND, exec, exit, exit_of, fork, id, key, settle, table, value},
};

#[test]
fn ends_are_told_apart() {
    let mut table = table(100);
    for (n, status) in [(1, 0), (2, 1 << 8), (3, 9), (4, 11 | 0x80), (5, 6)] {
        exec(&mut table, 0, n, "/bin/x");
        let mut record = exit_of(&table, n);
        record.status = status;
        table.on_exit(&record);
    }
    settle(&mut table);
    for (reason, count) in [("ok", 1.0), ("error", 1.0), ("signal", 3.0), ("unknown", 0.0)] {
        assert_eq!(value(&table, "monitor_process_exits_total", &["x", reason]), Some(count), "{reason}");
    }
    for (signal, count) in [("SIGSEGV", Some(1.0)), ("SIGABRT", Some(1.0)), ("SIGKILL", None)] {
        assert_eq!(value(&table, "monitor_process_crashes_total", &["x", signal]), count, "{signal}");
    }
    assert_eq!((table.totals.lifetimes[0], table.totals.lifetime_sum), (5, 0.025));
    let exits: Vec<_> = [1, 2, 4].map(|n| table.get(id(&table, n)).unwrap().exit.unwrap()).into();
    assert_eq!(exits.iter().map(|exit| exit.code()).collect::<Vec<_>>(), [Some(0), Some(1), None]);
    assert_eq!((exits[2].signal(), exits[2].core_dumped()), (Some(11), true));
}

#[test]
fn the_remainder_at_the_end_is_added_to_what_was_seen_alive() {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/bin/x");
    let process = table.entries.get_mut(&id(&table, 1)).unwrap();
    let new = process.usage.advance(Usage { user_ns: 1_000_000, minor_faults: 90, ..Usage::default() });
    let group = process.group;
    table.totals.usage(&mut table.groups, group, new);
    exit(&mut table, 1);
    settle(&mut table);
    assert_eq!(value(&table, "monitor_process_cpu_seconds_total", &["x", "user"]), Some(0.004));
    assert_eq!(value(&table, "monitor_process_page_faults_total", &["x", "minor"]), Some(100.0));
}

#[test]
fn what_a_process_used_before_the_daemon_is_not_counted_at_its_end() {
    let mut table = table(100);
    let mut record = exit_of(&table, 1);
    record.process.start_ns = 10_000_000;
    record.comm[..3].copy_from_slice(b"old");
    table.on_exit(&record);
    settle(&mut table);
    assert_eq!(value(&table, "monitor_process_exits_total", &["old", "ok"]), Some(1.0));
    assert_eq!(value(&table, "monitor_process_cpu_seconds_total", &["old", "user"]), Some(0.0));
}

/// Every counter of every group, added up.
fn sums(table: &ProcessTable) -> [u64; 4] {
    table.totals.groups.values().fold([0; 4], |sum, totals| {
        let parts = [totals.starts, totals.forks, totals.exits.iter().sum(), totals.usage.cpu_ns()];
        [0, 1, 2, 3].map(|at| sum[at] + parts[at])
    })
}

#[test]
fn counters_grow_while_groups_compete_for_places() {
    let options = GroupOptions { limit: 3, ..GroupOptions::default() };
    let mut table = ProcessTable::new(Options { capacity: 64, ..Options::default() }, Groups::new(options));
    let mut other = 0.0;
    let mut lost = [0; 4];
    for n in 1..2_000_u32 {
        let before = sums(&table);
        // Five programs at a time for three places; now and then others.
        fork(&mut table, n - 1, n);
        exec(&mut table, n - 1, n, &format!("/bin/p{}", n / 500 * 5 + n % 5));
        exit(&mut table, n);
        table.settle();
        let after = sums(&table);
        assert!(before.iter().zip(after).all(|(before, after)| *before <= after), "{before:?} {after:?}");
        if n % 20 == 0 {
            let gone = table.groups.dropped();
            let series = table.rebalance(key(&table, n).start_ns);
            assert!(series.len() <= 3 && table.groups.dropped() >= gone);
            lost = [0, 1, 2, 3].map(|at| lost[at] + after[at] - sums(&table)[at]);
            table.expire(key(&table, n).start_ns);
        }
        let now = value(&table, "monitor_process_starts_total", &["_other"]).unwrap_or(0.0);
        assert!(now >= other, "_other went from {other} to {now}");
        other = now;
        assert!(table.totals.groups.len() <= 3 + 2);
    }
    settle(&mut table);
    let all = [0, 1, 2, 3].map(|at| sums(&table)[at] + lost[at]);
    assert_eq!(all, [1_999, 1_999, 1_999, 1_999 * 4_000_000], "nothing is lost or counted twice");
    assert!(lost[0] > 0 && other > 0.0, "the groups did compete");
}

#[test]
fn the_scrape_has_only_what_is_described_and_each_once() {
    let mut table = table(100);
    exec(&mut table, 0, 1, "/bin/x");
    exec(&mut table, 0, 2, "/bin/_other");
    exec(&mut table, 0, 3, "/bin/a\"b\\\n");
    table.collect(&mut Families::new());
    let mut families = Families::new();
    table.collect(&mut families);
    let snapshot = families.finish();
    assert_eq!(snapshot.families().count(), METRICS.len() - 1, "only a crash has a series of crashes");
    for family in snapshot.families() {
        assert!(METRICS.iter().any(|metric| metric.name == family.name()), "{}", family.name());
        let mut labels: Vec<Vec<&str>> = family.samples().map(|sample| sample.labels().collect()).collect();
        labels.dedup();
        assert_eq!(labels.len(), family.samples().len(), "{}", family.name());
    }
    assert_eq!(value(&table, "monitor_process_table_entries", &["alive"]), Some(3.0));
    assert_eq!(value(&table, "monitor_processes", &["_other"]), Some(1.0));
    let oldest = value(&table, "monitor_process_oldest_start_timestamp_seconds", &["x"]).unwrap();
    let now = table.clock.unix_ns(key(&table, 1).start_ns) as f64 / 1e9;
    assert!((oldest - now).abs() < 0.01);
}

#[test]
fn signals_have_names() {
    for (signal, name) in [(1, "SIGHUP"), (9, "SIGKILL"), (11, "SIGSEGV"), (31, "SIGSYS"), (34, "SIG34"), (0, "SIG0")] {
        assert_eq!(signal_name(signal), name);
    }
    for (signal, name) in CRASHES_BY {
        assert_eq!(signal_name(signal), name);
    }
    assert_eq!(SECOND, 1_000_000_000);
}
