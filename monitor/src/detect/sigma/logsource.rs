//! What a rule's `logsource` asks for, as a condition on our events.

use crate::detect::lang::nearest::nearest;
use rsigma_parser::LogSource;

/// Kinds of events that Sigma rules can be about here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Process,
    File,
    Network,
}

/// Why a rule is left out.
pub(super) enum Refused {
    /// It is for something else, or for something that is not told here.
    Elsewhere(String),
    /// It is nearly something that is known.
    Misspelt(String),
}

const KNOWN: &[(&str, Category)] = &[
    ("process_creation", Category::Process),
    ("file_event", Category::File),
    ("network_connection", Category::Network),
];

impl Category {
    /// Of a rule's log source.
    pub(super) fn of(source: &LogSource) -> Result<Self, Refused> {
        if let Some(product) = source.product.as_deref()
            && !product.eq_ignore_ascii_case("linux")
        {
            return Err(Refused::Elsewhere(format!("is for {product}: left out")));
        }
        let Some(category) = source.category.as_deref() else {
            let what =
                source.service.as_deref().map_or("no category".to_owned(), |service| format!("the log of {service}"));
            return Err(Refused::Elsewhere(format!("asks for {what}, which is not read here: left out")));
        };
        if let Some(service) = source.service.as_deref()
            && !matches!(service, "sysmon" | "auditd")
        {
            return Err(Refused::Elsewhere(format!("asks for the log of {service}, which is not read here: left out")));
        }
        if let Some((_, known)) = KNOWN.iter().find(|(name, _)| *name == category) {
            return Ok(*known);
        }
        let names = || KNOWN.iter().map(|(name, _)| *name);
        match nearest(category, names()) {
            Some(near) => Err(Refused::Misspelt(format!("unknown category `{category}`: did you mean `{near}`?"))),
            None => {
                let names = names().collect::<Vec<_>>().join(", ");
                Err(Refused::Elsewhere(format!("category `{category}` is not supported: left out ({names} are)")))
            }
        }
    }

    /// The events. Sysmon's events of files are created and overwritten files.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Process => "evt.type in (execve, execveat)",
            Self::File => {
                "evt.type in (open, openat, openat2, creat, open_by_handle_at) and evt.is_open_write = true and \
                 fd.typechar = f and (evt.is_open_create = true or evt.arg.flags contains O_TRUNC)"
            }
            Self::Network => "evt.type in (connect, accept, accept4) and fd.type in (ipv4, ipv6)",
        }
    }

    /// The fields in which a word without a field is looked for.
    pub(super) fn keywords(self) -> &'static [&'static str] {
        match self {
            Self::Process => &["proc.exeline", "proc.exepath", "proc.pcmdline"],
            Self::File => &["fd.name", "proc.exepath"],
            Self::Network => &["fd.name", "proc.exepath"],
        }
    }

    /// The message of an alert, after the rule's title.
    pub(super) fn output(self) -> &'static str {
        match self {
            Self::Process => {
                "process=%proc.name exe=%proc.exepath command=%proc.exeline parent=%proc.pname \
                 parent_command=%proc.pcmdline user=%user.name"
            }
            Self::File => "file=%fd.name process=%proc.name exe=%proc.exepath command=%proc.cmdline user=%user.name",
            Self::Network => {
                "connection=%fd.name process=%proc.name exe=%proc.exepath command=%proc.cmdline user=%user.name"
            }
        }
    }
}
