//! What a guest boots with: a first file system in memory, with our own first program, the programs that tests start and
//! the modules; and a disk with the daemon and the tests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{cpio::Cpio, modules::Module};
use crate::{
    daemon::kernel_object,
    project::{Project, places},
    step::{Step, shell},
};

/// Programs that the tests start; each is copied with the libraries that it needs.
const PROGRAMS: &[&str] = &["sh", "true", "timeout", "setpriv", "bpftool", "unshare", "mount", "cp"];

/// Programs of that kind that are too large to be held in memory.
const LARGE_PROGRAMS: &[&str] = &["promtool"];

/// Where the disk is mounted: neither in a temporary directory nor hidden, which rules would mind.
const DISK: &str = "/disk";

/// What the tests were built to.
#[derive(Debug)]
pub(super) struct Built {
    /// The daemon.
    pub(super) daemon: PathBuf,
    /// The guest's first program.
    pub(super) init: PathBuf,
    /// What tests let be observed.
    pub(super) workload: PathBuf,
    /// The tests that run on every kernel.
    pub(super) kernel: PathBuf,
    /// The tests that run in a guest only.
    pub(super) own: Option<Own>,
    /// Where the guest's programs and libraries are, when they are not this machine's.
    pub(super) root: Option<PathBuf>,
}

/// Tests for machines of one's own.
#[derive(Debug)]
pub(super) struct Own {
    tests: PathBuf,
    /// Kernel programs of theirs.
    tiers: PathBuf,
}

impl Built {
    /// Builds the tests for this machine's kind of processor; the daemon is built already.
    pub(super) fn new(project: &Project) -> Result<Self> {
        let mut command = project.cargo("test");
        command.args(["--locked", "--package", "monitor-tests", "--test", "kernel", "--test", "guest", "--no-run"]);
        command.arg("--message-format=json-render-diagnostics");
        println!("==> cargo test --no-run: the tests, to be copied into the guests");
        let output = command.stderr(std::process::Stdio::inherit()).output().context("start cargo")?;
        ensure!(output.status.success(), "the tests do not build: {}", shell(&command));
        let messages = String::from_utf8_lossy(&output.stdout);
        let find = |name| executable(&messages, name).with_context(|| format!("cargo did not tell where {name} is"));
        Ok(Self {
            daemon: project.daemon(),
            init: find("guest-init")?,
            workload: find("workload")?,
            kernel: find("kernel")?,
            own: Some(Own { tests: find("guest")?, tiers: kernel_object(project, "tiers-ebpf")? }),
            root: None,
        })
    }
}

impl Built {
    /// A program that the guests start.
    fn find(&self, program: &str) -> Result<PathBuf> {
        let Some(root) = &self.root else { return find(program) };
        let places = ["bin", "sbin", "usr/bin", "usr/sbin"].map(|place| root.join(place).join(program));
        let found = places.into_iter().find(|path| path.is_file());
        found.with_context(|| format!("{program} is in none of the packages in {}", root.display()))
    }
}

/// Where cargo put an executable, from the messages that it writes one a line.
pub(super) fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let text = |line: &str, key: &str| -> Option<String> {
        let rest = line.split_once(&format!("\"{key}\":\""))?.1;
        // A path with a quotation mark in it would be escaped.
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let artifacts = messages.lines().filter(|line| line.starts_with(r#"{"reason":"compiler-artifact""#));
    let named = artifacts.filter(|line| text(line, "name").as_deref() == Some(name));
    named.filter_map(|line| text(line, "executable")).next_back().map(PathBuf::from)
}

/// Makes the disk; the guests share it and keep what they write to themselves.
pub(super) fn disk(built: &Built, name: &str, directory: &Path) -> Result<PathBuf> {
    let root = directory.join(format!("{name}root"));
    drop(fs::remove_dir_all(&root));
    let copy = |from: &Path, to: &str| -> Result<()> {
        let to = root.join(to);
        fs::create_dir_all(to.parent().unwrap_or(&root))?;
        fs::copy(from, &to).with_context(|| format!("copy {}", from.display()))?;
        Ok(())
    };
    // As cargo lays them out: the tests find the workload by their own path.
    copy(&built.kernel, "debug/deps/kernel")?;
    copy(&built.workload, "debug/workload")?;
    copy(&built.daemon, "release/monitor")?;
    if let Some(own) = &built.own {
        copy(&own.tests, "debug/deps/guest")?;
        copy(&own.tiers, "tiers.o")?;
    }
    for program in LARGE_PROGRAMS {
        copy(&built.find(program)?, &format!("bin/{program}"))?;
    }
    let disk = directory.join(format!("{name}disk.img"));
    drop(fs::remove_file(&disk));
    let mut command = Command::new(find("mkfs.ext4")?);
    command.args(["-q", "-F", "-E", "root_owner=0:0", "-d"]).arg(&root).arg(&disk).arg("768M");
    Step { what: "mkfs.ext4", why: "the guests' disk", remedy: "is there room in target/?" }.quiet(command)?;
    fs::remove_dir_all(&root)?;
    Ok(disk)
}

fn find(program: &str) -> Result<PathBuf> {
    places()?.program(program).with_context(|| format!("{program} is not installed: cargo xtask setup"))
}

/// The first file system of a guest that goes through `plan`.
pub(super) fn initramfs(built: &Built, modules: &[Module], plan: &str) -> Result<Vec<u8>> {
    let mut image = Image::default();
    for directory in ["dev", "proc", "sys", "tmp", "run", "var/tmp", "root", DISK] {
        image.cpio.directory(directory);
    }
    // Where the host's directories are links, the guest's are too.
    for name in ["bin", "sbin", "lib", "lib64"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(name)) {
            image.cpio.link(name, &target.to_string_lossy());
        }
    }
    match &built.root {
        None => image.programs(built)?,
        Some(root) => image.foreign_programs(built, root)?,
    }
    for (file, text) in FILES {
        image.cpio.file(file, 0o644, text.as_bytes());
    }
    let mut order = String::new();
    for (name, contents) in modules {
        image.cpio.file(&format!("/modules/{name}.ko"), 0o644, contents);
        order += &format!("{name}\n");
    }
    image.cpio.file("/modules/order", 0o644, order.as_bytes());
    image.cpio.file("/plan", 0o644, plan.as_bytes());
    Ok(image.cpio.finish())
}

/// What programs look up.
const FILES: &[(&str, &str)] = &[
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/os-release", "PRETTY_NAME=\"guest of cargo xtask test --kernel\"\n"),
];

#[derive(Default)]
struct Image {
    cpio: Cpio,
    there: BTreeSet<String>,
}

impl Image {
    /// This machine's own programs, with the libraries that they need.
    fn programs(&mut self, built: &Built) -> Result<()> {
        self.program(&built.init, "/init")?;
        for program in PROGRAMS {
            let path = find(program)?;
            let place = canonical(&path)?;
            self.program(&path, &place)?;
        }
        let own = built.own.as_ref().map(|own| &own.tests);
        for path in [&built.kernel, &built.workload, &built.daemon].into_iter().chain(own) {
            self.libraries(path)?;
        }
        Ok(())
    }

    /// Programs for another kind of processor, with all libraries that were unpacked: nothing here can tell which of
    /// them a program needs. Ours need none.
    fn foreign_programs(&mut self, built: &Built, root: &Path) -> Result<()> {
        let mut add = |from: &Path, to: &str| -> Result<()> {
            let contents = fs::read(from).with_context(|| format!("read {}", from.display()))?;
            self.cpio.file(to, 0o755, &contents);
            Ok(())
        };
        add(&built.init, "/init")?;
        for program in PROGRAMS {
            add(&built.find(program)?, &format!("/usr/bin/{program}"))?;
        }
        for directory in ["lib", "lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu"] {
            let entries = fs::read_dir(root.join(directory)).with_context(|| format!("list {directory}"))?;
            for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                add(&path, &format!("/usr/{}/{name}", directory.trim_start_matches("usr/")))?;
            }
        }
        Ok(())
    }

    /// A program with its libraries.
    fn program(&mut self, from: &Path, to: &str) -> Result<()> {
        if self.there.insert(to.to_owned()) {
            let contents = fs::read(from).with_context(|| format!("read {}", from.display()))?;
            self.cpio.file(to, 0o755, &contents);
        }
        self.libraries(from)
    }

    fn libraries(&mut self, program: &Path) -> Result<()> {
        let output = Command::new("ldd").arg(program).output().context("start ldd")?;
        // It fails for a program that needs none.
        for library in needed(&String::from_utf8_lossy(&output.stdout))
            .map_err(|missing| anyhow::anyhow!("{} needs {missing}, which is not installed", program.display()))?
        {
            let place = canonical(Path::new(&library))?;
            if self.there.insert(place.clone()) {
                let contents = fs::read(library).with_context(|| format!("read {library}"))?;
                self.cpio.file(&place, 0o755, &contents);
            }
        }
        Ok(())
    }
}

/// The libraries that `ldd` names; or the first that it does not find.
fn needed(ldd: &str) -> Result<Vec<&str>, &str> {
    let mut found = Vec::new();
    for line in ldd.lines().map(str::trim) {
        match line.split_whitespace().find(|word| word.starts_with('/')) {
            Some(path) => found.push(path),
            None if line.contains("not found") => return Err(line),
            // The kernel's own (linux-vdso), or a statically linked program.
            None => {}
        }
    }
    Ok(found)
}

/// A file's place under its own name, with links in its directory resolved.
fn canonical(path: &Path) -> Result<String> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { bail!("{} is no file", path.display()) };
    let parent = fs::canonicalize(parent).with_context(|| format!("find {}", parent.display()))?;
    Ok(parent.join(name).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","package_id":"x","target":{"kind":["lib"],"name":"kernel"},"executable":null}
{"reason":"compiler-artifact","package_id":"x","target":{"kind":["test"],"name":"kernel"},"executable":"/t/debug/deps/kernel-1"}
{"reason":"compiler-artifact","package_id":"x","target":{"kind":["bin"],"name":"workload"},"executable":"/t/debug/workload"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "kernel"), Some("/t/debug/deps/kernel-1".into()));
        assert_eq!(executable(messages, "workload"), Some("/t/debug/workload".into()));
        assert_eq!(executable(messages, "guest"), None);
    }

    #[test]
    fn libraries_are_those_that_ldd_names() {
        let ldd = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(needed(ldd), Ok(vec!["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]));
        assert_eq!(needed("\tstatically linked\n"), Ok(vec![]));
        assert_eq!(needed("\tlibx.so => not found\n"), Err("libx.so => not found"));
    }
}
