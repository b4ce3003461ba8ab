//! Each operator, and what is missing.

use monitor_common::signals::activity::Act;

use crate::detect::Event;

use super::{Host, activity, compile, exec, holds, open, rule, socket};

/// Each condition with whether it holds of `nc -e /bin/sh 192.0.2.1`, run by a shell below nginx.
#[test]
fn operators_do_what_falcos_do() {
    let (host, event) = (Host::new(), exec(|_| {}));
    for (condition, expected) in [
        ("proc.name = nc", true),
        ("proc.name = ncat", false),
        ("proc.name != ncat", true),
        ("proc.name != nc", false),
        ("proc.name in (ncat, nc)", true),
        ("proc.name in (ncat)", false),
        ("not proc.name in (ncat)", true),
        ("proc.name intersects (ncat, nc)", true),
        ("proc.cmdline contains ' -e '", true),
        ("proc.cmdline contains ' -E '", false),
        ("proc.cmdline icontains ' -E '", true),
        ("proc.cmdline bcontains 202d65", true),
        ("proc.cmdline bcontains 202d66", false),
        ("proc.cmdline startswith 'nc -e'", true),
        ("proc.cmdline startswith '-e'", false),
        ("proc.cmdline bstartswith 6e63", true),
        ("proc.cmdline endswith 192.0.2.1", true),
        ("proc.cmdline endswith 192.0.2", false),
        ("proc.exepath glob '/usr/*/nc.*'", true),
        ("proc.exepath glob '/*traditional'", true),
        ("proc.exepath glob '/usr/???/nc.trad[a-j]tional'", true),
        ("proc.exepath glob '/usr/bin/nc'", false),
        ("proc.exepath glob '/USR/*'", false),
        ("proc.exepath iglob '/USR/*'", true),
        ("proc.exepath regex '/usr/s?bin/nc[.][a-z]+'", true),
        // The whole text has to fit.
        ("proc.exepath regex 'bin/nc'", false),
        ("proc.exepath pmatch (/usr/bin, /opt)", true),
        ("proc.exepath pmatch (/usr/bi)", false),
        ("proc.exepath pmatch (/usr/bin/nc.traditional)", true),
        ("proc.exepath pmatch (/usr/*/)", true),
        ("proc.exepath pmatch (/)", true),
        ("proc.pid = 30", true),
        ("proc.pid = 0x1e", true),
        ("proc.pid != 30", false),
        ("proc.pid < 31", true),
        ("proc.pid < 30", false),
        ("proc.pid <= 30", true),
        ("proc.pid > 29", true),
        ("proc.pid >= 31", false),
        ("proc.pid in (1, 30)", true),
        ("user.loginuid = -1", true),
        ("proc.is_exe_from_memfd = false", true),
        ("proc.is_exe_from_memfd != false", false),
        ("proc.is_exe_from_memfd = true", false),
        ("proc.name exists", true),
        ("fd.name exists", false),
        ("tolower(proc.name) = nc", true),
        ("toupper(proc.name) = NC", true),
        ("basename(proc.exepath) = nc.traditional", true),
        ("len(proc.name) = 2", true),
        ("len(proc.name) > 2", false),
        ("proc.name = val(proc.exe)", true),
        ("proc.name = val(proc.pname)", false),
        ("proc.name != val(proc.pname)", true),
        ("proc.pid > val(proc.ppid)", true),
        ("proc.pid < val(proc.ppid)", false),
    ] {
        assert_eq!(holds(condition, &event, &host), expected, "{condition}");
    }
}

#[test]
fn what_is_missing_fits_nothing_not_even_unequal() {
    let (host, event) = (Host::new(), exec(|_| {}));
    for condition in [
        "fd.name = x",
        "fd.name != x",
        "fd.name in (x)",
        "fd.name startswith x",
        "fd.num < 0",
        "fd.num >= 0",
        "fd.num != 0",
        "fd.sip != 1.2.3.4",
        "container.image.repository != x",
        "container.privileged != true",
        "container.privileged = false",
        "proc.aname[9] != x",
        "proc.name = val(fd.name)",
        "proc.name != val(fd.name)",
        "proc.pid < val(fd.num)",
    ] {
        assert!(!holds(condition, &event, &host), "{condition}");
        assert!(holds(&format!("not {condition}"), &event, &host), "not {condition}");
    }
}

#[test]
fn addresses_are_compared_with_addresses_and_networks() {
    let host = Host::new();
    let event = activity(Act::Connect, "connect", |activity| activity.socket = Some(socket()));
    for (condition, expected) in [
        ("fd.sip = 198.51.100.7", true),
        ("fd.sip != 198.51.100.7", false),
        ("fd.cip = 10.0.0.5", true),
        ("fd.ip = 10.0.0.5", true),
        ("fd.ip = 198.51.100.7", true),
        ("fd.ip = 198.51.100.8", false),
        // Neither end.
        ("fd.ip != 198.51.100.7", false),
        ("fd.ip != 0.0.0.0", true),
        ("fd.net = 10.0.0.0/8", true),
        ("fd.net != 127.0.0.0/8", true),
        ("fd.net != 10.0.0.0/8", false),
        ("fd.snet in (10.0.0.0/8, 192.168.0.0/16)", false),
        ("fd.snet in (198.51.100.0/24)", true),
        ("fd.snet in (198.51.100.0/30)", false),
        ("fd.cnet = 10.0.0.5", true),
        ("fd.snet = 0.0.0.0/0", true),
        ("fd.snet = ::/0", false),
        ("fd.port = 40000", true),
        ("fd.port in (443)", true),
        ("fd.port != 443", false),
        ("fd.sport = 443", true),
        ("fd.sport = 40000", false),
    ] {
        assert_eq!(holds(condition, &event, &host), expected, "{condition}");
    }
}

#[test]
fn several_values_fit_when_one_does() {
    let (host, event) = (Host::new(), exec(|_| {}));
    for (condition, expected) in [
        ("proc.aname = nginx", true),
        ("proc.aname in (apache, systemd)", true),
        // The process itself is none of its ancestors.
        ("proc.aname = nc", false),
        ("proc.aname != nginx", true),
        ("proc.acmdline contains 'daemon off'", true),
        ("proc.apid = 10", true),
        ("evt.type = execve", true),
        ("evt.type = execveat", true),
        ("evt.type != execveat", false),
        ("evt.type in (open, execveat)", true),
        ("evt.type != open", true),
    ] {
        assert_eq!(holds(condition, &event, &host), expected, "{condition}");
    }
}

#[test]
fn mistakes_are_told_with_what_would_be_right() {
    for (condition, expected) in [
        ("proc.nmae = x", "there is no field `proc.nmae`; did you mean proc.name"),
        ("proc.name[2] = x", "`proc.name` takes nothing in brackets"),
        ("proc.aname[x] = x", "`proc.aname` takes a number in brackets, not `x`"),
        ("evt.arg.flgs contains x", "no event has an argument `flgs`; did you mean flags"),
        ("proc.pid = x", "`x` is no number"),
        ("proc.pid contains 3", "`contains` does not work with proc.pid, which is a number"),
        ("proc.pid in (1, x)", "`x` is no number"),
        ("evt.is_open_read > 3", "`>` does not work with evt.is_open_read, which is a true or false"),
        ("evt.is_open_read = yes", "`yes` is neither true nor false"),
        ("fd.sip = 1.2.3", "`1.2.3` is neither an IP address nor a network such as 10.0.0.0/8"),
        ("fd.snet in (10.0.0.0/33)", "`10.0.0.0/33` is neither an IP address nor a network"),
        ("proc.name regex 'a('", "unclosed group"),
        ("proc.name glob 'a[b'", "has `[` without `]`"),
        ("proc.name bcontains abc", "`abc` is no hexadecimal number"),
        ("proc.name = val(proc.pid)", "proc.name is a text, and proc.pid is a number"),
        ("tolower(proc.pid) = 3", "`tolower` takes text, and proc.pid is a number"),
    ] {
        let (rules, told) = compile(&rule(condition));
        assert_eq!(rules.list.len(), 0, "{condition}");
        assert!(told.iter().any(|message| message.contains(expected)), "{condition}: {told:#?}");
        // The condition begins on line 4.
        assert!(told.iter().any(|message| message.starts_with("rules.yaml:4:")), "{condition}: {told:#?}");
    }
}

#[test]
fn a_mistake_leaves_its_rule_out_and_no_other() {
    let two = rule("proc.nmae = x") + &rule("evt.type = execve").replace("rule: r", "rule: s");
    let (rules, told) = compile(&two);
    assert_eq!(rules.list.len(), 1, "{told:#?}");
    let output = rule("evt.type = execve").replace("%proc.name", "%proc.nmae");
    let (rules, told) = compile(&output);
    assert_eq!(rules.list.len(), 0);
    assert!(told[0].contains("in the output: there is no field `proc.nmae`"), "{told:#?}");
}

#[test]
fn many_literals_of_one_field_are_all_found() {
    let host = Host::new();
    let event = exec(|exec| exec.args = vec![b"x".to_vec(), b"abcabd".to_vec()]);
    for (condition, expected) in [
        ("(proc.args contains abc and proc.args contains bcab and proc.args contains abd)", true),
        ("(proc.args contains abc and proc.args contains xyz and proc.args contains abd)", false),
        ("(proc.args contains xyz or proc.args contains zyx or proc.args contains cabd)", true),
        ("(proc.args icontains ABC and proc.args icontains bD)", true),
        ("(proc.args icontains ABC and proc.args icontains bE)", false),
    ] {
        assert_eq!(holds(&format!("evt.type=execve and {condition}"), &event, &host), expected, "{condition}");
    }
}

#[test]
fn a_rule_is_tested_for_the_kinds_of_events_that_it_may_match() {
    let (rules, told) = compile(
        &[
            rule("evt.type in (open, openat) and fd.name = /x"),
            rule("evt.type = execve or proc.name = y").replace("rule: r", "rule: s"),
            rule("not evt.type = openat").replace("rule: r", "rule: t"),
        ]
        .concat(),
    );
    let numbers = |event: Event| rules.jobs(&event).iter().map(|job| job.rule).collect::<Vec<_>>();
    assert_eq!(numbers(open("/x", 0)), [0, 1]);
    assert_eq!(numbers(exec(|_| {})), [1, 2]);
    assert_eq!(numbers(activity(Act::Setns, "setns", |_| {})), [1, 2]);
    let warned: Vec<_> = told.iter().filter(|message| message.contains("says nothing of evt.type")).collect();
    assert_eq!(warned.len(), 2, "{told:#?}");
}

#[test]
fn lists_find_texts_of_every_length() {
    let host = Host::new();
    for length in (1..8).chain(60..70) {
        let (wanted, other) = ("a".repeat(length), "a".repeat(length + 1));
        let event = exec(|exec| exec.comm = wanted.clone().into_bytes());
        assert!(holds(&format!("evt.type=execve and proc.name in (x, {wanted})"), &event, &host), "{length}");
        assert!(!holds(&format!("evt.type=execve and proc.name in (x, {other})"), &event, &host), "{length}");
    }
}
