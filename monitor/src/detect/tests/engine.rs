use super::*;
use crate::metrics::Families;

const SECOND: u64 = 1_000_000_000;

fn settings(text: &str, disable: &[&str]) -> RuleSettings {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("a.toml"), text).unwrap();
    let disable: Vec<String> = disable.iter().map(|id| (*id).to_owned()).collect();
    RuleSettings::load(root.path(), &disable).unwrap()
}

fn run(engine: &mut Engine, exec: &Exec) -> Vec<Finding> {
    let mut out = Vec::new();
    engine.on_exec(exec, &context(), &mut out);
    out
}

fn metric(engine: &Engine, name: &str, rule: &str) -> f64 {
    let mut families = Families::new();
    engine.collect(&mut families);
    let snapshot = families.finish();
    let mut samples = snapshot.family(name).unwrap().samples();
    samples.find(|sample| sample.labels().next() == Some(rule)).unwrap().value()
}

#[test]
fn rules_can_be_switched_off() {
    let mut engine = Engine::new(&settings("[[rule]]\nid='exec_tmp'\nenabled=false", &["exec_hidden"]));
    assert_eq!(run(&mut engine, &exec("/tmp/.x")), []);
    engine.tune(&RuleSettings::default());
    assert_eq!(run(&mut engine, &exec("/tmp/.x")).len(), 2);
}

#[test]
fn severities_can_be_set() {
    let text = "[[rule]]\nid='exec_tmp'\nseverity='critical'\n[[rule]]\nid='exec_devshm'\nseverity='info'";
    let mut engine = Engine::new(&settings(text, &[]));
    assert_eq!(run(&mut engine, &exec("/tmp/x"))[0].severity, Severity::Critical);
    assert_eq!(run(&mut engine, &exec("/run/user/1000/x"))[0].severity, Severity::Info);
}

#[test]
fn exceptions_match_the_path_that_was_judged_and_are_counted() {
    let mut engine = Engine::new(&settings("[[rule]]\nid='exec_tmp'\nexcept_exe=['/tmp/build/*','/usr/**']", &[]));
    assert_eq!(run(&mut engine, &exec("/tmp/build/a")), []);
    assert_eq!(run(&mut engine, &script("/tmp/build", "./x.sh")), []);
    // The interpreter is no excuse for the script.
    assert_eq!(run(&mut engine, &script("/tmp", "x.sh")).len(), 1);
    assert_eq!(run(&mut engine, &script("/tmp/build", "../x2.sh")).len(), 1);
    assert_eq!(metric(&engine, "monitor_events_excepted_total", "exec_tmp"), 2.0);
    let mut groups = Engine::new(&settings("[[rule]]\nid='exec_tmp'\nexcept_group=['ba*']", &[]));
    assert_eq!(run(&mut groups, &exec("/tmp/x")), []);
}

#[test]
fn a_flood_is_slowed_down_and_accounted_for() {
    let mut engine = Engine::new(&RuleSettings::default());
    let mut published = 0;
    for _ in 0..500 {
        published += run(&mut engine, &exec("/tmp/x")).len();
    }
    assert_eq!(published, 10);
    assert_eq!(run(&mut engine, &exec("/tmp/y")).len(), 1, "another program is not held back");
    assert_eq!(run(&mut engine, &script("/tmp", "s.sh")).len(), 1, "nor is a script");
    let later = with(exec("/tmp/x"), |exec| exec.time_ns += 10 * SECOND);
    assert_eq!(run(&mut engine, &later)[0].suppressed, 490);
    assert_eq!(metric(&engine, "monitor_events_suppressed_total", "exec_tmp"), 490.0);
}

#[test]
fn a_shell_to_another_peer_is_another_event() {
    let mut engine = Engine::new(&RuleSettings::default());
    for _ in 0..50 {
        run(&mut engine, &with(exec("/usr/bin/bash"), |exec| exec.stdio = [inet(1); 3]));
    }
    assert_eq!(run(&mut engine, &with(exec("/usr/bin/bash"), |exec| exec.stdio = [inet(2); 3])).len(), 1);
}

#[test]
fn losses_become_an_event() {
    let mut engine = Engine::new(&RuleSettings::default());
    let mut out = Vec::new();
    let lost =
        |count: u64| vec![("lost", serde_json::json!([{ "signal": "exec", "cause": "ring_full", "count": count }]))];
    let count = |total| [LossCount { signal: "exec", cause: "ring_full", total }];
    engine.on_losses(&count(0), SECOND, &mut out);
    assert_eq!(out, []);
    for second in 2..12 {
        engine.on_losses(&count(second), second * SECOND, &mut out);
    }
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].rule.id, out[0].severity, out[0].time_ns), ("event_loss", Severity::Medium, 2 * SECOND));
    assert_eq!(out[0].evidence, lost(2));
    engine.on_losses(&count(11), 12 * SECOND, &mut out);
    assert_eq!(out[1].evidence, lost(9));

    let mut off = Engine::new(&settings("", &["event_loss"]));
    let mut none = Vec::new();
    off.on_losses(&count(5), SECOND, &mut none);
    assert_eq!(none, []);
}

#[test]
fn the_same_input_gives_the_same_findings() {
    let stream: Vec<Exec> = (0..200)
        .map(|index| with(exec(["/tmp/x", "/dev/shm/.y", "/usr/bin/ls"][index % 3]), |exec| exec.time_ns += SECOND))
        .collect();
    let replay = || {
        let mut engine = Engine::new(&RuleSettings::default());
        stream.iter().flat_map(|exec| run(&mut engine, exec)).collect::<Vec<_>>()
    };
    assert_eq!(replay(), replay());
}
