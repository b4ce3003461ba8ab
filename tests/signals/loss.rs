//! `loss`.
