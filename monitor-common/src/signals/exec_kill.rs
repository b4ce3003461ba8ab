//! `exec_kill`: kills a process as it begins to run a program, before that program's first instruction, where a rule says so
//! and its whole condition is something that the kernel program can see.
//!
//! Each comparison of those rules is a *fact*, a bit. The kernel program finds out which of them hold, and then looks for a
//! [`Term`] (rules are written as a choice of such terms) whose facts all hold while others do not. Texts are looked up
//! in a trie: an entry has the facts of all texts that it begins with, so that one look-up tells all facts about a path.
//!
//! There are two tables, one in force; the other one is filled and then put in force by a number ([`Force::number`]).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::record::{Header, ProcessKey};

/// Most facts of one table: they are bits of a word.
pub const FACTS: usize = 64;
/// Most ranges that numbers are compared with.
pub const RANGES: usize = 64;
/// Most terms, of all rules.
pub const TERMS: usize = 128;
/// Most texts of one table.
pub const TEXTS: u32 = 1_024;
/// Most processes that are spared by their number: the daemon and its ancestors.
pub const OWN: usize = 64;
/// Most control groups whose members are spared: those of the daemon, by hierarchy.
pub const CGROUPS: usize = 4;
/// Most hierarchies that a process's control groups are looked for in; this kernel has about fifteen.
pub const HIERARCHIES: u32 = 32;
/// Bytes of a text with its end: a key of the trie may have 256.
pub const TEXT: usize = 254;
/// Most deeds that are granted ahead.
pub const TOKENS: u32 = 1_024;

/// What texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Text {
    /// The path of the program's file, as the kernel resolved it; a memfd is `memfd:NAME`.
    Path = 0,
    /// `task_struct.comm` after the exec.
    Comm = 1,
}

/// What numbers are compared; also their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Number {
    /// Real user id.
    Uid = 0,
    /// Effective user id.
    Euid = 1,
    /// Saved user id.
    Suid = 2,
    /// Real group id.
    Gid = 3,
    /// Effective group id.
    Egid = 4,
    /// Owner of the program's file.
    Owner = 5,
    /// Links to the program's file.
    Links = 6,
    /// Permission bits of the program's file (`st_mode & 07777`).
    Mode = 7,
    /// 1 when it lies on overlayfs in the layer that is written to.
    UpperLayer = 8,
}

/// Room for all numbers, a power of two.
pub const NUMBERS: usize = 16;

/// A key of the trie, behind the number of its bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TextKey {
    /// Which table's: the lowest bit of [`Force::number`].
    pub table: u8,
    /// A [`Text`]'s number.
    pub text: u8,
    /// What it begins with. One that is compared as a whole has its end, a zero byte, with it.
    pub bytes: [u8; TEXT],
}

/// What stands before the text in a key, bytes.
pub const TEXT_KEY_HEAD: usize = 2;

/// Facts that hold when a number is in a range.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Range {
    /// Lowest.
    pub low: i64,
    /// Highest.
    pub high: i64,
    /// The facts.
    pub facts: u64,
    /// A [`Number`]'s number.
    pub number: u32,
    /// Always 0.
    pub reserved: u32,
}

/// What makes a rule hold: all of some facts and none of others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Term {
    /// These hold …
    pub all: u64,
    /// … and none of these.
    pub none: u64,
    /// Index of the rule.
    pub rule: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A control group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cgroup {
    /// `kernfs_node.id`, which is the inode number of its directory.
    pub id: u64,
    /// `cgroup_root.hierarchy_id`, the first number of a line in `/proc/PID/cgroup`.
    pub hierarchy: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Whom to kill. Array `EXEC_KILL_TABLES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Table {
    /// Whoever has one of these facts is left to user space.
    pub spared: u64,
    /// How many ranges, terms, processes and control groups there are.
    pub ranges: u32,
    /// See above.
    pub terms: u32,
    /// See above.
    pub own: u32,
    /// See above.
    pub cgroups: u32,
    /// Ranges of numbers.
    pub range: [Range; RANGES],
    /// Rules.
    pub term: [Term; TERMS],
    /// The daemon's own control groups.
    pub cgroup: [Cgroup; CGROUPS],
    /// The daemon and its ancestors.
    pub process: [u32; OWN],
}

/// Which table is in force. Array `EXEC_KILL_FORCE`, one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Force {
    /// Counts the tables that there were, from 1; its lowest bit is the index. 0: none was yet.
    pub number: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// The signal was sent, or refused: see [`ExecKillRecord::result`].
    Sent = 1,
    /// There was no token left.
    Rate = 2,
}

/// Something was decided.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecKillRecord {
    /// [`crate::record::Kind::ExecKill`].
    pub header: Header,
    /// Whom.
    pub process: ProcessKey,
    /// [`Force::number`] of the table.
    pub table: u64,
    /// Index of the rule in it.
    pub rule: u32,
    /// An [`Outcome`]'s number.
    pub outcome: u32,
    /// What `bpf_send_signal` returned: 0, or an error below it.
    pub result: i64,
    /// The program's path, cut to this, ended by a zero byte where it is shorter.
    pub path: [u8; TEXT],
    /// Always 0.
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<TextKey>() == TEXT_KEY_HEAD + TEXT && size_of::<TextKey>() <= 256);
const _: () = assert!(FACTS == u64::BITS as usize && (Number::UpperLayer as usize) < NUMBERS);
