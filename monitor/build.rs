//! Builds the kernel programs, and writes their names and attach points as Rust constants: a name that the daemon uses
//! and the object does not have is a compile error.

#[path = "build/names.rs"]
mod names;
#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

use names::Program;
use toolchain::{Places, output, target_directory};

/// What the object depends on besides this script, relative to the workspace.
const SOURCES: [&str; 7] = [
    "Cargo.lock",
    "Cargo.toml",
    "monitor-common/Cargo.toml",
    "monitor-common/src",
    "monitor-ebpf/Cargo.toml",
    "monitor-ebpf/src",
    "xtask/src/toolchain.rs",
];

fn main() -> Result<()> {
    let manifest = variable("CARGO_MANIFEST_DIR")?;
    let workspace = manifest.parent().context("the package is at the top of the file system")?;
    let out = variable("OUT_DIR")?;
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");

    let built = compile(workspace, &target_directory(&out).unwrap_or(&out).join("ebpf"))?;
    fs::copy(&built, out.join("monitor.bpf.o")).with_context(|| format!("copy {}", built.display()))?;
    let object = fs::read(&built).with_context(|| format!("read {}", built.display()))?;
    fs::write(out.join("names.rs"), describe(&object)?).context("write names.rs")?;
    println!("cargo::rustc-env=MONITOR_REVISION={}", revision(workspace));
    Ok(())
}

fn variable(key: &str) -> Result<PathBuf> {
    env::var_os(key).map(PathBuf::from).with_context(|| format!("cargo did not set {key}"))
}

/// Runs the inner cargo; with nothing changed it takes a fraction of a second.
fn compile(workspace: &Path, target: &Path) -> Result<PathBuf> {
    let places = Places::here(&variable("RUSTC")?)?;
    let (found, passed_over) = places.toolchain();
    let Some(toolchain) = found else {
        bail!(
            "no compiler with its library source, which the kernel programs need; looked at:\n  {}\n\
             Run `cargo xtask setup`, or `rustup toolchain install nightly --component rust-src`.",
            passed_over.join("\n  ")
        );
    };
    let linker = places.linker().context("bpf-linker is not installed. Run `cargo xtask setup`.")?;
    let mut cargo = toolchain.cargo("build", &linker, workspace, target)?;
    cargo.args(["--bin", "monitor-ebpf"]);
    let output = cargo.stdin(Stdio::null()).output().context("run cargo")?;
    ensure!(
        output.status.success(),
        "building the kernel programs with {} failed:\n{cargo:?}\n{}",
        toolchain.name,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(target.join("bpfel-unknown-none/release/monitor-ebpf"))
}

/// The constants for the maps and programs of an object.
fn describe(object: &[u8]) -> Result<String> {
    let elf = object::File::parse(object).context("parse the kernel object")?;
    let (mut maps, mut programs) = (Vec::new(), Vec::new());
    for symbol in elf.symbols() {
        let Some(index) = symbol.section_index() else { continue };
        let section = elf.section_by_index(index)?.name()?.to_owned();
        let name = symbol.name()?.to_owned();
        match (section.as_str(), symbol.kind()) {
            ("maps" | ".maps", SymbolKind::Data) => maps.push(name),
            // Functions that programs call, not programs.
            (".text", _) => {}
            (_, SymbolKind::Text) => programs.push(Program { name, section }),
            _ => {}
        }
    }
    names::render(maps, programs)
}

/// The commit that a release is built from. Other builds do without it: each commit would compile the daemon again.
fn revision(workspace: &Path) -> String {
    let git = |arguments: &[&str]| {
        let place = workspace.to_string_lossy();
        output(Path::new("git"), &[&["-C", &place], arguments].concat()).map(|text| text.trim().to_owned())
    };
    // HEAD itself only says which branch; its log grows with each commit, checkout and reset.
    let Ok(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) else {
        return "unknown".to_owned();
    };
    if env::var("PROFILE").as_deref() != Ok("release") {
        return "unknown".to_owned();
    }
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|_| "unknown".to_owned())
}
