//! Builds the daemon and starts it.

use std::{fs, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    needs::Purpose,
    project::{Project, is_root, places},
    setup::setup,
    step::Step,
};

/// The daemon's own default (monitor/src/config).
const LISTEN: &str = "127.0.0.1:19435";

/// Makes target/release/monitor, one file that holds the kernel programs too.
pub(crate) fn build(project: &Project) -> Result<()> {
    setup(Purpose::Build)?;
    compile(project)?;
    let daemon = project.daemon();
    let size = fs::metadata(&daemon).with_context(|| format!("look at {}", daemon.display()))?.len();
    let mib = size as f64 / f64::from(1 << 20);
    println!("==> built {} ({mib:.1} MiB; one file to copy to another host)", project.short(&daemon).display());
    Ok(())
}

/// The release build alone.
pub(crate) fn compile(project: &Project) -> Result<()> {
    let mut command = project.cargo("build");
    command.args(["--locked", "--release", "--package", "monitor"]);
    Step {
        what: "cargo build",
        why: "the release daemon with the kernel programs inside",
        remedy: "the compiler's message is above; if it is about the kernel programs' toolchain: cargo xtask setup",
    }
    .shown(command)
}

/// An object with kernel programs that the daemon does not carry: of the bench, of tests.
pub(crate) fn kernel_object(project: &Project, name: &str) -> Result<PathBuf> {
    let places = places()?;
    let toolchain = places.toolchain().0.context("no compiler for the kernel programs: cargo xtask setup")?;
    let linker = places.linker().context("bpf-linker is not installed: cargo xtask setup")?;
    let target = project.target.join("ebpf");
    let mut command = toolchain.cargo("build", &linker, &project.root, &target)?;
    command.args(["--bin", name]);
    Step { what: "cargo build", why: "kernel programs that are not the daemon's", remedy: "cargo xtask setup" }
        .shown(command)?;
    Ok(target.join("bpfel-unknown-none/release").join(name))
}

/// Builds the daemon and becomes it, so that Ctrl-C and the exit code are its own.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    build(project)?;
    let daemon = project.daemon();
    let shown = project.short(&daemon).display();
    if !is_root() {
        bail!(
            "the daemon needs root: it loads programs into the kernel and reads other users' processes.\n  \
             Start what was just built: sudo {shown} run {}",
            arguments.join(" ")
        );
    }
    let listen = listen(arguments).unwrap_or(LISTEN);
    println!("==> {shown} run: observes this machine until Ctrl-C");
    println!("    metrics  http://{listen}/metrics");
    println!("    events   http://{listen}/api/v1/events and on standard output");
    println!("    health   http://{listen}/-/healthy and http://{listen}/-/ready");
    let error = Command::new(&daemon).arg("run").args(arguments).exec();
    Err(error).with_context(|| format!("start {shown}"))
}

/// The address that the arguments ask for, if they do.
fn listen(arguments: &[String]) -> Option<&str> {
    let position = arguments.iter().position(|argument| argument.starts_with("--listen"))?;
    match arguments[position].split_once('=') {
        Some((_, address)) => Some(address),
        None => arguments.get(position + 1).map(String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_shown_is_the_one_asked_for() {
        let arguments = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(listen(&arguments("--listen 127.0.0.1:1")), Some("127.0.0.1:1"));
        assert_eq!(listen(&arguments("-v --listen=[::1]:2 -x")), Some("[::1]:2"));
        assert_eq!(listen(&arguments("--listen")), None);
        assert_eq!(listen(&arguments("-v")), None);
    }
}
