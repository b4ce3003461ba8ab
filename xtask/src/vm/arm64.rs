//! arm64: the daemon and the tests built here for that processor, and the programs that they start there. Compiler
//! parts and programs are Debian's, unpacked beside the kernels; nothing but the emulator is installed.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    apt::{Apt, codename},
    image::{Built, executable},
    kernel::cache,
    series::Arch,
};
use crate::{
    needs::{Need, Proof, Purpose},
    project::Project,
    setup,
    step::shell,
    toolchain::set_by_cargo,
};

const NEEDS: [Need; 3] = [
    Need {
        package: "qemu-system-arm",
        proof: Proof::Program("qemu-system-aarch64"),
        why: "emulates arm64",
        purpose: Purpose::Test,
    },
    Need {
        package: "rustc-web",
        proof: Proof::Program(RUSTC),
        why: "is the compiler whose library Debian has for arm64, too",
        purpose: Purpose::Test,
    },
    Need {
        package: "cargo-web",
        proof: Proof::Program(CARGO),
        why: "is the cargo of that compiler",
        purpose: Purpose::Test,
    },
];

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// The target in the compiler's words.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The release whose cross compiler and programs are taken: the one that has the compiler's packages.
const RELEASE: &str = "bookworm";

/// What links for arm64 and reads its assembler, and the C library.
const LINKER: [&str; 6] = [
    "gcc-12-aarch64-linux-gnu",
    "cpp-12-aarch64-linux-gnu",
    "binutils-aarch64-linux-gnu",
    "libgcc-12-dev-arm64-cross",
    "libc6-dev-arm64-cross",
    "libc6-arm64-cross",
];

/// What `gcc` runs for assembler with macros, in what is unpacked.
const PREPROCESSOR: &str = "tools/usr/lib/gcc-cross/aarch64-linux-gnu/12/cc1";

/// The programs that tests start in a guest, and their libraries.
const PROGRAMS: [&str; 19] = [
    "bpftool",
    "coreutils",
    "dash",
    "libacl1",
    "libattr1",
    "libblkid1",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libelf1",
    "libgcc-s1",
    "libgmp10",
    "libmount1",
    "libpcre2-8-0",
    "libselinux1",
    "mount",
    "prometheus",
    "util-linux",
    "zlib1g",
];

/// Builds all that runs in a guest.
pub(super) fn built(project: &Project, apt: &mut Option<Apt>) -> Result<Built> {
    ensure!(
        codename() == RELEASE,
        "arm64 is built for with the compiler of Debian 12 ({RELEASE}); this is another system"
    );
    setup::install(&NEEDS)?;
    let parts = Parts::fetch(apt)?;
    let tools = parts.tools.join("usr");
    let mut command = Command::new(CARGO);
    command.current_dir(&project.root).args(["build", "--locked", "--target", TARGET]);
    command.args(["--package", "monitor", "--bin", "monitor"]);
    command.args(["--package", "monitor-tests", "--bin", "workload", "--bin", "guest-init", "--test", "kernel"]);
    command.arg("--message-format=json-render-diagnostics");
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(set_by_cargo) {
            command.env_remove(key);
        }
    }
    // Its linker needs libraries of its own packages.
    command.env("RUSTC", RUSTC).env("LD_LIBRARY_PATH", tools.join("lib/x86_64-linux-gnu"));
    command.env("CARGO_TARGET_DIR", project.target.join("arm64")).env("CARGO_ENCODED_RUSTFLAGS", flags(&tools));
    // One dependency (psm, of the parser of Sigma rules) has a few lines of assembler.
    command.env("CC_aarch64_unknown_linux_gnu", tools.join("bin/aarch64-linux-gnu-gcc-12"));
    command.env("AR_aarch64_unknown_linux_gnu", tools.join("bin/aarch64-linux-gnu-ar"));
    command.env("CFLAGS_aarch64_unknown_linux_gnu", format!("-B{}", tools.join("aarch64-linux-gnu/bin").display()));
    println!("==> cargo build --target {TARGET}: the daemon and the tests for arm64");
    let output = command.stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "it does not build: {}", shell(&command));
    let messages = String::from_utf8_lossy(&output.stdout);
    let find = |name| executable(&messages, name).with_context(|| format!("cargo did not tell where {name} is"));
    Ok(Built {
        daemon: find("monitor")?,
        init: find("guest-init")?,
        workload: find("workload")?,
        kernel: find("kernel")?,
        own: None,
        root: Some(parts.root),
    })
}

/// With `--target`, flags are for what runs there, and not for build scripts.
fn flags(tools: &Path) -> String {
    let at = |path: &str| tools.join(path).display().to_string();
    let libraries = at("aarch64-linux-gnu/lib");
    // Without shared libraries: the linker then needs no links between them, which name places in a root of their own.
    [
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--sysroot={}", tools.display()),
        format!("-Clinker={}", at("bin/aarch64-linux-gnu-gcc-12")),
        format!("-Clink-arg=-B{}", at("lib/gcc-cross/aarch64-linux-gnu/12")),
        format!("-Clink-arg=-B{}", at("aarch64-linux-gnu/bin")),
        format!("-Clink-arg=-B{libraries}"),
        format!("-Clink-arg=-L{libraries}"),
    ]
    .join("\u{1f}")
}

/// Unpacked packages.
struct Parts {
    /// Run here.
    tools: PathBuf,
    /// Run in the guests.
    root: PathBuf,
}

impl Parts {
    /// Fetches them unless they are there already, for the installed compiler.
    fn fetch(apt: &mut Option<Apt>) -> Result<Self> {
        let version = compiler()?;
        let cache = cache()?;
        fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
        let lock = File::create(cache.join("lock")).context("make a lock file")?;
        lock.lock().context("wait for whoever fetches kernels")?;
        let directory = cache.join(format!("{}parts-{version}", Arch::Arm64.prefix()));
        // Without this one, it was fetched by an earlier version.
        if !directory.join(PREPROCESSOR).is_file() {
            let apt = match apt {
                Some(apt) => apt,
                None => apt.insert(Apt::new(&cache, Arch::Arm64)?),
            };
            let scratch = directory.with_extension("part");
            drop(fs::remove_dir_all(&scratch));
            let library = format!("libstd-rust-web-dev:arm64={version}");
            let tools = LINKER.iter().map(|name| format!("{name}/{RELEASE}")).chain([library]);
            let programs = PROGRAMS.iter().map(|name| format!("{name}:arm64/{RELEASE}"));
            for (place, packages) in [("tools", tools.collect::<Vec<_>>()), ("root", programs.collect())] {
                let into = scratch.join(place);
                fs::create_dir_all(&into)?;
                apt.unpack(&packages, &scratch, &into)?;
            }
            drop(fs::remove_dir_all(&directory));
            fs::rename(&scratch, &directory).context("put what was unpacked in its place")?;
        }
        Ok(Self { tools: directory.join("tools"), root: directory.join("root") })
    }
}

/// The version of the installed compiler's package: its library has to be of the same.
fn compiler() -> Result<String> {
    let mut query = Command::new("dpkg-query");
    let output = query.args(["--show", "--showformat=${Version}", "rustc-web"]).output().context("start dpkg-query")?;
    ensure!(output.status.success(), "rustc-web is not installed: apt-get install rustc-web cargo-web");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
