//! From the kernel's bytes to an [`Exec`]. The record may be cut short or lie about its lengths: each is an error with
//! its reason, so that one bad record costs one event and never the daemon.

use std::mem::{offset_of, size_of};

use monitor_common::{
    limits::{ARGS, ENVIRONMENT as ENVIRONMENT_ROOM, PATH},
    record::{ABI_VERSION, Kind},
    signals::exec::{ExecHead, ExecLong, PATH_ROOM},
};
use zerocopy::FromBytes;

use super::{Exec, ExecFile, Written};

/// The environment variables that are kept, with the reason. All others are forgotten here: they are full of secrets.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("LD_PRELOAD", "makes the dynamic linker load a library into the program"),
    ("LD_AUDIT", "loads a library even before LD_PRELOAD does"),
    ("LD_LIBRARY_PATH", "replaces libraries by others of the same name"),
    ("LD_TRACE_LOADED_OBJECTS", "tells ldd from a program that is started through the dynamic linker"),
    ("GCONV_PATH", "loads libraries for character sets; gave root in CVE-2021-4034"),
    ("GLIBC_TUNABLES", "its parser gave root in CVE-2023-4911"),
    ("HISTFILE", "/dev/null or empty: the shell's history is not kept"),
    ("HISTSIZE", "0: the shell's history is not kept"),
    ("HISTFILESIZE", "0: the shell's history is not kept"),
    ("PROMPT_COMMAND", "bash runs it before each prompt"),
    ("BASH_ENV", "bash runs this file before each script"),
    ("ENV", "other shells run this file"),
    ("PYTHONSTARTUP", "python runs this file when it is interactive"),
    ("PYTHONPATH", "replaces modules of python"),
    ("PERL5OPT", "options for each perl: -M runs a module"),
    ("RUBYOPT", "options for each ruby: -r runs a file"),
    ("NODE_OPTIONS", "options for each node: --require runs a file"),
];

/// Why a record is no exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the head has, or than the head says.
    #[error("an exec record of {have} bytes is cut short: it needs {need}")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes that there should be.
        need: usize,
    },
    /// The writer follows another layout.
    #[error(
        "an exec record of ABI {found}, this daemon reads {ABI_VERSION}: kernel programs and daemon differ in version"
    )]
    Abi {
        /// The writer's version.
        found: u32,
    },
    /// Another kind of record.
    #[error("a record of kind {kind} is no exec")]
    NotExec {
        /// The number in its header.
        kind: u16,
    },
    /// A length that exceeds the room.
    #[error("an exec record claims {said} bytes of {field}, there is room for {room}")]
    Length {
        /// What is too long.
        field: &'static str,
        /// The length it claims.
        said: u32,
        /// The room it has.
        room: usize,
    },
    /// More bytes copied than there are.
    #[error("an exec record claims {copied} bytes copied of {length} bytes of {field}")]
    Copied {
        /// What was copied.
        field: &'static str,
        /// Bytes copied.
        copied: u32,
        /// Bytes there are.
        length: u32,
    },
    /// A path component without its end.
    #[error("the last component of {field} in an exec record has no end")]
    Unterminated {
        /// Which path.
        field: &'static str,
    },
}

// What follows the head follows it without a gap.
const _: () = assert!(offset_of!(ExecLong, names) == size_of::<ExecHead>());

/// What of a record comes one after the other, in the order of the record.
struct Parts<'a> {
    record: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    /// The next part, `length` bytes that may not be more than `room`.
    fn next(&mut self, field: &'static str, length: u32, room: usize) -> Result<&'a [u8], DecodeError> {
        let length = match usize::try_from(length) {
            Ok(length) if length <= room => length,
            _ => return Err(DecodeError::Length { field, said: length, room }),
        };
        let need = self.at + length;
        let part = self.record.get(self.at..need).ok_or(DecodeError::Short { have: self.record.len(), need })?;
        self.at = need;
        Ok(part)
    }
}

/// Decodes an exec record of either kind. `record` is what the ring delivered, header included.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(record: &[u8]) -> Result<Exec, DecodeError> {
    // A copy, because nothing promises that `record` is aligned.
    let (head, _) = ExecHead::read_from_prefix(record)
        .map_err(|_| DecodeError::Short { have: record.len(), need: size_of::<ExecHead>() })?;
    if head.header.abi != ABI_VERSION {
        return Err(DecodeError::Abi { found: head.header.abi });
    }
    let long = match Kind::from_number(head.header.kind) {
        Some(Kind::Exec) => false,
        Some(Kind::ExecLong) => true,
        Some(Kind::Fork | Kind::Exit | Kind::Activity | Kind::ExecKill | Kind::Segment | Kind::SegmentsEnd) | None => {
            return Err(DecodeError::NotExec { kind: head.header.kind });
        }
    };
    let mut parts = Parts { record, at: size_of::<ExecHead>() };
    let exe = parts.next("exe", head.exe_length, PATH_ROOM)?;
    let cwd = parts.next("cwd", head.cwd_length, PATH_ROOM)?;
    let filename = parts.next("filename", head.filename_length, PATH)?;
    if long {
        parts.at = offset_of!(ExecLong, args);
    }
    let args = copied(&mut parts, "arguments", head.args_copied, head.args_length, ARGS)?;
    if long {
        parts.at = offset_of!(ExecLong, env);
    }
    let env = copied(&mut parts, "environment", head.env_copied, head.env_length, ENVIRONMENT_ROOM)?;
    let anonymous = head.links == 0;
    Ok(Exec {
        time_ns: head.header.time_ns,
        cpu: head.header.cpu,
        process: head.process,
        parent: head.parent,
        exe: path("exe", exe, head.exe_cut, anonymous)?,
        exe_cut: head.exe_cut != 0,
        cwd: path("cwd", cwd, head.cwd_cut, false)?,
        filename: text(filename).to_vec(),
        script: head.script != 0,
        args: strings(args).map(<[u8]>::to_vec).collect(),
        args_length: head.args_length,
        args_truncated: head.args_copied < head.args_length,
        env: wanted(env),
        env_truncated: head.env_copied < head.env_length,
        uid: head.uid,
        euid: head.euid,
        gid: head.gid,
        egid: head.egid,
        loginuid: (head.loginuid != u32::MAX).then_some(head.loginuid),
        tty: text(&head.tty).to_vec(),
        comm: text(&head.comm).to_vec(),
        file: ExecFile {
            mode: head.mode,
            links: head.links,
            owner: head.owner,
            inode: head.inode,
            device: head.device,
            magic: head.magic,
            modified_ns: head.modified_ns,
            changed_ns: head.changed_ns,
            upper_layer: head.upper_layer != 0,
            mounted: head.mounted != 0,
            foreign_mounts: head.user_namespace != 0,
        },
        gained: head.per_clear != 0,
        stdio: head.stdio,
        cgroup_id: head.cgroup_id,
        cgroup_set: head.cgroup_set,
        written: (head.writer.process.tgid != 0)
            .then_some(Written { by: head.writer.process, time_ns: head.writer.time_ns }),
        suid: head.suid,
        capabilities: head.cap_effective,
        session: head.session,
        process_group: head.process_group,
    })
}

fn copied<'a>(
    parts: &mut Parts<'a>,
    field: &'static str,
    copied: u32,
    length: u32,
    room: usize,
) -> Result<&'a [u8], DecodeError> {
    if copied > length {
        return Err(DecodeError::Copied { field, copied, length });
    }
    parts.next(field, copied, room)
}

/// Up to the first zero byte.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The zero-terminated strings of `block`; the last one may have lost its end.
fn strings(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = block.strip_suffix(&[0]).unwrap_or(block);
    // An empty block has no string; a lone terminator is one empty string.
    body.split(|byte| *byte == 0).filter(move |_| !block.is_empty())
}

/// The variables of [`ENVIRONMENT`]. One that occurs twice stays twice, in order: programs differ in which they take.
fn wanted(block: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    strings(block)
        .filter_map(|variable| {
            let end = variable.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&variable[..end], &variable[end + 1..]);
            ENVIRONMENT.iter().any(|(known, _)| known.as_bytes() == name).then(|| (name.to_vec(), value.to_vec()))
        })
        .collect()
}

/// Puts the components of a path together that the kernel programs walked. `anonymous`: the file has no link, so that a lone `memfd:NAME` is the name of a memfd
/// (in which NAME may contain slashes) and no file in the root directory.
pub(in crate::signals) fn path(
    field: &'static str,
    names: &[u8],
    cut: u32,
    anonymous: bool,
) -> Result<Vec<u8>, DecodeError> {
    if !names.is_empty() && names.last() != Some(&0) {
        return Err(DecodeError::Unterminated { field });
    }
    let components: Vec<&[u8]> = strings(names).filter(|name| !name.is_empty() && *name != b"/").collect();
    if let ([name], true) = (components.as_slice(), anonymous)
        && name.starts_with(b"memfd:")
    {
        return Ok(name.to_vec());
    }
    let mut joined = if cut == 0 { Vec::new() } else { b"...".to_vec() };
    for name in components.iter().rev() {
        joined.push(b'/');
        joined.extend_from_slice(name);
    }
    if components.is_empty() {
        joined.push(b'/');
    }
    Ok(joined)
}

#[cfg(test)]
mod tests;
