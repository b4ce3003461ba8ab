//! The command line as a whole, without a process of its own.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use clap::CommandFactory;

use super::arguments::Arguments;
use super::{Action, Console, Exit, start};
use crate::config::Origin;

/// What a command line did.
struct Outcome {
    action: Action,
    out: String,
    err: String,
}

impl Outcome {
    #[track_caller]
    fn exit(&self) -> Exit {
        match self.action {
            Action::Done(exit) => exit,
            Action::Run(_) | Action::Doctor { .. } | Action::Record { .. } => panic!("{:?}", self.action),
        }
    }
}

fn run_in(arguments: &[&str], environment: &[(&str, &str)], terminal: bool) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["monitor"].iter().chain(arguments).map(OsString::from);
    // The file of the machine that runs the test must not matter.
    let defaults = [("MONITOR_CONFIG", "/dev/null")];
    let environment = environment.iter().chain(&defaults).map(|(name, value)| (name.into(), value.into())).collect();
    let action = start(arguments, environment, &mut Console { out: &mut out, err: &mut err, terminal });
    Outcome { action, out: String::from_utf8(out).expect("text"), err: String::from_utf8(err).expect("text") }
}

fn run(arguments: &[&str]) -> Outcome {
    run_in(arguments, &[], false)
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn help_and_version_are_answers() {
    for arguments in [&["--help"][..], &["-h"], &["run", "--help"], &["events", "--help"], &["config", "show", "-h"]] {
        let outcome = run(arguments);
        assert_eq!((outcome.exit(), outcome.err.as_str()), (Exit::OK, ""), "{arguments:?}");
        assert!(outcome.out.contains("Usage: monitor"), "{}", outcome.out);
    }
    let help = run(&["--help"]).out;
    for word in ["Examples:", "Exit codes:", "run", "doctor", "events", "processes", "config", "--set"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    assert!(!help.contains("docs"), "{help}");
    assert!(run(&["--version"]).out.starts_with("monitor 0."));
    assert_eq!(run(&["version"]).out, run(&["--version"]).out);
}

#[test]
fn alone_it_helps_a_person_and_fails_a_script() {
    let person = run_in(&[], &[], true);
    assert_eq!(person.exit(), Exit::OK);
    assert!(person.out.contains("Examples:"), "{}", person.out);
    let script = run(&[]);
    assert_eq!((script.exit(), script.out.as_str()), (Exit::USAGE, ""));
    assert!(script.err.contains("monitor: no command; `monitor --help`"), "{}", script.err);
}

#[test]
fn a_wrong_command_line_is_told() {
    for (arguments, message) in [
        (&["rnu"][..], "unrecognized subcommand 'rnu'"),
        (&["run", "--lisen", "x"], "'--listen'"),
        (&["run", "--set", "http.listen"], "write KEY=VALUE, such as metrics.groups=200"),
        (&["run", "-v", "-q"], "cannot be used with"),
        (&["events", "--severity", "bad"], "possible values: info, low, medium, high, critical"),
        (&["events", "--limit", "0"], "'--limit <N>'"),
        (&["docs", "nothing"], "possible values: activities, config"),
        (&["config"], "Usage: monitor config"),
    ] {
        let outcome = run(arguments);
        assert_eq!((outcome.exit().code(), outcome.out.as_str()), (64, ""), "{arguments:?}");
        assert!(outcome.err.contains(message), "{message:?} is not in {}", outcome.err);
    }
}

#[test]
fn run_hands_the_configuration_on() {
    let arguments =
        ["run", "--listen", "127.0.0.1:0", "-v", "--set", "metrics.groups=7", "--set", "http.listen=[::1]:1"];
    let Action::Run(loaded) = run(&arguments).action else { panic!("it does not run") };
    assert_eq!(loaded.config.http.listen.to_string(), "127.0.0.1:0");
    assert_eq!(loaded.origin("http.listen"), Origin::Flag("--listen".to_owned()));
    assert_eq!(loaded.config.metrics.groups, 7);
    assert_eq!(
        (loaded.config.log.level.as_str(), loaded.origin("log.level").to_string()),
        ("info,monitor=debug", "flag -v".to_owned())
    );
    let Action::Doctor { json: true, loaded } = run(&["--set", "log.level=off", "doctor", "--json", "-qq"]).action
    else {
        panic!("no doctor")
    };
    assert_eq!(loaded.config.log.level, "off");
}

#[test]
fn a_wrong_configuration_has_its_own_exit_code() {
    for arguments in [
        &["run", "--listen", "here"][..],
        &["config", "check", "--set", "http.listen=here"],
        &["config", "show", "--set", "http.listen=here"],
        &["doctor", "--set", "http.listen=here"],
        &["events", "--set", "http.listen=here"],
    ] {
        let outcome = run(arguments);
        assert_eq!((outcome.exit(), outcome.out.as_str()), (Exit::CONFIG, ""), "{arguments:?}");
        assert!(outcome.err.contains("http.listen is \"here\" (no port)"), "{}", outcome.err);
    }
    let outcome = run(&["config", "check", "--config", "/nonexistent"]);
    assert_eq!(outcome.exit(), Exit::CONFIG);
    assert!(outcome.err.contains("/nonexistent: the configuration file cannot be read"), "{}", outcome.err);
    let outcome = run_in(&["config", "check"], &[("MONITOR_CONFIG", "/nonexistent")], false);
    assert_eq!(outcome.exit(), Exit::CONFIG);
    let outcome = run_in(&["config", "check", "--config", "/dev/null"], &[("MONITOR_CONFIG", "/nonexistent")], false);
    assert_eq!((outcome.exit(), outcome.out.as_str()), (Exit::OK, "/dev/null: no mistakes\n"));
}

#[test]
fn the_configuration_is_printed() {
    let shown = run_in(&["config", "show", "--origin"], &[("MONITOR_HOST_INTERVAL", "7s")], false);
    assert!(shown.out.contains("interval = \"7s\"  # environment MONITOR_HOST_INTERVAL\n"), "{}", shown.out);
    assert!(!run(&["config", "show"]).out.contains('#'));
    assert_eq!(run(&["config", "default"]).out, crate::config::show::default_file());
    assert_eq!(run(&["docs", "config"]).out, crate::config::docs::markdown());
    let schema: serde_json::Value = serde_json::from_str(&run(&["config", "schema"]).out).expect("JSON");
    assert_eq!(schema.pointer("/properties/metrics/properties/groups/maximum"), Some(&10_000.into()));
    assert_eq!(schema.pointer("/properties/log/properties/format/enum"), Some(&serde_json::json!(["text", "json"])));
}

/// An output that fails.
struct Closed(io::ErrorKind);

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one() {
    for command in [["config", "default"], ["config", "show"], ["docs", "config"], ["run", "--help"]] {
        for (kind, exit) in [(io::ErrorKind::BrokenPipe, Exit::OK), (io::ErrorKind::StorageFull, Exit::FAILURE)] {
            let (mut out, mut err) = (Closed(kind), Vec::new());
            let mut console = Console { out: &mut out, err: &mut err, terminal: false };
            let arguments = ["monitor"].iter().chain(&command).map(OsString::from);
            let environment = vec![("MONITOR_CONFIG".into(), "/dev/null".into())];
            let Action::Done(done) = start(arguments, environment, &mut console) else { panic!("{command:?}") };
            assert_eq!((done, err.is_empty()), (exit, exit == Exit::OK), "{command:?} {kind}");
        }
    }
}

/// A server that gives each connection the next of `answers`, and returns the requests' first lines.
fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = std::thread::spawn(move || {
        let answer = |answer: String| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).expect("an answer");
            String::from_utf8_lossy(&request).lines().next().expect("a line").to_owned()
        };
        answers.into_iter().map(answer).collect()
    });
    (address, server)
}

fn json(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The same in two chunks.
fn chunked(body: &str) -> String {
    let (one, two) = body.split_at(body.len() / 2);
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(one), chunk(two))
}

const EVENT: &str = r#"{"seq":4,"time":"T","severity":"high","rule":"r","process":{"pid":9,"exe":"/x","argv":["x"]}}"#;

#[test]
fn events_are_paged_through() {
    let page = format!(r#"{{"events":[{EVENT}],"next":4,"oldest":1}}"#);
    let (address, server) = serve(vec![chunked(&page), json(r#"{"events":[],"next":4,"oldest":1}"#)]);
    let outcome =
        run(&["events", "--addr", &address, "--after", "3", "--severity", "high", "--severity", "low", "--json"]);
    assert_eq!((outcome.exit(), outcome.out), (Exit::OK, format!("{EVENT}\n")), "{}", outcome.err);
    assert_eq!(
        server.join().expect("requests"),
        [
            "GET /api/v1/events?after=3&limit=500&severity=high%2Clow HTTP/1.1",
            "GET /api/v1/events?after=4&limit=500&severity=high%2Clow HTTP/1.1",
        ]
    );
}

#[test]
fn events_end_with_their_limit_and_gaps_are_told() {
    let pages = [
        "{\"events\":[],\"next\":4,\"oldest\":1}".to_owned(),
        format!(r#"{{"events":[{EVENT}],"next":9,"oldest":8}}"#),
    ];
    let (address, server) = serve(pages.iter().map(|page| json(page)).collect());
    let outcome = run(&["events", "--addr", &address, "--follow", "--limit", "1", "--rule", "r"]);
    assert_eq!(outcome.exit(), Exit::OK, "{}", outcome.err);
    assert_eq!(outcome.out, "     4  T  high      r  pid 9 /x (uid -, parent - -)  x\n");
    assert!(outcome.err.contains("3 events were gone before they could be read"), "{}", outcome.err);
    assert_eq!(server.join().expect("requests")[1], "GET /api/v1/events?after=4&limit=1&rule=r HTTP/1.1");
}

#[test]
fn a_daemon_that_started_anew_is_noticed() {
    let pages = [
        "{\"events\":[],\"next\":0,\"oldest\":1}".to_owned(),
        format!(r#"{{"events":[{EVENT}],"next":4,"oldest":1}}"#),
    ];
    let (address, server) = serve(pages.iter().map(|page| json(page)).collect());
    let outcome = run(&["events", "--addr", &address, "--after", "70", "-f", "--limit", "1"]);
    assert!(outcome.err.contains("the daemon has started anew"), "{}", outcome.err);
    assert_eq!(server.join().expect("requests")[1], "GET /api/v1/events?after=0&limit=1 HTTP/1.1");
}

#[test]
fn processes_are_a_table_or_json() {
    let body = r#"{"processes":[{"pid":7,"uid":0,"group":"ssh","exe":"/usr/sbin/sshd","argv":["sshd","-D"]}]}"#;
    let (address, server) = serve(vec![json(body), json(body)]);
    let table = run(&["processes", "--addr", &address, "--group", "s h", "--sort", "cpu"]).out;
    assert!(table.lines().nth(1).expect("a line").ends_with("sshd -D"), "{table}");
    assert_eq!(run(&["processes", "--addr", &address, "--json"]).out, format!("{body}\n"));
    assert_eq!(server.join().expect("requests")[0], "GET /api/v1/processes?group=s+h&limit=1000&sort=cpu HTTP/1.1");
}

#[test]
fn a_daemon_that_does_not_answer_is_told_with_the_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let outcome = run(&["processes", "--set", &format!("http.listen={address}")]);
    assert_eq!(outcome.exit(), Exit::FAILURE);
    let expected = format!("monitor: no daemon answers at {address}: Connection refused");
    assert!(outcome.err.starts_with(&expected) && outcome.err.contains("`monitor run`"), "{}", outcome.err);
    for (answer, message) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\n\r\nstarting\u{1b}[",
            "refused: 503 Service Unavailable: starting\\u{1b}[",
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n", "does not answer as the daemon does"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<htm", "does not answer as the daemon does"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{\"events\":[]", "does not answer as the daemon does"),
    ] {
        let (address, server) = serve(vec![answer.to_owned()]);
        let outcome = run(&["events", "--addr", &address]);
        assert_eq!((outcome.exit(), outcome.out.as_str()), (Exit::FAILURE, ""), "{answer}");
        assert!(outcome.err.contains(message), "{message:?} is not in {:?}", outcome.err);
        server.join().expect("requests");
    }
}

#[test]
fn an_audit_trail_is_checked_and_printed() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = crate::audit::Options {
        directory: directory.path().join("audit"),
        sync: crate::audit::Sync::Never,
        segment_size: 1 << 20,
        total_size: 1 << 30,
        seal: crate::audit::Seal::Hash,
    };
    let place = options.directory.to_str().expect("text");
    let trail = crate::audit::Trail::open(&options, &serde_json::json!({})).expect("open");
    assert!(trail.close(&serde_json::json!({ "why": "test\u{1b}[2J" }), std::time::Duration::from_secs(10)));
    let head = trail.head();
    let good = run(&["audit", "verify", place, "--head", &format!("{}:{}", head.sequence, head.hash)]);
    let end = format!("3 records (1 to 3) in 1 segments: the chain is whole\nhead: 3:{}\n", head.hash);
    assert_eq!((good.exit(), good.out.as_str()), (Exit::OK, end.as_str()), "{}", good.err);
    let shown = run(&["audit", "show", place, "--kind", "stop"]).out;
    assert!(shown.starts_with("       3  ") && shown.lines().count() == 1 && !shown.contains('\u{1b}'), "{shown:?}");

    let file = std::fs::read_dir(place).expect("list").flatten().map(|entry| entry.path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).expect("a segment");
    let text = std::fs::read_to_string(&file).expect("read").replace("\"before\":\"none\"", "\"before\":\"stopped\"");
    std::fs::write(&file, text).expect("write");
    let bad = run(&["audit", "verify", place]);
    assert_eq!(bad.exit(), Exit::FAILURE);
    assert!(bad.out.contains("audit-00000000000000000001.jsonl:2: record 2: it was changed"), "{}", bad.out);
    let json: serde_json::Value = serde_json::from_str(&run(&["audit", "verify", place, "--json"]).out).expect("JSON");
    assert_eq!((&json["problem_count"], &json["problems"][0]["line"]), (&1.into(), &2.into()));
    let missing = run(&["audit", "verify", "/nonexistent/audit"]);
    assert_eq!(missing.exit(), Exit::FAILURE);
    assert!(missing.err.contains("cannot read the audit trail in /nonexistent/audit"), "{}", missing.err);
}
