use super::*;

#[test]
fn the_clock_counts_from_boot() {
    let clock = BootClock::new(1_700_000_000_000_000_000);
    assert_eq!(clock.time(1_500_000_001).to_string(), "2023-11-14T22:13:21.500000001Z");
    let elapsed = Timestamp::now().duration_since(BootClock::read().time(0));
    assert!(elapsed.as_secs() > 0);
}

#[test]
fn variables_given_twice_are_both_told() {
    let pair = |value: &[u8]| (b"LD_PRELOAD".to_vec(), value.to_vec());
    let (first, repeated) = environment(&[pair(b"/a.so"), pair(b"/b\xff.so")]);
    assert_eq!(first["LD_PRELOAD"], "/a.so");
    assert_eq!(repeated, ["LD_PRELOAD=/b\\xff.so"]);
}

#[test]
fn an_ancestor_shows_whole_arguments_up_to_its_limit() {
    let args = [b"sh".to_vec(), vec![b'x'; 2000], vec![b'y'; 200], b"z".to_vec()];
    let ancestor = Ancestor::new(1, 250, b"/bin/sh", &args, Some(0), BootClock::new(0));
    assert_eq!(ancestor.argv.iter().map(String::len).collect::<Vec<_>>(), [2, 2000]);
    assert_eq!(ancestor.start_time.to_string(), "1970-01-01T00:00:02.5Z");
}

#[test]
fn names_with_control_characters_and_without_utf8_make_a_valid_line() {
    let exec = Exec {
        comm: b"a\"\n\x1b[31m\xff".to_vec(),
        exe: b"/tmp/\xc3\x28".to_vec(),
        args: vec![b"\0\x01\\".to_vec(), vec![0xff; 3]],
        ..Exec::default()
    };
    let mut alert = Alert::new(Timestamp::UNIX_EPOCH, "r", Severity::Low, Subject::of_exec(&exec, BootClock::new(0)));
    alert.evidence = vec![("z".into(), Value::from(1)), ("a".into(), Value::from(2))];
    let line = Rendered::new(&alert, None).with_seq(3);
    assert!(line.bytes().all(|byte| byte >= b' '));
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["process"]["comm"], "a\"\n\u{1b}[31m\\xff");
    assert_eq!(value["process"]["exe"], "/tmp/\\xc3(");
    assert_eq!(value["process"]["argv"][1], "\\xff\\xff\\xff");
    assert!(value.get("suppressed").is_none() && value.get("host").is_none());
    // Evidence keeps the rule's order.
    assert!(line.find(r#""z":1"#) < line.find(r#""a":2"#));
}
