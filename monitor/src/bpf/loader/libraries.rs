//! Programs for functions of libraries and programs, which are found while the daemon runs: each is loaded at the start, so
//! that it is known early whether this kernel takes it. Somebody else attaches them, with what is handed out here.

use std::{
    collections::HashSet,
    fs, mem,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError},
};
use tracing::debug;

use super::{
    HookState, Loaded, Settings,
    attach::{Attached, Place, last_lines},
};
use crate::{
    bpf::{Attach, BpfError, OBJECT, Program, kernel::Kernel, programs},
    sys,
};

/// The function of the kernel by which such programs are attached.
const ATTACH: &str = "bpf_uprobe_multi_link_attach";

/// Loads such a program.
pub(super) fn in_libraries(
    program: Program,
    settings: &Settings,
    kernel: &Kernel,
    ebpf: &Ebpf,
    attached: &mut Attached,
) -> HookState {
    if !settings.tls {
        return HookState::Unused("off by signals.l7_tls".to_owned());
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let none = || "this kernel attaches no program to many functions at a time (Linux 6.6)".to_owned();
    let refusal = kernel.disabled(program.name).or_else(|| (!kernel.btf.has_function(ATTACH)).then(none));
    if let Some(reason) = refusal.or_else(|| harmful(&release)) {
        return HookState::Failed(reason);
    }
    let result = attached.entry(program.name).or_insert_with(|| {
        let result = load(program, ebpf);
        result.map(Place::Libraries).inspect_err(|reason| debug!(program = program.name, reason, "refused"))
    });
    match result {
        Ok(_) => HookState::Unused("the kernel takes it; it is attached to TLS libraries as they are found".to_owned()),
        Err(reason) => HookState::Failed(reason.clone()),
    }
}

/// aya loads no programs of this kind. It makes the maps; the program gets them from the object once more.
fn load(program: Program, ebpf: &Ebpf) -> Result<OwnedFd, String> {
    let mut object = aya_obj::Object::parse(OBJECT).map_err(|error| error.to_string())?;
    let maps = mem::take(&mut object.maps);
    let made = maps.iter().filter_map(|(name, map)| Some((name.as_str(), descriptor(ebpf.map(name)?)?, map)));
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_maps(made, &sections).map_err(|error| error.to_string())?;
    object.relocate_calls(&sections).map_err(|error| error.to_string())?;
    let found = object.programs.get(program.name).ok_or("it is not in the object")?;
    let function = object.functions.get(&found.function_key()).ok_or("it is not in the object")?;
    let instructions: Vec<[u8; 8]> = function.instructions.iter().map(encoded).collect();
    sys::load_for_functions(program.name, &instructions, &found.license)
        .map_err(|(error, log)| last_lines(&error, &log))
}

/// An instruction as the kernel reads it.
fn encoded(instruction: &aya_obj::generated::bpf_insn) -> [u8; 8] {
    let registers = instruction.dst_reg() | instruction.src_reg() << 4;
    let ([a, b], [c, d, e, f]) = (instruction.off.to_ne_bytes(), instruction.imm.to_ne_bytes());
    [instruction.code, registers, a, b, c, d, e, f]
}

/// A map's descriptor, of whatever kind it is.
fn descriptor(map: &Map) -> Option<RawFd> {
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LpmTrie(data)
    | Map::LruHashMap(data)
    | Map::PerCpuArray(data)
    | Map::PerCpuHashMap(data)
    | Map::PerCpuLruHashMap(data)
    | Map::ProgramArray(data)
    | Map::Queue(data)
    | Map::RingBuf(data)) = map
    else {
        return None;
    };
    Some(data.fd().as_fd().as_raw_fd())
}

/// The one thing that is decided by version, because nothing else tells. From Linux 6.11 on, on x86-64, a function with a
/// program on its return comes back by a system call of its own, which seccomp filters killed the process for until 6.14
/// let it through; 6.12 and 6.13 have that from 6.12.13 and 6.13.2 on.
fn harmful(release: &str) -> Option<String> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version = (next(), next(), next());
    let fixed = match (version.0, version.1) {
        (6, 11) => false,
        (6, 12) => version.2 >= 13,
        (6, 13) => version.2 >= 2,
        _ => true,
    };
    (cfg!(target_arch = "x86_64") && !fixed).then(|| {
        format!(
            "on Linux {release} programs on the return of a function may kill processes with a seccomp filter; 6.12.13, 6.13.2 \
             and 6.14 do not"
        )
    })
}

impl Loaded {
    /// A program of this kind that the kernel has taken, to be attached by whoever asks.
    pub fn descriptor(&self, program: Program) -> Option<OwnedFd> {
        match self.attached.get(program.name) {
            Some(Ok(Place::Libraries(loaded))) => loaded.try_clone().ok(),
            _ => None,
        }
    }

    /// What programs of this kind have cost while the kernel measured: name, runs and time.
    pub fn library_costs(&self) -> impl Iterator<Item = (&'static str, u64, Duration)> {
        programs::ALL.iter().filter(|program| matches!(program.attach, Attach::Uprobe { .. })).filter_map(|program| {
            let Some(Ok(Place::Libraries(loaded))) = self.attached.get(program.name) else { return None };
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", loaded.as_raw_fd())).ok()?;
            let number = |key| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
            Some((program.name, number("run_cnt:")?, Duration::from_nanos(number("run_time_ns:")?)))
        })
    }

    /// A hash for one more user; the object keeps it.
    ///
    /// # Errors
    /// When it is not there, or of another type.
    pub fn share<M>(&self, name: &'static str) -> Result<M, BpfError>
    where
        M: TryFrom<Map, Error = MapError>,
    {
        let Some(Map::HashMap(data)) = self.ebpf.map(name) else { return Err(BpfError::NoMap(name)) };
        let open = |source| BpfError::Map { name, source };
        let descriptor = data.fd().as_fd().try_clone_to_owned().map_err(|source| open(MapError::IoError(source)))?;
        M::try_from(Map::HashMap(MapData::from_fd(descriptor).map_err(open)?)).map_err(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn kernels_on_which_processes_would_be_killed_are_left_alone() {
        for release in ["6.11.0-29-generic", "6.12.12", "6.12-amd64", "6.13.1-arch1-1"] {
            assert!(harmful(release).is_some_and(|reason| reason.contains(release)), "{release}");
        }
        for release in
            ["6.10.14", "6.12.13", "6.12.43+deb13-amd64", "6.13.2", "6.14.0-rc1", "6.1.0-9-amd64", "7.0.1", ""]
        {
            assert_eq!(harmful(release), None, "{release}");
        }
    }
}
