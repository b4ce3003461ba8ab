//! What the kernel is asked for: enough, and no more than that.

use std::collections::BTreeSet;

use monitor_common::signals::activity::{Act, FMODE_CREATED};

use super::{Host, activity, compile, name, open, rule};
use crate::detect::eval::{Memory, Needs, Session};
use crate::detect::{Event, What};

fn needs(condition: &str) -> Needs {
    let (rules, told) = compile(&rule(condition));
    assert_eq!(rules.list.len(), 1, "{told:?}");
    Needs::of(&rules)
}

fn set(values: &[&str]) -> BTreeSet<Vec<u8>> {
    values.iter().map(|value| value.as_bytes().to_vec()).collect()
}

#[test]
fn kinds_follow_from_the_names_of_calls() {
    let found = needs("evt.type in (ptrace, connect)");
    assert_eq!(found.kinds, Act::Ptrace.bit() | Act::Connect.bit());
    assert_eq!(found.failed, found.kinds);
    assert_eq!(needs("evt.type = ptrace and evt.rawres >= 0").failed, 0);
    assert_eq!(needs("evt.type = ptrace and evt.res = SUCCESS").failed, 0);
    assert_eq!(needs("evt.type = ptrace and evt.failed = true").failed, Act::Ptrace.bit());
    assert_eq!(needs("evt.type in (execve, execveat)").kinds, 0);
    // Connections are remembered from when they were made.
    let connections = Act::Connect.bit() | Act::Accept.bit();
    assert_eq!(needs("evt.type = execve and not proc.inet.duration[1] > 5").kinds, connections);
    // Without a name it may be anything; but only opens are for writing.
    assert_eq!(needs("proc.name = x").kinds.count_ones() as usize, Act::ALL.len());
    assert_eq!(needs("evt.is_open_write = true").kinds, Act::FileOpen.bit());
}

#[test]
fn opens_are_told_by_purpose_and_place() {
    let write = "evt.type in (open, openat, openat2) and evt.is_open_write = true and fd.num >= 0";
    let found = needs(&format!("{write} and (fd.name in (/etc/passwd, /etc/group) or fd.name startswith /etc/cron)"));
    assert_eq!(found.kinds, Act::FileOpen.bit());
    assert!(found.read.is_empty() && found.failed == 0, "{found:?}");
    assert_eq!(found.write.paths, set(&["/etc/passwd", "/etc/group"]));
    assert_eq!(found.write.directories, set(&["/etc/"]));
    assert_eq!(found.created, found.write);
    assert_eq!(found.protected, set(&["/etc/passwd", "/etc/group"]));
    let created = needs("evt.type = openat and evt.is_open_create = true");
    assert!(created.created.all && created.write.is_empty() && created.read.is_empty());
    for (condition, paths, directories, names) in [
        ("fd.filename = id_rsa", &[][..], &[][..], &["id_rsa"][..]),
        ("fd.name endswith /.ssh/authorized_keys", &[], &[], &["authorized_keys"]),
        ("fd.name glob '/home/*/.ssh/*'", &[], &["/home/"], &[]),
        ("fd.name glob '/home/*/.bashrc'", &[], &[], &[".bashrc"]),
        ("fd.directory in (/etc/pam.d, /etc/sudoers.d)", &[], &["/etc/pam.d/", "/etc/sudoers.d/"], &[]),
        ("fd.name pmatch (/etc/ssh)", &["/etc/ssh"], &["/etc/ssh/"], &[]),
        ("fd.original = /etc/shadow", &["/etc/shadow"], &[], &[]),
        ("basename(fd.name) in (a, b)", &[], &[], &["a", "b"]),
        // The narrower of two.
        ("fd.name startswith /etc/ and fd.filename = shadow", &[], &[], &["shadow"]),
        ("not (fd.name != /x)", &[], &[], &[]),
    ] {
        let found = needs(&format!("evt.type = openat and evt.is_open_read = true and {condition}")).read;
        let everything = paths.is_empty() && directories.is_empty() && names.is_empty();
        assert_eq!(found.all, everything, "{condition}");
        assert_eq!(found.paths, set(paths), "{condition}");
        assert_eq!(found.directories, set(directories), "{condition}");
        assert_eq!(found.names, set(names), "{condition}");
    }
    for condition in [
        "fd.name contains /.ssh/",
        "fd.name endswith passwd",
        "fd.name startswith /",
        "not fd.name = /x",
        "fd.name != /x",
    ] {
        assert!(needs(&format!("evt.type = open and {condition}")).read.all, "{condition}");
    }
}

#[test]
fn changes_are_told_by_name_where_that_is_enough() {
    let found = needs("evt.type in (unlink, unlinkat) and fs.path.name in (/etc/ld.so.preload)");
    assert_eq!((found.everywhere, found.changed.paths), (0, set(&["/etc/ld.so.preload"])));
    let found = needs("evt.type in (unlink, unlinkat) and fs.path.name startswith /var/log/");
    assert_eq!(found.everywhere, Act::Unlink.bit() | Act::Rmdir.bit());
    let found = needs("evt.type in (rename, symlink) and fs.path.new = /etc/ld.so.preload");
    assert_eq!((found.everywhere, found.changed.paths), (0, set(&["/etc/ld.so.preload"])));
    let found = needs("evt.type = rename and fs.path.target = /etc/passwd");
    assert_eq!(found.everywhere, Act::Rename.bit(), "the target is no path that the selection knows");
}

#[test]
fn steps_of_a_sequence_are_needed_too() {
    let text = format!(
        "{}  sequence:\n    by: [proc.pid]\n    within: 1s\n    steps: [evt.type = connect]\n",
        rule("evt.type = execve")
    );
    assert_eq!(Needs::of(&compile(&text).0).kinds, Act::Connect.bit());
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.roll(from.len())]
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth == 0 || self.roll(4) == 0 {
            return self
                .pick(&[
                    "evt.is_open_read = true",
                    "evt.is_open_write = true",
                    "evt.is_open_write = false",
                    "evt.is_open_write != true",
                    "evt.is_open_create = true",
                    "evt.is_open_exec exists",
                    "fd.created = false",
                    "evt.failed = true",
                    "evt.rawres >= 0",
                    "evt.rawres < 0",
                    "evt.rawres != -2",
                    "evt.rawres in (5, 6)",
                    "fd.num >= 0",
                    "fd.num = -1",
                    "fd.num != -1",
                    "evt.res = SUCCESS",
                    "evt.res != SUCCESS",
                    "evt.res startswith E",
                    "evt.type = openat",
                    "evt.type in (open, openat2)",
                    "evt.type != openat",
                    "fd.name = /etc/shadow",
                    "fd.name in (/etc/passwd, /tmp/a/b)",
                    "fd.name != /etc/shadow",
                    "fd.name startswith /etc/",
                    "fd.name startswith /etc/sh",
                    "fd.name startswith /t",
                    "fd.name endswith /shadow",
                    "fd.name endswith shadow",
                    "fd.name contains /a/",
                    "fd.name glob '/*/shadow'",
                    "fd.name glob '/tmp/*'",
                    "fd.name glob '/tm[op]/a/[b]'",
                    "fd.name pmatch (/tmp/a, /opt)",
                    "fd.name exists",
                    "fd.filename = b",
                    "fd.filename != b",
                    "fd.directory = /etc",
                    "fd.directory startswith /tmp",
                    "fd.directory pmatch (/tmp)",
                    "fs.path.name = /etc/passwd",
                    "basename(fd.name) = shadow",
                    "tolower(fd.name) = /etc/shadow",
                    "proc.name = sh",
                    "proc.name = other",
                ])
                .to_owned();
        }
        let parts: Vec<String> = (0..2 + self.roll(2)).map(|_| self.condition(depth - 1)).collect();
        match self.roll(3) {
            0 => format!("({})", parts.join(" and ")),
            1 => format!("({})", parts.join(" or ")),
            _ => format!("not ({})", parts.join(" and ")),
        }
    }

    /// An open, and what the kernel programs see of it.
    fn open(&mut self) -> (Event, &'static str, bool, bool, bool) {
        let path =
            self.pick(&["/etc/shadow", "/etc/passwd", "/tmp/a/b", "/tmp/a", "/opt/x", "/shadow", "/tmp/xshadow", "/x"]);
        let (write, failed) = (self.roll(2) == 0, self.roll(3) == 0);
        let creates = self.roll(3) == 0;
        let created = creates && !failed && self.roll(2) == 0;
        let flags = if write { [libc::O_WRONLY, libc::O_RDWR][self.roll(2)] } else { libc::O_RDONLY };
        let flags = flags | if creates { libc::O_CREAT } else { 0 };
        let mut event = open(path, flags);
        let call = self.pick(&["open", "openat", "openat2"]);
        if let What::Activity(activity) = &mut event.what {
            activity.call = call;
            if call == "open" {
                activity.args[1] = flags as u64;
            }
            if failed {
                activity.result = -2;
                activity.file = None;
                activity.path = Vec::new();
            }
            if let Some(file) = &mut activity.file {
                file.open_mode = if created { FMODE_CREATED } else { 0 };
            }
        }
        (event, path, write || (failed && creates), created, failed)
    }
}

#[test]
fn nothing_that_a_rule_would_match_is_left_out() {
    let (host, mut dice) = (Host::new(), Dice(1));
    let (mut matched, mut narrow) = (0, 0);
    for _ in 0..1500 {
        let condition = dice.condition(3);
        let (rules, told) = compile(&rule(&condition));
        assert_eq!(rules.list.len(), 1, "{condition} {told:?}");
        let needs = Needs::of(&rules);
        let mut memory = Memory::default();
        for _ in 0..40 {
            let (event, path, write, created, failed) = dice.open();
            let mut session = Session::new(&rules, &mut memory, &event, &host);
            let held = rules.jobs(&event).iter().any(|job| session.run(&job.program));
            let mut reasons = Vec::new();
            assert_eq!(session.reasons(&rules.list[0].tree, true, &mut reasons), held, "{condition}");
            session.end();
            let told = needs.tells_open(path.as_bytes(), write, created, failed);
            assert!(told || !held, "{condition}\n{event:?}\n{needs:?}");
            matched += usize::from(held);
            narrow += usize::from(!told);
        }
    }
    // The test is of use only when both happen often.
    assert!(matched > 5_000 && narrow > 5_000, "{matched} {narrow}");
}

#[test]
fn a_change_without_a_path_is_needed_everywhere() {
    let event = activity(Act::Chmod, "fchmod", |activity| activity.name = name("x", "/x"));
    let (rules, _) = compile(&rule("evt.type = fchmod and evt.arg.mode contains S_ISUID"));
    assert_eq!(Needs::of(&rules).everywhere, Act::Chmod.bit());
    assert_eq!(rules.jobs(&event).len(), 1);
}
