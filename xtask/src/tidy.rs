//! The project's own rules, where no other tool has them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::project::Project;

/// Most lines of a source file: what a reader keeps in mind at once. A longer one has more than one subject.
const MOST_LINES: usize = 500;

/// Files that may be longer, and how long at most. The numbers only go down.
const LONGER: &[(&str, usize)] = &[];

const PACKAGES: [&str; 5] = ["monitor", "monitor-common", "monitor-ebpf", "tests", "xtask"];

/// Looks at every source file of the project.
pub(crate) fn check(project: &Project) -> Result<()> {
    println!("==> tidy: each module says what it is, and none has more than {MOST_LINES} lines");
    let mut files = Vec::new();
    for package in PACKAGES {
        collect(&project.root.join(package), &mut files)?;
    }
    files.sort_unstable();
    let mut mistakes = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(&project.root).unwrap_or(&file).display().to_string();
        mistakes.extend(complaints(&name, &text, LONGER));
    }
    if mistakes.is_empty() {
        return Ok(());
    }
    bail!("tidy found {} mistakes\n  {}", mistakes.len(), mistakes.join("\n  "))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Unit tests in files of their own: the path says what they are.
fn is_unit_test(name: &str) -> bool {
    name.contains("/src/") && (name.ends_with("/tests.rs") || name.contains("/tests/"))
}

fn complaints(name: &str, text: &str, longer: &[(&str, usize)]) -> Vec<String> {
    let mut found = Vec::new();
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if !is_unit_test(name) && !first.is_some_and(|line| line.starts_with("//! ")) {
        found.push(format!("{name}: begin with `//! What this module is.`"));
    }
    let lines = text.lines().count();
    match longer.iter().find(|(path, _)| *path == name) {
        None if lines > MOST_LINES => {
            found.push(format!("{name}: {lines} lines, {MOST_LINES} at most; split it where a reader would"));
        }
        Some((_, most)) if lines > *most => {
            found.push(format!("{name}: {lines} lines, it may have {most} and should shrink"));
        }
        Some(_) if lines <= MOST_LINES => {
            found.push(format!("{name}: {lines} lines now; take it out of LONGER (xtask/src/tidy.rs)"));
        }
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: usize) -> String {
        format!("//! A module.\n{}", "x\n".repeat(lines - 1))
    }

    #[test]
    fn a_module_says_what_it_is() {
        assert!(complaints("a.rs", "//! A module.\nuse b;\n", &[]).is_empty());
        assert!(complaints("a.rs", "#![no_std]\n\n//! A module.\n", &[]).is_empty());
        for text in ["use b;\n//! A module.\n", "/// Not the module.\nfn f() {}\n", ""] {
            assert!(complaints("a.rs", text, &[])[0].starts_with("a.rs: begin with"), "{text:?}");
            assert!(complaints("a/src/b/tests.rs", text, &[]).is_empty(), "{text:?}");
            assert!(complaints("a/src/b/tests/c.rs", text, &[]).is_empty(), "{text:?}");
            assert!(!complaints("tests/main.rs", text, &[]).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn long_files_only_shrink() {
        assert!(complaints("a.rs", &file(MOST_LINES), &[]).is_empty());
        assert_eq!(complaints("a.rs", &file(MOST_LINES + 1), &[]).len(), 1);
        let longer = [("a.rs", 600)];
        assert!(complaints("a.rs", &file(600), &longer).is_empty());
        assert!(complaints("a.rs", &file(601), &longer)[0].contains("should shrink"));
        assert!(complaints("a.rs", &file(599), &longer).is_empty());
        assert!(complaints("a.rs", &file(MOST_LINES), &longer)[0].contains("take it out"));
        assert_eq!(complaints("b.rs", &file(600), &longer).len(), 1);
    }
}
