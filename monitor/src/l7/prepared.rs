//! What prepared statements are called.

use std::{collections::VecDeque, sync::Arc};

use super::sql::Statement;

/// Statements that are remembered by connection; the oldest goes first. Drivers keep up to 256.
const STATEMENTS_MAX: usize = 64;

/// Memory for them, in bytes.
const BYTES_MAX: usize = 24 << 10;

/// PostgreSQL cuts names after 63 bytes; statements with longer ones are not remembered. MySQL numbers them.
const NAME_MAX: usize = 63;

/// The statements of a connection by name, the newest last.
#[derive(Default)]
pub(super) struct Prepared {
    all: VecDeque<(Box<[u8]>, Arc<Statement>)>,
    bytes: usize,
}

impl Prepared {
    pub(super) fn remember(&mut self, name: &[u8], statement: Arc<Statement>) {
        self.forget(name);
        if name.len() > NAME_MAX {
            return;
        }
        self.bytes += size_of_entry(name, &statement);
        self.all.push_back((name.into(), statement));
        while self.all.len() > STATEMENTS_MAX || self.bytes > BYTES_MAX {
            let Some((name, statement)) = self.all.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(size_of_entry(&name, &statement));
        }
    }

    pub(super) fn forget(&mut self, name: &[u8]) {
        if let Some(at) = self.all.iter().position(|(known, _)| **known == *name)
            && let Some((name, statement)) = self.all.remove(at)
        {
            self.bytes = self.bytes.saturating_sub(size_of_entry(&name, &statement));
        }
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<Statement>> {
        self.all.iter().rev().find(|(known, _)| **known == *name).map(|(_, statement)| Arc::clone(statement))
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.bytes + self.all.capacity() * size_of::<(Box<[u8]>, Arc<Statement>)>()
    }
}

fn size_of_entry(name: &[u8], statement: &Statement) -> usize {
    name.len() + statement.bytes_held()
}
