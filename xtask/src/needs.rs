//! What building and testing need besides rustup's toolchain: one table, with the proof that a thing is there.

use std::path::Path;

use anyhow::Result;

use crate::toolchain::{Places, Toolchain, output};

/// What a thing is needed for. Testing includes building.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Build,
    Test,
}

/// How to see that a thing is there, wherever it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    /// A program of this name is found.
    Program(&'static str),
    /// There is such a file where no `PATH` leads; `*` is any one directory, such as that of a version.
    File(&'static str),
    /// Some compiler can build the kernel programs.
    Compiler,
    /// A bpf-linker is found, and it runs.
    Linker,
    /// The compiler of the kernel programs has its clippy, or is not the distribution's.
    KernelClippy,
}

/// One thing that is needed, and the Debian package that brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) package: &'static str,
    pub(crate) proof: Proof,
    pub(crate) why: &'static str,
    pub(crate) purpose: Purpose,
}

use Proof::{Compiler, File, KernelClippy, Linker, Program};
use Purpose::{Build, Test};

/// The LLVM that bpf-linker is built with. It must not be older than that of the compiler (Debian's: 22.1).
pub(crate) const LLVM: &str = "/usr/lib/llvm-22";

// A C compiler as linker is not in it: without one cargo could not have built this.
#[rustfmt::skip]
pub(crate) const NEEDS: &[Need] = &[
    Need { package: "rustc-web", proof: Compiler, why: "compiles the kernel programs", purpose: Build },
    Need { package: "cargo-web", proof: Compiler, why: "is the cargo of that compiler", purpose: Build },
    Need { package: "rust-web-src", proof: Compiler, why: "has the source of `core` for the kernel's target", purpose: Build },
    Need { package: "llvm-22-dev", proof: Linker, why: "is what bpf-linker is built on", purpose: Build },
    Need { package: "rust-web-clippy", proof: KernelClippy, why: "checks the kernel programs", purpose: Test },
    Need { package: "bpftool", proof: Program("bpftool"), why: "shows that a stopped daemon leaves nothing behind", purpose: Test },
    Need { package: "prometheus", proof: Program("prometheus"), why: "scrapes the daemon in a test", purpose: Test },
    Need { package: "prometheus", proof: Program("promtool"), why: "checks the metrics' names and format", purpose: Test },
    Need { package: "busybox", proof: Program("busybox"), why: "is one of the programs of attacks", purpose: Test },
    Need { package: "nodejs", proof: Program("node"), why: "is one of the programs of attacks", purpose: Test },
    Need { package: "vim", proof: Program("vim"), why: "is one of the programs of attacks", purpose: Test },
    Need { package: "strace", proof: Program("strace"), why: "is one of the programs of attacks", purpose: Test },
    Need { package: "gawk", proof: Program("gawk"), why: "is one of the programs of attacks", purpose: Test },
    Need { package: "curl", proof: Program("curl"), why: "is one of the programs of attacks", purpose: Test },
    Need { package: "openssh-client", proof: Program("ssh"), why: "is one of the programs of attacks", purpose: Test },
    Need { package: "openssl", proof: Program("openssl"), why: "is one of the programs of attacks", purpose: Test },
    Need { package: "python3", proof: Program("python3"), why: "serves and asks with OpenSSL", purpose: Test },
    Need { package: "wget", proof: Program("wget"), why: "asks with GnuTLS", purpose: Test },
    Need { package: "iproute2", proof: Program("ip"), why: "makes the networks of attacks", purpose: Test },
    Need { package: "gcc", proof: Program("cc"), why: "builds what looks like an attack", purpose: Test },
    Need { package: "make", proof: Program("make"), why: "builds what looks like an attack", purpose: Test },
    Need { package: "nginx", proof: Program("nginx"), why: "is a server of HTTP whose requests are counted", purpose: Test },
    Need { package: "apache2-utils", proof: Program("ab"), why: "asks it, and says how often and how long that took", purpose: Test },
    Need { package: "postgresql", proof: File("/usr/lib/postgresql/*/bin/postgres"), why: "is a database whose queries are counted", purpose: Test },
    Need { package: "postgresql", proof: File("/usr/lib/postgresql/*/bin/pgbench"), why: "asks it", purpose: Test },
    Need { package: "mariadb-server-core", proof: Program("mariadbd"), why: "is a database whose queries are counted", purpose: Test },
    Need { package: "mariadb-client-core", proof: Program("mariadb"), why: "asks it", purpose: Test },
    Need { package: "sysbench", proof: Program("sysbench"), why: "asks it for prepared statements", purpose: Test },
    Need { package: "redis-server", proof: Program("redis-server"), why: "is a store whose commands are counted", purpose: Test },
    Need { package: "redis-tools", proof: Program("redis-benchmark"), why: "asks it", purpose: Test },
    Need { package: "memcached", proof: Program("memcached"), why: "is a store whose commands are counted", purpose: Test },
    Need { package: "dnsmasq-base", proof: Program("dnsmasq"), why: "answers questions for names that are counted", purpose: Test },
    Need { package: "bind9-dnsutils", proof: Program("dig"), why: "asks them", purpose: Test },
    Need { package: "nghttp2-server", proof: Program("nghttpd"), why: "is a server of HTTP/2 whose requests are counted", purpose: Test },
    Need { package: "nghttp2-client", proof: Program("h2load"), why: "asks it", purpose: Test },
    Need { package: "python3-grpcio", proof: File("/usr/lib/python3/dist-packages/grpc/__init__.py"), why: "is a server and a client of gRPC", purpose: Test },
    Need { package: "qemu-system-x86", proof: Program("qemu-system-x86_64"), why: "runs the tests on other kernels", purpose: Test },
    Need { package: "e2fsprogs", proof: Program("mkfs.ext4"), why: "makes the disk of those machines", purpose: Test },
    Need { package: "xz-utils", proof: Program("xz"), why: "unpacks modules of those kernels", purpose: Test },
];

/// What this machine has.
pub(crate) struct Machine {
    pub(crate) places: Places,
    pub(crate) toolchain: Option<Toolchain>,
    linker: bool,
}

impl Machine {
    pub(crate) fn look() -> Result<Self> {
        let places = crate::project::places()?;
        let linker = places.linker().is_some_and(|linker| output(&linker, &["--version"]).is_ok());
        Ok(Self { toolchain: places.toolchain().0, linker, places })
    }

    pub(crate) fn has(&self, proof: Proof) -> bool {
        match proof {
            Program(name) => self.places.program(name).is_some(),
            File(pattern) => is_there(Path::new("/"), pattern),
            Compiler => self.toolchain.is_some(),
            Linker => self.linker,
            // A compiler of rustup's gets it from rustup, no package brings it: the lint says so.
            KernelClippy => self.toolchain.as_ref().is_some_and(|found| {
                found.bin != self.places.system.join("bin") || found.bin.join("cargo-clippy").is_file()
            }),
        }
    }

    /// What is missing for a purpose.
    pub(crate) fn missing(&self, purpose: Purpose) -> Vec<Need> {
        NEEDS.iter().filter(|need| need.purpose <= purpose && !self.has(need.proof)).copied().collect()
    }
}

/// Whether there is a file at this path, in which `*` is any one directory.
fn is_there(root: &Path, pattern: &str) -> bool {
    let pattern = pattern.trim_start_matches('/');
    match pattern.split_once("/*/") {
        None => root.join(pattern).is_file(),
        Some((above, below)) => {
            let within = root.join(above).read_dir().into_iter().flatten().flatten();
            within.into_iter().any(|entry| is_there(&entry.path(), below))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs};

    use super::*;

    fn bare() -> Machine {
        Machine { places: Places::default(), toolchain: None, linker: false }
    }

    fn packages(machine: &Machine, purpose: Purpose) -> Vec<&'static str> {
        machine.missing(purpose).iter().map(|need| need.package).collect()
    }

    #[test]
    fn each_need_has_a_reason_and_only_one_row() {
        let mut seen = HashSet::new();
        for need in NEEDS {
            assert!(!need.why.is_empty() && !need.why.ends_with('.'), "{need:?}");
            assert!(seen.insert(format!("{} {:?}", need.package, need.proof)), "twice: {need:?}");
        }
    }

    #[test]
    fn a_bare_machine_lacks_the_compiler_and_the_linker() {
        let missing = packages(&bare(), Build);
        for package in ["rustc-web", "cargo-web", "rust-web-src", "llvm-22-dev"] {
            assert!(missing.contains(&package), "{package} is not in {missing:?}");
        }
        assert!(!missing.contains(&"prometheus"), "building needs no Prometheus: {missing:?}");
        assert!(packages(&bare(), Test).contains(&"prometheus"));
    }

    #[test]
    fn a_file_is_found_in_any_version() {
        let root = std::env::temp_dir().join(format!("monitor-xtask-needs-{}", std::process::id()));
        fs::create_dir_all(root.join("usr/lib/base/15/bin")).unwrap();
        fs::write(root.join("usr/lib/base/15/bin/server"), "").unwrap();
        let found = |pattern| is_there(&root, pattern);
        assert!(found("/usr/lib/base/*/bin/server") && found("/usr/lib/base/15/bin/server"));
        assert!(!found("/usr/lib/base/*/bin/client") && !found("/usr/lib/other/*/bin/server") && !found("/usr/lib"));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn another_compiler_and_linker_spare_debians() {
        let toolchain = Toolchain { name: "nightly".into(), bin: "/nonexistent".into(), bootstrap: false };
        let machine = Machine { toolchain: Some(toolchain), linker: true, ..bare() };
        let missing = packages(&machine, Build);
        assert!(!missing.iter().any(|package| package.contains("rust") || package.contains("llvm")), "{missing:?}");
    }
}
