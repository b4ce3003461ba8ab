//! Kernel modules with what they stand on, in the order in which they have to be loaded. Debian's packages have no
//! list of dependencies; each module names its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::kernel::{Kernel, walk};

/// What the tests need: the disk, disks of their own, devices that drop packets.
pub(super) const WANTED: &[&str] = &["virtio_pci", "virtio_blk", "loop", "dummy", "overlay"];

/// A module's name and contents.
pub(super) type Module = (String, Vec<u8>);

/// The wanted modules and all below them. What is built in is left out.
pub(super) fn closure(kernel: &Kernel, wanted: &[&str]) -> Result<Vec<Module>> {
    let mut search =
        Search { files: BTreeMap::new(), built_in: built_in(kernel)?, seen: BTreeSet::new(), found: vec![] };
    walk(&kernel.modules, &mut |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some((stem, _)) = name.split_once(".ko") {
            search.files.insert(canonical(stem), path.to_path_buf());
        }
    })?;
    for name in wanted {
        search.add(&canonical(name)).with_context(|| format!("module {name} of {}", kernel.release))?;
    }
    Ok(search.found)
}

/// File names have dashes where names have underscores, or not.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn built_in(kernel: &Kernel) -> Result<BTreeSet<String>> {
    let list = fs::read_to_string(kernel.modules.join("modules.builtin")).context("list what is built in")?;
    let stem = |line: &str| Path::new(line).file_stem().map(|stem| canonical(&stem.to_string_lossy()));
    Ok(list.lines().filter_map(stem).collect())
}

struct Search {
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
    seen: BTreeSet<String>,
    found: Vec<Module>,
}

impl Search {
    fn add(&mut self, name: &str) -> Result<()> {
        if self.built_in.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.files.get(name).with_context(|| format!("this kernel has no module {name}"))?;
        let contents = read(path)?;
        for needed in depends(&contents) {
            self.add(&needed)?;
        }
        self.found.push((name.to_owned(), contents));
        Ok(())
    }
}

/// A module's contents. Kernels load compressed ones only in user space's tools, or not at all.
fn read(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("read {}", path.display())),
    };
    let output = Command::new(program).arg("-dc").arg(path).output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} -dc {}: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// The names after `depends=` in the section of strings that each module has.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let rest = &module[at + KEY.len()..];
    let value = &rest[..rest.iter().position(|&byte| byte == 0).unwrap_or(0)];
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(canonical).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_stands_on() {
        assert_eq!(depends(b"ELF\0license=GPL\0depends=virtio,virtio-ring\0name=x\0"), ["virtio", "virtio_ring"]);
        assert_eq!(depends(b"ELF\0license=GPL\0depends=\0name=x\0"), [] as [&str; 0]);
        assert_eq!(depends(b"ELF"), [] as [&str; 0]);
    }

    #[test]
    fn modules_come_after_what_they_stand_on_and_once() {
        let directory = std::env::temp_dir().join(format!("xtask-modules-{}", std::process::id()));
        fs::create_dir_all(directory.join("kernel")).unwrap();
        let module = |name: &str, depends: &str| {
            fs::write(directory.join("kernel").join(name), format!("x\0depends={depends}\0")).unwrap();
        };
        module("top.ko", "middle,built-in,bottom");
        module("mid-dle.ko", "");
        module("middle.ko", "bottom");
        module("bottom.ko", "");
        fs::write(directory.join("modules.builtin"), "kernel/x/built-in.ko\n").unwrap();
        let kernel = Kernel { release: "test".into(), image: "".into(), modules: directory.clone() };
        let found = closure(&kernel, &["top", "bottom"]);
        let missing = closure(&kernel, &["absent"]);
        fs::remove_dir_all(&directory).unwrap();
        let names: Vec<String> = found.unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bottom", "middle", "top"]);
        assert!(format!("{:#}", missing.unwrap_err()).contains("absent"));
    }
}
