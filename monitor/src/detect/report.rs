//! From a finding to the event that is published.

use super::{Context, Finding};
use crate::events::text;
use crate::events::{Alert, Ancestor, BootClock, Lost, Seen, Subject};
use crate::signals::exec::Exec;

/// Most ancestors in an event: a chain of processes can be as long as somebody likes.
const ANCESTORS: usize = 20;

/// The event of a finding about an exec.
pub fn alert_of_exec(finding: Finding, exec: &Exec, context: &dyn Context, clock: BootClock, lost: Lost) -> Alert {
    let ancestors = context.ancestors().into_iter().take(ANCESTORS).map(|ancestor| {
        Ancestor::new(ancestor.pid, ancestor.start_ticks, &ancestor.exe, &ancestor.args, ancestor.uid, clock)
    });
    let process = Subject {
        cgroup: context.cgroup().map(|cgroup| text::lossy(cgroup).into_owned()),
        unit: context.unit().map(str::to_owned),
        container: context.container().map(str::to_owned),
        group: context.group().to_owned(),
        ancestors: ancestors.collect(),
        ..Subject::of_exec(exec, clock)
    };
    alert_of_observer(finding, process, clock, lost)
}

/// The event of a finding about the daemon itself, which `process` describes.
pub fn alert_of_observer(finding: Finding, process: Subject, clock: BootClock, lost: Lost) -> Alert {
    let rule = finding.rule;
    let seen = (finding.count > 1).then(|| Seen {
        count: finding.count,
        first: clock.time(finding.first_ns),
        last: clock.time(finding.time_ns),
    });
    Alert {
        kernel_ns: finding.time_ns,
        title: rule.title.into(),
        attack: rule.attack.iter().map(|id| (*id).into()).collect(),
        evidence: finding.evidence.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        suppressed: finding.suppressed,
        seen,
        lost,
        ..Alert::new(clock.time(finding.time_ns), rule.id, finding.severity, process)
    }
}
