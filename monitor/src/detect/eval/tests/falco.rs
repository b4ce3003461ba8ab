//! Falco's own rules.

use monitor_common::signals::activity::Act;

use super::{Host, activity, compile, engine, exec, open, socket};
use crate::detect::Event;
use crate::detect::eval::Needs;
use crate::processes::Process;

const FALCO: &str = include_str!("../../../../../tests/rules/falco/falco_rules.yaml");

#[test]
fn they_compile_whole() {
    let (rules, told) = compile(FALCO);
    let count = FALCO.lines().filter(|line| line.starts_with("- rule: ")).count();
    assert_eq!(rules.list.len(), count, "{told:#?}");
    assert!(!told.iter().any(|message| message.contains("error")), "{told:#?}");
    let needs = Needs::of(&rules);
    for act in [Act::FileOpen, Act::Symlink, Act::Link, Act::Ptrace, Act::Module, Act::Connect, Act::Socket, Act::Dup] {
        assert_ne!(needs.kinds & act.bit(), 0, "{act:?}");
    }
    assert_eq!(needs.kinds & Act::Mount.bit(), 0);
    // One rule looks for `id_rsa` anywhere in a path, which is no name. Without it reading is needed of a few places only.
    assert!(needs.read.all);
    let without =
        "- rule: Directory traversal monitored file read\n  enabled: false\n  override:\n    enabled: replace\n";
    let (rules, told) = compile(&format!("{FALCO}\n{without}"));
    assert_eq!(rules.list.len(), count - 1, "{told:#?}");
    assert!(!Needs::of(&rules).read.all, "{:#?}", Needs::of(&rules));
}

/// The rules that fire.
fn fired(host: &Host, event: &Event) -> Vec<String> {
    let mut found = Vec::new();
    engine(FALCO).on_event(event, host, &mut found);
    found.into_iter().map(|finding| finding.rule.name.clone()).collect()
}

#[test]
fn they_fire() {
    let mut host = Host::new();
    host.contain(30);
    let plain = Host::new();
    let shadow = open("/etc/shadow", libc::O_RDONLY);
    let cat = |process: &mut Process| process.comm = b"cat".as_slice().into();
    let mut reader = Host::new();
    reader.change(30, cat);
    let as_cat = |mut event: Event| {
        if let crate::detect::What::Activity(activity) = &mut event.what {
            activity.comm = b"cat".to_vec();
        }
        event
    };
    for (name, host, event) in [
        ("Read sensitive file untrusted", &reader, as_cat(shadow)),
        ("Netcat Remote Code Execution in Container", &host, exec(|_| {})),
        (
            "Run shell untrusted",
            &plain,
            exec(|exec| {
                exec.comm = b"bash".to_vec();
                exec.args = vec![b"bash".to_vec()];
            }),
        ),
        ("Fileless execution via memfd_create", &plain, exec(|exec| exec.exe = b"memfd:x".to_vec())),
        ("Drop and execute new binary in container", &host, exec(|exec| exec.file.upper_layer = true)),
        ("Execution from /dev/shm", &plain, exec(|exec| exec.args[0] = b"/dev/shm/x".to_vec())),
        ("PTRACE attached to process", &plain, activity(Act::Ptrace, "ptrace", |activity| activity.args[0] = 16)),
        ("PTRACE anti-debug attempt", &plain, activity(Act::Ptrace, "ptrace", |_| {})),
        (
            "Redirect STDOUT/STDIN to Network Connection in Container",
            &host,
            activity(Act::Dup, "dup2", |activity| activity.socket = Some(socket())),
        ),
        (
            "Packet socket created in container",
            &host,
            activity(Act::Socket, "socket", |activity| activity.args = [17, 3, 0, 0, 0, 0]),
        ),
        (
            "Linux Kernel Module Injection Detected",
            &host,
            activity(Act::Module, "finit_module", |activity| activity.actor.capabilities = 1 << 16),
        ),
        ("Detect release_agent File Container Escapes", &host, {
            let mut event = open("/sys/fs/cgroup/rdma/release_agent", libc::O_WRONLY);
            if let crate::detect::What::Activity(activity) = &mut event.what {
                activity.actor.capabilities = 1 << 21 | 2;
            }
            event
        }),
    ] {
        let found = fired(host, &event);
        assert!(found.iter().any(|rule| rule == name), "{name}: {found:?}");
    }
    assert_eq!(fired(&plain, &open("/etc/hostname", 0)), [""; 0]);
    assert_eq!(fired(&plain, &exec(|exec| exec.comm = b"ls".to_vec())), [""; 0]);
}
