//! DNS: dnsmasq, asked by dnsperf and by the C library, in a network of their own: names are asked for at port 53.

use std::{fs::File, os::unix::process::CommandExt as _, process::Command};

use monitor_tests::{Installed, Samples, Server, Workload, alone};
use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use super::{Times, counted, daemon, quantiles};

const LOOKUPS: &str = "monitor_dns_lookup_duration_seconds";

/// A network with a loopback device, as long as the process that made it is there.
struct Network(Workload);

impl Network {
    fn new() -> Self {
        let mut process = Workload::spawn(&["own-net", "+", "say", "ready", "+", "wait"]);
        assert_eq!(process.line(), "ready");
        Self(process)
    }

    /// Lets a command run in it.
    fn join(&self, command: &mut Command) {
        let network = File::open(format!("/proc/{}/ns/net", self.0.pid())).unwrap();
        let enter = move || {
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network))?;
            Ok(())
        };
        // SAFETY: a system call, which needs nothing of the process that was forked.
        unsafe { command.pre_exec(enter) };
    }
}

fn start(network: &Network) -> Server {
    let set = |command: &mut Command| {
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=nobody"])
            .args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1", "--cache-size=0"])
            .args(["--address=/known.test/192.0.2.7", "--address=/known.test/2001:db8::7", "--address=/absent.test/"])
            .args(["--log-queries", "--log-facility=-"]);
        network.join(command);
    };
    let program = Installed::new("dnsmasq");
    let log = program.file("log");
    Server::start(program, set, || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        if log.contains("started") { Ok(()) } else { Err("it has not started") }
    })
}

/// How often the server logged a question of this type.
fn logged(server: &Server, kind: &str) -> f64 {
    let question = format!("query[{kind}]");
    server.log().lines().filter(|line| line.contains(&question)).count() as f64
}

fn lookups(metrics: &Samples, group: &str, role: &str, more: &[(&str, &str)]) -> f64 {
    metrics.sum(&format!("{LOOKUPS}_count"), &[&[("group", group), ("role", role)], more].concat())
}

/// Asks by dig, one question after the other; how long each took, in seconds.
fn dig(network: &Network, asker: &Installed, questions: &str) -> Vec<f64> {
    let questions = asker.write("questions", questions);
    let arguments = ["@127.0.0.1", "-r", "-u", "-f", questions.to_str().unwrap()];
    let output = asker.output(&arguments, |command| network.join(command));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    let times = told.lines().filter_map(|line| line.strip_prefix(";; Query time: ")?.strip_suffix(" usec"));
    times.map(|time| time.parse::<f64>().unwrap() / 1e6).collect()
}

#[test]
fn questions_are_as_many_as_dig_asked_and_take_as_long() {
    let network = Network::new();
    let server = start(&network);
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let asker = Installed::new("dig");
    let questions = "secret.known.test A\nsecret.known.test AAAA\nsecret.absent.test A\nrefused.test MX\n".repeat(200);
    let mut times = dig(&network, &asker, &questions);
    assert_eq!(
        (times.len(), logged(&server, "A"), logged(&server, "AAAA"), logged(&server, "MX")),
        (800, 400.0, 200.0, 200.0)
    );
    for (group, role) in [(asker.name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &[("A", 400.0), ("AAAA", 200.0), ("MX", 200.0)], |metrics, kind| {
            lookups(metrics, group, role, &[("type", kind)])
        });
        let wanted = [("ok", 400.0), ("client_error", 200.0), ("server_error", 200.0)];
        counted(&daemon, &wanted, |metrics, status| lookups(metrics, group, role, &[("status", status)]));
        // NXDOMAIN and REFUSED.
        counted(&daemon, &[("3", 200.0), ("5", 200.0)], |metrics, code| {
            let labels = [("group", group), ("role", role), ("system", "dns"), ("code", code)];
            metrics.sum("monitor_db_query_errors_total", &labels)
        });
    }
    let metrics = daemon.fresh_metrics();
    Times::of(&metrics, LOOKUPS, &[("group", &asker.name)]).agree(&quantiles(&mut times));
    assert!(!daemon.get("/metrics").text().contains("secret"));
}

#[test]
fn questions_over_tcp_are_counted_too() {
    let network = Network::new();
    let server = start(&network);
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let asker = Installed::new("dig");
    let times = dig(&network, &asker, &"secret.known.test A +tcp\nsecret.absent.test AAAA +tcp\n".repeat(50));
    assert_eq!((times.len(), logged(&server, "A"), logged(&server, "AAAA")), (100, 50.0, 50.0));
    for (group, role) in [(asker.name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &[("A", 50.0), ("AAAA", 50.0)], |metrics, kind| {
            lookups(metrics, group, role, &[("type", kind)])
        });
        counted(&daemon, &[("ok", 50.0), ("client_error", 50.0)], |metrics, status| {
            lookups(metrics, group, role, &[("status", status)])
        });
    }
    assert!(!daemon.get("/metrics").text().contains("secret"));
}

/// Lets a command see these files as `/etc/resolv.conf` and `/etc/nsswitch.conf`.
fn asks_here(program: &Installed, command: &mut Command) {
    let files = [("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: dns\n")];
    let files = files.map(|(name, content)| (program.write(name, content), format!("/etc/{name}")));
    let mount = move || {
        // SAFETY: the process that was forked shares nothing.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        for (file, place) in &files {
            mount_bind(file, place.as_str())?;
        }
        Ok(())
    };
    // SAFETY: system calls, which need nothing of the process that was forked.
    unsafe { command.pre_exec(mount) };
}

#[test]
fn questions_of_the_c_library_are_heard_on_both_sides() {
    let network = Network::new();
    let server = start(&network);
    let Some(daemon) = daemon() else { return };
    let _turn = alone();
    let asker = Installed::new("getent");
    for _ in 0..10 {
        let ask = |arguments: &[&str]| {
            asker.output(arguments, |command| {
                network.join(command);
                asks_here(&asker, command);
            })
        };
        // Both types at once, then one alone. The point keeps the host's own domain from being tried, too.
        for (database, name) in [("ahosts", "secret.known.test."), ("hosts", "secret.known.test.")] {
            let found = String::from_utf8(ask(&[database, name]).stdout).unwrap();
            assert!(found.contains("2001:db8::7"), "{found}");
            assert_eq!(found.contains("192.0.2.7"), database == "ahosts", "{found}");
        }
        assert_eq!(ask(&["ahosts", "secret.absent.test."]).status.code(), Some(2));
    }
    assert_eq!((logged(&server, "A"), logged(&server, "AAAA")), (20.0, 30.0));
    for (group, role) in [(asker.name.as_str(), "client"), (server.name(), "server")] {
        counted(&daemon, &[("A", 20.0), ("AAAA", 30.0)], |metrics, kind| {
            lookups(metrics, group, role, &[("type", kind)])
        });
        let wanted = [("ok", 30.0), ("client_error", 20.0)];
        counted(&daemon, &wanted, |metrics, status| lookups(metrics, group, role, &[("status", status)]));
    }
    assert!(!daemon.get("/metrics").text().contains("secret"));
}
