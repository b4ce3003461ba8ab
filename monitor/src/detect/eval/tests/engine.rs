//! Findings, and what rules remember.

use monitor_common::signals::activity::Act;
use serde_json::json;

use super::{Host, SECOND, activity, engine, exec, open, rule, socket};
use crate::detect::Event;
use crate::detect::eval::{Changed, Damage, Engine, Finding, Limits};
use crate::processes::ProcessId;

/// The same event at another time, seconds since boot.
fn at(seconds: u64, event: Event) -> Event {
    Event { time_ns: seconds * SECOND, ..event }
}

fn judge(engine: &mut Engine, host: &Host, event: &Event) -> Vec<Finding> {
    let mut found = Vec::new();
    engine.on_event(event, host, &mut found);
    found
}

/// How many findings the event makes.
fn count(engine: &mut Engine, host: &Host, event: Event) -> usize {
    judge(engine, host, &event).len()
}

#[test]
fn a_finding_tells_what_it_rests_on() {
    let host = Host::new();
    let text =
        rule("evt.type=openat and evt.is_open_write=true and fd.name startswith /etc/ and not proc.name in (vi, ed)")
            .replace("out %proc.name", "'wrote %fd.name by %proc.aname[2], %container.image. 100%'");
    let mut engine = engine(&text);
    let found = judge(&mut engine, &host, &open("/etc/x\ny", libc::O_WRONLY));
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(finding.message, "wrote /etc/x\\ny by nginx, <NA>. 100%");
    assert_eq!((finding.event, finding.process.tgid, finding.time_ns), (7, 30, 100 * SECOND));
    assert_eq!(finding.fields[1], ("proc.aname[2]".to_owned(), json!("nginx")));
    assert_eq!(finding.fields[2], ("container.image".to_owned(), json!(null)));
    let mut told: Vec<String> = finding
        .evidence
        .iter()
        .map(|one| format!("{} {} {} {} {}", one.field, one.operator, one.operands.join(","), one.held, one.value))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "evt.is_open_write = true true true",
            "evt.type = openat true \"openat\"",
            "fd.name startswith /etc/ true \"/etc/x\\\\ny\"",
            "proc.name in vi,ed false \"sh\"",
        ]
    );
}

const CHAIN: &str = "- rule: chain
  desc: d
  condition: evt.type = execve and proc.name = sh
  output: out
  priority: WARNING
  sequence:
    by: [proc.pid]
    within: 10s
    steps:
      - evt.type = connect
      - evt.type in (dup, dup2) and evt.rawres = 0
";

#[test]
fn a_sequence_takes_its_steps_in_order_in_time_and_by_entity() {
    let host = Host::new();
    let connect = || activity(Act::Connect, "connect", |activity| activity.socket = Some(socket()));
    let dup = || activity(Act::Dup, "dup2", |_| {});
    let shell = || exec(|exec| exec.comm = b"sh".to_vec());
    let other = |event: Event| Event { process: super::key(20), ..event };
    for (steps, expected) in [
        (vec![(0, connect()), (1, dup()), (2, shell())], 1),
        (vec![(0, dup()), (1, connect()), (2, shell())], 0),
        (vec![(0, connect()), (2, shell())], 0),
        (vec![(0, connect()), (5, dup()), (10, shell())], 1),
        (vec![(0, connect()), (5, dup()), (11, shell())], 0),
        // The first step again makes a younger chain, the second one has to come again too.
        (vec![(0, connect()), (1, dup()), (9, connect()), (11, shell())], 0),
        (vec![(0, connect()), (8, connect()), (9, dup()), (17, shell())], 1),
        (vec![(0, connect()), (1, other(dup())), (2, shell())], 0),
        (vec![(0, connect()), (1, dup()), (2, other(shell()))], 0),
        // It ends with the last step.
        (vec![(0, connect()), (1, dup()), (2, shell()), (3, shell())], 1),
    ] {
        let mut engine = engine(CHAIN);
        let label = format!("{:?}", steps.iter().map(|(time, event)| (time, event.what.clone())).collect::<Vec<_>>());
        let found: usize =
            steps.into_iter().map(|(time, event)| count(&mut engine, &host, at(100 + time, event))).sum();
        assert_eq!(found, expected, "{label}");
    }
}

fn counting(distinct: &str) -> String {
    format!(
        "- rule: many
  desc: d
  condition: evt.type = unlinkat
  output: out
  priority: WARNING
  count:
    by: [proc.pid]
    at_least: 3
    within: 10s
{distinct}  dedup:
    key: [evt.num]
    window: 1s
"
    )
}

fn unlink(path: &str) -> Event {
    activity(Act::Unlink, "unlinkat", |activity| activity.name = super::name(path, path))
}

#[test]
fn a_rule_that_counts_fires_when_there_are_enough_within_the_time() {
    let host = Host::new();
    let mut all = engine(&counting(""));
    let times = [0, 1, 2, 3, 4, 20, 31, 42, 43, 44];
    let found: Vec<usize> = times.iter().map(|time| count(&mut all, &host, at(100 + time, unlink("/a")))).collect();
    // Three, then anew; one at 20 alone; 42 to 44 are three.
    assert_eq!(found, [0, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
    let mut different = engine(&counting("    distinct: fs.path.name\n"));
    let found: Vec<usize> = ["/a", "/a", "/b", "/a", "/c", "/c", "/d", "/e"]
        .iter()
        .enumerate()
        .map(|(time, path)| count(&mut different, &host, at(200 + time as u64, unlink(path))))
        .collect();
    assert_eq!(found, [0, 0, 0, 0, 1, 0, 0, 1]);
    // Old ones do not count, however many values there were.
    let found: Vec<usize> = [("/a", 0), ("/b", 1), ("/c", 12), ("/d", 13), ("/e", 14)]
        .iter()
        .map(|(path, time)| count(&mut different, &host, at(300 + time, unlink(path))))
        .collect();
    assert_eq!(found, [0, 0, 0, 0, 1]);
}

#[test]
fn what_is_remembered_is_bounded_and_what_had_to_go_is_counted() {
    let mut host = Host::new();
    let mut engine = engine(&counting(""));
    for pid in 0..6000 {
        let pid = 100_000 + pid;
        host.add(pid, None, "x", "/x", &["x"]);
        let event = Event { process: super::key(pid), ..unlink("/a") };
        assert_eq!(count(&mut engine, &host, event), 0);
        host.processes.remove(&ProcessId::from_key(super::key(pid)));
    }
    let (entries, gone) = engine.states[0].sizes()[1];
    assert_eq!((entries, gone), (4096, 6000 - 4096));
    let mut families = crate::metrics::Families::new();
    engine.collect(&mut families);
    let snapshot = families.finish();
    let family = snapshot.family("monitor_rule_state_evictions_total").unwrap();
    let told: f64 = family.samples().map(|sample| sample.value()).sum();
    assert_eq!(told, 1904.0);
}

const FIRST: &str = "- rule: new
  desc: d
  condition: evt.type = execve
  output: out
  priority: WARNING
  first_seen:
    of: [proc.exepath]
    remember: 1h
    learn: 100s
";

fn run(exe: &str) -> Event {
    exec(|exec| exec.exe = exe.into())
}

#[test]
fn the_first_time_is_told_once_learning_over_and_survives_a_restart() {
    let host = Host::new();
    let mut engine = engine(FIRST);
    let told = |engine: &mut Engine, time, exe| count(engine, &host, at(time, run(exe)));
    assert_eq!(told(&mut engine, 1000, "/a"), 0, "learnt");
    assert_eq!(told(&mut engine, 1099, "/b"), 0, "learnt");
    assert_eq!(told(&mut engine, 1100, "/c"), 1);
    assert_eq!(told(&mut engine, 1101, "/c"), 0);
    assert_eq!(told(&mut engine, 1102, "/a"), 0);
    let file = engine.seen();
    let mut restarted = super::engine(FIRST);
    restarted.remember(&file).unwrap();
    assert_eq!(told(&mut restarted, 1200, "/b"), 0);
    assert_eq!(told(&mut restarted, 1201, "/d"), 1);
    // Forgotten after an hour.
    assert_eq!(told(&mut restarted, 1200 + 3600, "/b"), 0);
    assert_eq!(told(&mut restarted, 1200 + 7201, "/b"), 1);
}

#[test]
fn a_damaged_file_is_refused_whole() {
    let host = Host::new();
    let mut known = engine(FIRST);
    count(&mut known, &host, at(1000, run("/a")));
    let file = known.seen();
    let mut fresh = engine(FIRST);
    assert_eq!(fresh.remember(b""), Err(Damage::Magic));
    assert_eq!(fresh.remember(&file[..10]), Err(Damage::Length { expected: 16, found: 10 }));
    assert!(matches!(fresh.remember(&file[..file.len() - 1]), Err(Damage::Length { .. })));
    for at in 16..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert_eq!(fresh.remember(&changed), Err(Damage::Checksum), "{at}");
    }
    assert!(fresh.states[0].seen.is_none());
    assert_eq!(fresh.remember(&file), Ok(()));
}

#[test]
fn equal_findings_are_one_in_the_window_and_say_how_many() {
    let host = Host::new();
    let mut engine = engine(&format!("{}  dedup:\n    key: [fd.name]\n    window: 60s\n", rule("evt.type = openat")));
    let mut told = |time, path| {
        let found = judge(&mut engine, &host, &at(time, open(path, 0)));
        found.first().map(|finding| finding.held_back)
    };
    assert_eq!(told(100, "/a"), Some(0));
    assert_eq!(told(101, "/a"), None);
    assert_eq!(told(102, "/b"), Some(0));
    assert_eq!(told(159, "/a"), None);
    assert_eq!(told(160, "/a"), Some(2));
    assert_eq!(told(161, "/a"), None);
}

#[test]
fn what_was_held_back_is_told_when_its_window_ends_though_nothing_more_comes() {
    let host = Host::new();
    let windowed = format!("{}  dedup:\n    key: [fd.name]\n    window: 60s\n", rule("evt.type = openat"));
    for (text, after, held) in [(windowed, 60, 2), (rule("evt.type = openat"), 10, 5)] {
        let mut engine = engine(&text);
        // Without a window ten are published at once.
        let published = if held == 5 { 10 } else { 1 };
        for number in 0..published + held {
            let told = count(&mut engine, &host, at(100, open("/a", 0)));
            assert_eq!(told, usize::from(number < published), "{number}");
        }
        count(&mut engine, &host, at(100, open("/once", 0)));
        let mut told = Vec::new();
        engine.advance((100 + after) * SECOND - 1, &mut told);
        assert_eq!(told, []);
        engine.advance((100 + after) * SECOND, &mut told);
        let [summary] = told.as_slice() else { panic!("{told:?}") };
        assert!(summary.summary && summary.storm.is_none());
        assert_eq!((summary.held_back, summary.process.tgid, summary.time_ns), (held, 30, 100 * SECOND));
        assert_eq!(summary.message, format!("out sh | seen {held} times more within 0 s"));
        assert!(!summary.evidence.is_empty());
        engine.advance(1_000 * SECOND, &mut told);
        assert_eq!(told.len(), 1, "once");
        let (entries, evictions) = engine.states[0].sizes()[3];
        assert_eq!((entries, evictions), (0, 0), "forgotten, not for lack of room");
        assert_eq!(count(&mut engine, &host, at(1_001, open("/a", 0))), 1);
    }
}

#[test]
fn a_summary_counts_for_the_rate_like_any_finding() {
    let host = Host::new();
    let mut engine = engine(&format!("{}  dedup:\n    key: [fd.name]\n    window: 5s\n", rule("evt.type = openat")));
    engine.set_limits(Limits { burst: 1, per_second: 1 });
    let mut told = Vec::new();
    for path in ["/a", "/b", "/a", "/a", "/b"] {
        told.extend(judge(&mut engine, &host, &at(100, open(path, 0))));
    }
    for second in 101..130 {
        engine.advance(second * SECOND, &mut told);
    }
    // One of /a; of /b none; then of one the summary, and the other with what /b had before.
    let single = told.iter().filter(|one| !one.summary).count() as u64;
    let summed: u64 = told.iter().filter(|one| one.summary).map(|one| one.held_back).sum();
    assert_eq!((single, single + summed), (1, 5), "{told:?}");
    assert!(told.iter().any(|one| one.storm.is_some()) && told.iter().any(|one| one.repeated.is_some()), "{told:?}");
}

#[test]
fn sequences_and_counts_are_forgotten_when_their_time_is_over() {
    let host = Host::new();
    for (text, event, kind) in [
        (CHAIN.to_owned(), activity(Act::Connect, "connect", |activity| activity.socket = Some(socket())), 0),
        (counting(""), unlink("/a"), 1),
        (counting("    distinct: fs.path.name\n"), unlink("/a"), 1),
    ] {
        let mut engine = engine(&text);
        count(&mut engine, &host, at(100, event));
        assert_eq!(engine.states[0].sizes()[kind], (1, 0));
        engine.advance(110 * SECOND, &mut Vec::new());
        assert_eq!(engine.states[0].sizes()[kind], (1, 0));
        engine.advance(111 * SECOND, &mut Vec::new());
        assert_eq!(engine.states[0].sizes()[kind], (0, 0), "{text}");
    }
}

#[test]
fn what_was_seen_is_bounded_also_by_the_length_of_values_and_says_when_it_changed() {
    let host = Host::new();
    let mut engine = engine(FIRST);
    assert_eq!(engine.changed(), Changed::No);
    let long = |number: u32| format!("/{number}{}", "x".repeat(4000));
    for number in 0..100 {
        count(&mut engine, &host, at(1000, run(&long(number))));
    }
    assert_eq!((engine.changed(), engine.changed()), (Changed::Entries, Changed::No));
    assert_eq!(count(&mut engine, &host, at(1200, run(&long(7)))), 0);
    assert_eq!(engine.changed(), Changed::Times);
    assert!(engine.seen().len() < 100 * 64, "{}", engine.seen().len());
    let mut restarted = super::engine(FIRST);
    restarted.remember(&engine.seen()).unwrap();
    assert_eq!(count(&mut restarted, &host, at(1300, run(&long(8)))), 0);
    assert_eq!(count(&mut restarted, &host, at(1300, run(&long(200)))), 1);
    // Rules come and go under other names: what they had seen does not add up without end.
    for number in 0..400 {
        restarted.replace(super::compile(&FIRST.replace("rule: new", &format!("rule: new{number}"))).0);
        count(&mut restarted, &host, at(1400, run("/x")));
    }
    let mut fresh = super::engine(FIRST);
    fresh.remember(&restarted.seen()).unwrap();
    assert!(fresh.absent.len() <= 256, "{}", fresh.absent.len());
}

#[test]
fn a_storm_is_slowed_down_and_summed_up_with_nothing_lost() {
    let host = Host::new();
    let mut engine = engine(&rule("evt.type = openat"));
    let (mut published, mut summed, mut longest) = (0, 0, 0);
    for tenth in 0..1200_u64 {
        let event = Event { time_ns: 100 * SECOND + tenth * SECOND / 10, ..open(&format!("/{tenth}"), 0) };
        let mut found = judge(&mut engine, &host, &event);
        if tenth % 10 == 0 {
            engine.advance(event.time_ns, &mut found);
        }
        for finding in found {
            match finding.storm {
                None => published += 1,
                Some(storm) => {
                    summed += storm.count;
                    longest = longest.max(event.time_ns - storm.since_ns);
                }
            }
        }
    }
    let mut rest = Vec::new();
    engine.advance(400 * SECOND, &mut rest);
    summed += rest.iter().filter_map(|finding| finding.storm).map(|storm| storm.count).sum::<u64>();
    assert_eq!(published + summed, 1200);
    // 50 at once, then 5 a second.
    assert!((640..=660).contains(&published), "{published}");
    assert!(longest <= 12 * SECOND, "{longest}");
    assert_eq!(engine.states[0].held, [0, summed]);
}

#[test]
fn a_reload_keeps_what_unchanged_rules_remember() {
    let host = Host::new();
    let mut engine = engine(CHAIN);
    let connect = activity(Act::Connect, "connect", |activity| activity.socket = Some(socket()));
    let dup = activity(Act::Dup, "dup2", |_| {});
    let shell = || exec(|exec| exec.comm = b"sh".to_vec());
    let replaced = |engine: &mut Engine, text: &str| engine.replace(super::compile(text).0);
    count(&mut engine, &host, at(100, connect.clone()));
    // The same rule on another line, behind another rule.
    replaced(&mut engine, &format!("{}\n\n{CHAIN}", rule("evt.type = open")));
    count(&mut engine, &host, at(101, dup.clone()));
    assert_eq!(count(&mut engine, &host, at(102, shell())), 1);
    count(&mut engine, &host, at(103, connect));
    replaced(&mut engine, &CHAIN.replace("10s", "9s"));
    count(&mut engine, &host, at(104, dup));
    assert_eq!(count(&mut engine, &host, at(105, shell())), 0, "another rule begins anew");
}

#[test]
fn values_and_results_of_one_event_are_not_those_of_the_next() {
    let host = Host::new();
    let mut engine = engine(&rule("evt.type = openat and fd.name = /a and proc.cmdline contains uname"));
    for time in 0..50 {
        assert_eq!(count(&mut engine, &host, at(100 + 60 * time, open("/a", 0))), 1);
        assert_eq!(count(&mut engine, &host, at(100 + 60 * time, open("/b", 0))), 0);
    }
}

#[test]
fn the_file_of_what_was_seen_is_replaced_whole_and_put_aside_when_damaged() {
    use crate::detect::eval::seen_file::{SeenFileError, read, write};
    let (host, directory) = (Host::new(), tempfile::tempdir().unwrap());
    let path = directory.path().join("seen");
    let mut first = engine(FIRST);
    read(&path, &mut first).unwrap();
    count(&mut first, &host, at(1000, run("/a")));
    write(&path, &first.seen()).unwrap();
    let mut second = engine(FIRST);
    read(&path, &mut second).unwrap();
    assert_eq!(second.seen(), first.seen());
    std::fs::write(&path, b"MONSEEN1 and more").unwrap();
    let error = read(&path, &mut engine(FIRST)).unwrap_err();
    assert!(matches!(error, SeenFileError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("kept as"), "{error}");
    assert_eq!(std::fs::read(directory.path().join("seen.damaged")).unwrap(), b"MONSEEN1 and more");
    std::fs::write(&path, b"another").unwrap();
    assert!(read(&path, &mut engine(FIRST)).unwrap_err().to_string().contains("seen.damaged.2"));
    // The place is free again.
    write(&path, &second.seen()).unwrap();
    read(&path, &mut engine(FIRST)).unwrap();
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_rule_is_explained() {
    let engine = engine(&rule("evt.type in (open, ptrace) and container.privileged = true and fd.name = /etc/shadow"));
    let text = engine.explain("r").unwrap();
    for line in [
        "  of open: (container.privileged = true and fd.name = /etc/shadow)",
        "  always missing on this host: container.privileged",
        "  the kernel tells: file_open, ptrace",
        "  files that are read: /etc/shadow",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert_eq!(engine.explain("x"), None);
}
