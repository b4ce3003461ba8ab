//! The rule language: Falco's, and what we add to it.

pub mod ast;
