//! `block_io`.
