use super::*;
use crate::events::{BootClock, Subject};

fn alert(rule: &'static str, severity: Severity, group: &str) -> Alert {
    let process = Subject { group: group.to_owned(), ..Subject::default() };
    Alert::new(BootClock::new(0).time(1), rule, severity, process)
}

fn filter(after: u64, limit: usize) -> Filter {
    Filter { after, limit, ..Filter::default() }
}

fn numbers(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.seq).collect()
}

/// 1 to `count`: odd ones are `odd`/low, even ones `even`/high.
fn filled(count: u64, capacity: usize) -> Store {
    let store = Store::new(capacity);
    for seq in 1..=count {
        let (rule, severity) = if seq % 2 == 0 { ("even", Severity::High) } else { ("odd", Severity::Low) };
        assert_eq!(store.publish(&alert(rule, severity, "g")).seq, seq);
    }
    store
}

#[test]
fn an_empty_store_has_an_empty_page() {
    assert_eq!(Store::new(5).query(&filter(0, 10)), Page { events: Vec::new(), next: 0, oldest: 1 });
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() {
    let store = filled(25, 100);
    let (mut after, mut seen) = (0, Vec::new());
    for _ in 0..4 {
        let page = store.query(&filter(after, 7));
        seen.extend(numbers(&page));
        after = page.next;
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    assert_eq!(store.query(&filter(25, 7)), Page { events: Vec::new(), next: 25, oldest: 1 });
}

#[test]
fn the_oldest_events_make_room_and_the_page_tells() {
    let store = filled(25, 10);
    let page = store.query(&filter(3, 100));
    assert_eq!((numbers(&page), page.oldest, page.next), ((16..=25).collect(), 16, 25));
    assert_eq!(store.lock().evicted, 15);
    assert_eq!(store.lock().index.values().map(VecDeque::len).sum::<usize>(), 10);
}

#[test]
fn bytes_are_limited_too() {
    let one = filled(1, 10).query(&filter(0, 1)).events[0].json.len();
    let store = Store::with_limits(100, one * 3 + 10);
    for _ in 0..9 {
        store.publish(&alert("odd", Severity::Low, "g"));
    }
    assert_eq!(numbers(&store.query(&filter(0, 100))), [7, 8, 9]);
}

#[test]
fn filters_match_exactly() {
    let store = filled(9, 100);
    let rules = Filter { rule: vec!["even".to_owned(), "none".to_owned()], ..filter(2, 2) };
    let page = store.query(&rules);
    assert_eq!((numbers(&page), page.next), (vec![4, 6], 6));
    let rest = store.query(&Filter { after: page.next, ..rules });
    assert_eq!((numbers(&rest), rest.next), (vec![8], 9));
    let low = Filter { severity: vec![Severity::Low, Severity::Critical], ..filter(0, 100) };
    assert_eq!(numbers(&store.query(&low)), [1, 3, 5, 7, 9]);
    let both = Filter { rule: vec!["even".to_owned()], severity: vec![Severity::Low], ..filter(0, 100) };
    assert!(store.query(&both).events.is_empty());
}

#[test]
fn a_number_of_an_earlier_run_is_told_back_lower() {
    let page = filled(3, 10).query(&filter(500, 10));
    assert_eq!((numbers(&page), page.next), (vec![], 3));
}

#[test]
fn a_page_of_nothing_goes_nowhere() {
    let page = filled(3, 10).query(&filter(1, 0));
    assert_eq!((numbers(&page), page.next), (vec![], 1));
}

#[test]
fn followers_see_every_event_in_order_and_learn_when_they_lag() {
    let store = Store::new(10_000);
    let mut follower = store.subscribe();
    for _ in 0..FOLLOW + 3 {
        store.publish(&alert("odd", Severity::Low, "g"));
    }
    assert_eq!(follower.try_recv(), Err(broadcast::error::TryRecvError::Lagged(3)));
    assert_eq!(follower.try_recv().unwrap().seq, 4);
    assert_eq!(follower.try_recv().unwrap().seq, 5);
}

#[test]
fn a_panic_under_the_lock_stops_nobody() {
    let store = Arc::new(filled(1, 10));
    let other = Arc::clone(&store);
    let result = std::thread::spawn(move || {
        let _guard = other.lock();
        panic!("on purpose");
    })
    .join();
    assert!(result.is_err());
    assert_eq!(store.publish(&alert("odd", Severity::Low, "g")).seq, 2);
}

#[test]
fn the_line_carries_number_and_schema_first() {
    let store = Store::new(10).with_host("web1".to_owned());
    let event = store.publish(&alert("odd", Severity::Low, "g"));
    assert!(event.json.starts_with(br#"{"schema":"monitor.event.v1","seq":1,"time":"#));
    let value: serde_json::Value = serde_json::from_slice(&event.json).unwrap();
    assert_eq!(value["host"]["name"], "web1");
}

#[test]
fn events_are_counted_by_rule_severity_and_a_bounded_group() {
    let store = Store::new(10);
    for group in 0..MAX_SERIES + 50 {
        store.publish(&alert("odd", Severity::Low, &format!("g{group}")));
    }
    let mut families = Families::new();
    store.collect(&mut families);
    let snapshot = families.finish();
    let events = snapshot.family(SECURITY_EVENTS.name).unwrap();
    assert_eq!(events.samples().len(), MAX_SERIES + 1);
    let total: f64 = events.samples().map(|sample| sample.value()).sum();
    assert_eq!(total as usize, MAX_SERIES + 50);
}
