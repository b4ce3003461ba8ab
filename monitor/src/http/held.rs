//! Answers that are large enough to be counted for as long as they are in memory.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::errors::ApiError;
use super::routes::App;
use super::telemetry::Rejected;

/// Large API answers held in memory until their peers have read them.
pub(super) const MAX_PAGES: usize = 16;

/// Bytes of an answer, and the right to have them in memory.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The same bytes; `permit` is given back when the last of them is sent, or nobody wants them any more.
pub(super) fn hold(bytes: Bytes, permit: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(Held { bytes, _permit: permit })
}

/// The right to one large API answer.
pub(super) fn permit(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&app.pages).try_acquire_owned().map_err(|_| {
        app.state.telemetry.reject(Rejected::Answers);
        ApiError(StatusCode::SERVICE_UNAVAILABLE, "too many answers that are not read".to_owned())
    })
}

/// A large JSON answer.
pub(super) fn json(body: Bytes, permit: OwnedSemaphorePermit) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, hold(body, permit)).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn an_answer_counts_until_the_last_part_of_it_is_gone() {
        let answers = Arc::new(Semaphore::new(1));
        let mut bytes = hold("an answer".into(), Arc::clone(&answers).try_acquire_owned().unwrap());
        let sent = bytes.split_to(3);
        drop(bytes);
        assert_eq!(answers.available_permits(), 0);
        drop(sent);
        assert_eq!(answers.available_permits(), 1);
    }
}
