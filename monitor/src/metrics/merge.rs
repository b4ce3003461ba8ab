//! One scrape from several sources.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use prometheus::proto::MetricFamily;

use super::Skipped;
use super::families::skip;

/// The families of all sources, sorted by name. No parser takes two families with one name: the first stays.
pub fn merge<'a>(families: impl IntoIterator<Item = &'a MetricFamily>) -> Vec<&'a MetricFamily> {
    let mut by_name: BTreeMap<&str, &MetricFamily> = BTreeMap::new();
    for family in families {
        match by_name.entry(family.name()) {
            Entry::Vacant(place) => {
                place.insert(family);
            }
            Entry::Occupied(_) => skip(family.name(), Skipped::Duplicate),
        }
    }
    by_name.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Families, Kind, Metric};

    static COUNT: Metric = Metric { name: "monitor_m_total", help: "M.", kind: Kind::Counter, labels: &["part"] };
    static FIRST: Metric = Metric { name: "monitor_a", help: "A.", kind: Kind::Gauge, labels: &[] };

    #[test]
    fn of_two_families_with_one_name_the_first_stays() {
        let one = |part| {
            let mut families = Families::new();
            families.counter(&COUNT, &[part], 1.0);
            families.finish()
        };
        let mut other = Families::new();
        other.gauge(&FIRST, &[], 1.0);
        let parts = [one("1"), other.finish(), one("2")];
        let merged = merge(parts.iter().flatten());
        assert_eq!(merged.iter().map(|family| family.name()).collect::<Vec<_>>(), ["monitor_a", "monitor_m_total"]);
        assert_eq!(merged[1].get_metric()[0].get_label()[0].value(), "1");
    }
}
