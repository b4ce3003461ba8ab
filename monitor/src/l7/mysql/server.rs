//! What servers send: results, errors, descriptions of what was prepared.

use std::sync::Arc;

use super::{
    MySqlTalk, Reply, Stage,
    commands::Answered,
    wire::{self, Packet},
};
use crate::l7::{
    Doubt, Sink, Status,
    pairing::{About, Asked},
    stream::Step,
};

impl MySqlTalk {
    /// Nothing of an answer is open.
    pub(super) fn first(&mut self, packet: &Packet<'_>, began_ns: u64, out: &mut dyn Sink) -> Step {
        let Some(kind) = packet.body.first().copied() else { return Step::Garbage };
        let idle = self.pairing.next().is_none();
        let answered = self.next_answered();
        match (packet.sequence, kind) {
            (0, 10) if idle || answered == Some(Answered::Login) => return self.unasked(packet),
            // The server ends the connection by itself.
            (0, 0xff) => return self.unasked(packet),
            (0, _) => return Step::Garbage,
            // The end of what was prepared, told in the way of old.
            (2.., 0xfe) if packet.length == 5 && self.ends_with_eof.is_none() => {
                self.ends_with_eof = Some(true);
                return self.unasked(packet);
            }
            _ => {}
        }
        let long = matches!(self.pairing.next(), Some(Asked::Known(it, _)) if it.bytes > u64::from(wire::LONG));
        if packet.sequence != 1 && !self.reply.progress && !long && answered != Some(Answered::Login) {
            return Step::Garbage;
        }
        match (answered, kind) {
            (_, 0xff) if wire::is_progress(packet) => self.reply.progress = true,
            (_, 0xff) => {
                self.pairing.answer(wire::error(packet), began_ns, out);
                self.reply.ends = true;
            }
            (Some(Answered::Login), 0) => {
                self.pairing.answer(Status::OK, began_ns, out);
                self.reply.ends = true;
            }
            (Some(Answered::Login), _) => {}
            (Some(Answered::Events), _) => {
                self.pairing.answer(Status::OK, began_ns, out);
                self.over = true;
                out.doubt(Doubt::Opaque, 1);
                self.reply.ends = true;
            }
            (Some(Answered::Text), _) | (Some(Answered::Once), 0 | 0xfe) => {
                self.pairing.answer(Status::OK, began_ns, out);
                self.reply.ends = true;
            }
            (Some(Answered::Prepared), 0) if packet.length == 12 => {
                self.pairing.answer(Status::OK, began_ns, out);
                self.statement_prepared(packet);
            }
            (Some(Answered::Rows), _) => {
                self.pairing.answer(Status::OK, began_ns, out);
                self.reply.stage = Stage::Rows;
                return self.further(packet);
            }
            (Some(Answered::Results), _) => {
                self.pairing.answer(Status::OK, began_ns, out);
                return self.result(packet);
            }
            // A request that was not seen: its answer may be of any kind. Where it ends shows only if it is short.
            (None, 0 | 0xfe) if packet.length != 12 => {
                self.pairing.answer(Status::OK, began_ns, out);
                return self.result(packet);
            }
            (None, 0) => {
                self.pairing.answer(Status::OK, began_ns, out);
                return Step::Cut;
            }
            (None, _) if kind == 0xfb || wire::columns(packet).is_some() => {
                self.pairing.answer(Status::OK, began_ns, out);
                return self.result(packet);
            }
            _ => return Step::Garbage,
        }
        Step::Take(packet.size())
    }

    /// It is nobody's answer.
    fn unasked(&mut self, packet: &Packet<'_>) -> Step {
        self.reply = Reply::default();
        Step::Take(packet.size())
    }

    /// The first packet of a result.
    fn result(&mut self, packet: &Packet<'_>) -> Step {
        match packet.body.first() {
            Some(0) => self.result_ends(packet),
            Some(0xfe) if packet.length < 9 => self.result_ends(packet),
            Some(0xfb) => self.reply.stage = Stage::File,
            Some(0xff) => self.fails(packet),
            _ => match wire::columns(packet) {
                Some((count, true)) => self.reply.stage = Stage::Columns(u16::try_from(count).unwrap_or(u16::MAX)),
                Some((_, false)) => self.reply.stage = Stage::ColumnsEnd,
                None => return Step::Garbage,
            },
        }
        Step::Take(packet.size())
    }

    fn result_ends(&mut self, packet: &Packet<'_>) {
        if wire::server_status(packet) & wire::MORE_RESULTS != 0 {
            self.reply.stage = Stage::Further;
        } else {
            self.reply.ends = true;
        }
    }

    fn fails(&mut self, packet: &Packet<'_>) {
        if let Some(open) = &mut self.pairing.open {
            open.status = wire::error(packet);
        }
        self.reply.ends = true;
    }

    /// The rest of an answer.
    pub(super) fn further(&mut self, packet: &Packet<'_>) -> Step {
        let kind = packet.body.first().copied();
        let eof = kind == Some(0xfe) && packet.length == 5;
        if kind == Some(0xff) && wire::is_progress(packet) {
            return Step::Take(packet.size());
        }
        match self.reply.stage {
            Stage::First | Stage::Further | Stage::File => return self.result(packet),
            Stage::Columns(left) if kind == Some(3) => {
                self.reply.stage = if left > 1 { Stage::Columns(left - 1) } else { Stage::ColumnsEnd };
            }
            Stage::ColumnsEnd if eof => {
                self.ends_with_eof = Some(true);
                if wire::server_status(packet) & wire::CURSOR_EXISTS != 0 {
                    self.reply.ends = true;
                } else {
                    self.reply.stage = Stage::Rows;
                }
            }
            Stage::ColumnsEnd | Stage::Rows => match kind {
                Some(0xfe) if packet.length < wire::LONG => self.result_ends(packet),
                Some(0xff) => self.fails(packet),
                _ => self.reply.stage = Stage::Rows,
            },
            Stage::Needs(left, gives) if kind == Some(3) => match (left, self.ends_with_eof) {
                (2.., _) => self.reply.stage = Stage::Needs(left - 1, gives),
                (_, Some(false)) => self.needs_told(gives),
                (_, None) if gives == 0 => self.reply.ends = true,
                _ => self.reply.stage = Stage::NeedsEnd(gives),
            },
            Stage::NeedsEnd(gives) => {
                self.ends_with_eof = Some(eof);
                self.needs_told(gives);
                if !eof {
                    return self.further(packet);
                }
            }
            Stage::Gives(left) if kind == Some(3) => match (left, self.ends_with_eof) {
                (2.., _) => self.reply.stage = Stage::Gives(left - 1),
                (_, Some(true)) => self.reply.stage = Stage::GivesEnd,
                _ => self.reply.ends = true,
            },
            Stage::GivesEnd if eof => self.reply.ends = true,
            Stage::Columns(_) | Stage::Needs(..) | Stage::Gives(_) | Stage::GivesEnd if kind == Some(0xff) => {
                self.fails(packet);
            }
            Stage::Columns(_) | Stage::Needs(..) | Stage::Gives(_) | Stage::GivesEnd => return Step::Garbage,
        }
        Step::Take(packet.size())
    }

    /// What a statement needs has been described, and the same follows of what it gives.
    fn needs_told(&mut self, gives: u16) {
        if gives > 0 {
            self.reply.stage = Stage::Gives(gives);
        } else {
            self.reply.ends = true;
        }
    }

    fn statement_prepared(&mut self, packet: &Packet<'_>) {
        let body = packet.body;
        if let (Some(id), Some(open)) = (body.get(1..5), &self.pairing.open)
            && let Some(About::Statement(statement)) = open.request().map(|request| &request.about)
        {
            self.prepared.remember(id, Arc::clone(statement));
        }
        let count = |at| body.get(at..).and_then(wire::short).unwrap_or(0);
        let (gives, needs) = (count(5), count(7));
        if needs > 0 {
            self.reply.stage = Stage::Needs(needs, gives);
        } else {
            self.needs_told(gives);
        }
    }
}
