//! Takes out of a query what its user typed: literals become `?`, lists of them one `?`, comments go. What is left is the
//! query's *fingerprint*, of bounded length; with it come the operation, which is of a list, and the first table.
//!
//! Our own, because what is captured is the head of a query: parsers of SQL refuse text that ends anywhere, and what they
//! refuse could not be shown. A literal that is cut is still a literal here. Where it depends on a server's setting
//! whether a string ends (a backslash before a quote), the fingerprint ends there.

mod lexer;
mod reader;

use lexer::Lexer;
use reader::Reader;

use super::OTHER;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `"name"`, `$1`, `$$string$$`, comments that nest.
    Postgres,
    /// `` `name` ``, `"string"`, `@variable`, `# comment`.
    MySql,
}

/// The longest fingerprint, in bytes, without the mark of its cut.
pub const FINGERPRINT_MAX: usize = 512;

/// The longest name of a table, with its schema.
pub const TABLE_MAX: usize = 128;

/// At the end of a fingerprint of which something is missing.
const CUT: &str = " …";

/// What is told of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// SELECT, INSERT, ...: of a list.
    pub operation: &'static str,
    /// The first table, with its schema if that was written; empty if there is none, or none was found.
    pub table: Box<str>,
    /// The query without literals.
    pub fingerprint: Box<str>,
}

impl Statement {
    /// Reads a query, of which `text` may be the beginning only: `cut`.
    #[must_use]
    pub fn read(text: &[u8], cut: bool, dialect: Dialect) -> Self {
        let mut reader = Reader::default();
        let mut lexer = Lexer::new(text, cut, dialect);
        while let Some(token) = lexer.next() {
            if !reader.take(token, lexer.spaced) {
                lexer.incomplete = true;
                break;
            }
        }
        let mut fingerprint = reader.written;
        if lexer.incomplete {
            fingerprint.push_str(CUT);
        }
        Self {
            operation: reader.operation.unwrap_or(OTHER),
            table: reader.table.into(),
            fingerprint: fingerprint.trim().into(),
        }
    }

    /// A statement of which only its kind is known.
    #[must_use]
    pub fn unknown(operation: &'static str) -> Self {
        Self { operation, table: "".into(), fingerprint: "".into() }
    }

    /// Memory, in bytes.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        size_of::<Self>() + self.table.len() + self.fingerprint.len()
    }
}

#[cfg(test)]
mod tests;
