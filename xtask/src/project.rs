//! Where the workspace, its output and its cargo are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::toolchain::{Places, set_by_cargo, target_directory};

/// This checkout.
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Project {
    pub(crate) fn here() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is at the top of the file system")?;
        let this = env::current_exe().context("where is this program?")?;
        let target = target_directory(&this).map_or_else(|| root.join("target"), Path::to_path_buf);
        Ok(Self { root: root.to_path_buf(), target })
    }

    /// The release daemon, built or not.
    pub(crate) fn daemon(&self) -> PathBuf {
        self.target.join("release/monitor")
    }

    /// A path as a person in the checkout would type it.
    pub(crate) fn short<'a>(&self, path: &'a Path) -> &'a Path {
        match env::current_dir() {
            Ok(current) => path.strip_prefix(current).unwrap_or(path),
            Err(_) => path,
        }
    }

    /// The cargo that runs us, without the variables by which it tells us about ourselves.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (key, _) in env::vars_os() {
            if key.to_str().is_some_and(set_by_cargo) {
                command.env_remove(key);
            }
        }
        command.current_dir(&self.root).arg(subcommand);
        command
    }
}

/// What is installed on this machine.
pub(crate) fn places() -> Result<Places> {
    Places::here(Path::new(&env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())))
}

/// Whether this process may do everything: its effective user is root.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_user(&status) == Some(0)
}

fn effective_user(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_decides() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t1\t2\t3\t4\n"), Some(0));
        assert_eq!(effective_user("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }
}
