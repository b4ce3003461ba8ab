//! Tests of the real daemon on the running kernel. `cargo test -p monitor-tests`, as root.

mod daemon;
mod detect;
mod e2e;
mod signals;
mod tls;
mod truth;
