//! What the table learns from `/proc` while it follows the kernel's records. Noted down, it lets a table without `/proc`
//! follow the same records to the same end: a recording has both.

use serde::{Deserialize, Serialize};

use super::{ProcessTable, procfs::Snapshot};

/// Something that `/proc` said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fact(Said);

impl Fact {
    pub(super) fn of_process(snapshot: Snapshot) -> Self {
        Self(Said::Process(Box::new(snapshot)))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Said {
    /// Of a process.
    Process(Box<Snapshot>),
    /// Of the cgroup with these ids; none: it could not be read any more.
    Cgroup {
        /// Ids, as exec records have them.
        ids: (u64, u64),
        /// Contents of `/proc/PID/cgroup`.
        file: Option<Vec<u8>>,
    },
}

impl ProcessTable {
    /// From now on facts are noted, to be fetched by [`Self::take_facts`] after each round.
    pub fn keep_facts(&mut self) {
        self.journal = Some(Vec::new());
        self.cgroups.journal = Some(Vec::new());
    }

    /// The facts since the last time.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        let cgroups = self.cgroups.journal.as_mut().map(std::mem::take).unwrap_or_default();
        let mut facts = self.journal.as_mut().map(std::mem::take).unwrap_or_default();
        facts.extend(cgroups.into_iter().map(|(ids, file)| Fact(Said::Cgroup { ids, file })));
        facts
    }

    /// Takes facts over, as of this time.
    pub fn recall(&mut self, facts: &[Fact], now_ns: u64) {
        let mut learned = Vec::new();
        for fact in facts {
            match &fact.0 {
                Said::Process(snapshot) => learned.extend(self.admit(snapshot, now_ns)),
                Said::Cgroup { ids, file } => self.cgroups.recall(*ids, file.as_deref()),
            }
        }
        for (id, parent) in learned {
            self.link_pid(id, parent);
        }
    }
}
