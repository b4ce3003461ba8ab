//! One event with what is known beside it. What costs a look-up is looked up when a field first asks, once an event.

use std::cell::Cell;

use monitor_common::record::ProcessKey;

use crate::detect::{Event, What, World};
use crate::processes::{Credentials, Image, Process, ProcessId};
use crate::signals::activity::Activity;
use crate::signals::exec::{Exec, ExecFile};

/// Most ancestors that are looked at: a longer chain was made to hide something behind.
pub(super) const ANCESTORS: usize = 16;

/// What fields are taken from.
pub struct Facts<'a> {
    /// The event.
    pub event: &'a Event,
    /// What is known beside it.
    pub world: &'a dyn World,
    process: Cell<Option<Option<&'a Process>>>,
    /// How many ancestors have been looked up, and whether there are no more.
    known: Cell<(usize, bool)>,
    ancestors: [Cell<Option<&'a Process>>; ANCESTORS],
}

impl<'a> Facts<'a> {
    /// Nothing has been looked up yet.
    pub fn new(event: &'a Event, world: &'a dyn World) -> Self {
        Self {
            event,
            world,
            process: Cell::new(None),
            known: Cell::new((0, false)),
            ancestors: [const { Cell::new(None) }; ANCESTORS],
        }
    }

    /// The exec, if it is one.
    pub fn exec(&self) -> Option<&'a Exec> {
        match &self.event.what {
            What::Exec(exec) => Some(exec),
            What::Fork { .. } | What::Exit { .. } | What::Activity(_) => None,
        }
    }

    /// The activity, if it is one.
    pub fn activity(&self) -> Option<&'a Activity> {
        match &self.event.what {
            What::Activity(activity) => Some(activity),
            What::Exec(_) | What::Fork { .. } | What::Exit { .. } => None,
        }
    }

    /// What the call returned. A fork tells the child, an exec and an end nothing went wrong.
    pub fn result(&self) -> i64 {
        match &self.event.what {
            What::Activity(activity) => activity.result,
            What::Fork { child } => child.tgid.into(),
            What::Exec(_) | What::Exit { .. } => 0,
        }
    }

    /// Who did it, as the process table has it.
    pub fn process(&self) -> Option<&'a Process> {
        if let Some(found) = self.process.get() {
            return found;
        }
        let found = self.world.process(ProcessId::from_key(self.event.process));
        self.process.set(Some(found));
        found
    }

    /// The process itself (0), its parent (1), …
    pub fn subject(&self, generation: usize) -> Option<Subject<'a>> {
        if generation > 0 {
            return self.ancestor(generation).map(Subject::Process);
        }
        match self.exec() {
            Some(exec) => Some(Subject::Exec(exec)),
            None => self.process().map(Subject::Process),
        }
    }

    /// The parent (1), its parent (2), …
    pub fn ancestor(&self, generation: usize) -> Option<&'a Process> {
        let index = generation.checked_sub(1)?;
        let cell = self.ancestors.get(index)?;
        loop {
            let (known, end) = self.known.get();
            if index < known {
                return cell.get();
            }
            if end {
                return None;
            }
            let parent = match known.checked_sub(1) {
                Some(last) => self.ancestors[last].get().and_then(|process| process.parent),
                None => self.parent_id(),
            };
            match parent.and_then(|id| self.world.process(id)) {
                Some(process) => {
                    self.ancestors[known].set(Some(process));
                    self.known.set((known + 1, false));
                }
                None => self.known.set((known, true)),
            }
        }
    }

    /// Its parent, known to the table or not.
    pub fn parent_id(&self) -> Option<ProcessId> {
        match self.exec() {
            Some(exec) if exec.parent != ProcessKey::default() => Some(ProcessId::from_key(exec.parent)),
            _ => self.process().and_then(|process| process.parent),
        }
    }

    /// All ancestors, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = &'a Process> + '_ {
        (1..=ANCESTORS).map_while(|generation| self.ancestor(generation))
    }

    /// Who it acts as, after the event.
    pub fn credentials(&self) -> Option<Credentials> {
        let before = self.process().map(|process| process.credentials);
        match &self.event.what {
            What::Exec(exec) => Some(Credentials {
                uid: exec.uid,
                euid: exec.euid,
                gid: exec.gid,
                egid: exec.egid,
                loginuid: exec.loginuid,
                suid: exec.suid,
                capabilities: exec.capabilities,
            }),
            What::Activity(activity) => Some(Credentials {
                uid: activity.actor.uid,
                euid: activity.actor.euid,
                gid: activity.actor.gid,
                egid: activity.actor.egid,
                loginuid: before.and_then(|before| before.loginuid),
                suid: activity.actor.suid,
                capabilities: activity.actor.capabilities,
            }),
            What::Fork { .. } | What::Exit { .. } => before,
        }
    }

    /// What it is called now.
    pub fn name(&self) -> Option<&'a [u8]> {
        match &self.event.what {
            What::Exec(exec) => Some(&exec.comm),
            What::Activity(activity) if !activity.comm.is_empty() => Some(&activity.comm),
            _ => self.process().map(|process| process.comm.as_bytes()),
        }
    }
}

/// A process as an exec tells of it, or as the table has it.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// Just told.
    Exec(&'a Exec),
    /// From the table.
    Process(&'a Process),
}

impl<'a> Subject<'a> {
    /// What it calls itself.
    pub fn name(self) -> &'a [u8] {
        match self {
            Self::Exec(exec) => &exec.comm,
            Self::Process(process) => process.comm.as_bytes(),
        }
    }

    /// Path of its program.
    pub fn exepath(self) -> &'a [u8] {
        match self {
            Self::Exec(exec) => &exec.exe,
            Self::Process(process) => &process.image.exe,
        }
    }

    /// File of its program.
    pub fn file(self) -> &'a ExecFile {
        match self {
            Self::Exec(exec) => &exec.file,
            Self::Process(process) => &process.image.file,
        }
    }

    /// Working directory at its exec.
    pub fn cwd(self) -> &'a [u8] {
        match self {
            Self::Exec(exec) => &exec.cwd,
            Self::Process(process) => &process.image.cwd,
        }
    }

    /// Controlling terminal.
    pub fn tty(self) -> &'a [u8] {
        match self {
            Self::Exec(exec) => &exec.tty,
            Self::Process(process) => &process.image.tty,
        }
    }

    /// What the table keeps of its exec.
    pub fn image(self) -> Option<&'a Image> {
        match self {
            Self::Exec(_) => None,
            Self::Process(process) => Some(&process.image),
        }
    }

    /// Session.
    pub fn session(self) -> u32 {
        match self {
            Self::Exec(exec) => exec.session,
            Self::Process(process) => process.session,
        }
    }

    /// Process group.
    pub fn process_group(self) -> u32 {
        match self {
            Self::Exec(exec) => exec.process_group,
            Self::Process(process) => process.process_group,
        }
    }

    /// The variables that are kept.
    pub fn env(self) -> &'a [(Vec<u8>, Vec<u8>)] {
        match self {
            Self::Exec(exec) => &exec.env,
            Self::Process(process) => &process.image.env,
        }
    }

    /// Calls with each argument, `argv[0]` first, until it answers false.
    pub fn each_arg(self, mut with: impl FnMut(&'a [u8]) -> bool) {
        match self {
            Self::Exec(exec) => {
                let _ = exec.args.iter().all(|arg| with(arg));
            }
            Self::Process(process) => {
                let _ = process.image.argv().all(with);
            }
        }
    }

    /// `argv[0]`; without arguments the path of the program.
    pub fn exe(self) -> &'a [u8] {
        let mut first = None;
        self.each_arg(|arg| {
            first = Some(arg);
            false
        });
        first.unwrap_or_else(|| self.exepath())
    }

    /// Appends the arguments behind `argv[0]`, with spaces between.
    pub fn write_args(self, out: &mut Vec<u8>) {
        let mut index = 0;
        self.each_arg(|arg| {
            if index > 1 {
                out.push(b' ');
            }
            if index > 0 {
                out.extend_from_slice(arg);
            }
            index += 1;
            true
        });
    }

    /// Appends `first` and the arguments behind `argv[0]`.
    pub fn write_line(self, first: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(first);
        let mut index = 0;
        self.each_arg(|arg| {
            if index > 0 {
                out.push(b' ');
                out.extend_from_slice(arg);
            }
            index += 1;
            true
        });
    }
}
