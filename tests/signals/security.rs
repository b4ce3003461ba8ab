//! `security`.
