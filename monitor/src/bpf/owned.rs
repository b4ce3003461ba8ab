//! What this process holds of the kernel's BPF objects, by the numbers that the kernel tells: of what was made, and whether
//! somebody has closed it since.

use std::{fs, io};

/// Numbers of maps, programs and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Maps.
    pub maps: Vec<u32>,
    /// Programs.
    pub programs: Vec<u32>,
    /// Links: what attaches a program, but for those on functions of libraries.
    pub links: Vec<u32>,
}

impl Owned {
    /// Looks at every open descriptor.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn here() -> io::Result<Self> {
        let mut owned = Self::default();
        for entry in fs::read_dir("/proc/self/fd")? {
            let entry = entry?;
            // The list itself, or a connection that has ended meanwhile.
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let (key, list) = match target.to_str() {
                Some("anon_inode:bpf-map") => ("map_id:", &mut owned.maps),
                Some("anon_inode:bpf-prog") => ("prog_id:", &mut owned.programs),
                Some("anon_inode:bpf_link" | "anon_inode:bpf-link") => ("link_id:", &mut owned.links),
                _ => continue,
            };
            let info = entry.path().to_string_lossy().replacen("/fd/", "/fdinfo/", 1);
            let info = fs::read_to_string(info).unwrap_or_default();
            // Those on functions of libraries come and go.
            if info.lines().any(|line| line.starts_with("link_type:") && line.ends_with("probe_multi")) {
                continue;
            }
            let id = info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
            list.extend(id.filter(|id| !list.contains(id)));
        }
        Ok(owned)
    }
}
