//! A library with our programs on its functions.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use monitor_common::signals::l7::TlsFunction;

use super::{
    elf::{self, Function},
    inner::inner,
};
use crate::{
    bpf::{loader::Loaded, programs},
    sys::attach_to_functions,
};

/// A function, and what it does.
struct Point {
    function: &'static str,
    does: TlsFunction,
    /// The library is of no use to us without it.
    needed: bool,
}

const fn needed(function: &'static str, does: TlsFunction) -> Point {
    Point { function, does, needed: true }
}

const fn useful(function: &'static str, does: TlsFunction) -> Point {
    Point { function, does, needed: false }
}

/// OpenSSL from 1.0 on, LibreSSL and BoringSSL.
static OPENSSL: [Point; 6] = [
    needed("SSL_read", TlsFunction::Read),
    needed("SSL_write", TlsFunction::Write),
    useful("SSL_read_ex", TlsFunction::ReadEx),
    useful("SSL_write_ex", TlsFunction::WriteEx),
    useful("SSL_do_handshake", TlsFunction::Handshake),
    useful("SSL_free", TlsFunction::Free),
];

// Their places in that table.
const READ: [usize; 2] = [0, 2];
const WRITE: [usize; 2] = [1, 3];
/// It has a further argument, as has the function inside then (OpenSSL 3.3).
const WRITE_EX2: &str = "SSL_write_ex2";

/// GnuTLS from 3.0 on. One of the functions to send may call the other: what they send is told once all the same.
static GNUTLS: [Point; 5] = [
    needed("gnutls_record_recv", TlsFunction::Read),
    needed("gnutls_record_send", TlsFunction::Write),
    useful("gnutls_record_send2", TlsFunction::Write),
    useful("gnutls_handshake", TlsFunction::Handshake),
    useful("gnutls_deinit", TlsFunction::Free),
];

/// What is as short as this only calls another function: `gnutls_record_send` calls `gnutls_record_send2` since 3.6.3, which
/// begins with a `push` (see [`inner`]).
const WRAPPER: u64 = 32;

/// Which library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// OpenSSL and what has its functions.
    OpenSsl,
    /// GnuTLS.
    GnuTls,
}

impl Family {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::OpenSsl, Self::GnuTls];

    /// The word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::GnuTls => "gnutls",
        }
    }

    const fn points(self) -> &'static [Point] {
        match self {
            Self::OpenSsl => &OPENSSL,
            Self::GnuTls => &GNUTLS,
        }
    }
}

/// Why a file has no programs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// Its file cannot be opened: replaced, and the right to open it all the same is missing.
    Unreachable,
    /// It is no program of this machine, or has other functions.
    Unknown,
    /// There are too many libraries.
    OverLimit,
    /// The kernel says no.
    Refused,
}

impl Why {
    /// All there are.
    pub(super) const ALL: [Self; 4] = [Self::Unreachable, Self::Unknown, Self::OverLimit, Self::Refused];

    /// The word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown_functions",
            Self::OverLimit => "over_limit",
            Self::Refused => "refused",
        }
    }
}

/// A file, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Key {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        let changed = (found.mtime(), found.mtime_nsec());
        Ok(Self { device: found.dev(), inode: found.ino(), size: found.size(), changed })
    }
}

/// The kernel programs, loaded and on no function yet.
pub(super) struct Programs {
    enter: OwnedFd,
    leave: OwnedFd,
}

impl Programs {
    /// Those of `loaded`; `None`: the kernel did not take them both, or they are not wanted.
    pub(super) fn of(loaded: &Loaded) -> Option<Self> {
        let (enter, leave) = (loaded.descriptor(programs::TLS_ENTER)?, loaded.descriptor(programs::TLS_RETURN)?);
        Some(Self { enter, leave })
    }
}

/// Where the functions of a family are in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Functions {
    family: Family,
    /// Offsets, and what is done there: a [`TlsFunction`].
    places: Vec<(u64, u64)>,
}

impl Functions {
    /// Looks into a file.
    pub(super) fn of(file: &File) -> Option<Self> {
        let points = OPENSSL.iter().chain(&GNUTLS).map(|point| point.function);
        let names: Vec<&str> = points.chain([WRITE_EX2]).collect();
        let mut openssl = elf::functions(file, &names)?;
        let mut gnutls = openssl.split_off(OPENSSL.len());
        let flags = gnutls.pop().flatten().is_some();
        let family = [(Family::OpenSsl, &openssl), (Family::GnuTls, &gnutls)].into_iter().find(|(family, found)| {
            family.points().iter().zip(*found).all(|(point, found)| found.is_some() || !point.needed)
        });
        let (family, found) = family?;
        let pairs = family.points().iter().zip(found);
        let mut places: Vec<(u64, u64)> =
            pairs.filter_map(|(point, found)| found.map(|found| (found.offset, point.does as u64))).collect();
        if family == Family::OpenSsl && cfg!(target_arch = "x86_64") {
            cheapen(file, found, READ, TlsFunction::ReadEx, &mut places);
            if !flags {
                cheapen(file, found, WRITE, TlsFunction::WriteEx, &mut places);
            }
        }
        if let (Family::GnuTls, [_, Some(send), Some(_), ..]) = (family, found.as_slice())
            && send.size <= WRAPPER
        {
            places.retain(|(offset, _)| *offset != send.offset);
        }
        Some(Self { family, places })
    }
}

/// Puts the function inside of two in their place, where it can be told. It has the arguments of the second.
fn cheapen(file: &File, found: &[Option<Function>], both: [usize; 2], does: TlsFunction, places: &mut Vec<(u64, u64)>) {
    let [Some(Some(one)), Some(Some(other))] = both.map(|index| found.get(index)) else { return };
    if let Some(inside) = inner(&|offset, length| elf::read(file, offset, length), [*one, *other]) {
        places.retain(|(offset, _)| *offset != one.offset && *offset != other.offset);
        places.push((inside, does as u64));
    }
}

/// A library with programs on its functions. Dropping it takes them off.
pub(super) struct Library {
    /// Which one.
    pub(super) family: Family,
    /// What keeps the programs there.
    _links: [OwnedFd; 2],
}

impl Library {
    /// Puts the programs on the functions of `file`.
    pub(super) fn attach(file: &File, functions: &Functions, programs: &Programs) -> io::Result<Self> {
        let entered = &functions.places;
        let left: Vec<(u64, u64)> =
            entered.iter().copied().filter(|(_, does)| *does != TlsFunction::Free as u64).collect();
        // The return first: what is entered must not stay so.
        let leave = attach_to_functions(programs.leave.as_fd(), file.as_fd(), &left, true)?;
        let enter = attach_to_functions(programs.enter.as_fd(), file.as_fd(), entered, false)?;
        Ok(Self { family: functions.family, _links: [enter, leave] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian's is as OpenSSL builds it.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_functions_inside_are_found_in_the_hosts_openssl() {
        let file = super::super::maps::of_host()
            .into_iter()
            .find(|file| Functions::of(file).is_some_and(|functions| functions.family == Family::OpenSsl));
        let functions = Functions::of(&file.expect("this host has OpenSSL (package libssl3)")).unwrap();
        let mut does: Vec<u64> = functions.places.iter().map(|(_, does)| *does).collect();
        does.sort_unstable();
        let wanted = [TlsFunction::ReadEx, TlsFunction::WriteEx, TlsFunction::Handshake, TlsFunction::Free];
        assert_eq!(does, wanted.map(|function| function as u64));
    }
}
