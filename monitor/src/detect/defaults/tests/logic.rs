//! What rules find.
