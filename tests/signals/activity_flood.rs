//! What happens when there is more than anybody can take: nothing rare is lost, and what is kept back is told.

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::Path,
    thread,
};

use monitor_common::{loss::Loss, record::Ring};
use monitor_tests::{DEADLINE, Daemon, Tables, alone, everywhere, slowness, until};
use rustix::process::Signal;
use serde_json::Value;

use super::activity::{expect_one, logging, of, place};

/// Opens a file that nobody watches, so many times.
fn storm(path: &Path, count: usize) {
    for _ in 0..count {
        File::open(path).unwrap();
    }
}

#[test]
fn a_flood_of_what_is_frequent_costs_no_record_of_what_is_rare() {
    const RARE: usize = 500;
    const OPENS: usize = 20_000;
    let _turn = alone();
    let (_keep, place) = place();
    fs::create_dir(place.join("watched")).unwrap();
    let config = format!(
        "[rules]\ndefaults = false\n[kernel]\nbulk_ring = \"64KiB\"\n[activity]\nkinds = [\"file_open\"]\nwatch = [\"{}/\"]\nbulk_rate = 0\n",
        place.join("watched").display()
    );
    let daemon = Daemon::start(&config);
    let tables = Tables::of(daemon.pid());
    let frequent = place.join("frequent");
    fs::write(&frequent, "").unwrap();
    let base = File::open(place.join("watched")).unwrap();
    // Nobody takes anything out meanwhile: the bulk ring is full, however slow the machine.
    daemon.signal(Signal::STOP);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| storm(&frequent, OPENS / slowness() as usize));
        }
        for _ in 0..RARE {
            // SAFETY: strings outlive the calls.
            unsafe {
                assert_eq!(libc::mkdirat(base.as_raw_fd(), c"rare".as_ptr(), 0o700), 0);
                assert_eq!(libc::unlinkat(base.as_raw_fd(), c"rare".as_ptr(), libc::AT_REMOVEDIR), 0);
            }
            thread::yield_now();
        }
    });
    daemon.signal(Signal::CONT);
    let metrics = until(DEADLINE, || {
        everywhere();
        let metrics = daemon.fresh_metrics();
        let find = |name, ring: Ring| metrics.find(name, &[("ring", ring.name())]).unwrap();
        let received = find("monitor_ring_records_total", Ring::Security);
        let (numbered, missing) =
            (tables.numbered(Ring::Security) as f64, find("monitor_ring_missing_total", Ring::Bulk));
        let lost = tables.lost(Loss::ActivityBulkRing) as f64;
        if received == numbered && missing == lost {
            Ok(metrics)
        } else {
            Err(format!("{received} of {numbered}, {missing} {lost}"))
        }
    });
    assert_eq!(tables.lost(Loss::ActivityRing) + tables.lost(Loss::ExecRing), 0);
    assert!(tables.lost(Loss::ActivityBulkRing) > 0, "the bulk ring was never full: no flood");
    let missed = daemon.missed(&["sys_exit"]) as f64;
    for kind in ["mkdir", "rmdir"] {
        let told = metrics.find("monitor_activity_records_total", &[("kind", kind)]).unwrap();
        assert!(told <= RARE as f64 && told + missed >= RARE as f64, "{told} {kind}, {missed} missed");
    }
    let bulk = |name| metrics.find(name, &[("ring", "bulk")]).unwrap();
    assert_eq!(bulk("monitor_ring_malformed_total"), 0.0);
}

#[test]
fn who_sends_too_much_is_throttled_and_that_is_told_but_not_what_is_watched() {
    let _turn = alone();
    let (_keep, place) = place();
    let (frequent, rare) = (place.join("frequent"), place.join("rare-in-a-flood"));
    fs::write(&frequent, "").unwrap();
    let config = format!("[activity]\nkinds = [\"file_open\"]\nwatch = [\"{}\"]\nbulk_rate = 50\n", rare.display());
    let daemon = logging(&config);
    storm(&frequent, 300);
    let log = until(DEADLINE, || {
        let log = daemon.log();
        if log.contains(r#""kind":"throttle""#) { Ok(log) } else { Err("no throttle was told") }
    });
    let line = log.lines().find(|line| line.contains(r#""kind":"throttle""#)).unwrap();
    let told: Value = line.split_once("monitor::activity: ").unwrap().1.parse().unwrap();
    assert_eq!((&told["result"], told["args"][0].as_u64() > told["time_ns"].as_u64()), (&1.into(), true), "{told:#}");
    // What is watched comes all the same.
    fs::write(&rare, "").unwrap();
    expect_one(&daemon, of("file_open", &rare));
    let metrics = daemon.fresh_metrics();
    let lost = metrics.find("monitor_lost_total", &[("signal", "activity"), ("cause", "throttled")]).unwrap();
    assert!(lost >= 100.0, "{lost}");
    assert!(metrics.find("monitor_activity_throttles_total", &[]).unwrap() >= 1.0);
    assert_eq!(metrics.find("monitor_ring_missing_total", &[("ring", "bulk")]), Some(0.0), "none was numbered");
    // When time has passed it may send again, and that is told with what was kept back.
    let ended = until(DEADLINE, || {
        storm(&frequent, 1);
        let log = daemon.log();
        let mut throttles = log.lines().filter_map(|line| {
            let told: Value = line.split_once("monitor::activity: ")?.1.parse().ok()?;
            (told["kind"] == "throttle" && told["result"] == 0).then_some(told)
        });
        throttles.next().ok_or("the end was not told")
    });
    assert!(ended["args"][0].as_u64() >= Some(100), "{ended:#}");
}
