//! MySQL and MariaDB, protocol 10.
//!
//! An exchange is one command, from its first byte to the last of its last result. A connection's beginning is one, too,
//! with the operation `CONNECT`, from what the client says first to what it is told in the end. A statement is prepared in an
//! exchange of its own, `PREPARE`; executed, it has the operation that its text had, or [`PREPARED`] if that was not seen.
//!
//! Whether results end with EOF packets or with OK packets was agreed on in the login. Where that was not seen, it shows:
//! they have different lengths, and no row begins as they do. What follows a wish for TLS, and a login in which compression
//! was agreed on, is not seen.

mod client;
mod commands;
mod server;
mod wire;

use std::sync::Arc;

use super::{
    Conversation, Doubt, Protocol, Side, Sink, Verdict,
    duplex::Duplex,
    pairing::{Asked, Pairing},
    prepared::Prepared,
    sql::Statement,
    stream::{Loss, Step, Talk, View},
};
use commands::Answered;

pub use super::PREPARED;

/// MySQL and MariaDB.
pub static MYSQL: MySql = MySql;

/// MySQL and MariaDB.
pub struct MySql;

/// `COM_PING`, and an EOF packet.
const LEAST: (u64, u64) = (5, 9);

impl Protocol for MySql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn recognise(&self, head: &[u8], to: Side) -> Verdict {
        commands::recognise(head, to)
    }

    fn start(&self) -> Box<dyn Conversation> {
        Box::new(Duplex::new(MySqlTalk {
            pairing: Pairing::new(self.name(), LEAST, true),
            prepared: Prepared::default(),
            last_prepared: None,
            reply: Reply::default(),
            request_goes_on: false,
            compressed: false,
            ends_with_eof: None,
            over: false,
        }))
    }
}

/// What comes next of an answer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Its first packet.
    #[default]
    First,
    /// The first packet of a further result.
    Further,
    /// So many descriptions of what a statement needs, and so many of what it gives.
    Needs(u16, u16),
    Gives(u16),
    /// The EOF packet after descriptions, if there are any.
    NeedsEnd(u16),
    GivesEnd,
    /// So many descriptions of columns.
    Columns(u16),
    /// The EOF packet after them, or a row.
    ColumnsEnd,
    Rows,
    /// The file that the client was asked for.
    File,
}

/// The answer that is passing.
#[derive(Default)]
struct Reply {
    stage: Stage,
    began_ns: Option<u64>,
    bytes: u64,
    /// The packet before was so long that this one belongs to it.
    goes_on: bool,
    /// The client was told how far its command is.
    progress: bool,
    /// The answer that is open is over with what passes now.
    ends: bool,
}

struct MySqlTalk {
    pairing: Pairing,
    prepared: Prepared,
    /// The statement that MariaDB's clients execute before they know its number.
    last_prepared: Option<Arc<Statement>>,
    reply: Reply,
    request_goes_on: bool,
    /// With the end of the login.
    compressed: bool,
    /// Results end with EOF packets: `None` as long as that is not known.
    ends_with_eof: Option<bool>,
    over: bool,
}

impl MySqlTalk {
    fn next_answered(&self) -> Option<Answered> {
        match self.pairing.next()? {
            Asked::Known(request, _) => Answered::from_kind(request.kind),
            Asked::Unseen(_) => None,
        }
    }

    fn look_at_server(&mut self, view: View<'_>, out: &mut dyn Sink) -> Step {
        let Some(packet) = wire::packet(view, 32) else { return Step::More };
        let began_ns = *self.reply.began_ns.get_or_insert(view.began_ns);
        self.reply.bytes += packet.size();
        let step = if self.reply.goes_on {
            Step::Take(packet.size())
        } else {
            match self.reply.stage {
                Stage::First => self.first(&packet, began_ns, out),
                _ => self.further(&packet),
            }
        };
        self.reply.goes_on = packet.length == wire::LONG;
        if let Some(open) = &mut self.pairing.open {
            open.bytes = self.reply.bytes;
        }
        step
    }
}

impl Talk for MySqlTalk {
    fn look(&mut self, to: Side, view: View<'_>, out: &mut dyn Sink) -> Step {
        match to {
            _ if self.over => Step::Rest,
            Side::Server => self.look_at_client(view, out),
            Side::Client => self.look_at_server(view, out),
        }
    }

    fn passed(&mut self, to: Side, ended_ns: u64, out: &mut dyn Sink) {
        if to == Side::Server || !self.reply.ends || self.reply.goes_on {
            return;
        }
        let login = self.open_kind() == Some(Answered::Login);
        self.pairing.answered(ended_ns, out);
        self.reply = Reply::default();
        if login && self.compressed {
            self.over = true;
            out.doubt(Doubt::Opaque, 1);
        }
    }

    fn lost(&mut self, to: Side, loss: Loss, out: &mut dyn Sink) {
        match to {
            Side::Server => {
                self.request_goes_on = false;
                self.pairing.requests_lost(loss, out);
            }
            Side::Client => {
                self.reply = Reply::default();
                self.pairing.answers_lost(loss, out);
            }
        }
    }

    fn unseen(&mut self, to: Side, bytes: u64, began_ns: u64, ended_ns: u64) {
        match to {
            _ if self.over => {}
            Side::Server if self.answer_waits() => {}
            Side::Server => self.pairing.requests_unseen(bytes, began_ns, None),
            Side::Client => self.pairing.answers_unseen(bytes, began_ns, ended_ns),
        }
    }

    fn begins(&mut self, to: Side, fresh: bool, out: &mut dyn Sink) {
        if to == Side::Server && !self.answer_waits() {
            self.pairing.client_speaks(fresh, out);
        }
    }

    fn settle(&mut self, now_ns: u64, ended: bool, out: &mut dyn Sink) {
        if ended {
            self.pairing.close(now_ns, out);
        } else {
            self.pairing.tick(now_ns, out);
        }
    }

    fn finished(&self) -> bool {
        self.over && self.pairing.open.is_none()
    }

    fn bytes_held(&self) -> usize {
        let last = self.last_prepared.as_ref().map_or(0, |statement| statement.bytes_held());
        self.pairing.bytes_held() + self.prepared.bytes_held() + last
    }
}

impl MySqlTalk {
    fn open_kind(&self) -> Option<Answered> {
        self.pairing.open.as_ref()?.request().and_then(|request| Answered::from_kind(request.kind))
    }

    /// The client speaks because the answer to what it asked needs it to.
    fn answer_waits(&self) -> bool {
        self.reply.stage == Stage::File || self.next_answered() == Some(Answered::Login)
    }
}
