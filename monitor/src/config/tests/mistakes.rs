//! Every kind of bad input gives a message with its place, what is accepted, and an example or the nearest name.

use super::super::{ConfigError, FILE_LIMIT, Loaded, Sources};
use super::{Fixture, absent, assert_mistake, environment, flags, mistake, mistakes};

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest_name() {
    assert_eq!(
        mistake("[http]\n  lisen = \"127.0.0.1:1\"\n"),
        "FILE:2:3: unknown key \"http.lisen\"; did you mean http.listen?"
    );
    assert_mistake("[processes]\nlisten = 1\n", &["FILE:2:1", "did you mean http.listen?"]);
    assert_mistake("[log]\nHTTP_PORT_OF_THE_THING = 1\n", &["FILE:2:1: unknown key \"log.HTTP_PORT_OF_THE_THING\""]);
    assert_mistake("lisen = 1\n", &["FILE:1:1: unknown key \"lisen\"; did you mean http.listen?"]);
    assert_eq!(mistake("[http]\na = 1\n"), "FILE:2:1: unknown key \"http.a\"");
    assert_mistake("listen = \"127.0.0.1:1\"\n", &["FILE:1:1: unknown key \"listen\"; did you mean http.listen?"]);
}

#[test]
fn an_unknown_table_is_told_with_the_nearest_name() {
    assert_eq!(mistake("[metric]\ngroups = 1\n"), "FILE:1:2: unknown table \"metric\"; did you mean [metrics]?");
    assert_mistake("[[groups]]\nname = \"a\"\n", &["FILE:1:3: unknown"]);
    assert_mistake("[group]\nname = \"a\"\n", &["FILE:1:2: group is a list of tables: write [[group]]"]);
    assert_mistake("http = 1\n", &["FILE:1:1: http is a table: write [http]"]);
    assert_mistake("[[http]]\nlisten = \"127.0.0.1:1\"\n", &["FILE:1:3: http is a table: write [http]"]);
}

#[test]
fn a_wrong_type_says_what_is_accepted() {
    assert_eq!(
        mistake("[signals]\ntcp = 3\n"),
        "FILE:2:7: signals.tcp is 3, it has to be true or false; example: tcp = false"
    );
    assert_mistake("[signals]\ntcp = \"true\"\n", &["signals.tcp is \"true\" (write it without quotes)"]);
    assert_mistake(
        "[http]\nmax_connections = \"9\"\n",
        &["(write it without quotes)", "a whole number from 1 to 65536"],
    );
    assert_mistake("[http]\nmax_connections = 1.5\n", &["http.max_connections is 1.5, it has to be a whole number"]);
    assert_mistake("[http]\nlisten = 9100\n", &["http.listen is 9100, it has to be an IP address with a port"]);
    assert_mistake("[http.listen]\nport = 1\n", &["FILE:1:", "http.listen is a table"]);
    assert_mistake("[rules]\ndisable = \"a\"\n", &["(a list stands in [ ])", "example: disable = [\"exec_tmp\""]);
    assert_mistake(
        "[rules]\ndisable = [\n  \"a\",\n  7,\n]\n",
        &["FILE:4:3: rules.disable has the entry 7, it has to be a list of names"],
    );
    assert_mistake("[log]\nlevel = 1979-05-27\n", &["log.level is a date or time"]);
}

#[test]
fn a_wrong_unit_says_which_are_right() {
    assert_mistake(
        "[events]\nrotate_size = \"5 parsecs\"\n",
        &[
            "FILE:2:15: events.rotate_size is \"5 parsecs\" (unknown unit \"parsecs\")",
            "\"8MiB\"",
            "example: rotate_size = ",
        ],
    );
    assert_mistake(
        "[metrics]\ngroup_idle = \"5 parsecs\"\n",
        &["FILE:2:14", "(unknown unit \"parsecs\")", "\"1h30m\"", "from 1s to 30days"],
    );
    assert_mistake("[metrics]\ngroup_idle = 10\n", &["metrics.group_idle is 10 (no unit)"]);
    assert_mistake("[metrics]\ngroup_idle = \"10\"\n", &["(no unit)"]);
    assert_mistake("[metrics]\ngroup_idle = \"soon\"\n", &["metrics.group_idle is \"soon\", it has to be a duration"]);
    assert_mistake("[events]\nrotate_size = \"big\"\n", &["events.rotate_size is \"big\", it has to be a size"]);
    assert_mistake("[events]\nrotate_size = \"\"\n", &["events.rotate_size is \"\", it has to be a size"]);
}

#[test]
fn a_value_out_of_range_says_the_range() {
    for (text, range) in [
        ("[metrics]\ngroups = 0\n", "from 1 to 10000"),
        ("[metrics]\ngroups = -1\n", "from 1 to 10000"),
        ("[metrics]\ngroups = 0x2711\n", "from 1 to 10000"),
        ("[processes]\nslots = 63\n", "from 64 to 32768"),
        ("[processes]\nslots = 32769\n", "from 64 to 32768"),
        ("[metrics]\ngroup_idle = \"1ms\"\n", "from 1s to 30days"),
        ("[metrics]\ngroup_idle = \"1000000 years\"\n", "from 1s to 30days"),
        ("[events]\nrotate_size = 12\n", "from 64KiB to 64GiB"),
        ("[events]\nrotate_size = -12\n", "from 64KiB to 64GiB"),
        ("[events]\nrotate_size = \"99999999 EB\"\n", "from 64KiB to 64GiB"),
        ("[kernel]\nsecurity_ring = \"64KiB\"\n", "from 128KiB to 1GiB"),
    ] {
        assert_mistake(text, &["FILE:2:", "(out of range)", range]);
    }
}

#[test]
fn the_nearest_right_sizes_of_a_ring_are_told() {
    assert_mistake(
        "[kernel]\nsecurity_ring = \"5MiB\"\n",
        &["(no power of two; the nearest right values are 4MiB and 8MiB)"],
    );
    assert_mistake("[kernel]\ntelemetry_ring = \"1GB\"\n", &["the nearest right values are 512MiB and 1GiB"]);
}

#[test]
fn an_address_is_explained() {
    for (address, hint) in [
        ("localhost:80", "a host's name is not looked up"),
        (":80", "0.0.0.0 stands for every address of this machine"),
        ("127.0.0.1", "no port"),
        ("127.0.0.1:99999", "a port is a number from 0 to 65535"),
        ("::1:80", "an IPv6 address stands in [ ]"),
    ] {
        assert_mistake(&format!("[http]\nlisten = {address:?}\n"), &["FILE:2:10: http.listen is ", hint]);
    }
}

#[test]
fn a_misspelt_level_is_not_taken_for_a_module() {
    assert_mistake(
        "[log]\nlevel = \"debgu\"\n",
        &["log.level is \"debgu\" (\"debgu\" is no level; did you mean debug?)"],
    );
    assert_mistake("[log]\nlevel = \"info,hyper=lots\"\n", &["log.level is"]);
    assert_mistake("[log]\nlevel = \"\"\n", &["it is empty"]);
    super::load("[log]\nlevel = \"off,[request{status=500}]=debug, hyper=warn\"\n");
    assert_mistake("[log]\nformat = \"jsn\"\n", &["(did you mean json?)", "it has to be \"text\" or \"json\""]);
    assert_mistake("[events]\noutput = \"syslog\"\n", &["it has to be \"stdout\", \"file\" or \"none\""]);
}

#[test]
fn names_in_lists_are_checked() {
    assert_mistake("[kernel]\ndisable_hooks = [\"a b\"]\n", &["FILE:2:18", "a name is made of letters"]);
    assert_mistake("[metrics]\nper_process = [\"\"]\n", &["an entry is empty"]);
    assert_mistake("[metrics]\nper_process = [\"a\\tb\"]\n", &["FILE:2:16", "has control characters"]);
    assert_mistake("[rules]\ndirectory = \"\"\n", &["rules.directory is \"\" (it is empty)"]);
    assert_mistake("[rules]\ndirectory = \"a\\u0000b\"\n", &["no file has such a name"]);
}

#[test]
fn a_group_needs_a_name_of_its_own_and_programs() {
    let group = "[[group]]\nname = \"db\"\nexe = [\"postgres\"]\n";
    assert_mistake("[[group]]\nname = \"db\"\n", &["FILE:1:1: a group has no exe; example: exe = "]);
    assert_mistake("[[group]]\nexe = [\"db\"]\n", &["FILE:1:1: a group has no name"]);
    assert_mistake(&format!("{group}{group}"), &["FILE:5:8: name of a group is \"db\" (another group has this name)"]);
    assert_mistake(&format!("{group}path = 1\n"), &["FILE:4:1: unknown key \"path\" in [[group]]"]);
    assert_mistake("[[group]]\nnam = \"a\"\nname = \"a\"\nexe = [\"b\"]\n", &["did you mean name?"]);
    assert_mistake("[[group]]\nname = \"_other\"\nexe = [\"a\"]\n", &["names with _ are the daemon's own"]);
    assert_mistake("[[group]]\nname = \"a\\nb\"\nexe = [\"a\"]\n", &["is \"a\\nb\" (it has control characters)"]);
    assert_mistake("[[group]]\nname = \"a\"\nexe = []\n", &["exe of a group is a list (it is empty)"]);
    assert_mistake("[[group]]\nname = \"a\"\nexe = \"a\"\n", &["a list stands in [ ]"]);
    assert_mistake("[[group]]\nname = \"a\"\nexe = [\"bin/x\"]\n", &["FILE:3:8", "a path begins with / or *"]);
    assert_mistake("group = [1]\n", &["FILE:1:10: group is a list of tables"]);
}

#[test]
fn a_process_needs_an_entry_in_the_table() {
    assert_mistake(
        "[processes]\ntable = 1000\nslots = 2000\n",
        &["FILE:3:9: processes.table is 1000, less than processes.slots, which is 2000"],
    );
    assert_mistake("[processes]\ntable = 1000\n", &["FILE:2:9", "raise table or lower slots"]);
}

#[test]
fn syntax_errors_have_a_place() {
    assert_mistake("[http]\nlisten = \"127.0.0.1:1\n", &["FILE:2:"]);
    assert_mistake("[http]\nlisten\n", &["FILE:2:"]);
    assert_mistake("[http]\nreload = true\nreload = false\n", &["FILE:3:1: duplicate key"]);
    assert_mistake("[http\n", &["FILE:1:"]);
    assert_mistake("[http]\nlisten = localhost\n", &["FILE:2:10"]);
}

#[test]
fn all_mistakes_of_all_sources_come_together() {
    let fixture = Fixture::new("[http]\nlisen = 1\nmax_connections = 0\n[log]\nformat = \n[host]\ninterval = \"1x\"\n");
    let sources = Sources {
        environment: environment(&[("MONITOR_HTTP_LISTEN", "here"), ("MONITOR_HTPP", "1")]).environment,
        flags: flags(&[("http.reload", "maybe"), ("http.relod", "true")]).flags,
        ..fixture.sources()
    };
    let messages = fixture.messages(sources.clone());
    let places: Vec<&str> = messages.iter().map(|message| message.split(": ").next().expect("a place")).collect();
    assert_eq!(
        places,
        [
            "FILE:2:1",
            "FILE:3:19",
            "FILE:5:10",
            "FILE:7:12",
            "environment MONITOR_HTPP",
            "environment MONITOR_HTTP_LISTEN",
            "flag --set",
            "flag --set",
        ],
        "{messages:#?}"
    );
    let text = Loaded::load(sources).expect_err("mistakes").to_string();
    assert!(text.starts_with("the configuration has 8 mistakes:\n  "), "{text}");
}

#[test]
fn a_broken_line_is_reported_once() {
    let messages = mistakes("[http]\nlisten = \n[log]\nformat = \"text\"\n");
    assert_eq!(messages.len(), 1, "{messages:#?}");
}

#[test]
fn the_environment_is_checked_like_the_file() {
    let message = |variables: &[(&str, &str)]| Loaded::load(environment(variables)).expect_err("a mistake").to_string();
    let text = message(&[("MONITOR_HTTP_LISTE", "127.0.0.1:1")]);
    assert!(
        text.contains("environment MONITOR_HTTP_LISTE: it sets no key; did you mean MONITOR_HTTP_LISTEN?"),
        "{text}"
    );
    let text = message(&[("MONITOR_CONFG", "x")]);
    assert!(text.contains("did you mean MONITOR_CONFIG?"), "{text}");
    let text = message(&[("MONITOR_METRICS_PER_PROCESS", "a,,b")]);
    assert!(
        text.contains("(an entry is empty)") && text.contains("example: MONITOR_METRICS_PER_PROCESS=database,build-*")
    );
    let text = message(&[("MONITOR_METRICS_GROUPS", "many")]);
    assert!(text.contains("metrics.groups is \"many\", it has to be a whole number"), "{text}");
}

#[test]
fn the_environment_may_hold_any_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let value = std::ffi::OsString::from_vec(vec![b'a', 0xff]);
    let name = std::ffi::OsString::from_vec(b"MONITOR_\xff".to_vec());
    let ours = |name, value| Sources { environment: vec![(name, value)], ..Sources::default() };
    let text = Loaded::load(ours("MONITOR_LOG_LEVEL".into(), value)).expect_err("a mistake").to_string();
    assert!(text.contains("environment MONITOR_LOG_LEVEL: log.level is no UTF-8 text"), "{text}");
    assert!(Loaded::load(ours(name, "1".into())).is_err());
}

#[test]
fn flags_are_checked_like_the_file() {
    let message = |values: &[(&str, &str)]| Loaded::load(flags(values)).expect_err("a mistake").to_string();
    let text = message(&[("http.lisen", "x")]);
    assert!(text.contains("flag --set: unknown key \"http.lisen\"; did you mean http.listen?"), "{text}");
    let text = message(&[("http.max_connections", "0")]);
    assert!(text.contains("(out of range)") && text.ends_with("example: --set http.max_connections=1024"), "{text}");
}

#[test]
fn a_named_file_has_to_be_there() {
    let error = Loaded::load(Sources { file: Some(absent()), ..Sources::default() }).expect_err("no file");
    assert!(
        error.to_string().contains("/nonexistent/monitor.toml: the configuration file cannot be read: No such file")
    );
    let error = Loaded::load(Sources { file: Some("/".into()), ..Sources::default() }).expect_err("a directory");
    assert!(error.to_string().contains("/: the configuration file cannot be read: Is a directory"));
    assert!(Loaded::load(Sources { default_file: Some(absent()), ..Sources::default() }).is_ok());
    let error = Loaded::load(Sources { default_file: Some("/".into()), ..Sources::default() }).expect_err("unreadable");
    assert!(error.to_string().ends_with("; `--config /dev/null` does without it"), "{error}");
}

#[test]
fn a_huge_file_is_refused() {
    let limit = usize::try_from(FILE_LIMIT).expect("a small number");
    let messages = mistakes("#".repeat(limit + 1));
    assert_eq!(messages, ["FILE: the configuration file is larger than 1024 KiB"]);
    super::load(&"#".repeat(limit));
    // It has no end: only reading it to the limit shows that it is too large.
    let error = Loaded::load(Sources { file: Some("/dev/zero".into()), ..Sources::default() }).expect_err("endless");
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[test]
fn a_file_that_is_no_text_says_where() {
    let messages = mistakes(b"[http]\n# caf\xe9\nreload = true\n");
    assert_eq!(messages, ["FILE:2:6: the file is not UTF-8 text from here on"]);
    assert_eq!(mistakes(b"a\n\xff"), ["FILE:2:1: the file is not UTF-8 text from here on"]);
}

#[test]
fn messages_are_safe_to_print() {
    let hostile = "\u{1b}]0;x\u{7}\u{202e}\r";
    let mut texts = vec![
        format!("[http]\nlisten = {}\n", super::super::field::toml_string(hostile)),
        format!("[http]\n{} = 1\n", super::super::field::toml_string(hostile)),
        format!("[{}]\nx = 1\n", super::super::field::toml_string(hostile)),
        format!("[[group]]\nname = {0}\nexe = [{0}]\n{0} = 1\n", super::super::field::toml_string(hostile)),
        format!("[rules]\ndisable = [{}]\n", super::super::field::toml_string(hostile)),
        format!("[log]\nlevel = {}\n", super::super::field::toml_string(&format!("a={hostile}"))),
        format!("{hostile} = 1\n"),
    ];
    texts.push("[events]\nrotate_size = \"5 \u{1b}[2J\"\n".replace('\u{1b}', "\\u001b"));
    for text in texts {
        for message in mistakes(&text) {
            let unsafe_to_print = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!message.contains(unsafe_to_print), "{message:?}");
        }
    }
    let text = Loaded::load(environment(&[("MONITOR_\u{1b}[2J", "\u{7}")])).expect_err("unknown").to_string();
    assert!(text.contains("MONITOR_\\u{1b}[2J"), "{text}");
}

#[test]
fn a_long_value_is_cut() {
    let message = mistake(&format!("[http]\nlisten = \"{}\"\n", "ä".repeat(100_000)));
    assert!(message.contains("ä…") || message.contains("ä\"…"), "{message}");
    assert!(message.len() < 600, "{}", message.len());
    assert!(mistake(&format!("{} = 1\n", "a".repeat(100_000))).len() < 600);
}

#[test]
fn a_file_full_of_mistakes_ends_soon() {
    let text: String = (0..50_000).map(|number| format!("k{number} = {{}}\n")).collect();
    let ConfigError { mistakes } = Loaded::load(Fixture::new(text).sources()).expect_err("mistakes");
    assert_eq!(mistakes.len(), 200);
    let printed = ConfigError { mistakes }.to_string();
    assert!(printed.starts_with("the configuration has 200 mistakes or more:\n"), "{printed}");
    assert_eq!(printed.lines().count(), 52);
    assert!(printed.ends_with("\n  and more"), "{printed}");
    let some = (0..60).map(|number| format!("k{number} = {{}}\n")).collect::<String>();
    let printed = Loaded::load(Fixture::new(some).sources()).expect_err("mistakes").to_string();
    assert!(printed.ends_with("\n  and 10 more"), "{printed}");
}
