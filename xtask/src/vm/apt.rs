//! Kernel packages from the mirror that this machine's own apt uses, through a private apt configuration: nothing is
//! installed, and the machine's own lists stay as they are. Signatures are checked as ever.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::series::{Arch, Packaged, Series};
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
    pub(super) fn new(cache: &Path, arch: Arch) -> Result<Self> {
        let mut apt = Self { directory: cache.join(format!("{}apt", arch.prefix())), stale: None };
        let directory = &apt.directory;
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part)).with_context(|| format!("make {}", directory.display()))?;
        }
        let keyring = Path::new(KEYRING).exists();
        let mut sources = sources(&mirror("")?, &SUITES, keyring);
        if arch != Arch::X86 {
            // What is built for other processors is built with this machine's compiler, which is in its updates.
            sources += &self::sources(&mirror(SECURITY)?, &[&(codename() + SECURITY)], keyring);
        }
        let same = fs::read_to_string(directory.join("sources.list")).is_ok_and(|old| old == sources);
        fs::write(directory.join("sources.list"), sources)?;
        fs::write(directory.join("status"), "")?;
        fs::write(directory.join("apt.conf"), configuration(directory, arch))?;
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

    /// Downloads packages into a directory, all at once, and unpacks them into another. A name may be followed by the
    /// processor (`:arm64`) and the version (`=1.2`) or the suite (`/bookworm`).
    pub(super) fn unpack(&self, packages: &[String], scratch: &Path, into: &Path) -> Result<()> {
        let mut download = self.command("apt-get");
        download.args(["-q", "download"]).args(packages).current_dir(scratch);
        let why = packages.join(" ");
        let step = Step { what: "apt-get download", why: &why, remedy: "is the mirror of /etc/apt reachable?" };
        step.quiet(download)?;
        let files = fs::read_dir(scratch)?.flatten().map(|entry| entry.path());
        let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
        ensure!(files.len() == packages.len(), "apt-get brought {} of {} packages", files.len(), packages.len());
        for file in files {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(&file).arg(into);
            let output = unpack.output().context("start dpkg-deb")?;
            if !output.status.success() {
                bail!("unpack {}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
            }
            fs::remove_file(file).context("remove the package, which is unpacked")?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.directory.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// Follows the name of a release in that of its updates.
const SECURITY: &str = "-security";

/// The name of this machine's release of Debian.
pub(super) fn codename() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default().to_owned()
}

/// The Debian mirror in this machine's apt configuration, of its release or of the part of it that is named by a suffix.
fn mirror(part: &str) -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(IDENTIFIER) $(REPO_URI) $(RELEASE)"]);
    let output = command.output().context("start apt-get: kernels come from Debian packages")?;
    let suite = codename() + part;
    choose_mirror(&String::from_utf8_lossy(&output.stdout), &suite)
        .with_context(|| format!("apt's sources have no Debian archive with the suite {suite} (apt-get indextargets)"))
}

/// The archive that has exactly this suite; not another vendor's.
fn choose_mirror(targets: &str, suite: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (kind, uri, release) = (words.next()?, words.next()?, words.next()?);
        let archive = ["/debian", "/debian-security"].iter().any(|name| uri.trim_end_matches('/').ends_with(name));
        (kind == "Packages" && archive && release == suite).then(|| uri.to_owned())
    })
}

fn sources(mirror: &str, suites: &[&str], keyring: bool) -> String {
    // Without that file apt looks for keys where it always does.
    let option = if keyring { format!("[signed-by={KEYRING}] ") } else { String::new() };
    suites.iter().map(|suite| format!("deb {option}{mirror} {suite} main\n")).collect()
}

fn configuration(directory: &Path, arch: Arch) -> String {
    let at = directory.display();
    let others = match arch {
        Arch::X86 => "",
        Arch::Arm64 => " \"arm64\";",
    };
    let mut text = format!(
        "Dir::State \"{at}\";\nDir::State::Lists \"{at}/lists\";\nDir::State::status \"{at}/status\";\n\
         Dir::Cache \"{at}/cache\";\nDir::Etc::SourceList \"{at}/sources.list\";\nDir::Etc::SourceParts \"-\";\n\
         APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\";{others} }};\nAcquire::Languages \"none\";\n\
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
        let security = choose_mirror(targets, "bookworm-security");
        assert_eq!(security.as_deref(), Some("http://mirror.example/debian-security/"));
        assert_eq!(choose_mirror(targets, "trixie"), None);
        assert_eq!(choose_mirror("", ""), None);
    }

    #[test]
    fn packages_have_to_be_signed() {
        let text =
            sources("http://mirror.example/debian/", &SUITES, true) + &configuration(Path::new("/x"), Arch::Arm64);
        assert!(text.contains("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example"));
        for word in ["trusted", "AllowUnauthenticated", "AllowInsecure"] {
            assert!(!text.contains(word), "{word}");
        }
        assert!(sources("m", &SUITES, false).starts_with("deb m bullseye main\n"));
    }
}
