//! Published security events.

mod severity;
pub mod store;

pub use severity::Severity;
pub use store::{Filter, Page, Published, Store};
