//! `exec_kill`: kills at exec, in the kernel. This file has the kernel's maps; [`table`] makes what is in them, and
//! `respond` says what that is.

mod table;

use aya::maps::{
    Array, MapData, MapError, PerCpuArray, Queue,
    lpm_trie::{Key as TrieKey, LpmTrie},
};
use monitor_common::signals::exec_kill::{Force, Table, TextKey};
use zerocopy::IntoBytes as _;

pub use table::{Compiled, Key, Plan};

use crate::bpf::{BpfError, loader::Loaded, maps};

/// When its program is on its hook.
pub const WHEN: &str = "while rules kill at exec";
/// What is without it.
pub const WITHOUT: &str = "processes are killed from user space only, milliseconds after their exec";

const TABLE: usize = size_of::<Table>();
const FORCE: usize = size_of::<Force>();
const KEY: usize = size_of::<TextKey>();

/// The maps that say whom to kill.
pub struct ExecKill {
    tables: Array<MapData, [u8; TABLE]>,
    force: Array<MapData, [u8; FORCE]>,
    texts: LpmTrie<MapData, [u8; KEY], u64>,
    /// What the trie has of each table.
    keys: [Vec<Key>; 2],
    /// The table in force.
    number: u64,
    /// What may be done; taken by whoever does it.
    tokens: Option<Tokens>,
}

impl ExecKill {
    /// Takes the maps.
    ///
    /// # Errors
    /// When one is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, BpfError> {
        let tokens = Tokens {
            queue: loaded.take(maps::EXEC_KILL_TOKENS)?,
            taken: loaded.take(maps::EXEC_KILL_TAKEN)?,
            known: 0,
        };
        Ok(Self {
            tables: loaded.take(maps::EXEC_KILL_TABLES)?,
            force: loaded.take(maps::EXEC_KILL_FORCE)?,
            texts: loaded.take(maps::EXEC_KILL_TEXTS)?,
            keys: [Vec::new(), Vec::new()],
            number: 0,
            tokens: Some(tokens),
        })
    }

    /// The tokens, once.
    pub fn tokens(&mut self) -> Option<Tokens> {
        self.tokens.take()
    }

    /// Puts a table in force, and says its number. The one before is left as it is until another one takes its place; who
    /// began with it sees by the number that it is not in force any more.
    ///
    /// # Errors
    /// What the kernel says. The one before is in force then.
    pub fn put(&mut self, plan: &Plan) -> Result<(u64, Compiled), MapError> {
        let number = self.number + 1;
        let compiled = plan.compile(number);
        let keys = &mut self.keys[(number & 1) as usize];
        // What is in the trie is always among the keys, also after an error: a text that was left there would be taken for
        // one of this table's.
        while let Some(key) = keys.last() {
            match self.texts.remove(&trie_key(key)) {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => keys.pop(),
            };
        }
        for (key, facts) in &compiled.texts {
            keys.push(*key);
            self.texts.insert(&trie_key(key), facts, 0)?;
        }
        self.tables.set((number & 1) as u32, bytes::<TABLE>(compiled.table.as_bytes()), 0)?;
        self.force.set(0, bytes::<FORCE>(Force { number }.as_bytes()), 0)?;
        self.number = number;
        Ok((number, compiled))
    }
}

fn is_missing(error: &MapError) -> bool {
    let reason = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    matches!(error, MapError::KeyNotFound | MapError::ElementNotFound)
        || matches!(error, MapError::SyscallError(failed) if reason(&failed.io_error))
}

fn trie_key(key: &Key) -> TrieKey<[u8; KEY]> {
    TrieKey::new(key.bits, bytes(key.key.as_bytes()))
}

/// The same bytes as an array, which has just that length.
fn bytes<const N: usize>(from: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    array
}

/// What may still be done: the kernel program takes a token out for each process that it kills.
pub struct Tokens {
    queue: Queue<MapData, u32>,
    taken: PerCpuArray<MapData, u64>,
    /// How many the kernel program had taken at the last look.
    known: u64,
}

impl Tokens {
    /// How many the kernel program took since the last time.
    pub fn taken(&mut self) -> u64 {
        let taken = self.taken.get(&0, 0).map_or(self.known, |cpus| cpus.iter().sum());
        taken.saturating_sub(std::mem::replace(&mut self.known, taken))
    }

    /// Puts one in; false: there is no room.
    pub fn put(&mut self) -> bool {
        self.queue.push(1, 0).is_ok()
    }

    /// Takes one out again; false: there is none.
    pub fn take(&mut self) -> bool {
        self.queue.pop(0).is_ok()
    }
}
