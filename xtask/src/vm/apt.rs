//! Kernel packages from the mirror that this machine's own apt uses, through a private apt configuration: nothing is
//! installed, and the machine's own lists stay as they are. Signatures are checked as ever.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};

use super::series::{Packaged, Series};
use crate::step::Step;

/// Where kernels of all ages are. A suite that the mirror no longer has is left out; its kernels are then unavailable.
const SUITES: [&str; 5] = ["bullseye", "bookworm", "trixie", "trixie-backports", "sid"];

/// Keys of all suites; its package belongs to every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Lists younger than this are not asked for again.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// A private apt.
pub(super) struct Apt {
    directory: PathBuf,
    /// Why the lists may be older than a day.
    pub(super) stale: Option<String>,
}

impl Apt {
    /// Sets it up below `cache`, and gets the lists of packages when they are old.
    pub(super) fn new(cache: &Path) -> Result<Self> {
        let mut apt = Self { directory: cache.join("apt"), stale: None };
        let directory = &apt.directory;
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part)).with_context(|| format!("make {}", directory.display()))?;
        }
        let sources = sources(&mirror()?, Path::new(KEYRING).exists());
        let same = fs::read_to_string(directory.join("sources.list")).is_ok_and(|old| old == sources);
        fs::write(directory.join("sources.list"), sources)?;
        fs::write(directory.join("status"), "")?;
        fs::write(directory.join("apt.conf"), configuration(directory))?;
        let updated = directory.join("updated");
        let age =
            fs::metadata(&updated).and_then(|file| file.modified()).map(|time| SystemTime::now().duration_since(time));
        if !same || !matches!(age, Ok(Ok(age)) if age < FRESH) {
            let mut update = apt.command("apt-get");
            update.args(["-q", "update"]);
            let step = Step {
                what: "apt-get update",
                why: "the lists of kernel packages (private, below the cache of kernels)",
                remedy: "is the mirror of /etc/apt reachable? A suite that it no longer has matters only to its kernels",
            };
            match step.quiet(update) {
                Ok(()) => fs::write(updated, "")?,
                // One suite of many may be gone for ever: what is in the lists can be used.
                Err(error) => {
                    println!("    warning: not every suite could be asked; see below if a kernel is missing");
                    apt.stale = Some(format!("{error:#}"));
                }
            }
        }
        Ok(apt)
    }

    /// The packages of the newest kernel of a series.
    pub(super) fn find(&self, series: Series) -> Result<Packaged> {
        let mut command = self.command("apt-cache");
        let output = command.args(["pkgnames", "linux-"]).output().context("start apt-cache")?;
        let names = String::from_utf8_lossy(&output.stdout);
        let Some(found) = series.choose(&names) else {
            let why =
                self.stale.as_ref().map(|error| format!("\n  its lists could not be brought up to date: {error}"));
            bail!("the mirror has no kernel {series} in {}{}", SUITES.join(", "), why.unwrap_or_default());
        };
        Ok(found)
    }

    /// Downloads a package into a directory and unpacks it into another.
    pub(super) fn unpack(&self, package: &str, scratch: &Path, into: &Path) -> Result<()> {
        let mut download = self.command("apt-get");
        download.args(["-q", "download", package]).current_dir(scratch);
        let step = Step { what: "apt-get download", why: package, remedy: "is the mirror of /etc/apt reachable?" };
        step.quiet(download)?;
        let prefix = format!("{package}_");
        let files = fs::read_dir(scratch)?.flatten().map(|entry| entry.path());
        let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        let file = files.into_iter().find(named).with_context(|| format!("apt-get brought no {package}"))?;
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(&file).arg(into);
        let output = unpack.output().context("start dpkg-deb")?;
        if !output.status.success() {
            bail!("unpack {}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        fs::remove_file(file).context("remove the package, which is unpacked")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.directory.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// The Debian mirror in this machine's apt configuration.
fn mirror() -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(IDENTIFIER) $(REPO_URI) $(RELEASE)"]);
    let output = command.output().context("start apt-get: kernels come from Debian packages")?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default();
    choose_mirror(&String::from_utf8_lossy(&output.stdout), codename)
        .context("apt's sources have no Debian archive to take kernels from (apt-get indextargets)")
}

/// The archive of this release itself; not that of its updates, nor another vendor's.
fn choose_mirror(targets: &str, codename: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (kind, uri, release) = (words.next()?, words.next()?, words.next()?);
        let archive = uri.trim_end_matches('/').ends_with("/debian");
        (kind == "Packages" && archive && release == codename).then(|| uri.to_owned())
    })
}

fn sources(mirror: &str, keyring: bool) -> String {
    // Without that file apt looks for keys where it always does.
    let option = if keyring { format!("[signed-by={KEYRING}] ") } else { String::new() };
    SUITES.iter().map(|suite| format!("deb {option}{mirror} {suite} main\n")).collect()
}

fn configuration(directory: &Path) -> String {
    let at = directory.display();
    let mut text = format!(
        "Dir::State \"{at}\";\nDir::State::Lists \"{at}/lists\";\nDir::State::status \"{at}/status\";\n\
         Dir::Cache \"{at}/cache\";\nDir::Etc::SourceList \"{at}/sources.list\";\nDir::Etc::SourceParts \"-\";\n\
         APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAcquire::Languages \"none\";\n\
         // The user _apt may not enter a home directory.\nAPT::Sandbox::User \"root\";\n"
    );
    for kind in ["DEP-11", "DEP-11-icons", "DEP-11-icons-hidpi", "CNF"] {
        text += &format!("Acquire::IndexTargets::deb::{kind}::DefaultEnabled \"false\";\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_machines_own() {
        let targets = "Packages https://vendor.example/debian/ stable\n\
            Packages http://mirror.example/debian-security/ bookworm-security\n\
            DEP-11 http://other.example/debian/ bookworm\n\
            Packages http://mirror.example/debian/ bookworm\n";
        assert_eq!(choose_mirror(targets, "bookworm").as_deref(), Some("http://mirror.example/debian/"));
        assert_eq!(choose_mirror(targets, "trixie"), None);
        assert_eq!(choose_mirror("", ""), None);
    }

    #[test]
    fn packages_have_to_be_signed() {
        let text = sources("http://mirror.example/debian/", true) + &configuration(Path::new("/x"));
        assert!(text.contains("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example"));
        for word in ["trusted", "AllowUnauthenticated", "AllowInsecure"] {
            assert!(!text.contains(word), "{word}");
        }
        assert!(sources("m", false).starts_with("deb m bullseye main\n"));
    }
}
