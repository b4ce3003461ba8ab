//! The budget in the metrics.

use super::Governor;
use crate::metrics::{Families, Kind, Metric};

static LIMIT: Metric = Metric {
    name: "monitor_budget_cpu_limit_ratio",
    help: "What the daemon may cost, as a share of one CPU (budget.cpu). Absent without a budget.",
    kind: Kind::Gauge,
    labels: &[],
};
static USED: Metric = Metric {
    name: "monitor_budget_cpu_used_ratio",
    help: "What the daemon cost when it was last measured, as a share of one CPU: its kernel programs, its own threads.",
    kind: Kind::Gauge,
    labels: &["part"],
};
static SHED: Metric = Metric {
    name: "monitor_budget_shed",
    help: "1 for what has been given up to keep the budget.",
    kind: Kind::Gauge,
    labels: &["step"],
};
static CHANGES: Metric = Metric {
    name: "monitor_budget_changes_total",
    help: "How often something was given up (shed) or taken back (restore) to keep the budget.",
    kind: Kind::Counter,
    labels: &["direction"],
};

/// What this module publishes.
pub const METRICS: &[&Metric] = &[&LIMIT, &USED, &SHED, &CHANGES];

impl Governor {
    /// Publishes.
    pub fn collect(&self, families: &mut Families) {
        families.gauge(&LIMIT, &[], self.limit());
        if let Some(kernel) = self.cost().kernel {
            families.gauge(&USED, &["kernel"], kernel);
        }
        families.gauge(&USED, &["daemon"], self.cost().daemon);
        for step in self.steps() {
            families.gauge(&SHED, &[step.name()], f64::from(u8::from(self.shed().contains(step))));
        }
        let (sheds, restores) = self.changes();
        families.counter(&CHANGES, &["shed"], sheds as f64);
        families.counter(&CHANGES, &["restore"], restores as f64);
    }
}
