//! docs/FIELDS.md.

use std::fmt::Write;

use super::{Brackets, Definition, Several, all};

/// Fields that Falco does not have, and what they tell.
const OURS: &[(&str, &str)] = &[
    ("evt.abi", "How the kernel was asked: `native`, `compat` (as a 32-bit program does), `io_uring`."),
    ("fd.original", "Path under which a rule protects the file, whatever name it was used by; else `fd.name`."),
    ("fd.created", "The open made the file."),
    ("fd.mode", "Permission bits of the file."),
    ("fd.nlink", "Hard links of the file."),
    ("fd.owner.uid", "Owner of the file."),
    ("fs.path.old", "Old name, of a rename or link that succeeded."),
    ("fs.path.new", "Name that comes to be, of a rename, link or symlink that succeeded."),
    ("proc.filename", "Name that was passed to execve."),
    ("proc.is_script", "`proc.filename` is a script that `proc.exepath` interprets."),
    ("proc.script", "Absolute path of that script. Only of execs."),
    ("proc.exepath_before", "Program that the process ran before this exec."),
    (
        "proc.exepath.of_root",
        "`proc.exepath`, if nobody but root can have put this program there: its file belongs to root, has a name, and is not \
         reached through a mount of its own or in a user namespace of somebody's. Use it in exceptions.",
    ),
    ("proc.aexepath.of_root", "The same of ancestors."),
    ("proc.exepath_before.of_root", "The same of `proc.exepath_before`."),
    ("proc.arglen", "True length of all arguments, bytes, however few are kept."),
    ("proc.unit", "systemd service."),
    ("proc.kernel_thread", "It is a part of the kernel."),
    ("proc.exe.ino", "Inode number of the program's file."),
    ("proc.exe.dev", "Device of the program's file."),
    ("proc.exe.mode", "Permission bits of the program's file."),
    ("proc.exe.owner.uid", "Owner of the program's file."),
    ("proc.exe.deleted", "The program's file has no name any more, or never had one."),
    ("proc.exe.written", "The program's file was opened for writing shortly before."),
    ("proc.exe.writer.pid", "Who did that: process id."),
    ("proc.exe.writer.name", "… name."),
    ("proc.exe.writer.exepath", "… program."),
    ("proc.exe.writer.exepath.of_root", "… program, if nobody but root can have put it there."),
    ("proc.exe.writer.networked", "… had an internet connection."),
    ("proc.exe.age", "Nanoseconds since that; of a file that nobody was seen writing, since its inode changed."),
    ("proc.gained_privileges", "The exec gained privileges, says the kernel."),
    ("proc.uid_before", "Real user id before the event."),
    ("proc.euid_before", "Effective user id before the event."),
    ("proc.inet.duration", "Nanoseconds since the last internet connection of the process, or of ancestor N."),
    ("proc.inet.rip", "Other end of that connection."),
    ("proc.inet.rport", "Port of the other end."),
    ("proc.inet.accepted", "It was accepted, not made."),
    ("proc.stdin.type", "Standard input at the exec: `ipv4 ipv6 unix fifo file tty null closed other`."),
    ("proc.stdin.sip", "Other end of it, when it is an internet socket; the same as `proc.stdin.rip`."),
    ("proc.stdin.inode", "Its inode number: two processes with the same pipe or socket have the same."),
    ("user.ruid", "Real user id. `user.uid` is the effective one, as in Falco."),
    ("user.suid", "Saved user id."),
    ("group.rgid", "Real group id."),
    (
        "target.pid",
        "Process that the event is about: of ptrace, kill, process_vm_*, a fork's child, a path in `/proc/PID`.",
    ),
    ("target.name", "Its name."),
    ("target.exepath", "Its program."),
    ("target.user.uid", "Its effective user id."),
    ("target.is_self", "It is the process itself."),
    ("target.is_child", "It is a child of the process."),
    ("target.is_ancestor", "It is an ancestor of the process."),
    ("target.is_observer", "It is this daemon."),
];

/// The page.
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated from monitor/src/detect/eval/fields: UPDATE_DOCS=1 cargo test -p monitor --lib detect::eval -->\n\
         # Fields of rules\n\n\
         Fields have Falco's names and [Falco's meanings](https://falco.org/docs/reference/rules/supported-fields/). A\n\
         missing value fits nothing, not even `!=`. `[N]` takes a number, `[KEY]` a name; `evt.arg.NAME` is an argument of\n\
         the call under Falco's name. Where several values are possible one has to fit.\n\n\
         Different from Falco: paths of opened files are the kernel's own, so that links in them are resolved;\n\
         `evt.type` of an exec is equal to `execve` and `execveat`, that of a fork to `clone`, `clone3`, `fork` and\n\
         `vfork`; process ids are always those of the host; `evt.reltime` counts from the boot; `fd.types` knows the\n\
         standard descriptors as they were at the exec.\n\n\
         ## Fields that Falco does not have\n\n| field | what |\n|---|---|\n",
    );
    // Writing to a String does not fail.
    for (name, what) in OURS {
        let _ = writeln!(page, "| `{name}` | {what} |");
    }
    page.push_str("\n`proc.stdout.*` and `proc.stderr.*` are like `proc.stdin.*`.\n\n## All fields\n\n| field | type |\n|---|---|\n");
    for definition in all().filter(|definition| !definition.unknown) {
        let _ = writeln!(
            page,
            "| `{}{}` | {}{} |",
            definition.name,
            brackets(definition),
            definition.kind.name(),
            several(definition)
        );
    }
    page.push_str(
        "\n## Fields that are always missing\n\nRules that name them load. What they tell only a container runtime, a name \
         server or another kind of\nsensor knows.\n\n",
    );
    let names: Vec<String> = all().filter(|one| one.unknown).map(|one| format!("`{}`", one.name)).collect();
    page.push_str(&names.join(", "));
    page.push('\n');
    page
}

const fn brackets(definition: &Definition) -> &'static str {
    match definition.brackets {
        Brackets::Never => "",
        Brackets::Index | Brackets::NeedsIndex => "[N]",
        Brackets::Key | Brackets::NeedsKey => "[KEY]",
    }
}

const fn several(definition: &Definition) -> &'static str {
    match definition.several {
        Several::Any => "",
        Several::Ends => ", several; `!=` is for all",
        Several::List => ", a list",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_that_of_the_fields() {
        for (name, _) in OURS {
            assert!(super::super::find(name).is_some_and(|definition| !definition.unknown), "{name}");
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/FIELDS.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == markdown(),
            "docs/FIELDS.md is out of date: UPDATE_DOCS=1 cargo test -p monitor --lib detect::eval"
        );
    }
}
