//! `block_io`: requests by who submitted them, with their bytes, time and errors.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Instant};

use monitor_tests::{Daemon, Disk, Samples, Workload, directory, shared};
use serde_json::Value;

const BLOCK: u64 = 4096;

/// What the process did to one device: operations, bytes and seconds.
fn of_device(process: &Value, device: &str, operation: &str) -> (u64, u64, f64) {
    let list = process["block_io"].as_array().cloned().unwrap_or_default();
    let mut found = list.iter().filter(|entry| entry["device"] == device && entry["op"] == operation);
    let Some(entry) = found.next() else { return (0, 0, 0.0) };
    assert!(found.next().is_none(), "{operation} twice in {list:?}");
    let number = |key: &str| entry[key].as_u64().unwrap();
    (number("operations"), number("bytes"), entry["seconds"].as_f64().unwrap())
}

/// Lets a process do requests to a file or device; its account, its group, and how long it all took.
fn requests(daemon: &Daemon, path: &str, steps: &[&str]) -> (Value, String, f64) {
    let mut all = vec!["open-direct", path, "+"];
    all.extend(steps);
    let begin = Instant::now();
    let workload = Workload::spawn(&all);
    let group = workload.name.clone();
    let process = daemon.ended(workload.finish().pid);
    (process, group, begin.elapsed().as_secs_f64())
}

#[test]
fn requests_count_for_who_submits_them() {
    let daemon = shared();
    let disk = Disk::new(64);
    let before = daemon.fresh_metrics();
    let steps = ["write-direct", "0", "50", "+", "read-direct", "10", "30"];
    let (process, group, wall) = requests(&daemon, &disk.path(), &steps);
    let (writes, written, write_time) = of_device(&process, &disk.name, "write");
    let (reads, read, read_time) = of_device(&process, &disk.name, "read");
    assert_eq!((writes, written), (50, 50 * BLOCK));
    assert_eq!((reads, read), (30, 30 * BLOCK));
    // One after the other: they cannot have taken longer than all together.
    assert!(write_time > 0.0 && read_time > 0.0 && write_time + read_time <= wall, "{write_time} {read_time} {wall}");

    let metrics = daemon.fresh_metrics();
    let of_group = |name, operation| {
        metrics.find(name, &[("group", group.as_str()), ("device", disk.name.as_str()), ("op", operation)])
    };
    assert_eq!(of_group("monitor_process_block_io_operations_total", "write"), Some(50.0));
    assert_eq!(of_group("monitor_process_block_io_bytes_total", "write"), Some(50.0 * BLOCK as f64));
    assert_eq!(of_group("monitor_process_block_io_operations_total", "read"), Some(30.0));
    assert_eq!(of_group("monitor_process_block_io_seconds_total", "read"), Some(read_time));

    // Nobody else writes to this disk. (Others may read it: udev looks at every new disk.)
    let labels = [("device", disk.name.as_str()), ("op", "write")];
    let more = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels) - before.sum(name, labels);
    assert_eq!(more("monitor_block_io_duration_seconds_count", &labels), 50.0);
    assert_eq!(more("monitor_block_io_size_bytes_sum", &labels), 50.0 * BLOCK as f64);
    // 2048 < 4096 <= 8192
    let at_most = |bytes| more("monitor_block_io_size_bytes_bucket", &[labels[0], labels[1], ("le", bytes)]);
    assert_eq!((at_most("2048"), at_most("8192")), (0.0, 50.0));
    let duration = more("monitor_block_io_duration_seconds_sum", &labels);
    assert!(duration > 0.0 && duration <= write_time, "{duration} at the driver, {write_time} since submission");
    assert_eq!(errors(&metrics, &disk.name), errors(&before, &disk.name));
}

/// Block requests that the daemon says it could not count.
fn told_as_lost(metrics: &Samples) -> u64 {
    let missed = |program| metrics.sum("monitor_ebpf_program_misses_total", &[("program", program)]);
    let programs = ["block_start", "block_issue", "block_complete"];
    let sum = metrics.sum("monitor_lost_total", &[("signal", "block_io")]) + programs.map(missed).iter().sum::<f64>();
    sum as u64
}

#[test]
fn a_file_counts_for_the_disk_that_it_is_on() {
    let daemon = shared();
    let directory = directory();
    let path = directory.path().join("file");
    // Written and on the disk before, and not by the process that is looked at: it changes data in place, nothing else.
    fs::write(&path, vec![1; 64 * 4096]).and_then(|()| fs::File::open(&path)?.sync_all()).unwrap();
    let Some(disk) = disk_of(&path) else {
        panic!("{} is not on a disk: build in a directory that is on one (CARGO_TARGET_DIR)", path.display());
    };
    let steps = ["write-direct", "0", "40", "+", "read-direct", "0", "20"];
    let (lost, merged) = (told_as_lost(&daemon.fresh_metrics()), merged(&disk));
    let (process, _, wall) = requests(&daemon, path.to_str().unwrap(), &steps);
    let (writes, written, time) = of_device(&process, &disk, "write");
    // The whole machine uses this disk. A write that waits beside another's may be made one request with it, which is the
    // other's then, or has more bytes than ours; the kernel counts how often. What the programs miss, they tell.
    let (lost, merged) = (told_as_lost(&daemon.fresh_metrics()) - lost, self::merged(&disk) - merged);
    let told = format!("{writes} counted, {lost} told as lost, {merged} merged; {disk}: {process}");
    assert!(writes <= 40 && writes + lost + merged >= 40, "{told}");
    assert!(written == writes * BLOCK || (merged > 0 && written > writes * BLOCK), "{told}");
    assert!(time > 0.0 && time <= wall);
    let (reads, read, _) = of_device(&process, &disk, "read");
    // Reading the program itself may take requests, too.
    assert!(reads >= 20 && read >= 20 * BLOCK, "{reads} {read}");
}

/// Writes that the kernel made one with another's request to this disk (Documentation/admin-guide/iostats.rst, field 6).
fn merged(disk: &str) -> u64 {
    let text = fs::read_to_string(format!("/sys/block/{disk}/stat")).unwrap();
    text.split_whitespace().nth(5).unwrap().parse().unwrap()
}

/// Name of the whole disk that a file is on.
fn disk_of(path: &Path) -> Option<String> {
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let link = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let whole = if link.join("partition").exists() { link.parent()? } else { &link };
    // Device mapper and the like pass requests on to the disks below.
    let below = fs::read_dir(whole.join("slaves")).into_iter().flatten().flatten().next();
    let name = below.map_or_else(|| whole.file_name().map(Into::into), |entry| Some(entry.file_name()))?;
    name.into_string().ok()
}

fn errors(metrics: &Samples, device: &str) -> Vec<(String, String, f64)> {
    let labels = [("device", device)];
    let label = |sample: &monitor_tests::Sample, name| sample.label(name).unwrap().to_owned();
    let found = metrics.all("monitor_block_io_errors_total", &labels);
    found.map(|sample| (label(sample, "op"), label(sample, "error"), sample.value)).collect()
}

#[test]
fn requests_that_fail_are_counted_by_their_error() {
    let daemon = shared();
    let disk = Disk::new(64);
    disk.cut(8);
    let before = daemon.fresh_metrics().sum("monitor_block_io_errors_total", &[("device", &disk.name)]);
    let mut workload = Workload::spawn(&["open-direct", &disk.path(), "+", "read-in-vain", "20", "5"]);
    for _ in 0..5 {
        assert_eq!(workload.line(), libc::EIO.to_string());
    }
    let process = daemon.ended(workload.finish().pid);
    let metrics = daemon.fresh_metrics();
    let labels = [("device", disk.name.as_str()), ("op", "read"), ("error", "EIO")];
    assert_eq!(metrics.sum("monitor_block_io_errors_total", &labels) - before, 5.0);
    // A request that failed was one all the same.
    let (reads, bytes, _) = of_device(&process, &disk.name, "read");
    assert_eq!((reads, bytes), (5, 5 * BLOCK));
}
