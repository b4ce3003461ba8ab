//! The governor's decisions, one measurement after the other.

use super::{Change, Cost, Governor, Step};
use crate::signals::Timing;

fn cost(share: f64) -> Cost {
    Cost { kernel: Some(share * 0.75), daemon: share * 0.25 }
}

fn governor() -> Governor {
    Governor::new(0.01, Step::ALL.to_vec())
}

#[test]
fn detail_goes_first_and_comes_back_last() {
    let mut governor = governor();
    assert_eq!(governor.judge(cost(0.009)), None);
    for step in Step::ALL {
        assert_eq!(governor.judge(cost(0.02)), Some(Change::Shed(step)));
    }
    assert_eq!(governor.judge(cost(0.02)), None, "nothing is left to give up");
    assert_eq!(governor.shed(), Step::ALL);
    for step in Step::ALL.into_iter().rev() {
        assert_eq!(governor.judge(cost(0.004)), None);
        assert_eq!(governor.judge(cost(0.004)), None);
        assert_eq!(governor.judge(cost(0.004)), Some(Change::Restore(step)));
    }
    assert_eq!(governor.judge(cost(0.0)), None, "nothing is left to take back");
    assert_eq!((governor.shed(), governor.changes()), (&[][..], (5, 5)));
}

#[test]
fn between_half_and_all_of_the_budget_nothing_changes() {
    let mut governor = governor();
    assert!(governor.judge(cost(0.011)).is_some());
    for _ in 0..100 {
        assert_eq!(governor.judge(cost(0.006)), None);
    }
    // Two low measurements and one that is not: they have to be in a row.
    for share in [0.004, 0.004, 0.006, 0.004, 0.004] {
        assert_eq!(governor.judge(cost(share)), None);
    }
    assert!(governor.judge(cost(0.004)).is_some());
}

#[test]
fn what_was_taken_back_too_early_waits_longer_the_next_time() {
    let mut governor = governor();
    let mut waits = Vec::new();
    for _ in 0..7 {
        assert_eq!(governor.judge(cost(0.02)), Some(Change::Shed(Step::AdaptiveTiming)));
        let waited = (1..).find(|_| governor.judge(cost(0.001)).is_some()).unwrap();
        waits.push(waited);
    }
    assert_eq!(waits, [3, 6, 12, 24, 48, 96, 96]);
    // Once it went well, patience is short again.
    for _ in 0..4 {
        assert_eq!(governor.judge(cost(0.006)), None);
    }
    assert!(governor.judge(cost(0.02)).is_some());
    assert_eq!((1..).find(|_| governor.judge(cost(0.001)).is_some()), Some(3));
}

#[test]
fn only_what_runs_can_be_given_up() {
    let steps = |timing, runs: fn(&str) -> bool| -> Vec<Step> {
        Step::ALL.into_iter().filter(|step| step.applies(timing, runs)).collect()
    };
    assert_eq!(steps(Timing::Full, |_| true), Step::ALL);
    assert_eq!(
        steps(Timing::Adaptive, |_| true),
        [Step::SlowReading, Step::NoTiming, Step::NoTcpTraffic, Step::NoSyscalls]
    );
    assert_eq!(steps(Timing::Counts, |signal| signal == "syscalls"), [Step::SlowReading, Step::NoSyscalls]);
    assert_eq!(steps(Timing::Full, |_| false), [Step::SlowReading]);
}

#[test]
fn an_unknown_cost_in_the_kernel_leaves_the_rest() {
    let mut governor = governor();
    assert!(governor.judge(Cost { kernel: None, daemon: 0.02 }).is_some());
    assert_eq!(governor.judge(Cost { kernel: None, daemon: 0.009 }), None);
}
