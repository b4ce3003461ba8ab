//! `/api/v1/events`: pages of published events.

use std::sync::Arc;

use axum::extract;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};

use super::errors::ApiError;
use super::query;
use super::routes::App;
use crate::events::{Filter, Page, Store};

/// Handler of `/api/v1/events`.
pub(super) async fn events(extract::State(app): extract::State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let filter = query::events(&uri)?;
    let body = render(&page(app.state.backend.events(), filter));
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// A page of the store. Numbers start anew with the daemon, so a number that was not given yet is one of an earlier
/// daemon: its owner has seen nothing of this one.
fn page(store: &Store, mut filter: Filter) -> Page {
    let page = store.query(&filter);
    if !page.events.is_empty() || filter.after <= newest(store) {
        return page;
    }
    filter.after = 0;
    store.query(&filter)
}

/// Number of the last event that was published; 0 before the first.
pub(super) fn newest(store: &Store) -> u64 {
    store.query(&Filter { limit: usize::MAX, ..Filter::default() }).next
}

/// Events are stored as the JSON that they were published as: putting them into a list is all there is to do.
fn render(page: &Page) -> Bytes {
    let size: usize = page.events.iter().map(|event| event.json.len() + 1).sum();
    let mut body = BytesMut::with_capacity(size + 64);
    body.put_slice(b"{\"events\":[");
    for (index, event) in page.events.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&event.json);
    }
    body.put_slice(format!("],\"next\":{},\"oldest\":{}}}\n", page.next, page.oldest).as_bytes());
    body.freeze()
}
