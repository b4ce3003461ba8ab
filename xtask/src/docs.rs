//! Documents that the daemon writes about itself, so that they cannot say something else than the code.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{daemon, project::Project, toolchain::output};

/// A document, and the arguments with which the daemon prints it.
const DOCUMENTS: &[(&str, &[&str])] =
    &[("monitor/docs/ACTIVITIES.md", &["docs", "activities"]), ("monitor/docs/METRICS.md", &["docs", "metrics"])];

/// Writes all documents anew.
pub(crate) fn write(project: &Project) -> Result<()> {
    daemon::build(project)?;
    for (path, arguments) in DOCUMENTS {
        let text = output(&project.daemon(), arguments)?;
        let file = project.root.join(path);
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        }
        fs::write(&file, text).with_context(|| format!("write {path}"))?;
        println!("==> wrote {path}");
    }
    Ok(())
}

/// Compares the documents in the tree with what the release daemon prints now.
pub(crate) fn check(project: &Project) -> Result<()> {
    for (path, arguments) in DOCUMENTS {
        let file = project.root.join(path);
        if !file.exists() {
            continue;
        }
        if !project.daemon().exists() {
            daemon::compile(project)?;
        }
        println!("==> {path}: is it what the daemon says now?");
        compare(&file, &output(&project.daemon(), arguments)?)?;
    }
    Ok(())
}

fn compare(file: &Path, now: &str) -> Result<()> {
    let kept = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let difference = kept.lines().zip(now.lines()).position(|(kept, now)| kept != now);
    let Some(line) = difference.or((kept != now).then(|| kept.lines().count().min(now.lines().count()))) else {
        return Ok(());
    };
    bail!("{} differs from what the daemon says, from line {} on: cargo xtask docs", file.display(), line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_by_line() {
        let file = std::env::temp_dir().join(format!("monitor-xtask-docs-{}", std::process::id()));
        fs::write(&file, "one\ntwo\n").unwrap();
        let complaint = |now| compare(&file, now).map_err(|error| error.to_string());
        assert_eq!(complaint("one\ntwo\n"), Ok(()));
        assert!(complaint("one\n2\n").unwrap_err().contains("from line 2 on"));
        assert!(complaint("one\ntwo\nthree\n").unwrap_err().contains("from line 3 on"));
        assert!(complaint("one\n").unwrap_err().contains("from line 2 on"));
        fs::remove_file(file).unwrap();
    }
}
