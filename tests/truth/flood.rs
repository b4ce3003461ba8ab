//! Every event of a flood is delivered, or it is in a counter of losses. `cargo xtask flood` does the same for longer.

use std::time::Duration;

use monitor_tests::{flood, flood_of_execs};

#[test]
fn every_event_of_a_flood_is_delivered_or_told_as_lost() {
    println!("{}", flood(Duration::from_secs(5)));
}

#[test]
fn a_flood_of_execs_loses_none() {
    println!("{}", flood_of_execs(Duration::from_secs(3)));
}
