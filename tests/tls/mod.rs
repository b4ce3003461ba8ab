//! What is said inside TLS: each request is counted once on each side, whoever does the encrypting, and libraries are found and
//! let go of as processes come and go.

#![expect(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "a test fails by a panic")]

mod peers;

use std::{fs, net::TcpListener, process::Command, time::Duration};

use monitor_tests::{DEADLINE, Daemon, Samples, held, until};

use peers::{Peer, Place};

const CONFIG: &str = "[signals]\nl7 = true\n";

const SERVER: &str = "monitor_http_server_request_duration_seconds_count";
const CLIENT: &str = "monitor_http_client_request_duration_seconds_count";
/// A library stays for a while, and then until all processes have been looked at twice.
const LET_GO: Duration = Duration::from_secs(150);

/// Waits until what is counted is as wanted.
#[track_caller]
fn counted(daemon: &Daemon, wanted: f64, count: impl Fn(&Samples) -> f64) {
    until(DEADLINE, || {
        let counted = count(&daemon.fresh_metrics());
        if counted == wanted { Ok(()) } else { Err(format!("{counted}, not {wanted}; {}", daemon.log())) }
    });
}

/// Links of the daemon on functions of libraries called so: other programs come and go as they like.
fn library_links(daemon: &Daemon, name: &str) -> usize {
    let list = fs::read_dir(format!("/proc/{}/fdinfo", daemon.pid())).unwrap();
    let texts = list.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter(|text| text.contains("probe_multi") && text.contains(name)).count()
}

/// A daemon that has looked at what was there when it started: the host's own OpenSSL at least.
fn daemon(config: &str) -> Daemon {
    let daemon = Daemon::start(config);
    until(DEADLINE, || {
        let libraries = daemon.fresh_metrics().sum("monitor_l7_tls_libraries", &[("library", "openssl")]);
        if libraries > 0.0 { Ok(()) } else { Err(format!("no library; {}", daemon.log())) }
    });
    daemon
}

#[test]
fn requests_inside_tls_are_counted_on_both_sides_with_their_peers() {
    let (place, daemon) = (Place::new(), daemon(CONFIG));
    let mut server = place.serve("sockets");
    let port = server.line();
    let curl = place.fetch("/usr/bin/curl", &port, &["/item/1", "/item/2", "/missing"]);
    let wget = place.fetch("/usr/bin/wget", &port, &["/item/3", "/item/4"]);
    let mut python = place.ask("sockets", &port);
    python.times(50);
    let server = server.name.as_str();
    for (route, class, wanted) in [("/item/*", "2xx", 4.0), ("/asked", "2xx", 50.0), ("_unmatched", "4xx", 1.0)] {
        let labels = [("group", server), ("method", "GET"), ("route", route), ("status_class", class)];
        counted(&daemon, wanted, |metrics| metrics.sum(SERVER, &labels));
    }
    let peer = format!("127.0.0.1:{port}");
    for (client, wanted) in [(&curl, 3.0), (&wget, 2.0), (&python.name, 50.0)] {
        let labels = [("group", client.as_str()), ("peer", &peer)];
        counted(&daemon, wanted, |metrics| metrics.sum(CLIENT, &labels));
    }
    let metrics = daemon.fresh_metrics();
    assert_eq!(metrics.sum(SERVER, &[("group", server)]), 55.0, "nothing is counted twice");
    assert_eq!(metrics.sum(CLIENT, &[("group", server)]), 0.0, "who serves is told rightly");
    // 100 bytes of body in each.
    let bytes = |role| [("group", server), ("role", role), ("direction", "response")];
    assert!(metrics.sum("monitor_l7_bytes_total", &bytes("server")) > 5_500.0);
}

#[test]
fn who_reads_through_a_bio_is_heard() {
    let (place, daemon) = (Place::new(), daemon(CONFIG));
    let (program, name) = place.program("/usr/bin/openssl", "po");
    // It takes no port 0: one that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut command = Command::new(program);
    command.args(["s_server", "-WWW", "-accept", &port, "-cert", "certificate.pem", "-key", "key.pem"]);
    let mut server = Peer::spawn(command.current_dir(place.path()), name);
    assert!(server.line().contains("ACCEPT") || server.line().contains("ACCEPT"));
    let curl = place.fetch("/usr/bin/curl", &port, &["/server.py"]);
    counted(&daemon, 1.0, |metrics| metrics.sum(SERVER, &[("group", &server.name), ("route", "/server.py")]));
    counted(&daemon, 1.0, |metrics| metrics.sum(CLIENT, &[("group", &curl)]));
}

#[test]
fn who_uses_the_library_on_memory_only_is_heard_though_not_whom_it_speaks_to() {
    let (place, daemon) = (Place::new(), daemon(CONFIG));
    let mut server = place.serve("memory");
    let port = server.line();
    let mut client = place.ask("memory", &port);
    client.times(40);
    counted(&daemon, 40.0, |metrics| metrics.sum(SERVER, &[("group", &server.name), ("route", "/asked")]));
    counted(&daemon, 40.0, |metrics| metrics.sum(CLIENT, &[("group", &client.name), ("peer", "")]));
    let metrics = daemon.fresh_metrics();
    assert_eq!(metrics.sum(SERVER, &[("group", &client.name)]), 0.0, "who serves is told rightly");
    assert!(metrics.sum("monitor_l7_tls_connections_total", &[("peer", "unknown")]) >= 2.0);
}

#[test]
fn connections_and_processes_older_than_the_daemon_are_heard_from_now_on() {
    let place = Place::new();
    let mut server = place.serve("sockets");
    let port = server.line();
    let mut client = place.ask("sockets", &port);
    client.times(7);
    let daemon = daemon(CONFIG);
    // The server's thread waits inside of the library: what it reads then is not seen, what it answers is.
    client.times(1);
    client.times(20);
    counted(&daemon, 20.0, |metrics| metrics.sum(SERVER, &[("group", &server.name), ("route", "/asked")]));
    let peer = format!("127.0.0.1:{port}");
    counted(&daemon, 21.0, |metrics| metrics.sum(CLIENT, &[("group", &client.name), ("peer", &peer)]));
    assert!(daemon.fresh_metrics().sum(SERVER, &[("group", &server.name)]) <= 21.0);
}

#[test]
fn a_library_that_only_one_mount_namespace_has_is_found_and_let_go_of() {
    let (place, daemon) = (Place::new(), daemon(CONFIG));
    let links = || library_links(&daemon, "/libssl.so.3\n");
    let before = links();
    assert_eq!(before, 2, "one for what is entered and one for what returns");
    // As in a container: the name is the host's, the file is another one.
    let library = maps_of_python("libssl.so");
    let copy = place.path().join("libssl.so.3");
    fs::copy(&library, &copy).unwrap();
    let (python, name) = place.python("server.py", "pn");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", "mount --bind \"$0\" \"$1\" && shift && exec \"$@\""])
        .arg(&copy)
        .arg(&library);
    command.arg(python.get_program()).args(python.get_args()).arg("sockets").env("PYTHONHOME", "/usr");
    let mut server = Peer::spawn(&mut command, name);
    let port = server.line();
    // Found by the exec: long before all processes have been looked at.
    until(DEADLINE, || {
        let now = links();
        if now == before + 2 { Ok(()) } else { Err(format!("{now} links, {before} before; {}", daemon.log())) }
    });
    let mut client = place.ask("sockets", &port);
    client.times(30);
    counted(&daemon, 30.0, |metrics| metrics.sum(SERVER, &[("group", &server.name), ("route", "/asked")]));
    counted(&daemon, 30.0, |metrics| metrics.sum(CLIENT, &[("group", &client.name)]));
    drop((server, client));
    until(LET_GO, || {
        let now = links();
        if now == before { Ok(()) } else { Err(format!("{now} links, not {before}; {}", daemon.log())) }
    });
    let held = held(daemon.pid());
    held.assert_there();
    daemon.stop();
    held.assert_gone();
}

#[test]
fn libraries_are_left_alone_where_that_is_not_wanted() {
    let daemon = Daemon::start("[signals]\nl7 = true\nl7_tls = false\n");
    let place = Place::new();
    let mut server = place.serve("sockets");
    let port = server.line();
    let curl = place.fetch("/usr/bin/curl", &port, &["/item/1"]);
    counted(&daemon, 1.0, |metrics| {
        f64::from(u8::from(metrics.sum("monitor_l7_unheard_connections_total", &[("reason", "encrypted")]) >= 2.0))
    });
    let metrics = daemon.fresh_metrics();
    assert_eq!((library_links(&daemon, ""), metrics.sum("monitor_l7_tls_libraries", &[])), (0, 0.0));
    assert_eq!(metrics.sum(CLIENT, &[("group", &curl)]), 0.0);
}

/// The file of a library that Debian's Python uses.
fn maps_of_python(name: &str) -> String {
    let script = "import ssl; print(open('/proc/self/maps').read())";
    let output = Command::new("/usr/bin/python3").args(["-c", script]).output().expect("package python3");
    let text = String::from_utf8(output.stdout).unwrap();
    let path = text.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains(name));
    path.unwrap_or_else(|| panic!("Python has no {name}")).to_owned()
}
