//! The events that the daemon keeps in memory for HTTP.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;

use super::Severity;

/// Events that a subscriber may be behind before it has to ask the store again.
const SUBSCRIPTION: usize = 256;

/// An event as it was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// Number of the event, from 1 without gaps.
    pub seq: u64,
    /// How bad it is.
    pub severity: Severity,
    /// Id of the rule.
    pub rule: Arc<str>,
    /// The event as one line of JSON without a newline.
    pub json: Bytes,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those with a greater number.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// Only of these severities; all if empty.
    pub severity: Vec<Severity>,
    /// Only of these rules; all if empty.
    pub rule: Vec<String>,
}

/// A part of the store, oldest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events.
    pub events: Vec<Arc<Published>>,
    /// Where to go on: [`Filter::after`] for the next page.
    pub next: u64,
    /// The lowest number that is still kept.
    pub oldest: u64,
}

/// A bounded store.
#[derive(Debug)]
pub struct Store {
    kept: Mutex<(u64, VecDeque<Arc<Published>>)>,
    capacity: usize,
    sender: broadcast::Sender<Arc<Published>>,
}

impl Store {
    /// An empty store that keeps the newest `capacity` events.
    pub fn new(capacity: usize) -> Self {
        let kept = Mutex::new((0, VecDeque::with_capacity(capacity)));
        Self { kept, capacity, sender: broadcast::channel(SUBSCRIPTION).0 }
    }

    /// Publishes what `json` makes of the event's number.
    pub fn publish(&self, severity: Severity, rule: &str, json: impl FnOnce(u64) -> Bytes) -> Arc<Published> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        let event = Arc::new(Published { seq: kept.0, severity, rule: rule.into(), json: json(kept.0) });
        if kept.1.len() >= self.capacity {
            kept.1.pop_front();
        }
        kept.1.push_back(Arc::clone(&event));
        // No subscriber is no error.
        let _ = self.sender.send(Arc::clone(&event));
        event
    }

    /// The events that `filter` asks for.
    pub fn query(&self, filter: &Filter) -> Page {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = kept.1.front().map_or(kept.0 + 1, |event| event.seq);
        // All there is was looked at, unless the page is full.
        let mut page = Page { events: Vec::new(), next: kept.0, oldest };
        for event in kept.1.iter().filter(|event| event.seq > filter.after) {
            let severity = filter.severity.is_empty() || filter.severity.contains(&event.severity);
            if severity && (filter.rule.is_empty() || filter.rule.iter().any(|rule| **rule == *event.rule)) {
                page.events.push(Arc::clone(event));
            }
            if page.events.len() >= filter.limit {
                page.next = event.seq;
                break;
            }
        }
        page
    }

    /// Events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Published>> {
        self.sender.subscribe()
    }
}
