//! `/api/v1/events`: pages of published events.

use std::sync::Arc;

use axum::extract;
use axum::http::Uri;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};

use super::errors::ApiError;
use super::routes::App;
use super::{held, query};
use crate::events::{Filter, Page, Store};

/// Most bytes of events in one answer: a single event with long arguments can have 160 KiB. The answer's `next` says
/// where it ends.
const MAX_BYTES: usize = 4 << 20;

/// Handler of `/api/v1/events`.
pub(super) async fn events(extract::State(app): extract::State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let filter = query::events(&uri)?;
    let permit = held::permit(&app)?;
    let body = render(page(app.state.backend.events(), filter), MAX_BYTES);
    Ok(held::json(body, permit))
}

/// A page of the store. Numbers start anew with the daemon, so a number that was not given yet is one of an earlier
/// daemon: who has it has seen nothing of this one.
fn page(store: &Store, filter: Filter) -> Page {
    let page = store.query(&filter);
    if page.next < filter.after { store.query(&Filter { after: 0, ..filter }) } else { page }
}

/// Number of the last event that was published; 0 before the first.
pub(super) fn newest(store: &Store) -> u64 {
    store.query(&Filter { after: u64::MAX, limit: 1, ..Filter::default() }).next
}

/// Events are stored as the JSON that they were published as: putting them into a list is all there is to do.
fn render(mut page: Page, max_bytes: usize) -> Bytes {
    let mut body = BytesMut::new();
    body.put_slice(b"{\"events\":[");
    for (index, event) in page.events.iter().enumerate() {
        if index > 0 {
            if body.len() + event.json.len() > max_bytes {
                page.next = page.events[index - 1].seq;
                break;
            }
            body.put_u8(b',');
        }
        body.put_slice(&event.json);
    }
    body.put_slice(format!("],\"next\":{},\"oldest\":{}}}\n", page.next, page.oldest).as_bytes());
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Published, Severity};

    #[test]
    fn an_answer_ends_before_it_is_too_long_and_says_where() {
        let event = |seq: u64| Published {
            seq,
            severity: Severity::Low,
            rule: "r".into(),
            json: format!("{{\"seq\":{seq},\"pad\":\"{}\"}}", "x".repeat(1_000)).into(),
        };
        let page = Page { events: (1..=5).map(|seq| Arc::new(event(seq))).collect(), next: 5, oldest: 1 };
        for (max_bytes, last) in [(0, 1), (2_500, 2), (1 << 20, 5)] {
            let body: serde_json::Value = serde_json::from_slice(&render(page.clone(), max_bytes)).unwrap();
            assert_eq!((body["next"].as_u64(), body["events"].as_array().unwrap().len()), (Some(last), last as usize));
        }
    }
}
