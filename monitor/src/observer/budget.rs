//! Keeping the budget: what the pipeline gives up and takes back when the governor says so.

use std::time::Duration;

use tracing::{error, info, warn};

use super::{FOLD, KernelSide, Observer, REFRESH};
use crate::{
    bpf::programs,
    budget::{BudgetStatus, Change, Governor, Step},
    config::Config,
    signals::Timing,
};

/// Between two times that the kernel's counters are added up, where reading is slow. They do not wrap in that time.
const SLOW_FOLD: Duration = Duration::from_secs(10);
/// Between two goes through all of /proc, then.
const SLOW_REFRESH: Duration = Duration::from_secs(60);

/// The governor that `config` asks for.
pub(super) fn governor(config: &Config, kernel: Option<&KernelSide>) -> Option<Governor> {
    let limit = config.budget.cpu.ratio()?;
    let runs = |signal: &str| kernel.is_some_and(|kernel| kernel.loaded.runs(signal));
    // The programs were told at the start whether it may come to that.
    let can_pace = kernel.is_some_and(|kernel| kernel.loaded.knobs.pacing != 0);
    // Where bytes are read as a connection closes there is nothing to spare.
    let by_call = kernel.is_some_and(|kernel| kernel.loaded.knobs.traffic_by_call != 0);
    let possible = |step: &Step| match step {
        Step::AdaptiveTiming if !can_pace => false,
        Step::NoTcpTraffic if !by_call => false,
        step => step.applies(config.syscalls.timing, runs),
    };
    Some(Governor::new(limit, Step::ALL.into_iter().filter(possible).collect()))
}

impl Observer {
    /// Takes a new measurement, if there is one, to the governor, and does what it says.
    pub(super) fn keep_budget(&mut self) {
        let Some(cost) = self.health.step(self.kernel.as_ref()) else { return };
        let Some(governor) = &mut self.governor else { return };
        let change = governor.judge(cost);
        let (limit, used) = (governor.limit() * 100.0, cost.total() * 100.0);
        let shed = governor.shed().to_vec();
        self.board.write(Some(BudgetStatus { cpu: governor.limit(), used: cost.total(), shed }));
        let (step, result) = match change {
            None => return,
            Some(Change::Shed(step)) => {
                warn!(step = step.name(), "costs {used:.2} % of a CPU, above the budget of {limit} %: {}", step.lost());
                (step, self.shed(step))
            }
            Some(Change::Restore(step)) => {
                info!(
                    step = step.name(),
                    "costs {used:.2} % of a CPU, well below the budget of {limit} %: takes it back"
                );
                (step, self.restore(step))
            }
        };
        if let Err(error) = result {
            error!(step = step.name(), %error, "the kernel refused a change that keeps the budget");
        }
    }

    /// Works by the budget of `config` from now on. Without one, everything comes back at once.
    pub(super) fn set_budget(&mut self, config: &Config) {
        self.health.set_budget(config.budget.measured());
        match (config.budget.cpu.ratio(), self.governor.take()) {
            (Some(limit), Some(mut governor)) => {
                governor.set_limit(limit);
                self.governor = Some(governor);
            }
            (Some(_), None) => self.governor = governor(config, self.kernel.as_ref()),
            (None, before) => {
                for step in before.iter().flat_map(|governor| governor.shed().iter().rev()) {
                    if let Err(error) = self.restore(*step) {
                        error!(step = step.name(), %error, "the kernel refused to take something back");
                    }
                }
                self.board.write(None);
            }
        }
    }

    /// How long the counters may wait to be added up.
    pub(super) fn fold_period(&self) -> Duration {
        if self.reads_slowly() { SLOW_FOLD } else { FOLD }
    }

    /// How long `/proc` may wait to be gone through.
    pub(super) fn refresh_period(&self) -> Duration {
        if self.reads_slowly() { SLOW_REFRESH } else { REFRESH }
    }

    fn reads_slowly(&self) -> bool {
        self.governor.as_ref().is_some_and(|governor| governor.shed().contains(&Step::SlowReading))
    }

    fn shed(&mut self, step: Step) -> Result<(), aya::programs::ProgramError> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let loaded = &mut kernel.loaded;
        match step {
            Step::AdaptiveTiming => loaded.set_timing(Timing::Adaptive),
            Step::SlowReading => Ok(()),
            Step::NoTiming => loaded.set_timing(Timing::Counts),
            Step::NoTcpTraffic => {
                loaded.detach(programs::TCP_SEND)?;
                loaded.detach(programs::TCP_RECEIVE)
            }
            Step::NoSyscalls => {
                loaded.set_timing(Timing::Counts)?;
                loaded.detach(programs::SYS_EXIT)
            }
        }
    }

    fn restore(&mut self, step: Step) -> Result<(), aya::programs::ProgramError> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let loaded = &mut kernel.loaded;
        let configured = self.config.syscalls.timing;
        match step {
            Step::AdaptiveTiming => loaded.set_timing(configured),
            Step::SlowReading => Ok(()),
            // Back to the step before, where there was one.
            Step::NoTiming if loaded.knobs.pacing != 0 => loaded.set_timing(configured.max(Timing::Adaptive)),
            Step::NoTiming => loaded.set_timing(configured),
            Step::NoTcpTraffic => {
                loaded.attach(programs::TCP_SEND)?;
                loaded.attach(programs::TCP_RECEIVE)
            }
            Step::NoSyscalls => loaded.attach(programs::SYS_EXIT),
        }
    }
}
