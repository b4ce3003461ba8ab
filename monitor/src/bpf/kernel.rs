//! What the running kernel has, by its own type information: never by its version, because stable kernels take over
//! changes of later ones.

use std::{fs, path::Path};

use monitor_common::offsets::{FIELDS, Offsets};

use super::{BpfError, btf::Btf};

/// The running kernel, as far as the programs care.
#[derive(Debug)]
pub struct Kernel {
    /// Where its structs keep what the programs read.
    pub offsets: Offsets,
    /// Its types, for questions about hooks.
    pub btf: Btf,
    /// The same for the library that loads programs.
    pub aya: aya::Btf,
    /// CPUs that there may ever be.
    pub cpus: u32,
    /// Hooks to do without, by configuration.
    pub disabled: Vec<String>,
    /// Hooks that are there but whose programs the kernel refused, with the reason.
    pub refused: Vec<(&'static str, String)>,
}

impl Kernel {
    /// Looks.
    ///
    /// # Errors
    /// When the type information cannot be read.
    pub fn look(btf: &Path, disabled: &[String]) -> Result<Self, BpfError> {
        let path = || btf.display().to_string();
        let types = Btf::read(btf).map_err(|source| BpfError::NoBtf { path: path(), source })?;
        let aya = aya::Btf::parse_file(btf, aya::Endianness::default())
            .map_err(|source| BpfError::BadBtf { path: path(), source })?;
        let offsets = Offsets::resolve(|field| types.find_field(field));
        let cpus = aya::util::nr_cpus().map_or(1, |cpus| u32::try_from(cpus).unwrap_or(1));
        Ok(Self { offsets, btf: types, aya, cpus, disabled: disabled.to_vec(), refused: Vec::new() })
    }

    /// Is there such a tracepoint, and may it be used?
    pub fn has_hook(&self, hook: &str) -> bool {
        self.refusal(hook).is_none()
    }

    /// Why a hook cannot be used; `None`: it can be tried.
    pub fn refusal(&self, hook: &str) -> Option<String> {
        if let Some(reason) = self.disabled(hook) {
            return Some(reason);
        }
        if let Some((_, reason)) = self.refused.iter().find(|(name, _)| *name == hook) {
            return Some(reason.clone());
        }
        self.btf.tracepoint_arguments(hook).is_none().then(|| format!("this kernel has no tracepoint {hook}"))
    }

    /// The same of a place where the kernel asks its security modules. Where BPF is not among them such a program can be
    /// attached, but nobody asks it.
    pub fn lsm_refusal(&self, hook: &str) -> Option<String> {
        if let Some(reason) = self.disabled(hook) {
            return Some(reason);
        }
        if !self.btf.has_function(&format!("bpf_lsm_{hook}")) {
            return Some(format!("this kernel asks no BPF program about {hook} (CONFIG_BPF_LSM)"));
        }
        // Not mounted: what the kernel does will tell.
        let active = fs::read_to_string("/sys/kernel/security/lsm").ok()?;
        let active = active.trim();
        (!active.split(',').any(|name| name == "bpf"))
            .then(|| format!("bpf is not among the active security modules ({active}): boot with lsm={active},bpf"))
    }

    /// The same of a function of the kernel.
    pub fn function_refusal(&self, function: &str) -> Option<String> {
        let absent = || (!self.btf.has_function(function)).then(|| format!("this kernel has no function {function}"));
        self.disabled(function).or_else(absent)
    }

    /// Why a hook, or a program behind one, is not to be used: the configuration says so.
    pub fn disabled(&self, name: &str) -> Option<String> {
        self.disabled.iter().any(|other| other == name).then(|| "off by kernel.disable_hooks".to_owned())
    }

    /// Which of these entries of the offset table this kernel has no field for, as `struct.field`.
    pub fn missing(&self, names: &[&str]) -> Vec<String> {
        FIELDS
            .iter()
            .filter(|field| names.contains(&field.name) && self.offsets.get(field.name).is_none())
            .map(|field| format!("{}.{}", field.container, field.paths.join(" or ")))
            .collect()
    }
}
