//! `hooks`.
