//! What clients send: a login, commands, files.

use std::sync::Arc;

use super::{
    MySqlTalk, PREPARED, Stage,
    commands::{self, Answered},
    wire::{self, Packet},
};
use crate::l7::{
    Doubt, Sink,
    pairing::{About, Request},
    sql::{Dialect, Statement},
    stream::{Step, View},
};

/// MariaDB: what was prepared last.
const LAST: [u8; 4] = [0xff; 4];

impl MySqlTalk {
    pub(super) fn look_at_client(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        let Some(packet) = wire::packet(view, wire::LOOK_MAX) else { return Step::More };
        let goes_on = std::mem::replace(&mut self.request_goes_on, packet.length == wire::LONG);
        if self.reply.stage == Stage::File || goes_on {
            if let Some(request) = self.pairing.last_asked() {
                request.bytes = request.bytes.saturating_add(packet.size());
            }
            return Step::Take(packet.size());
        }
        if packet.sequence != 0 {
            return self.login(&packet, view, out);
        }
        let Some((code, body)) = packet.body.split_first() else { return Step::Garbage };
        let Some((operation, answered)) = commands::command(*code).filter(|_| commands::fits(*code, packet.length))
        else {
            return Step::Garbage;
        };
        let about = self.about(*code, body, &packet);
        if answered == Answered::Never {
            return Step::Take(packet.size());
        }
        let operation = match &about {
            About::Statement(statement) if answered == Answered::Results => statement.operation,
            _ => operation,
        };
        self.ask(operation, about, answered, &packet, view, out);
        Step::Take(packet.size())
    }

    fn ask(
        &mut self,
        operation: &'static str,
        about: About,
        answered: Answered,
        packet: &Packet<'_>,
        view: View<'_>,
        out: &mut dyn Sink,
    ) {
        let (kind, began_ns, bytes) = (answered as u8, view.began_ns, packet.size());
        self.pairing.ask(Request { operation, about, kind, counted: true, whole: true, began_ns, bytes }, out);
    }

    /// What is not numbered as the first packet of a command.
    fn login(&mut self, packet: &Packet<'_>, view: View<'_>, out: &mut dyn Sink) -> Step {
        if self.next_answered() == Some(Answered::Login) {
            // An answer to a question of the server.
            return Step::Take(packet.size());
        }
        let Some(capabilities) = commands::login(packet) else { return Step::Garbage };
        if capabilities & wire::CLIENT_SSL != 0 && packet.length == 32 {
            self.over = true;
            out.doubt(Doubt::Opaque, 1);
            return Step::Rest;
        }
        self.compressed = capabilities & (wire::CLIENT_COMPRESS | wire::CLIENT_ZSTD) != 0;
        self.ends_with_eof = Some(capabilities & wire::CLIENT_DEPRECATE_EOF == 0);
        self.ask("CONNECT", About::Nothing, Answered::Login, packet, view, out);
        Step::Take(packet.size())
    }

    /// The statement that a command is about. Keeps in mind what statements there are.
    fn about(&mut self, code: u8, body: &[u8], packet: &Packet<'_>) -> About {
        let id = body.get(..4).unwrap_or(body);
        About::Statement(match code {
            commands::QUERY | commands::PREPARE => {
                let text = if code == commands::QUERY { commands::query(body).unwrap_or_default() } else { body };
                let statement = Arc::new(Statement::read(text, packet.is_cut(), Dialect::MySql));
                if code == commands::PREPARE {
                    self.last_prepared = Some(Arc::clone(&statement));
                }
                statement
            }
            commands::EXECUTE | commands::BULK_EXECUTE | commands::FETCH if id == LAST => {
                self.last_prepared.clone().unwrap_or_else(|| Arc::new(Statement::unknown(PREPARED)))
            }
            commands::EXECUTE | commands::BULK_EXECUTE | commands::FETCH => {
                self.prepared.find(id).unwrap_or_else(|| Arc::new(Statement::unknown(PREPARED)))
            }
            commands::CLOSE => {
                self.prepared.forget(id);
                return About::Nothing;
            }
            _ => return About::Nothing,
        })
    }
}
