//! Security events: one for what is suspicious, with the facts; none for what is not.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use monitor_tests::{DEADLINE, Daemon, Workload, directory, patience, shared, unique, until};
use serde_json::{Value, json};

const TRUE: &str = "/bin/true";

/// A directory that is removed in the end.
fn directory_in(parent: &str) -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("kernel-tests-").tempdir_in(parent).unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A copy of a program, in a directory of the caller's.
fn copy_of(program: &str, directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    fs::copy(program, &path).unwrap();
    path
}

/// Starts a program that was just written. Another test's child may still hold it open for writing, for a moment.
fn start(command: &mut Command) -> Child {
    until(DEADLINE, || match command.spawn() {
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => Err(error),
        other => Ok(other.unwrap_or_else(|error| panic!("start {command:?}: {error}"))),
    })
}

/// Runs a program to its end; the events of it.
fn events_of(daemon: &Daemon, command: &mut Command) -> Vec<Value> {
    let mut child = start(command);
    assert!(child.wait().unwrap().success(), "{command:?}");
    daemon.ended(child.id());
    daemon.events_of(child.id())
}

/// The events of a workload that became something else, but for those of itself: it may lie in a directory that a rule
/// minds.
fn events_after(daemon: &Daemon, workload: Workload) -> Vec<Value> {
    let own = workload.path.to_str().unwrap().to_owned();
    let pid = workload.finish().pid;
    daemon.ended(pid);
    daemon.events_of(pid).into_iter().filter(|event| event["process"]["exe"] != own.as_str()).collect()
}

/// The rules that found something, but for those that mind what these tests are: a program with connections has just
/// written another one, which runs, with the library path that cargo gives; and daemons of other tests, in the same
/// session, read the programs of all processes, shells among them, when they look for TLS libraries.
fn rules(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["rule"].as_str().unwrap())
        .filter(|rule| !["drop_and_exec", "ld_preload_env", "renamed_shell_copy"].contains(rule))
        .collect()
}

/// The one event of this rule.
#[track_caller]
fn only<'a>(events: &'a [Value], rule: &str) -> &'a Value {
    let found: Vec<_> = events.iter().filter(|event| event["rule"] == rule).collect();
    assert_eq!(found.len(), 1, "{rule} in {:?}", rules(events));
    found[0]
}

#[test]
fn a_program_in_shared_memory_gives_one_event_within_a_second() {
    let daemon = shared();
    let directory = directory_in("/dev/shm");
    let path = copy_of(TRUE, directory.path(), "x");
    let begin = Instant::now();
    let mut child = start(Command::new(&path).args(["one", "two words"]).current_dir("/usr"));
    let first = until(Duration::from_secs(5), || {
        let devshm = |event: &Value| event["rule"] == "exec_devshm";
        daemon.events_of(child.id()).into_iter().find(devshm).ok_or("no event")
    });
    assert!(begin.elapsed() < patience(Duration::from_secs(1)), "{:?}", begin.elapsed());
    child.wait().unwrap();
    daemon.ended(child.id());
    let events = daemon.events_of(child.id());
    assert_eq!(rules(&events), ["exec_devshm"]);
    let event = only(&events, "exec_devshm");
    assert_eq!(*event, first, "an event does not change");
    let process = &event["process"];
    let path = path.to_str().unwrap();
    assert_eq!((&event["severity"], &event["attack"]), (&json!("high"), &json!(["T1059", "T1059.004", "T1564"])));
    assert_eq!(
        (&process["pid"], &process["exe"], &process["filename"]),
        (&json!(child.id()), &json!(path), &json!(path))
    );
    assert_eq!(process["argv"], json!([path, "one", "two words"]));
    assert_eq!(process["argv_length"], path.len() + 1 + 4 + 10);
    assert_eq!((&process["argv_truncated"], &process["cwd"]), (&json!(false), &json!("/usr")));
    assert_eq!((&process["uid"], &process["euid"], &process["comm"]), (&json!(0), &json!(0), &json!("x")));
    let nearest = &process["ancestors"][0];
    assert_eq!(
        (&nearest["pid"], &nearest["exe"]),
        (&json!(std::process::id()), &json!(std::env::current_exe().unwrap()))
    );
    assert_eq!(event["lost"], json!({ "security_ring": 0, "telemetry_ring": 0 }));
    // The same line went out.
    let seq = format!("\"seq\":{},", event["seq"]);
    let printed: Vec<Value> = until(DEADLINE, || {
        let lines = daemon.stdout();
        let found: Vec<_> = lines.lines().filter(|line| line.contains(&seq)).map(str::to_owned).collect();
        if found.is_empty() { Err("not printed") } else { Ok(found) }
    })
    .iter()
    .map(|line| serde_json::from_str(line).unwrap())
    .collect();
    assert_eq!(printed, std::slice::from_ref(event));
    // And who asks for what comes next gets it.
    let seq = event["seq"].as_u64().unwrap();
    let after = daemon.events(&format!("after={}&limit=1&rule=exec_devshm", seq - 1));
    assert_eq!(after, std::slice::from_ref(event));
}

#[test]
fn an_ordinary_program_gives_no_event() {
    let daemon = shared();
    assert_eq!(events_of(&daemon, &mut Command::new(TRUE)), [] as [Value; 0]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exit 0"]).stdin(Stdio::null());
    assert_eq!(events_of(&daemon, &mut shell), [] as [Value; 0]);
}

#[test]
fn a_program_that_is_only_in_memory() {
    let daemon = shared();
    let events = events_after(&daemon, Workload::spawn(&["exec-memfd", TRUE]));
    let event = only(&events, "exec_memfd");
    assert_eq!(event["severity"], "critical");
    assert_eq!(event["process"]["exe"], "memfd:x");
    assert_eq!(events.len(), 1, "{:?}", rules(&events));
}

#[test]
fn a_program_whose_file_is_gone() {
    let daemon = shared();
    let events = events_after(&daemon, Workload::spawn(&["exec-deleted", "+", "exit", "0"]));
    let event = only(&events, "exec_deleted");
    assert_eq!(event["process"]["argv"], json!(["deleted", "exit", "0"]));
    assert!(!rules(&events).contains(&"exec_memfd"));
}

#[test]
fn a_program_or_a_script_in_a_temporary_directory() {
    let daemon = shared();
    let directory = directory_in("/tmp");
    let program = copy_of(TRUE, directory.path(), "program");
    let events = events_of(&daemon, &mut Command::new(&program));
    assert_eq!(rules(&events), ["exec_tmp"]);
    let process = &only(&events, "exec_tmp")["process"];
    assert_eq!((&process["exe"], &process["script"]), (&json!(program), &json!(false)));

    let script = directory.path().join("script");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    // By a name that is relative: it is the file that matters.
    let events = events_of(&daemon, Command::new("./script").current_dir(directory.path()));
    assert_eq!(rules(&events), ["exec_tmp_script"]);
    let process = &only(&events, "exec_tmp_script")["process"];
    assert_eq!((&process["script"], &process["filename"]), (&json!(true), &json!("./script")));
    assert_eq!(process["exe"], json!(fs::canonicalize("/bin/sh").unwrap()));
}

#[test]
fn a_hidden_program() {
    let daemon = shared();
    let directory = directory();
    let program = copy_of(TRUE, directory.path(), ".hidden");
    let events = events_of(&daemon, &mut Command::new(&program));
    let event = only(&events, "exec_hidden");
    assert_eq!(event["process"]["exe"], json!(program));
}

#[test]
fn a_shell_that_talks_to_the_network() {
    let daemon = shared();
    let copies = directory();
    let copy = copy_of("/bin/sh", copies.path(), "tool");
    let (shell, tool) = ("revshell_stdio_socket", "revshell_stdio_socket_tool");
    let shells = [
        ("127.0.0.1", "/bin/sh", shell, "critical"),
        ("::1", "/bin/sh", shell, "critical"),
        ("::1", copy.to_str().unwrap(), tool, "high"),
    ];
    for (address, shell, rule, severity) in shells {
        let mut server = Workload::spawn(&["listen", address, "+", "accept", "+", "wait"]);
        let peer = server.line();
        let client = Workload::spawn(&["connect", &peer, "+", "shell", shell, "-c", "exit 0"]);
        let events = events_after(&daemon, client);
        let event = only(&events, rule);
        assert_eq!(event["severity"], json!(severity), "{shell}");
        let port = peer.rsplit_once(':').unwrap().1;
        assert!(event["output"].as_str().unwrap().contains(port), "{event}");
        assert_eq!(event["process"]["argv"], json!([shell, "-c", "exit 0"]));
        server.finish();
    }
}

#[test]
fn a_program_that_calls_itself_a_kernel_thread() {
    let daemon = shared();
    let events = events_of(&daemon, Command::new(TRUE).arg0("[kworker/0:1]"));
    assert_eq!(rules(&events), ["kthread_masquerade"]);
    assert_eq!(events[0]["evidence"]["proc.exe"], "[kworker/0:1]");
    assert_eq!(events[0]["process"]["argv"], json!(["[kworker/0:1]"]));
}

#[test]
fn a_program_that_gains_privileges() {
    let daemon = shared();
    // Everybody has to be able to get there, and the bit has to count there.
    let parent = ["/var/tmp", "/tmp", "/run", "/srv"].into_iter().find(|parent| {
        let flags = rustix::fs::statvfs(*parent).unwrap().f_flag;
        !flags.intersects(rustix::fs::StatVfsMountFlags::NOSUID | rustix::fs::StatVfsMountFlags::NOEXEC)
    });
    let directory = directory_in(parent.expect("a directory where the set-user-id bit counts"));
    let program = copy_of(TRUE, directory.path(), &unique("s"));
    let mut as_nobody = Command::new(&program);
    as_nobody.uid(65534).gid(65534);
    // Without the bit nothing is gained.
    let events = events_of(&daemon, &mut as_nobody);
    assert!(!rules(&events).contains(&"setuid_exec"));
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
    let events = events_of(&daemon, &mut as_nobody);
    let event = only(&events, "setuid_exec");
    assert_eq!(event["severity"], "high");
    assert_eq!(event["process"]["file"]["mode"], "104755");
    assert_eq!((&event["process"]["uid"], &event["process"]["euid"]), (&json!(65534), &json!(0)));
}

#[test]
fn long_arguments_are_cut_and_say_so() {
    let daemon = shared();
    let directory = directory_in("/dev/shm");
    // 32 KiB are kept.
    for (pieces, truncated) in [(3, false), (4, true)] {
        // The same program again would be the same finding.
        let path = copy_of(TRUE, directory.path(), &format!("x{pieces}"));
        let arguments: Vec<String> = (0..pieces).map(|number| number.to_string().repeat(10_000)).collect();
        let events = events_of(&daemon, Command::new(&path).args(&arguments));
        let process = &only(&events, "exec_devshm")["process"];
        let mut all = vec![path.to_str().unwrap().to_owned()];
        all.extend(arguments);
        let all = all.join("\0") + "\0";
        assert_eq!((&process["argv_length"], &process["argv_truncated"]), (&json!(all.len()), &json!(truncated)));
        let argv: Vec<&str> =
            process["argv"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
        let delivered = argv.join("\0");
        assert!(all.starts_with(&delivered));
        assert_eq!(delivered.len(), if truncated { 32 << 10 } else { all.len() - 1 });
    }
}

#[test]
fn variables_that_change_what_a_program_is_are_told() {
    let daemon = shared();
    let directory = directory_in("/dev/shm");
    // Records have one form for 16 KiB of environment, and another for more.
    for padding in [5, 15_000, 16 << 10, 31_000] {
        // The same program again would be the same finding.
        let path = copy_of(TRUE, directory.path(), &format!("x{padding}"));
        let mut command = Command::new(&path);
        // Variables are handed over in the order of their names: the one that is looked for is behind the others.
        command.env_clear().env("A", "a".repeat(padding)).env("HARMLESS", "value").stderr(Stdio::null());
        command.env("LD_PRELOAD", "/nonexistent/library.so");
        let events = events_of(&daemon, &mut command);
        let process = &only(&events, "exec_devshm")["process"];
        assert_eq!(process["env"], json!({ "LD_PRELOAD": "/nonexistent/library.so" }), "{padding}");
        assert_eq!((&process["exe"], &process["cwd"]), (&json!(path), &json!(std::env::current_dir().unwrap())));
    }
}
