//! One scrape from several sources.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use prometheus::proto::MetricFamily;

use super::Skipped;
use super::families::{skip, sort_samples};

/// Joins `parts` into one list, sorted by name. Families with the same name become one, because no parser takes two;
/// if their types differ, the first stays.
pub fn merge(parts: impl IntoIterator<Item = Vec<MetricFamily>>) -> Vec<MetricFamily> {
    let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
    for mut family in parts.into_iter().flatten() {
        match families.entry(family.name().to_owned()) {
            Entry::Vacant(place) => {
                place.insert(family);
            }
            Entry::Occupied(mut first) if first.get().get_field_type() == family.get_field_type() => {
                let samples = first.get_mut().mut_metric();
                samples.append(family.mut_metric());
                sort_samples(family.name(), samples);
            }
            Entry::Occupied(_) => skip(family.name(), Skipped::Mismatch),
        }
    }
    families.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Families, Kind, Metric};

    static COUNT: Metric = Metric { name: "monitor_m_total", help: "M.", kind: Kind::Counter, labels: &["part"] };
    static GAUGE: Metric = Metric { name: "monitor_m_total", help: "M.", kind: Kind::Gauge, labels: &[] };
    static FIRST: Metric = Metric { name: "monitor_a", help: "A.", kind: Kind::Gauge, labels: &[] };

    fn counts(parts: &[(&str, f64)]) -> Vec<MetricFamily> {
        let mut families = Families::new();
        for (part, value) in parts {
            families.counter(&COUNT, &[part], *value);
        }
        families.finish()
    }

    #[test]
    fn families_with_one_name_become_one() {
        let mut other = Families::new();
        other.gauge(&FIRST, &[], 1.0);
        let mut wrong = Families::new();
        wrong.gauge(&GAUGE, &[], 1.0);
        let merged = merge([counts(&[("b", 1.0)]), other.finish(), counts(&[("a", 2.0), ("b", 3.0)]), wrong.finish()]);
        assert_eq!(merged.iter().map(|family| family.name()).collect::<Vec<_>>(), ["monitor_a", "monitor_m_total"]);
        let values: Vec<f64> = merged[1].get_metric().iter().map(|m| m.get_counter().get_value()).collect();
        assert_eq!(values, [2.0, 1.0]);
    }
}
