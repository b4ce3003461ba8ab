//! What is checked without running the project.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{project::Project, step::Step};

/// Reading the whole list of warnings is the remedy; most can be applied by the tool.
const CLIPPY_REMEDY: &str = "each finding is above; an exception is #[expect(lint, reason = \"...\")]";

pub(crate) fn format(project: &Project) -> Result<()> {
    let mut command = project.cargo("fmt");
    command.arg("--all");
    Step { what: "cargo fmt", why: "all packages", remedy: "the code does not parse: see above" }.shown(command)
}

pub(crate) fn formatting(project: &Project) -> Result<()> {
    let mut command = project.cargo("fmt");
    command.args(["--all", "--check"]);
    Step { what: "cargo fmt --check", why: "all packages, kernel programs too", remedy: "cargo xtask fmt" }
        .shown(command)
}

pub(crate) fn clippy(project: &Project) -> Result<()> {
    let mut command = project.cargo("clippy");
    command.args(["--locked", "--workspace", "--exclude", "monitor-ebpf", "--all-targets", "--", "-Dwarnings"]);
    Step { what: "cargo clippy", why: "everything outside the kernel; a warning is an error", remedy: CLIPPY_REMEDY }
        .shown(command)
}

/// Clippy as the kernel programs are built: their target, their compiler.
pub(crate) fn kernel_clippy(project: &Project) -> Result<()> {
    let places = crate::project::places()?;
    let toolchain = places.toolchain().0.context("no compiler for the kernel programs: cargo xtask setup")?;
    let linker = places.linker().context("bpf-linker is not installed: cargo xtask setup")?;
    ensure!(
        toolchain.bin.join("cargo-clippy").is_file(),
        "{} compiles the kernel programs and has no clippy: rustup component add clippy --toolchain nightly",
        toolchain.name
    );
    let mut command = toolchain.cargo("clippy", &linker, &project.root, &project.target.join("ebpf"))?;
    command.args(["--", "-Dwarnings"]);
    Step { what: "cargo clippy", why: "the kernel programs; a warning is an error", remedy: CLIPPY_REMEDY }
        .shown(command)
}

/// Whether cargo-deny is installed: it takes minutes to compile, so that only `cargo xtask deny` installs it.
pub(crate) fn has_deny() -> Result<bool> {
    Ok(crate::project::places()?.program("cargo-deny").is_some())
}

/// Installs cargo-deny if need be and runs it.
pub(crate) fn deny(project: &Project) -> Result<()> {
    if !has_deny()? {
        let mut command = Command::new("cargo");
        command.args(["install", "cargo-deny", "--locked"]).env_remove("CARGO_TARGET_DIR");
        Step {
            what: "cargo install cargo-deny",
            why: "checks licences and sources of dependencies (several minutes)",
            remedy: "is the registry reachable (`cargo search cargo-deny`)?",
        }
        .quiet(command)?;
    }
    let mut command = project.cargo("deny");
    command.args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    Step {
        what: "cargo deny check",
        why: "licences, sources and duplicates of dependencies",
        remedy: "choose another dependency, or state the exception with its reason in .deny.toml",
    }
    .shown(command)
}
