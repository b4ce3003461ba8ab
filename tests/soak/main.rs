//! `cargo xtask soak` and `cargo xtask flood`.
fn main() {}
