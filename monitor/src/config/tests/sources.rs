//! Which source wins, where values come from, what a reload finds.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::keys::{KEYS, Reload, TABLES};
use super::super::{Config, Flag, KernelLevel, Loaded, LogFormat, Origin, Output, Sources};
use super::{Fixture, environment, flags, load};

#[test]
fn without_any_source_all_is_default() {
    let loaded = Loaded::load(Sources::default()).expect("defaults");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.file, None);
    assert!(KEYS.iter().all(|key| loaded.origin(key.name) == Origin::Default));
}

#[test]
fn flags_win_over_the_environment_over_the_file() {
    let fixture = Fixture::new("[metrics]\ngroups = 1\nmax_processes = 1\n[events]\nstore = 1\n");
    let sources = Sources {
        environment: environment(&[("MONITOR_METRICS_GROUPS", "2"), ("MONITOR_METRICS_MAX_PROCESSES", "2")])
            .environment,
        flags: flags(&[("metrics.groups", "3"), ("metrics.groups", "4")]).flags,
        ..fixture.sources()
    };
    let loaded = Loaded::load(sources).expect("right");
    assert_eq!(
        (loaded.config.metrics.groups, loaded.config.metrics.max_processes, loaded.config.events.store),
        (4, 2, 1)
    );
    assert_eq!(loaded.origin("metrics.groups"), Origin::Flag("--set".to_owned()));
    assert_eq!(loaded.origin("metrics.max_processes"), Origin::Environment("MONITOR_METRICS_MAX_PROCESSES".to_owned()));
    assert_eq!(loaded.origin("events.store"), Origin::File { path: fixture.path.clone(), line: 5, column: 9 });
    assert_eq!(loaded.origin("events.output"), Origin::Default);
    assert_eq!(loaded.file.as_ref(), Some(&fixture.path));
}

#[test]
fn every_type_is_read_from_the_file() {
    let config = load(
        r#"
        http = { listen = "[::1]:80", reload = false, max_connections = 1_000 }
        log.level = "warn,hyper=debug"
        log.format = "json"
        [kernel]
        btf = "/tmp/ä.btf"
        disable_hooks = ["sock_send_length", "x"]
        security_ring = 0x100000
        telemetry_ring = "64 KiB"
        [host]
        interval = "1m 500ms"
        [events]
        output = "file"
        rotate_size = "1GB"
        [[group]]
        name = "database"
        exe = ["postgres", "/opt/db/bin/*"]
        [[group]]
        name = "web"
        exe = ["nginx"]
        "#,
    )
    .config;
    assert_eq!(config.http.listen, "[::1]:80".parse::<SocketAddr>().expect("an address"));
    assert_eq!((config.http.reload, config.http.max_connections), (false, 1000));
    assert_eq!((config.log.level.as_str(), config.log.format), ("warn,hyper=debug", LogFormat::Json));
    assert_eq!(config.kernel.btf.to_str(), Some("/tmp/ä.btf"));
    assert_eq!(config.kernel.disable_hooks, ["sock_send_length", "x"]);
    assert_eq!((config.kernel.security_ring, config.kernel.telemetry_ring), (1 << 20, 64 << 10));
    assert_eq!(config.host.interval, Duration::from_millis(60_500));
    assert_eq!((config.events.output, config.events.rotate_size), (Output::File, 1_000_000_000));
    assert_eq!(config.groups[0].exe, ["postgres", "/opt/db/bin/*"]);
    assert_eq!(config.groups[1].name, "web");
}

#[test]
fn every_type_is_read_from_the_environment() {
    let loaded = Loaded::load(environment(&[
        ("MONITOR_HTTP_LISTEN", "0.0.0.0:1"),
        ("MONITOR_SIGNALS_TCP", "false"),
        ("MONITOR_PROCESSES_SLOTS", "64"),
        ("MONITOR_METRICS_GROUP_IDLE", "1h30m"),
        ("MONITOR_EVENTS_ROTATE_SIZE", "100000"),
        ("MONITOR_METRICS_PER_PROCESS", "a, b-*"),
        ("MONITOR_RULES_DISABLE", ""),
        ("MONITOR_LOG_KERNEL", "trace"),
        // What is not ours, and what names no key.
        ("MONITORS", "2"),
        ("PATH", "/bin"),
        ("MONITOR_CONFIG", "/x"),
        ("MONITOR_BIN", "/x"),
        ("MONITOR_REVISION", "1"),
    ]))
    .expect("right");
    let config = loaded.config;
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:1");
    assert!(!config.signals.tcp);
    assert_eq!(config.processes.slots, 64);
    assert_eq!(config.metrics.group_idle, Duration::from_secs(5400));
    assert_eq!(config.events.rotate_size, 100_000);
    assert_eq!(config.metrics.per_process, ["a", "b-*"]);
    assert!(config.rules.disable.is_empty());
    assert_eq!(config.log.kernel, KernelLevel::Trace);
}

#[test]
fn every_key_can_be_set_by_every_source_with_its_example() {
    for key in KEYS {
        let file = load(&format!("[{}]\n{} = {}\n", key.table(), key.short(), key.example));
        let plain = key.example.trim_matches(['[', ']']).replace('"', "").replace(", ", ",");
        let from_environment = Loaded::load(environment(&[(&key.variable(), &plain)])).expect(key.name);
        let from_flag = Loaded::load(flags(&[(key.name, &plain)])).expect(key.name);
        assert!(!key.field.same(&file.config, &Config::default()), "{}: the example is the default", key.name);
        assert_eq!(file.config, from_environment.config, "{}", key.name);
        assert_eq!(file.config, from_flag.config, "{}", key.name);
        assert_eq!(from_environment.origin(key.name), Origin::Environment(key.variable()));
    }
}

#[test]
fn the_list_of_keys_is_sound() {
    for key in KEYS {
        assert_eq!(KEYS.iter().filter(|other| other.variable() == key.variable()).count(), 1, "{}", key.name);
        assert!(TABLES.iter().any(|(table, _)| *table == key.table()), "{}", key.name);
        assert!(key.help.ends_with('.'), "{}", key.name);
    }
    for (table, _) in TABLES {
        assert!(KEYS.iter().any(|key| key.table() == *table), "{table}");
    }
}

#[test]
fn a_reload_reads_the_file_again() {
    let fixture = Fixture::new("[metrics]\ngroups = 1\n");
    let sources = Sources { flags: flags(&[("events.store", "7")]).flags, ..fixture.sources() };
    let first = Loaded::load(sources).expect("right");
    std::fs::write(&fixture.path, "[metrics]\ngroups = 2\n[http]\nlisten = \"127.0.0.1:2\"\n").expect("a file");
    let second = first.reload().expect("right");
    assert_eq!((second.config.metrics.groups, second.config.events.store), (2, 7));
    assert_eq!(first.config.reload_difference(&second.config), ["http.listen"]);
    std::fs::write(&fixture.path, "[metrics]\ngroups = 0\n").expect("a file");
    assert!(second.reload().is_err());
}

#[test]
fn the_difference_names_exactly_the_keys_that_need_a_start() {
    for key in KEYS {
        let changed = load(&format!("[{}]\n{} = {}\n", key.table(), key.short(), key.example)).config;
        let expected: &[&str] = if key.reload == Reload::Restart { &[key.name] } else { &[] };
        assert_eq!(Config::default().reload_difference(&changed), expected);
    }
    assert!(Config::default().reload_difference(&Config::default()).is_empty());
}

#[test]
fn a_flag_of_its_own_is_named_as_origin() {
    let flag = Flag { flag: "--listen".to_owned(), key: "http.listen".to_owned(), value: "nowhere".to_owned() };
    let error = Loaded::load(Sources { flags: vec![flag], ..Sources::default() }).expect_err("a mistake").to_string();
    assert!(error.contains("flag --listen: http.listen is \"nowhere\" (no port)"), "{error}");
    assert!(error.ends_with("example: --listen 0.0.0.0:19435"), "{error}");
}
