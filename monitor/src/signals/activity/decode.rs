//! From the kernel's bytes to an [`Activity`]. A record may be cut short or lie about its lengths: each is an error with
//! its reason, so that one bad record costs one event and never the daemon.

use std::mem::size_of;

use monitor_common::{
    limits::{NAME, PATH},
    record::{ABI_VERSION, Kind},
    signals::activity::{Act, ActivityHead, PARTS, Part, Via},
};
use zerocopy::FromBytes;

use super::{Activity, Actor, Name, table::call_name};
use crate::signals::exec::decode::path;

/// Why a record is no activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the head has, or than the head says.
    #[error("an activity record of {have} bytes is cut short: it needs {need}")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes that there should be.
        need: usize,
    },
    /// The writer follows another layout.
    #[error(
        "an activity record of ABI {found}, this daemon reads {ABI_VERSION}: kernel programs and daemon differ in version"
    )]
    Abi {
        /// The writer's version.
        found: u32,
    },
    /// Another kind of record.
    #[error("a record of kind {kind} is no activity")]
    NotActivity {
        /// The number in its header.
        kind: u16,
    },
    /// An activity that this daemon does not know.
    #[error("an activity record of unknown kind {act}, via {via}")]
    Unknown {
        /// The number in its head.
        act: u16,
        /// The number in its head.
        via: u16,
    },
    /// A length that exceeds the room.
    #[error("an activity record claims {said} bytes of {part}, there is room for {room}")]
    Length {
        /// What is too long.
        part: &'static str,
        /// The length it claims.
        said: u32,
        /// The room it has.
        room: usize,
    },
    /// A path component without its end.
    #[error("the last component of {part} in an activity record has no end")]
    Unterminated {
        /// Which path.
        part: &'static str,
    },
}

/// Names of the parts, and the room that each has, in the order of [`Part`].
const ROOMS: [(&str, usize); PARTS] =
    [("object", PATH + NAME), ("base", PATH + NAME), ("name", PATH), ("other_base", PATH + NAME), ("other_name", PATH)];

/// `AF_UNIX`.
const UNIX: u16 = 1;

/// Decodes an activity record. `record` is what the ring delivered, header included.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(record: &[u8]) -> Result<Activity, DecodeError> {
    // A copy, because nothing promises that `record` is aligned.
    let (head, tail) = ActivityHead::read_from_prefix(record)
        .map_err(|_| DecodeError::Short { have: record.len(), need: size_of::<ActivityHead>() })?;
    if head.header.abi != ABI_VERSION {
        return Err(DecodeError::Abi { found: head.header.abi });
    }
    if Kind::from_number(head.header.kind) != Some(Kind::Activity) {
        return Err(DecodeError::NotActivity { kind: head.header.kind });
    }
    let unknown = DecodeError::Unknown { act: head.act, via: head.via };
    let act = u8::try_from(head.act).ok().and_then(Act::from_number).ok_or(unknown)?;
    let via = Via::from_number(head.via).ok_or(unknown)?;
    let parts = split(&head, record.len(), tail)?;
    let cut = |part: Part| head.cut & 1 << part as usize != 0;
    let walked = |part: Part, anonymous| {
        let (field, names) = (ROOMS[part as usize].0, parts[part as usize]);
        match names {
            [] => Ok(Vec::new()),
            _ => path(field, names, u32::from(cut(part)), anonymous)
                .map_err(|_| DecodeError::Unterminated { part: field }),
        }
    };
    let name = |part: Part, base: Part| -> Result<Option<Name>, DecodeError> {
        let raw = parts[part as usize];
        if raw.is_empty() && !cut(part) {
            return Ok(None);
        }
        let path = absolute(&walked(base, false)?, raw);
        Ok(Some(Name { raw: raw.to_vec(), path, cut: cut(part) }))
    };
    let is_unix = head.socket.family == UNIX;
    let object = if is_unix { unix_address(parts[0]).to_vec() } else { walked(Part::Object, head.file.links == 0)? };
    Ok(Activity {
        time_ns: head.header.time_ns,
        cpu: head.header.cpu,
        process: head.process,
        tid: head.tid,
        target: Some(head.target).filter(|target| target.tgid != 0),
        act,
        via,
        call: match act {
            // No calls: what the kernel programs tell of themselves.
            Act::Throttle | Act::Heartbeat | Act::Denied => act.name(),
            _ => call_name(head.call, via),
        },
        result: head.result,
        args: head.args,
        actor: Actor {
            uid: head.uid,
            euid: head.euid,
            suid: head.suid,
            gid: head.gid,
            egid: head.egid,
            capabilities: head.cap_effective,
        },
        cgroup_id: head.cgroup_id,
        comm: head.comm.split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
        file: Some(head.file).filter(|file| file.mode != 0),
        path: object,
        path_cut: cut(Part::Object),
        socket: Some(head.socket).filter(|socket| socket.family != 0),
        name: name(Part::Name, Part::Base)?,
        other: name(Part::OtherName, Part::OtherBase)?,
    })
}

/// The address of a Unix socket: a path ends at a zero byte, which may be passed with it or not; an abstract name begins with
/// one and has any bytes.
fn unix_address(address: &[u8]) -> &[u8] {
    match address {
        [0, ..] => address,
        _ => address.split(|byte| *byte == 0).next().unwrap_or_default(),
    }
}

/// The parts, which follow each other without gaps.
fn split<'a>(head: &ActivityHead, have: usize, mut rest: &'a [u8]) -> Result<[&'a [u8]; PARTS], DecodeError> {
    let mut parts: [&[u8]; PARTS] = [&[]; PARTS];
    for ((part, said), (name, room)) in parts.iter_mut().zip(head.parts).zip(ROOMS) {
        let length = match usize::try_from(said) {
            Ok(length) if length <= room => length,
            _ => return Err(DecodeError::Length { part: name, said, room }),
        };
        let need = have - rest.len() + length;
        (*part, rest) = rest.split_at_checked(length).ok_or(DecodeError::Short { have, need })?;
    }
    Ok(parts)
}

/// `name` as an absolute path without `.`, `..` and double slashes. `base` is the directory that a relative name starts
/// from, or the root directory of the process for an absolute one: `..` does not lead out of that. Empty when there is
/// no `base`: then it is no path, or nobody knows from where.
fn absolute(base: &[u8], name: &[u8]) -> Vec<u8> {
    if base.is_empty() {
        return Vec::new();
    }
    let slash = |byte: &u8| *byte == b'/';
    let mut path: Vec<&[u8]> = base.split(slash).filter(|part| !part.is_empty()).collect();
    let floor = if name.starts_with(b"/") { path.len() } else { usize::from(base.starts_with(b"...")) };
    for component in name.split(slash) {
        match component {
            b"" | b"." => {}
            b".." => path.truncate(path.len().saturating_sub(1).max(floor)),
            _ => path.push(component),
        }
    }
    let mut joined = Vec::with_capacity(base.len() + name.len() + 1);
    for component in &path {
        if !(joined.is_empty() && *component == b"..." && base.starts_with(b"...")) {
            joined.push(b'/');
        }
        joined.extend_from_slice(component);
    }
    if joined.is_empty() {
        joined.push(b'/');
    }
    joined
}

#[cfg(test)]
mod tests;
