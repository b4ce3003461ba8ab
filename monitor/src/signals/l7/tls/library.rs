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

use super::elf;
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
/// GnuTLS from 3.0 on. One of the functions to send may call the other: what they send is told once all the same.
static GNUTLS: [Point; 5] = [
    needed("gnutls_record_recv", TlsFunction::Read),
    needed("gnutls_record_send", TlsFunction::Write),
    useful("gnutls_record_send2", TlsFunction::Write),
    useful("gnutls_handshake", TlsFunction::Handshake),
    useful("gnutls_deinit", TlsFunction::Free),
];

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
pub(super) struct Functions {
    family: Family,
    offsets: Vec<Option<u64>>,
}

impl Functions {
    /// Looks into a file.
    pub(super) fn of(file: &File) -> Option<Self> {
        let names: Vec<&str> = OPENSSL.iter().chain(&GNUTLS).map(|point| point.function).collect();
        let mut openssl = elf::functions(file, &names)?;
        let gnutls = openssl.split_off(OPENSSL.len());
        let families = [(Family::OpenSsl, openssl), (Family::GnuTls, gnutls)];
        families.into_iter().map(|(family, offsets)| Self { family, offsets }).find(Self::suffice)
    }

    fn suffice(&self) -> bool {
        self.family.points().iter().zip(&self.offsets).all(|(point, offset)| offset.is_some() || !point.needed)
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
        let points = functions.family.points().iter().zip(&functions.offsets);
        let entered: Vec<(u64, u64)> =
            points.clone().filter_map(|(point, offset)| offset.map(|offset| (offset, point.does as u64))).collect();
        let left: Vec<(u64, u64)> =
            entered.iter().copied().filter(|(_, does)| *does != TlsFunction::Free as u64).collect();
        // The return first: what is entered must not stay so.
        let leave = attach_to_functions(programs.leave.as_fd(), file.as_fd(), &left, true)?;
        let enter = attach_to_functions(programs.enter.as_fd(), file.as_fd(), &entered, false)?;
        Ok(Self { family: functions.family, _links: [enter, leave] })
    }
}
