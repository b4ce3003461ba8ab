//! What rules remember from one event to the next. Time comes from events only, and every table is bounded: what was not
//! used for longest goes first, and is counted.

pub(super) mod count;
pub(super) mod repeat;
pub(super) mod seen;
pub(super) mod sequence;
mod table;

pub(super) use table::Table;

use super::session::Session;

/// Most keys that a rule remembers at a time.
pub(super) const KEYS: usize = 4096;

/// Most bytes of one value in a key: no path is longer.
const VALUE: usize = 4096;

/// The values of some fields as one key. None: one of them is missing and `whole` is asked for.
pub(super) fn key(session: &mut Session<'_, '_>, slots: &[usize], whole: bool) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    for slot in slots {
        let range = session.slot(*slot);
        if range.is_empty() {
            if whole {
                return None;
            }
            key.push(0);
            continue;
        }
        let mut text = Vec::new();
        for index in range {
            session.values.write(&session.values.list[index], &mut text);
            text.push(0);
        }
        // What is cut keeps its length, so that it stays apart from others that begin the same.
        key.push(1);
        key.extend_from_slice(&(text.len() as u32).to_le_bytes());
        text.truncate(VALUE);
        key.append(&mut text);
    }
    Some(key)
}
