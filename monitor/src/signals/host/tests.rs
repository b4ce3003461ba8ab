use std::time::Duration;

use super::*;

/// Every series: name, label values, value.
fn series(host: &Host) -> Vec<(String, Vec<String>, f64)> {
    let mut families = Families::new();
    host.collect(&mut families);
    let mut found = Vec::new();
    for family in families.finish().families() {
        for sample in family.samples() {
            found.push((family.name().to_owned(), sample.labels().map(str::to_owned).collect(), sample.value()));
        }
    }
    found
}

fn value(found: &[(String, Vec<String>, f64)], name: &str, labels: &[&str]) -> f64 {
    let series = found.iter().find(|(found, values, _)| found == name && values == labels);
    series.unwrap_or_else(|| panic!("no {name} {labels:?}")).2
}

fn refreshed() -> Host {
    let mut host = Host::new();
    host.refresh();
    let deadline = Instant::now() + Duration::from_secs(30);
    while host.filesystems.as_ref().unwrap().latest().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    host
}

fn near(ours: f64, theirs: f64, tolerance: f64) -> bool {
    (ours - theirs).abs() <= tolerance * theirs.abs().max(1.0)
}

#[test]
fn memory_load_and_time_are_those_of_proc() {
    let found = series(&refreshed());
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    for name in ["MemTotal", "MemAvailable", "MemFree", "Buffers", "Cached", "SReclaimable", "SwapTotal", "SwapFree"] {
        let (ours, theirs) =
            (value(&found, &format!("node_memory_{name}_bytes"), &[]), parse::meminfo(&meminfo, name).unwrap());
        // The machine goes on meanwhile.
        let tolerance = if name.ends_with("Total") { 0.0 } else { 0.2 };
        assert!(near(ours, theirs, tolerance), "{name}: {ours} and {theirs}");
    }
    let load: f64 = std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').nth(2).unwrap().parse().unwrap();
    assert!(near(value(&found, "node_load15", &[]), load, 0.2));
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    let boot = value(&found, "node_time_seconds", &[]) - uptime;
    assert!((value(&found, "node_boot_time_seconds", &[]) - boot).abs() < 3.0);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(found.iter().any(|(name, labels, _)| name == "node_uname_info" && labels[3] == release.trim()));
}

#[test]
fn cpu_time_is_that_of_proc_and_grows() {
    let mut host = refreshed();
    let total = |host: &Host| host.cpus.values().flatten().sum::<f64>();
    let before = total(&host);
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    let cpus = host.cpus.len();
    assert!(cpus >= 1 && before <= uptime * cpus as f64 * 1.05 + 10.0, "{before} of {cpus} CPUs in {uptime} s");
    let deadline = Instant::now() + Duration::from_secs(10);
    while total(&host) <= before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        host.refresh();
    }
    assert!(total(&host) > before);
}

#[test]
fn file_systems_are_those_that_statvfs_sees() {
    let found = series(&refreshed());
    let sizes: Vec<_> = found.iter().filter(|(name, _, _)| name == "node_filesystem_size_bytes").collect();
    let listed = sysinfo::Disks::new_with_refreshed_list().unwrap();
    assert!(!sizes.is_empty() || listed.iter().all(|disk| disk.total_space() == 0));
    for (_, labels, size) in sizes {
        let space = rustix::fs::statvfs(labels[1].as_str()).unwrap();
        assert_eq!(*size, (space.f_blocks * space.f_frsize) as f64, "{labels:?}");
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let free = value(&found, "node_filesystem_free_bytes", &labels);
        assert!(free <= *size && value(&found, "node_filesystem_avail_bytes", &labels) <= free);
        assert!(near(free, (space.f_bfree * space.f_frsize) as f64, 0.2));
    }
    assert!(value(&found, "monitor_host_filesystems_age_seconds", &[]) < 60.0);
}

#[test]
fn the_loopback_counts_what_is_sent_through_it() {
    use std::net::UdpSocket;
    let mut host = refreshed();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let read = |host: &Host, name: &str| value(&series(host), name, &["lo"]);
    let before = (read(&host, "node_network_receive_bytes_total"), read(&host, "node_network_transmit_packets_total"));
    for _ in 0..100 {
        sender.send_to(&[0; 1_000], receiver.local_addr().unwrap()).unwrap();
    }
    host.refresh();
    let after = (read(&host, "node_network_receive_bytes_total"), read(&host, "node_network_transmit_packets_total"));
    assert!(after.0 - before.0 >= 100_000.0 && after.1 - before.1 >= 100.0, "{before:?} {after:?}");
}

#[test]
fn every_series_is_described_and_no_device_is_there_twice() {
    let host = refreshed();
    let found = series(&host);
    for (name, ..) in &found {
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name}");
    }
    for (disk, _) in &host.disks {
        assert!(is_disk(disk) && !std::path::Path::new(&format!("/sys/class/block/{disk}/partition")).exists());
    }
    assert!(!is_disk("loop0") && !is_disk("zram1") && !is_disk("no-such-disk"));
    assert_eq!(value(&found, "monitor_host_source_up", &["stat"]), 1.0);
    assert_eq!(value(&found, "monitor_host_devices_dropped_total", &["disk"]), 0.0);
}

#[test]
fn a_missing_source_is_told() {
    let mut host = Host::new();
    assert_eq!(host.read("no-such-file"), "");
    assert!(!host.sources["no-such-file"]);
}

#[test]
fn cpu_time_does_not_go_back_but_a_new_cpu_starts_anew() {
    let modes = |idle, iowait| [1.0, 0.0, 0.0, idle, iowait, 0.0, 0.0, 0.0];
    let before: Cpus = [(0, modes(100.0, 5.0)), (1, modes(100.0, 5.0))].into();
    let now = advance(&before, [(0, modes(99.99, 4.0)), (1, modes(1.0, 0.0)), (2, modes(1.0, 0.0))].into());
    assert_eq!(now, [(0, modes(100.0, 5.0)), (1, modes(1.0, 0.0)), (2, modes(1.0, 0.0))].into());
}

#[test]
fn devices_beyond_the_limit_are_counted() {
    let mut dropped = BTreeMap::new();
    assert_eq!(limited(&mut dropped, "disk", DEVICES), DEVICES);
    assert_eq!(limited(&mut dropped, "disk", DEVICES + 3), DEVICES);
    assert_eq!(dropped["disk"], 3);
}
