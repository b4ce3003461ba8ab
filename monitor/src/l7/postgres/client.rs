//! What clients send: queries, and messages that prepare and execute statements.

use std::sync::Arc;

use super::{
    BIND, CONNECT, EXECUTE, Group, PARSE, PORTAL_MAX, PREPARED, PostgresTalk, QUERY, SYNC,
    wire::{self, Message, NoMessage},
};
use crate::l7::{
    Side, Sink,
    pairing::{About, Request},
    sql::{Dialect, Statement},
    stream::{Step, View},
};

impl PostgresTalk {
    pub(super) fn look_at_client(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        if view.bytes.first() == Some(&0) {
            return self.startup(view, out);
        }
        let message = match wire::message(view, Side::Server) {
            Ok(message) => message,
            Err(NoMessage::Part) => return Step::More,
            Err(NoMessage::Garbage) => return Step::Garbage,
        };
        if matches!(message.kind, b'Q' | b'P' | b'B' | b'D' | b'E' | b'F' | b'C') {
            self.group.began_ns.get_or_insert(view.began_ns);
            self.group.bytes += message.length;
        }
        match message.kind {
            b'Q' => {
                let (query, _) = wire::text(message.body);
                let statement = Statement::read(query, message.cut, Dialect::Postgres);
                self.ask(QUERY, Arc::new(statement), out);
            }
            b'P' => self.parse(message, out),
            b'B' => {
                let (portal, rest) = wire::text(message.body);
                let (name, _) = wire::text(rest);
                let statement = self.statement(name);
                self.bound = (portal.len() <= PORTAL_MAX).then(|| (portal.into(), Arc::clone(&statement)));
                self.ask(BIND, statement, out);
            }
            b'E' => {
                let (portal, _) = wire::text(message.body);
                let statement = match &self.bound {
                    Some((bound, statement)) if **bound == *portal => Arc::clone(statement),
                    _ => Arc::new(Statement::unknown(PREPARED)),
                };
                self.ask(EXECUTE, statement, out);
            }
            b'F' => self.ask(QUERY, Arc::new(Statement::unknown("FUNCTION_CALL")), out),
            b'S' => {
                self.ask(SYNC, Arc::new(Statement::unknown("")), out);
                self.group = Group::default();
            }
            b'C' => {
                if let (Some(b'S'), name) = (message.body.first(), message.body.get(1..).unwrap_or_default()) {
                    self.prepared.forget(wire::text(name).0);
                }
            }
            // Data, passwords, Describe, Flush, Terminate: no request of their own.
            _ => {}
        }
        Step::Take(message.length)
    }

    fn startup(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        let (length, code) = match wire::startup(view.bytes) {
            Ok(found) => found,
            Err(NoMessage::Part) => return Step::More,
            Err(NoMessage::Garbage) => return Step::Garbage,
        };
        match code {
            wire::SSL | wire::GSS => self.encryption = true,
            wire::CANCEL => {}
            _ => {
                self.group = Group { began_ns: Some(view.began_ns), bytes: u64::from(length) };
                self.ask(CONNECT, Arc::new(Statement::unknown("CONNECT")), out);
            }
        }
        Step::Take(u64::from(length))
    }

    fn parse(&mut self, message: Message<'_>, out: &mut dyn Sink) {
        let (name, rest) = wire::text(message.body);
        let (query, _) = wire::text(rest);
        let ends = name.len() + query.len() + 2 <= message.body.len();
        let statement = Arc::new(Statement::read(query, !ends, Dialect::Postgres));
        self.prepared.remember(name, Arc::clone(&statement));
        self.ask(PARSE, statement, out);
    }

    fn statement(&self, name: &[u8]) -> Arc<Statement> {
        self.prepared.find(name).unwrap_or_else(|| Arc::new(Statement::unknown(PREPARED)))
    }

    fn ask(&mut self, kind: u8, statement: Arc<Statement>, out: &mut dyn Sink) {
        let counted = matches!(kind, QUERY | EXECUTE | CONNECT);
        let (began_ns, bytes) = (self.group.began_ns.unwrap_or(0), self.group.bytes);
        if counted {
            self.group = Group::default();
        }
        let (operation, about) = (statement.operation, About::Statement(statement));
        self.pairing.ask(Request { operation, about, kind, counted, whole: true, began_ns, bytes }, out);
    }
}
