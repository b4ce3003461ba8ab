//! Tests of the real daemon on the running kernel. `cargo test -p monitor-tests`, as root.

mod signals;
