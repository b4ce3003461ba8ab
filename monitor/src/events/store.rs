//! The published events that are kept in memory, for the HTTP interface to page through and to follow.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;

use super::alert::Rendered;
use super::{Alert, Severity};
use crate::metrics::{Families, Kind, Metric};

/// Most bytes of events in the store: an event with 32 KiB of unreadable arguments takes 160 KiB, so that a limit on
/// their number alone would let anybody who starts processes use a gigabyte.
const MAX_BYTES: usize = 64 << 20;
/// Events a follower may be behind before it misses some and has to page.
const FOLLOW: usize = 256;
/// Most series of [`SECURITY_EVENTS`]. Groups are limited where they are made, but they come and go.
const MAX_SERIES: usize = 2_000;
/// The group of what came after.
const OTHER: &str = "_other";

pub(super) static SECURITY_EVENTS: Metric = Metric {
    name: "monitor_security_events_total",
    help: "Security events published.",
    kind: Kind::Counter,
    labels: &["rule", "severity", "group"],
};
pub(super) static EVICTED: Metric = Metric {
    name: "monitor_events_evicted_total",
    help: "Published events that left the memory of the HTTP interface to make room for later ones.",
    kind: Kind::Counter,
    labels: &[],
};

/// A published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its number: from 1, without gaps, until the daemon stops.
    pub seq: u64,
    /// How bad it is.
    pub severity: Severity,
    /// Id of its rule.
    pub rule: Arc<str>,
    /// The whole event: one line of JSON without its end.
    pub json: Bytes,
}

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only events with a higher number.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// Only of these severities; empty: all.
    pub severity: Vec<Severity>,
    /// Only of these rules; empty: all.
    pub rule: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The events, oldest first.
    pub events: Vec<Arc<Published>>,
    /// Pass it as [`Filter::after`] to go on. It is lower than this page's `after` when that number has not been given
    /// out yet, as after a restart of the daemon.
    pub next: u64,
    /// The lowest number that is kept, or the next one to be given out when nothing is. Above `after + 1`: events
    /// between the two are no longer here.
    pub oldest: u64,
}

/// Keeps the latest events.
#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
    followers: broadcast::Sender<Arc<Published>>,
    host: Option<String>,
}

type Series = (Cow<'static, str>, Severity, String);

#[derive(Debug, Default)]
struct State {
    capacity: usize,
    max_bytes: usize,
    last: u64,
    bytes: usize,
    evicted: u64,
    events: VecDeque<Arc<Published>>,
    /// The numbers of each pair of rule and severity, ascending: a query for a rare rule does not read all events.
    index: BTreeMap<(Arc<str>, Severity), VecDeque<u64>>,
    totals: HashMap<Series, u64>,
}

impl Store {
    /// A store of at most `capacity` events.
    pub fn new(capacity: usize) -> Self {
        Self::with_limits(capacity, MAX_BYTES)
    }

    fn with_limits(capacity: usize, max_bytes: usize) -> Self {
        let state = State { capacity, max_bytes, ..State::default() };
        Self { state: Mutex::new(state), followers: broadcast::Sender::new(FOLLOW), host: None }
    }

    /// The name of this host, to be put into each event.
    #[must_use]
    pub fn with_host(mut self, name: String) -> Self {
        self.host = Some(name);
        self
    }

    /// Gives the event its number, keeps it and tells the followers.
    pub fn publish(&self, alert: &Alert) -> Arc<Published> {
        self.publish_counted(alert, &alert.process.group)
    }

    /// The same, counted in the metrics for this group, where its own has no series.
    pub fn publish_counted(&self, alert: &Alert, group: &str) -> Arc<Published> {
        let rendered = Rendered::new(alert, self.host.as_deref());
        let mut state = self.lock();
        state.count(alert, group);
        state.last += 1;
        let seq = state.last;
        let published = Arc::new(Published {
            seq,
            severity: alert.severity,
            rule: state.rule(alert),
            json: rendered.with_seq(seq).into(),
        });
        state.keep(&published);
        // Under the lock, so that followers see the order of the numbers. An error means that nobody follows.
        let _ = self.followers.send(Arc::clone(&published));
        published
    }

    /// The events that match, oldest first.
    pub fn query(&self, filter: &Filter) -> Page {
        self.lock().query(filter)
    }

    /// Follows from now on. To miss nothing between a page and the first event followed, subscribe first, then query,
    /// then leave out what is followed but was in the page. A follower that lags reads the rest with `query`.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Published>> {
        self.followers.subscribe()
    }

    /// Adds the store's metrics to a scrape.
    pub fn collect(&self, families: &mut Families) {
        let state = self.lock();
        for ((rule, severity, group), total) in &state.totals {
            families.counter(&SECURITY_EVENTS, &[rule, severity.name(), group], *total as f64);
        }
        families.counter(&EVICTED, &[], state.evicted as f64);
    }

    /// A panic elsewhere while the lock was held leaves at worst one event uncounted: no reason to stop all others.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, alert: &Alert, group: &str) {
        let mut series = (alert.rule.clone(), alert.severity, group.to_owned());
        if self.totals.len() >= MAX_SERIES && !self.totals.contains_key(&series) {
            OTHER.clone_into(&mut series.2);
        }
        *self.totals.entry(series).or_default() += 1;
    }

    /// The rule's id, shared with earlier events of the same kind.
    fn rule(&self, alert: &Alert) -> Arc<str> {
        let known = self.index.keys().find(|(rule, _)| **rule == *alert.rule);
        known.map_or_else(|| Arc::from(&*alert.rule), |(rule, _)| Arc::clone(rule))
    }

    fn keep(&mut self, event: &Arc<Published>) {
        self.bytes += event.json.len();
        self.index.entry((Arc::clone(&event.rule), event.severity)).or_default().push_back(event.seq);
        self.events.push_back(Arc::clone(event));
        while self.events.len() > self.capacity || self.bytes > self.max_bytes {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(event) = self.events.pop_front() else { return };
        self.bytes -= event.json.len();
        self.evicted += 1;
        let key = (Arc::clone(&event.rule), event.severity);
        if let Some(numbers) = self.index.get_mut(&key) {
            // The oldest event is the oldest of its kind.
            numbers.pop_front();
            if numbers.is_empty() {
                self.index.remove(&key);
            }
        }
    }

    fn query(&self, filter: &Filter) -> Page {
        let oldest = self.events.front().map_or(self.last + 1, |event| event.seq);
        let mut numbers: Vec<u64> = self
            .index
            .iter()
            .filter(|((rule, severity), _)| {
                (filter.rule.is_empty() || filter.rule.iter().any(|wanted| **wanted == **rule))
                    && (filter.severity.is_empty() || filter.severity.contains(severity))
            })
            .flat_map(|(_, numbers)| {
                let start = numbers.partition_point(|seq| *seq <= filter.after);
                numbers.range(start..).take(filter.limit).copied()
            })
            .collect();
        numbers.sort_unstable();
        numbers.truncate(filter.limit);
        let next = match numbers.last() {
            // The page is full: there may be more behind it.
            last if numbers.len() >= filter.limit => last.copied().unwrap_or(filter.after),
            // All there is was looked at, so that a filter that matches little does not look at it again.
            _ => self.last,
        };
        let events = numbers.iter().filter_map(|seq| self.get(oldest, *seq)).collect();
        Page { events, next, oldest }
    }

    /// Numbers have no gaps, so that an event's place follows from its number.
    fn get(&self, oldest: u64, seq: u64) -> Option<Arc<Published>> {
        let index = usize::try_from(seq.checked_sub(oldest)?).ok()?;
        self.events.get(index).cloned()
    }
}

#[cfg(test)]
mod tests;
