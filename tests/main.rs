//! Tests of the real daemon on the running kernel. `cargo test -p monitor-tests`, as root.

mod daemon;
mod detect;
mod e2e;
mod l7;
mod signals;
mod tls;
mod truth;
