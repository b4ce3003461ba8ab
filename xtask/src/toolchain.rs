//! Finds the compiler and the linker for the kernel programs: by looking, not by asking.
//!
//! The kernel's target has no ready-made `core`, so cargo compiles it from source (`-Zbuild-std`), and the source has to
//! be that of the very compiler in use. A stable compiler allows this with `RUSTC_BOOTSTRAP=1`.
//! `monitor/build.rs` includes this file too: what `cargo xtask setup` finds sufficient is what the build then uses.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The oldest compiler that the workspace accepts; the same as `rust-version` in Cargo.toml.
pub(crate) const OLDEST: Version = Version { major: 1, minor: 95 };

/// Where a compiler's own library source is, below its sysroot.
const LIBRARY: &str = "lib/rustlib/src/rust/library";

/// A compiler release, as far as a decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Version {
    /// Reads `release: 1.97.0-nightly` out of what `rustc -vV` prints.
    pub(crate) fn parse(verbose: &str) -> Option<Self> {
        let release = verbose.lines().find_map(|line| line.strip_prefix("release: "))?;
        let mut parts = release.split('.');
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A compiler that can build the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// What to call it in messages.
    pub(crate) name: String,
    /// Its `bin` directory, in which cargo and rustc are.
    pub(crate) bin: PathBuf,
    /// It is a stable compiler: unstable flags need `RUSTC_BOOTSTRAP=1`.
    pub(crate) bootstrap: bool,
}

/// Where compilers and linkers may be on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// `$RUSTUP_HOME`.
    pub(crate) rustup: PathBuf,
    /// The sysroot of the compiler that cargo uses here.
    pub(crate) active: Option<PathBuf>,
    /// The root of the distribution's own compiler: `/usr`.
    pub(crate) system: PathBuf,
    /// The directories in which programs are looked for.
    pub(crate) path: Vec<PathBuf>,
}

impl Places {
    /// Looks at the environment. `rustc` is the compiler that cargo uses here.
    pub(crate) fn here(rustc: &Path) -> Result<Self> {
        let home = PathBuf::from(env::var_os("HOME").context("HOME is not set")?);
        let directory = |key, default| env::var_os(key).map_or_else(|| home.join(default), PathBuf::from);
        let mut path: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        // `cargo install` puts bpf-linker there, and Debian puts bpftool into sbin, which a user's PATH leaves out.
        path.extend([directory("CARGO_HOME", ".cargo").join("bin"), "/usr/sbin".into(), "/sbin".into()]);
        Ok(Self {
            rustup: directory("RUSTUP_HOME", ".rustup"),
            active: output(rustc, &["--print", "sysroot"]).ok().map(|text| PathBuf::from(text.trim())),
            system: "/usr".into(),
            path,
        })
    }

    /// A program that is installed, if it is.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        self.path.iter().map(|directory| directory.join(name)).find(|file| file.is_file())
    }

    /// The linker for the kernel programs, if it is installed.
    pub(crate) fn linker(&self) -> Option<PathBuf> {
        self.program("bpf-linker")
    }

    /// The first compiler that has its library source and is new enough, and why each one before it was passed over.
    pub(crate) fn toolchain(&self) -> (Option<Toolchain>, Vec<String>) {
        self.choose(|rustc| output(rustc, &["-vV"]).map(|text| Version::parse(&text)))
    }

    fn choose(&self, version: impl Fn(&Path) -> Result<Option<Version>>) -> (Option<Toolchain>, Vec<String>) {
        let mut passed_over = Vec::new();
        for (name, sysroot, bootstrap) in self.candidates() {
            let bin = sysroot.join("bin");
            let reason = if !bin.join("cargo").is_file() || !bin.join("rustc").is_file() {
                "not installed".to_owned()
            } else if !sysroot.join(LIBRARY).join("core/src/lib.rs").is_file() {
                "has no library source (rust-src)".to_owned()
            } else {
                match version(&bin.join("rustc")) {
                    Ok(Some(version)) if version >= OLDEST => {
                        return (Some(Toolchain { name, bin, bootstrap }), passed_over);
                    }
                    Ok(Some(version)) => format!("is {version}, older than {OLDEST}"),
                    Ok(None) => "does not tell its version".to_owned(),
                    Err(error) => format!("does not run: {error:#}"),
                }
            };
            passed_over.push(format!("{name} ({}): {reason}", sysroot.display()));
        }
        (None, passed_over)
    }

    /// Compilers in order of preference: name, sysroot, whether it needs `RUSTC_BOOTSTRAP`.
    fn candidates(&self) -> Vec<(String, PathBuf, bool)> {
        let nightly = format!("nightly-{}-unknown-linux-gnu", env::consts::ARCH);
        let mut candidates = vec![("rustup's nightly".to_owned(), self.rustup.join("toolchains").join(nightly), false)];
        if let Some(active) = &self.active {
            candidates.push(("the active toolchain".to_owned(), active.clone(), true));
        }
        candidates.push(("the distribution's compiler".to_owned(), self.system.clone(), true));
        candidates
    }
}

impl Toolchain {
    /// A cargo command (`build`, `clippy`) on the kernel programs. It uses the workspace's lock file and a target
    /// directory of its own, so that it neither waits for the outer cargo nor is undone by it.
    pub(crate) fn cargo(&self, subcommand: &str, linker: &Path, workspace: &Path, target: &Path) -> Result<Command> {
        // Cargo looks for its subcommands on PATH before it looks beside itself.
        let beside = self.bin.join(format!("cargo-{subcommand}"));
        let mut command = Command::new(if beside.is_file() { beside } else { self.bin.join("cargo") });
        for (key, _) in env::vars_os() {
            if key.to_str().is_some_and(|key| set_by_cargo(key) || chooses_compiler(key)) {
                command.env_remove(key);
            }
        }
        let inherited = env::var_os("PATH").unwrap_or_default();
        let ours = [Some(self.bin.as_path()), linker.parent()].into_iter().flatten().map(Path::to_path_buf);
        let path = env::join_paths(ours.chain(env::split_paths(&inherited))).context("PATH")?;
        command
            .current_dir(workspace)
            .env("PATH", path)
            .env("CARGO", self.bin.join("cargo"))
            .env("RUSTC", self.bin.join("rustc"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags().join("\u{1f}"))
            // The daemon's choice would make the linker, which sees the whole program anyway, do its work twice.
            .env("CARGO_PROFILE_RELEASE_LTO", "false")
            .arg(subcommand)
            .args(["--locked", "--release", "--package", "monitor-ebpf", "-Zbuild-std=core"])
            .args(["--target", "bpfel-unknown-none", "--target-dir"])
            .arg(target);
        if self.bootstrap {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        Ok(command)
    }
}

/// Compiler flags: aya-ebpf wants to know whose registers a program sees, and aya wants type information (BTF). Told to copy
/// in order, as the linker does by default, LLVM clears memory by a call that takes one byte at a time: 300 turns for the
/// head of a record, at run time and in the kernel's check.
fn flags() -> [String; 4] {
    // A build script may build for another machine than its own.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
    ]
}

/// Whether cargo sets this variable for the programs it runs. Handed on to another cargo it would say something false.
pub(crate) fn set_by_cargo(key: &str) -> bool {
    const EXACT: [&str; 12] = [
        "CARGO",
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
        "DEBUG",
        "HOST",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "TARGET",
    ];
    const PREFIXES: [&str; 5] = ["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_MANIFEST_", "CARGO_PKG_", "DEP_"];
    EXACT.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Whether this variable says which compiler, flags or output directory to use: it was meant for the daemon's build.
fn chooses_compiler(key: &str) -> bool {
    const EXACT: [&str; 11] = [
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CLIPPY_ARGS",
        "RUSTC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_LINKER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ];
    EXACT.contains(&key) || key.starts_with("CARGO_PROFILE_")
}

/// The target directory that a file built by cargo is in: cargo marks it for backup programs.
pub(crate) fn target_directory(built: &Path) -> Option<&Path> {
    built.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file())
}

/// What a program prints.
pub(crate) fn output(program: &Path, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("run {}", program.display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {}: {}", program.display(), arguments.join(" "), complaint.trim());
    String::from_utf8(output.stdout).with_context(|| format!("{} printed something else than text", program.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A machine in a directory: compilers are empty files.
    struct Machine(PathBuf);

    impl Machine {
        fn new(name: &str) -> Self {
            let root = env::temp_dir().join(format!("monitor-xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            Self(root)
        }

        fn file(&self, path: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }

        fn compiler(&self, sysroot: &str, source: bool) {
            self.file(&format!("{sysroot}/bin/cargo"));
            self.file(&format!("{sysroot}/bin/rustc"));
            if source {
                self.file(&format!("{sysroot}/{LIBRARY}/core/src/lib.rs"));
            }
        }

        fn places(&self) -> Places {
            Places {
                rustup: self.0.join("rustup"),
                active: Some(self.0.join("rustup/toolchains/stable")),
                system: self.0.join("usr"),
                path: vec![self.0.join("bin"), self.0.join("cargo/bin")],
            }
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn recent(_: &Path) -> Result<Option<Version>> {
        Ok(Some(OLDEST))
    }

    fn nightly() -> String {
        format!("rustup/toolchains/nightly-{}-unknown-linux-gnu", env::consts::ARCH)
    }

    #[test]
    fn a_nightly_with_source_comes_first() {
        let machine = Machine::new("nightly");
        machine.compiler(&nightly(), true);
        machine.compiler("rustup/toolchains/stable", true);
        machine.compiler("usr", true);
        let (found, passed_over) = machine.places().choose(recent);
        let found = found.unwrap();
        assert_eq!(found.bin, machine.0.join(nightly()).join("bin"));
        assert!(!found.bootstrap);
        assert!(passed_over.is_empty());
    }

    #[test]
    fn compilers_without_source_are_passed_over_and_said_so() {
        let machine = Machine::new("source");
        machine.compiler(&nightly(), false);
        machine.compiler("rustup/toolchains/stable", false);
        machine.compiler("usr", true);
        let (found, passed_over) = machine.places().choose(recent);
        let found = found.unwrap();
        assert_eq!(found.bin, machine.0.join("usr/bin"));
        assert!(found.bootstrap, "a stable compiler needs permission for unstable flags");
        assert_eq!(passed_over.len(), 2);
        assert!(passed_over.iter().all(|reason| reason.contains("rust-src")), "{passed_over:?}");
    }

    #[test]
    fn an_old_or_broken_compiler_does_not_count() {
        let machine = Machine::new("old");
        machine.compiler("rustup/toolchains/stable", true);
        machine.compiler("usr", true);
        let (found, passed_over) = machine.places().choose(|rustc| match rustc.starts_with(machine.0.join("usr")) {
            true => Ok(Some(Version { major: 1, minor: 85 })),
            false => anyhow::bail!("no such loader"),
        });
        assert_eq!(found, None);
        assert!(passed_over[0].contains("not installed"), "{passed_over:?}");
        assert!(passed_over[1].contains("no such loader"), "{passed_over:?}");
        assert!(passed_over[2].contains("is 1.85, older than 1.95"), "{passed_over:?}");
    }

    #[test]
    fn the_linker_is_also_found_where_cargo_installs() {
        let machine = Machine::new("linker");
        assert_eq!(machine.places().linker(), None);
        machine.file("cargo/bin/bpf-linker");
        assert_eq!(machine.places().linker(), Some(machine.0.join("cargo/bin/bpf-linker")));
        machine.file("bin/bpf-linker");
        assert_eq!(machine.places().linker(), Some(machine.0.join("bin/bpf-linker")));
    }

    #[test]
    fn versions() {
        let text = "rustc 1.97.0-nightly (abc 2026-05-01)\nhost: x\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(Version::parse(text), Some(Version { major: 1, minor: 97 }));
        assert_eq!(Version::parse("release: 2.0\n"), Some(Version { major: 2, minor: 0 }));
        assert_eq!(Version::parse("rustc 1.97.0"), None);
        assert_eq!(Version::parse("release: one.two"), None);
        assert!(Version { major: 2, minor: 0 } > OLDEST);
    }

    #[test]
    fn the_oldest_compiler_is_the_one_in_the_manifest() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("rust-version = \"{OLDEST}\"")));
    }

    #[test]
    fn variables_of_the_outer_cargo_stay_outside_and_settings_pass() {
        for key in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "OUT_DIR", "CARGO_CFG_UNIX", "DEP_Z_ROOT"] {
            assert!(set_by_cargo(key), "{key}");
        }
        for key in ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_X_INDEX", "PATH"] {
            assert!(!set_by_cargo(key) && !chooses_compiler(key), "{key}");
        }
    }

    #[test]
    fn the_target_directory_is_the_one_that_cargo_marked() {
        let machine = Machine::new("target");
        machine.file("target/CACHEDIR.TAG");
        machine.file("target/debug/build/x/out/y");
        assert_eq!(target_directory(&machine.0.join("target/debug/build/x/out")), Some(&*machine.0.join("target")));
        assert_eq!(target_directory(&machine.0.join("elsewhere")), None);
    }
}
