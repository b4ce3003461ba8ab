//! Paths as they were meant: of a script, and of names that lead through `.` and `..`.

use std::borrow::Cow;

use crate::signals::exec::Exec;

/// What is judged of an exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged<'a> {
    /// Absolute, but for a memfd.
    pub(super) path: Cow<'a, [u8]>,
    /// It is a script's; it comes from the name that was used and not from the kernel's own path.
    pub(super) script: bool,
    /// Components at the root end are missing.
    pub(super) cut: bool,
}

/// The program's file, or the script when one is interpreted: everybody may run /bin/sh, so that it is the script that
/// tells. The kernel resolves the program's path itself; a script's is put together from name and working directory.
pub(super) fn judged(exec: &Exec) -> Judged<'_> {
    if !exec.script || is_descriptor(&exec.filename) {
        return Judged { path: Cow::Borrowed(&exec.exe), script: false, cut: exec.exe_cut };
    }
    let path = resolve(&exec.cwd, &exec.filename);
    let cut = !path.starts_with(b"/");
    Judged { path: Cow::Owned(path), script: true, cut }
}

/// The script was handed over as an open file: its path is not known. (fexecve(3), execveat(2))
pub(super) fn is_descriptor(filename: &[u8]) -> bool {
    let parts: Vec<&[u8]> = filename.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    matches!(parts.as_slice(), [b"dev", b"fd", ..] | [b"proc", _, b"fd", ..] | [b"proc", _, b"task", _, b"fd", ..])
        || matches!(parts.as_slice(), [b"dev", b"stdin"])
}

/// `name` as seen from `cwd`, without `.`, `..` and doubled slashes. Symbolic links are not followed. When the root end
/// of `cwd` is missing (`.../a`) and matters, it is missing in the result too.
pub(super) fn resolve(cwd: &[u8], name: &[u8]) -> Vec<u8> {
    let mut components = Components::default();
    if !name.starts_with(b"/") {
        components.push(cwd);
    }
    components.push(name);
    // /proc/self/root and /proc/self/cwd are detours. Another process's root is most often the same.
    if let [b"proc", _, detour @ (b"root" | b"cwd"), rest @ ..] = components.names.as_slice() {
        let rest = rest.join(&b'/');
        let start: &[u8] = if *detour == b"cwd" { cwd } else { b"" };
        return resolve_below(start, &rest);
    }
    components.join()
}

fn resolve_below(start: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut components = Components::default();
    components.push(start);
    components.push(rest);
    components.join()
}

#[derive(Default)]
struct Components<'a> {
    cut: bool,
    names: Vec<&'a [u8]>,
}

impl<'a> Components<'a> {
    fn push(&mut self, path: &'a [u8]) {
        let cut = path.strip_prefix(b".../").filter(|_| self.names.is_empty());
        self.cut |= cut.is_some();
        for part in cut.unwrap_or(path).split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    self.names.pop();
                }
                _ => self.names.push(part),
            }
        }
    }

    fn join(&self) -> Vec<u8> {
        let start: &[u8] = if self.cut { b".../" } else { b"/" };
        [start, &self.names.join(&b'/')].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_without_looking_at_the_disk() {
        for (cwd, name, expected) in [
            ("/home", "/tmp/x", "/tmp/x"),
            ("/tmp", "x", "/tmp/x"),
            ("/tmp", "./x", "/tmp/x"),
            ("/", "x", "/x"),
            ("/home/me", "../../tmp//a/../x", "/tmp/x"),
            ("/", "../../x", "/x"),
            ("/usr/bin", "/usr/bin/../../dev/shm/x", "/dev/shm/x"),
            ("/home", "/proc/self/root/tmp/x", "/tmp/x"),
            ("/home", "/proc/123/root/tmp/x", "/tmp/x"),
            ("/tmp", "/proc/self/cwd/a/x", "/tmp/a/x"),
            (".../deep", "x", ".../deep/x"),
            (".../deep", "../../../x", ".../x"),
            (".../deep", "/tmp/x", "/tmp/x"),
            (".../deep", "/proc/self/cwd/x", ".../deep/x"),
            ("/a", "/.../x", "/.../x"),
            ("/tmp", ".../x", "/tmp/.../x"),
            ("/tmp", "", "/tmp"),
        ] {
            let found = resolve(cwd.as_bytes(), name.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{cwd} {name}");
        }
    }

    #[test]
    fn descriptors_are_no_paths() {
        for name in ["/dev/fd/3", "/proc/self/fd/3", "//proc/12/fd/3", "/proc/1/task/1/fd/0", "/dev/fd/5/x.sh"] {
            assert!(is_descriptor(name.as_bytes()), "{name}");
        }
        for name in ["/dev/fdx", "/proc/self/root/x", "fd/3", "/tmp/dev/fd/3"] {
            assert!(!is_descriptor(name.as_bytes()), "{name}");
        }
    }
}
