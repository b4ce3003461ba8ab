//! The rule language: Falco's, and what we add to it.
//!
//! Text becomes a tree that knows its places ([`yaml`], [`text`]), the tree becomes items ([`items`], [`rules`]), later
//! items change earlier ones, conditions are read ([`parse`]) and what macros and lists stand for is put in ([`expand`]).
//! An item with a mistake has no effect but that the mistake is told; all others load.

pub mod ast;
mod display;
mod exceptions;
pub(in crate::detect) mod expand;
mod field;
mod files;
mod items;
mod lex;
mod load;
pub(in crate::detect) mod more;
pub(in crate::detect) mod nearest;
mod order;
mod parse;
mod reader;
mod rules;
pub(in crate::detect) mod text;
pub(in crate::detect) mod yaml;

pub use files::{Read, files};
pub use load::{Loaded, Source, condition, field, load};
pub(crate) use nearest::nearest;

#[cfg(test)]
mod tests;
