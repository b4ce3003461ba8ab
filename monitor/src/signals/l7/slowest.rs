//! The slowest requests of the last minutes, for `/api/v1/requests`.

use serde_json::{Value, json};

use super::tally::Slow;
use crate::{
    events::BootClock,
    l7::Code,
    processes::{GroupId, Groups, ProcessId},
};

/// Most that are kept.
const KEPT: usize = 100;
/// For how long, nanoseconds.
const AGE_NS: u64 = 600_000_000_000;

/// One of them, with whose it is.
struct Known {
    process: Option<ProcessId>,
    group: GroupId,
    slow: Slow,
}

/// The slowest requests.
#[derive(Default)]
pub(super) struct Slowest(Vec<Known>);

impl Slowest {
    /// One that may be among them.
    pub(super) fn add(&mut self, process: Option<ProcessId>, group: GroupId, slow: Slow) {
        self.0.push(Known { process, group, slow });
    }

    /// Keeps those that are. To be called after each round of [`Self::add`].
    pub(super) fn settle(&mut self, now_ns: u64) {
        self.0.retain(|known| now_ns.saturating_sub(known.slow.began_ns) < AGE_NS);
        self.0.sort_by_key(|known| std::cmp::Reverse(known.slow.duration_ns));
        self.0.truncate(KEPT);
    }

    /// `{"requests":[…]}`, the slowest first.
    pub(super) fn describe(&self, groups: &Groups, clock: BootClock) -> Value {
        let requests: Vec<Value> = self.0.iter().map(|known| known.describe(groups, clock)).collect();
        json!({ "requests": requests })
    }
}

impl Known {
    fn describe(&self, groups: &Groups, clock: BootClock) -> Value {
        let slow = &self.slow;
        let code = match slow.code {
            Code::None => Value::Null,
            Code::Number(code) => code.into(),
            Code::Word(word) => word.as_str().into(),
        };
        json!({
            "time": clock.time(slow.began_ns).to_string(),
            "group": groups.name_of(self.group),
            "pid": self.process.map(|process| process.pid),
            "role": slow.party.role.name(),
            "peer": slow.peer.map(|peer| peer.to_string()),
            "protocol": slow.protocol,
            "operation": slow.operation,
            "target": &*slow.target,
            "statement": (!slow.statement.is_empty()).then_some(&*slow.statement),
            "code": code,
            "first_byte_seconds": slow.first_byte_ns as f64 / 1e9,
            "duration_seconds": slow.duration_ns as f64 / 1e9,
            "request_bytes": slow.bytes[0],
            "response_bytes": slow.bytes[1],
        })
    }
}
