//! A replay finds what was found live: by the recorder, and by a daemon that ran beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use monitor_tests::{DEADLINE, Daemon, Guard, binary, copy, patience, program, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Finished, monitor};

/// The default rules, and one that is about what was never there before.
fn rules(directory: &Path, programs: &Path) -> PathBuf {
    let rules = directory.join("rules.d");
    fs::create_dir(&rules).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitor/rules")).unwrap() {
        let path = entry.unwrap().path();
        // `macros` comes first.
        let name = path.file_name().unwrap().to_string_lossy().replace("macros", "00-macros");
        fs::copy(&path, rules.join(name)).unwrap();
    }
    let programs = programs.display();
    let text = format!(
        "- rule: first_time_here\n  desc: x\n  condition: evt.type=execve and proc.exepath startswith {programs}/\n  output: \
         new %proc.exepath %user.name %evt.hostname\n  priority: NOTICE\n  first_seen:\n    of: [proc.exepath]\n- rule: \
         told_again\n  desc: x\n  condition: evt.type=execve and proc.exepath startswith {programs}/\n  output: ran \
         %proc.exepath\n  priority: NOTICE\n  dedup:\n    key: [proc.exepath]\n    window: 2s\n"
    );
    fs::write(rules.join("zz.yaml"), text).unwrap();
    rules
}

/// What the attacks are, and rules that have to tell of each.
const ATTACKS: &[(&str, &str)] = &[
    // By a name of its own a file is known by its inode, which the recording has to have.
    (
        "ln /etc/shadow /root/.mt_recorded; cat /root/.mt_recorded >/dev/null; rm -f /root/.mt_recorded",
        "sensitive_read",
    ),
    ("touch $d/b; unshare -m sh -c \"mount --bind /etc/shadow $d/b; cat $d/b\" >/dev/null", "sensitive_read"),
    ("cp /bin/true /dev/shm/mt_recorded; /dev/shm/mt_recorded; rm -f /dev/shm/mt_recorded", "exec_devshm"),
    ("$PYTHON -c 'import ctypes;ctypes.CDLL(None).ptrace(0,0,0,0)'", "ptrace_traceme"),
    ("ring open /etc/shadow", "io_uring_sensitive"),
    ("$PROGRAM exit 0; $PROGRAM exit 0; $PROGRAM exit 0", "first_time_here"),
    ("$PROGRAM exit 0", "told_again"),
    // The recorder knows itself by its number, as the daemon does.
    ("for p in $MONITOR $RECORDER; do cat /proc/$p/mem 2>/dev/null; done; true", "agent_tamper"),
];

/// A session that does all of it. Its process id.
fn attack(daemon: &Daemon, recorder: u32, program: &Path) -> u32 {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/detect/data");
    let lines: Vec<&str> = ATTACKS.iter().map(|(line, _)| *line).collect();
    let (pid, program) = (daemon.pid(), program.display());
    let who = format!("MONITOR={pid}\nRECORDER={recorder}\nPROGRAM={program}");
    let text = format!("DATA={data}\n{who}\n. \"$DATA/prelude.sh\"\n{}", lines.join("\n"));
    let mut command = Command::new("setsid");
    command.args(["--wait", "bash", "-c", &text]).stdin(Stdio::null()).stdout(Stdio::null());
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    let child = command.spawn().unwrap();
    let pid = child.id();
    let finished = child.wait_with_output().unwrap();
    assert!(finished.status.success(), "{finished:?}");
    pid
}

fn is_of(alert: &Value, pid: u32) -> bool {
    let ancestors = alert["process"]["ancestors"].as_array().map(Vec::as_slice).unwrap_or_default();
    alert["process"]["pid"] == pid || ancestors.iter().any(|ancestor| ancestor["pid"] == pid)
}

/// Rule, process, evidence and count of the alerts about a process and its descendants.
fn of(alerts: impl IntoIterator<Item = Value>, pid: u32) -> Vec<String> {
    let ours = alerts.into_iter().filter(|alert| is_of(alert, pid));
    let told = ours.map(|alert| {
        let process = &alert["process"];
        let entity = json!([process["pid"], process["start_ticks"], process["exe"], process["argv"], process["uid"]]);
        json!([alert["rule"], entity, alert["evidence"], alert["seen"]["count"], alert["output"]]).to_string()
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All that happened until now is in the file.
fn flushed(file: &Path) {
    let length = || fs::metadata(file).map_or(0, |metadata| metadata.len());
    for _ in 0..2 {
        let before = length();
        until(DEADLINE, || if length() > before.max(8) { Ok(()) } else { Err("nothing more is recorded") });
    }
}

#[test]
fn a_replay_tells_of_a_session_what_was_told_live() {
    let directory = monitor_tests::directory();
    let programs = directory.path().join("bin");
    fs::create_dir(&programs).unwrap();
    let (rules, program_path) = (rules(directory.path(), &programs), programs.join("tool"));
    copy(&program(), &program_path);
    let rules_text = rules.display().to_string();
    let limits = "alert_burst = 100000\nalert_rate = 100000\n";
    let config = format!("[rules]\ndefaults = false\ndirectory = \"{rules_text}\"\n{limits}");
    let daemon = Daemon::start(&config);

    let (file, live) = (directory.path().join("recording"), directory.path().join("live.jsonl"));
    let mut command = Command::new(binary());
    command
        .args(["record", file.to_str().unwrap(), "--seconds", "600", "--rules", &rules_text, "--config"])
        .arg(daemon.directory().join("monitor.toml"))
        .stdin(Stdio::null())
        .stdout(fs::File::create(&live).unwrap())
        .stderr(fs::File::create(directory.path().join("stderr")).unwrap())
        .env_clear()
        .env("MONITOR_RULES_STATE", directory.path().join("seen"));
    let mut recorder = Guard::spawn(&mut command);
    flushed(&file);

    let pid = attack(&daemon, recorder.id(), &program_path);
    // Until the window of `told_again` is over.
    thread::sleep(patience(Duration::from_secs(5)));
    let told = until(DEADLINE, || {
        let told = of(daemon.events("limit=10000"), pid);
        let missing = ATTACKS.iter().find(|(_, rule)| !told.iter().any(|one| one.contains(rule)));
        missing.map_or(Ok(told.clone()), |(_, rule)| Err(format!("no {rule} among {told:#?}")))
    });
    flushed(&file);
    recorder.signal(Signal::TERM);
    let status = until(DEADLINE, || recorder.ended().ok_or("the recorder does not end"));
    let complaints = fs::read_to_string(directory.path().join("stderr")).unwrap();
    assert!(status.success(), "{complaints}");

    let recorded = fs::read_to_string(&live).unwrap();
    let replay = || -> Finished { monitor(&["replay", file.to_str().unwrap(), "--rules", &rules_text]) };
    let (first, second) = (replay(), replay());
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    assert_eq!(first.stdout, second.stdout, "the same bytes each time");
    assert_eq!(of(lines(&first.stdout), pid), of(lines(&recorded), pid), "replayed, and live by the recorder");
    // But for who is meant by "the observer", which is one's own process.
    let others = |told: Vec<String>| told.into_iter().filter(|one| !one.contains("/mem")).collect::<Vec<_>>();
    let (replayed, told) = (of(lines(&first.stdout), pid), others(told));
    assert!(replayed.iter().any(|one| one.contains(&format!("\"fd.name\":\"/proc/{}/mem\"", recorder.id()))));
    assert_eq!(others(replayed), told, "replayed, and live by the daemon");
    let again = told.iter().filter(|one| one.contains("told_again") && one.contains("seen 3 times more")).count();
    assert_eq!(again, 1, "{told:#?}");

    // Rules that were not there then find more, also by what the recording knows of this host.
    let mine = directory.path().join("mine.d");
    fs::create_dir(&mine).unwrap();
    let rule = "- rule: linked\n  desc: x\n  condition: evt.type in (open, openat) and fd.original=/etc/shadow and not \
                fd.name=/etc/shadow\n  output: by %fd.name of %user.name\n  priority: ERROR\n  dedup:\n    key: [evt.num]\n    \
                window: 1s\n";
    fs::write(mine.join("a.yaml"), rule).unwrap();
    let found = monitor(&["replay", file.to_str().unwrap(), "--rules", mine.to_str().unwrap()]);
    let found = of(lines(&found.stdout), pid);
    assert!(found.iter().any(|one| one.contains("by /root/.mt_recorded of root")), "{found:#?}");
}
