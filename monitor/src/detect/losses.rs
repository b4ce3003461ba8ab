//! Watches the counters of what was lost: who cannot see has to say so.

use monitor_common::loss::Loss;

/// A counter of losses that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossCount {
    /// The signal that suffers from it.
    pub signal: &'static str,
    /// Why, as in the metrics.
    pub cause: &'static str,
    /// How much since the daemon started.
    pub total: u64,
}

/// Whether this loss keeps the daemon from seeing what a process does, so that it belongs into an event. The others make
/// numbers less exact.
pub const fn blinds(loss: Loss) -> bool {
    match loss {
        Loss::ExecRing
        | Loss::ForkRing
        | Loss::ExitRing
        | Loss::ExecArgs
        | Loss::ActivityRing
        | Loss::ActivityBulkRing
        | Loss::ActivityThrottled
        | Loss::ActivityProgram
        | Loss::ProtectRing
        | Loss::ExecKillRing => true,
        Loss::Slots
        | Loss::ThreadCollision
        | Loss::SyscallErrors
        | Loss::Sockets
        | Loss::TcpAccepts
        | Loss::BlockRequests
        | Loss::BlockDevices
        | Loss::BlockProcesses
        | Loss::BlockErrors
        | Loss::SocketsLocked
        | Loss::BlockRequestsLocked
        | Loss::L7Ring
        | Loss::L7Rate
        | Loss::L7Uring
        | Loss::L7File
        | Loss::L7Compat
        | Loss::L7Memory
        | Loss::TlsCalls
        | Loss::TlsConversations
        | Loss::TlsScratches
        | Loss::TlsLocked => false,
    }
}

/// At most one event in this time, nanoseconds.
const INTERVAL_NS: u64 = 10_000_000_000;

/// Turns growing counters into a rate-limited report.
#[derive(Debug, Default)]
pub struct LossWatch {
    /// What has been reported. As many entries as there are causes.
    reported: Vec<LossCount>,
    last_ns: Option<u64>,
}

impl LossWatch {
    /// What was lost since the last report; empty when nothing was or the last report is less than ten seconds old.
    pub fn step(&mut self, counts: &[LossCount], now_ns: u64) -> Vec<LossCount> {
        if self.last_ns.is_some_and(|last| now_ns.saturating_sub(last) < INTERVAL_NS) {
            return Vec::new();
        }
        let mut grown = Vec::new();
        for count in counts {
            let known =
                self.reported.iter_mut().find(|known| (known.signal, known.cause) == (count.signal, count.cause));
            let before = known.as_ref().map_or(0, |known| known.total);
            if count.total > before {
                grown.push(LossCount { total: count.total - before, ..*count });
                match known {
                    Some(known) => known.total = count.total,
                    None => self.reported.push(*count),
                }
            }
        }
        if !grown.is_empty() {
            self.last_ns = Some(now_ns);
        }
        grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn each_loss_is_told_once_and_not_more_often_than_every_ten_seconds() {
        let mut watch = LossWatch::default();
        let count = |cause, total| LossCount { signal: "exec", cause, total };
        assert_eq!(watch.step(&[count("a", 0), count("b", 0)], 0), []);
        assert_eq!(watch.step(&[count("a", 3), count("b", 0)], SECOND), [count("a", 3)]);
        assert_eq!(watch.step(&[count("a", 5), count("b", 1)], 2 * SECOND), []);
        assert_eq!(watch.step(&[count("a", 5), count("b", 1)], 11 * SECOND), [count("a", 2), count("b", 1)]);
        assert_eq!(watch.step(&[count("a", 5), count("b", 1)], 60 * SECOND), []);
    }
}
