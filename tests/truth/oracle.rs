//! Numbers against the kernel's own: what it counts for a network namespace, a connection, a disk, a tree of processes.

use std::{fs, thread};

use monitor_tests::{DEADLINE, Disk, Samples, Workload, shared, until};
use serde_json::Value;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[test]
fn tcp_of_a_network_namespace_is_what_the_kernel_counts_there() {
    let daemon = shared();
    // Many connections that end by resets, and one that stays and whose packets are dropped for a while.
    let steps = "own-net + storm-connections 200 + self-pair + swap + deaf + swap + send 5000 + sleep 700 + swap + hear + \
                 receive 5000 + snmp + wait";
    let mut workload = Workload::spawn(&steps.split(' ').collect::<Vec<_>>());
    let turns: f64 = workload.line().parse().unwrap();
    let line = workload.line();
    let (names, values) = line.strip_prefix("Tcp: ").unwrap().split_once(" Tcp: ").unwrap();
    let of_kernel = |wanted: &str| -> f64 {
        let found = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == wanted);
        found.unwrap_or_else(|| panic!("no {wanted} in {line}")).1.parse().unwrap()
    };
    assert!(turns > 1.0 && of_kernel("RetransSegs") > 0.0, "{turns} {line}");
    let group = ("group", workload.name.as_str());
    let metrics = daemon.fresh_metrics();
    let of = |name: &str, more: &[(&str, &str)]| {
        let labels: Vec<_> = [group].into_iter().chain(more.iter().copied()).collect();
        metrics.sum(name, &labels)
    };
    let connects = of("monitor_tcp_connects_total", &[]);
    let accepts = of("monitor_tcp_accepts_total", &[]);
    assert_eq!((connects, accepts), (turns + 1.0, turns + 1.0));
    assert_eq!((connects, accepts), (of_kernel("ActiveOpens"), of_kernel("PassiveOpens")));
    assert_eq!(connects + accepts - of("monitor_tcp_closes_total", &[]), of_kernel("CurrEstab"));
    assert_eq!(of("monitor_tcp_retransmits_total", &[]), of_kernel("RetransSegs"));
    let resets = |direction| of("monitor_tcp_resets_total", &[("direction", direction)]);
    assert_eq!(resets("sent"), of_kernel("OutRsts"));
    assert_eq!(resets("sent") + resets("received"), of_kernel("EstabResets"), "each end of each reset");
    workload.finish();
}

#[test]
fn bytes_are_what_the_kernel_counts_for_the_connection_whichever_way_they_go() {
    let daemon = shared();
    for way in [["send-each-way", "receive-each-way"], ["receive-each-way", "send-each-way"]] {
        let mut server = Workload::spawn(&[
            "listen",
            "127.0.0.1",
            "+",
            "accept",
            "+",
            way[0],
            "30000",
            "+",
            "send",
            "1",
            "+",
            "receive",
            "1",
            "+",
            "kernel-bytes",
            "+",
            "wait",
        ]);
        let address = server.line();
        let mut client = Workload::spawn(&[
            "connect",
            &address,
            "+",
            way[1],
            "30000",
            "+",
            "receive",
            "1",
            "+",
            "send",
            "1",
            "+",
            "kernel-bytes",
            "+",
            "wait",
        ]);
        let lines = [server.line(), client.line()];
        // Where traffic is not seen call by call, the daemon reads its bytes when the connection is closed.
        let ended = [server.finish(), client.finish()];
        for (line, ended) in lines.iter().zip(ended) {
            let bytes = until(DEADLINE, || {
                let tcp = daemon.ended(ended.pid)["tcp"].clone();
                let bytes = format!("{} {}", number(&tcp["bytes_sent"]), number(&tcp["bytes_received"]));
                if bytes == "0 0" { Err(tcp.to_string()) } else { Ok(bytes) }
            });
            assert_eq!(&bytes, line, "sent and received; {way:?}");
            assert!(line == "150001 1" || line == "1 150001", "{line}");
        }
    }
}

#[test]
fn a_connection_that_is_handed_over_counts_bytes_for_who_gets_it() {
    let daemon = shared();
    let mut server = Workload::spawn(&["listen", "127.0.0.1", "+", "serve-by-heir", "7000"]);
    let address = server.line();
    let client =
        Workload::spawn(&["connect", &address, "+", "send", "7000", "+", "receive", "7000", "+", "receive-end"]);
    let heir: u32 = server.line().parse().unwrap();
    let (server, client) = (server.finish().pid, client.finish().pid);
    let [server, heir, client] = [server, heir, client].map(|pid| daemon.ended(pid)["tcp"].clone());
    let bytes = |process: &Value| (number(&process["bytes_sent"]), number(&process["bytes_received"]));
    let all = (7_000, 7_000);
    // Where traffic is not seen call by call (before Linux 6.3), it all belongs to who accepted.
    let by_call = daemon.metrics().find("monitor_signal_up", &[("signal", "tcp"), ("state", "full")]) == Some(1.0);
    let wanted = if by_call { ((0, 0), all) } else { (all, (0, 0)) };
    assert_eq!(((bytes(&server), bytes(&heir)), bytes(&client)), (wanted, all));
    assert_eq!((number(&server["accepts"]), number(&heir["accepts"])), (1, 0));
    assert_eq!((number(&server["closes"]["server"]), number(&heir["closes"]["server"])), (1, 0));
}

#[test]
fn a_call_that_another_threads_end_interrupts_is_counted_once() {
    let daemon = shared();
    let quiet = daemon.ended(Workload::spawn(&["threads", "1", "0"]).finish().pid);
    let process = daemon.ended(Workload::spawn(&["exit-while-reading"]).finish().pid);
    let read = &process["syscalls"]["families"]["read"];
    let ended = number(&read["errors"]["ERESTART"]) + number(&read["untimed"]);
    assert_eq!(ended, 1, "the thread's only call never came back: {process}");
    let dead = number(&process["syscalls"]["families"]["process"]["untimed"]);
    assert_eq!(dead, 1, "exit_group of one thread, nothing of the other: {quiet}");
    let calls = number(&read["calls"]);
    let timed: u64 = read["buckets"].as_array().unwrap().iter().map(number).sum();
    assert_eq!(calls, timed + number(&read["untimed"]));
}

/// Numbers of `/sys/block/NAME/stat`: reads, bytes read, writes, bytes written.
fn stat(disk: &str) -> [f64; 4] {
    let text = fs::read_to_string(format!("/sys/block/{disk}/stat")).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    [numbers[0], numbers[2] * 512.0, numbers[4], numbers[6] * 512.0]
}

#[test]
fn a_disk_has_done_what_its_groups_asked_for() {
    let daemon = shared();
    let disk = Disk::new(256);
    let of_groups = |metrics: &Samples| {
        let of = |name, op| metrics.sum(name, &[("device", disk.name.as_str()), ("op", op)]);
        let (operations, bytes) = ("monitor_process_block_io_operations_total", "monitor_process_block_io_bytes_total");
        [of(operations, "read"), of(bytes, "read"), of(operations, "write"), of(bytes, "write")]
    };
    let (kernel_before, before) = (stat(&disk.name), of_groups(&daemon.fresh_metrics()));
    let path = disk.path();
    let crowd: Vec<Workload> = ["0", "60", "120", "180"]
        .map(|from| {
            let steps = ["open-direct", &path, "+", "write-direct", from, "50", "+", "read-direct", from, "40"];
            Workload::spawn(&steps)
        })
        .into();
    for one in crowd {
        one.finish();
    }
    let more = |now: [f64; 4], before: [f64; 4]| [0, 1, 2, 3].map(|index| now[index] - before[index]);
    // Others may read it, too: udev looks at every new disk. All of it is somebody's.
    let counted = until(DEADLINE, || {
        let of_kernel = more(stat(&disk.name), kernel_before);
        let counted = more(of_groups(&daemon.fresh_metrics()), before);
        if counted == of_kernel { Ok(counted) } else { Err(format!("{counted:?}, the kernel has {of_kernel:?}")) }
    });
    assert!(counted[0] >= 160.0 && counted[2] == 200.0 && counted[3] == 200.0 * 4096.0, "{counted:?}");
}

#[test]
fn a_tree_of_processes_has_used_what_the_kernel_adds_up() {
    let daemon = shared();
    // Threads that end before their process, children, programs, a program that replaces itself: on a busy machine.
    let load: Vec<Workload> = (0..thread::available_parallelism().unwrap().get())
        .map(|_| Workload::spawn(&["storm-calls", "600000"]))
        .collect();
    let steps = "threads 6 20000 + fork 30 + touch 300 + burn 30 + zombie 10 30 + reap + exec + threads 3 5000 + touch 200 + \
                 spawn 4 + burn 20";
    let workload = Workload::spawn(&steps.split(' ').collect::<Vec<_>>());
    let group = workload.name.clone();
    let ended = workload.finish();
    let usage = ended.usage;
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let told = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    let integers = [usage.ru_minflt, usage.ru_majflt, usage.ru_nvcsw, usage.ru_nivcsw].map(|count| count as f64);
    // rusage is of the process and of all that it has waited for: the same as the group has.
    until(3 * DEADLINE, || {
        let metrics = daemon.fresh_metrics();
        let of = |name: &str, kind: &[(&str, &str)]| {
            let labels: Vec<_> = [("group", group.as_str())].into_iter().chain(kind.iter().copied()).collect();
            metrics.sum(name, &labels)
        };
        let (faults, switches) = ("monitor_process_page_faults_total", "monitor_process_context_switches_total");
        let counted = [
            of(faults, &[("type", "minor")]),
            of(faults, &[("type", "major")]),
            of(switches, &[("type", "voluntary")]),
            of(switches, &[("type", "involuntary")]),
        ];
        let used = of("monitor_process_cpu_seconds_total", &[]);
        let ends = of("monitor_process_exits_total", &[]);
        // Each of the 36 processes is rounded down to a microsecond, twice.
        if counted == integers && (used - told).abs() < 0.001 {
            Ok(())
        } else {
            Err(format!("{counted:?} and {used} s by {ends} processes, the kernel has {integers:?} and {told} s"))
        }
    });
    for one in load {
        one.kill(libc::SIGKILL);
        one.end();
    }
}
