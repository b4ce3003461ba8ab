//! Installs what is missing, and nothing else.

use std::{
    fs, io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    needs::{LLVM, Machine, Need, Proof, Purpose},
    project::is_root,
    step::{Step, seconds},
    toolchain::Places,
};

/// The release whose output the pinned aya loads.
const LINKER_VERSION: &str = "0.13.0";

/// Makes this machine fit for a purpose.
pub(crate) fn setup(purpose: Purpose) -> Result<()> {
    let begin = Instant::now();
    let machine = Machine::look()?;
    let missing = machine.missing(purpose);
    let components = if purpose == Purpose::Test { missing_components(&machine.places) } else { Vec::new() };
    if missing.is_empty() && components.is_empty() {
        println!("==> setup: nothing to install (looked for {})", seconds(begin.elapsed()));
        return Ok(());
    }
    if !missing.is_empty() {
        install_packages(&missing)?;
    }
    // Cargo builds it on the LLVM that was installed just now.
    if missing.iter().any(|need| matches!(need.proof, Proof::Linker)) {
        install_linker()?;
    }
    if !components.is_empty() {
        install_components(&components)?;
    }
    verify(purpose, begin.elapsed())
}

/// Installs what is missing of things that only one command needs.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let machine = Machine::look()?;
    let missing: Vec<Need> = needs.iter().filter(|need| !machine.has(need.proof)).copied().collect();
    if missing.is_empty() { Ok(()) } else { install_packages(&missing) }
}

/// Installing went well: is everything there now? A package may lack what an older or newer one has.
fn verify(purpose: Purpose, took: Duration) -> Result<()> {
    let machine = Machine::look()?;
    if let Some(need) = machine.missing(purpose).first() {
        let (_, passed_over) = machine.places.toolchain();
        bail!(
            "package {} was installed, but what it is for is still missing: it {}\n  compilers looked at: {}",
            need.package,
            need.why,
            passed_over.join("\n    ")
        );
    }
    println!("==> setup: done in {}; {} compiles the kernel programs", seconds(took), describe(&machine));
    Ok(())
}

fn describe(machine: &Machine) -> String {
    machine.toolchain.as_ref().map_or_else(|| "no compiler".to_owned(), |toolchain| toolchain.name.clone())
}

fn install_packages(missing: &[Need]) -> Result<()> {
    for need in missing {
        println!("    {:<16} {}", need.package, need.why);
    }
    let packages = packages(missing);
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "this is no Debian: install what corresponds to {}.\n  The compiler and the linker also come by: \
             rustup toolchain install nightly --component rust-src && cargo install bpf-linker",
            packages.join(" ")
        );
    }
    if !is_root() {
        bail!(
            "installing packages needs root. Do it so, then repeat the command:\n  \
             sudo apt-get update && sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    let update = Step {
        what: "apt-get update",
        why: "the package lists may be old or absent",
        remedy: "check the network and /etc/apt/sources.list",
    };
    if let Err(error) = update.quiet(apt(&["update"])) {
        // One unreachable source of many is no reason to stop: the install tells whether it mattered.
        println!("    warning, going on: {error:#}");
    }
    let _no_services = NoServices::new()?;
    let install = Step {
        what: "apt-get install",
        why: &format!("the packages above ({})", packages.len()),
        remedy: "if it was interrupted before: dpkg --configure -a. The compiler packages are in Debian 12's security archive: is it in /etc/apt/sources.list? \
                 Elsewhere: rustup toolchain install nightly --component rust-src && cargo install bpf-linker",
    };
    let mut command = apt(&["install", "--yes", "--no-install-recommends"]);
    command.args(packages);
    install.quiet(command)
}

/// The packages of some needs, each once.
fn packages(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs.iter().map(|need| need.package).collect();
    packages.dedup();
    packages
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Another apt at work, such as unattended-upgrades, is waited for.
    command.args(["-o", "DPkg::Lock::Timeout=300", "-q"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Keeps packages from starting services while it lives: Debian's Prometheus would start a server on port 9090.
struct NoServices {
    ours: bool,
}

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";
    const SCRIPT: &str = "#!/bin/sh\n# Temporary, by `cargo xtask setup`: packages do not start services.\nexit 101\n";

    fn new() -> io::Result<Self> {
        // One that an interrupted setup left behind is ours as well.
        let ours = fs::read_to_string(Self::POLICY).map_or(true, |text| text == Self::SCRIPT);
        if ours {
            use std::os::unix::fs::PermissionsExt as _;
            fs::write(Self::POLICY, Self::SCRIPT)?;
            fs::set_permissions(Self::POLICY, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(Self::POLICY)
        {
            println!("    warning: remove {} by hand, or services will not start: {error}", Self::POLICY);
        }
    }
}

fn install_linker() -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", "llvm-22"])
        .env("LLVM_PREFIX", LLVM)
        .env("PATH", format!("{LLVM}/bin:{}", std::env::var("PATH").unwrap_or_default()))
        // Ours would be that of the workspace, where nobody wants LLVM's bindings.
        .env_remove("CARGO_TARGET_DIR");
    Step {
        what: &format!("cargo install bpf-linker {LINKER_VERSION}"),
        why: "links the kernel programs and writes their type information (about a minute)",
        remedy: "is the registry reachable (`cargo search bpf-linker`)? Is /usr/lib/llvm-22/bin/llvm-config there?",
    }
    .quiet(command)
}

/// The components that lints need and the active toolchain does not have.
fn missing_components(places: &Places) -> Vec<&'static str> {
    let programs = [("rustfmt", "rustfmt"), ("clippy", "cargo-clippy")];
    let has = |program: &str| match &places.active {
        Some(sysroot) => sysroot.join("bin").join(program).is_file(),
        None => false,
    };
    programs.into_iter().filter(|(_, program)| !has(program)).map(|(component, _)| component).collect()
}

fn install_components(components: &[&str]) -> Result<()> {
    let mut command = Command::new("rustup");
    command.args(["component", "add"]).args(components);
    Step {
        what: "rustup component add",
        why: &format!("{} for the lints", components.join(" and ")),
        remedy: "rustup could not fetch it. Without rustup, Debian's packages are rustfmt-web and rust-web-clippy; \
                 `cargo xtask build` and `cargo xtask run` work without them",
    }
    .quiet(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::NEEDS;

    #[test]
    fn each_package_is_installed_once() {
        let names = packages(NEEDS);
        assert_eq!(names.iter().filter(|&&name| name == "prometheus").count(), 1, "{names:?}");
    }
}
