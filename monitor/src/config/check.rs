//! What several keys mean together.

use super::load::Draft;
use super::origin::Origin;

/// Checks the values of all sources against each other.
pub(super) fn across_keys(draft: &mut Draft) {
    let (table, slots) = (draft.config.processes.table, draft.config.processes.slots);
    let names = ["processes.slots", "processes.table"];
    if table < slots && !names.iter().any(|name| draft.wrong.contains(name)) {
        // Where the value stands that somebody chose; the other may be a default.
        let origin = names.iter().find_map(|name| draft.origins.get(name)).cloned().unwrap_or(Origin::Default);
        let text = format!(
            "processes.table is {table}, less than processes.slots, which is {slots}: every process with counters of its \
             own needs an entry; raise table or lower slots"
        );
        draft.mistake(origin, text);
    }
}
