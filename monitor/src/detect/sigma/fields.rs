//! Sigma's field names (of Sysmon) and what they are here.

use super::logsource::Category;
use crate::detect::lang::nearest::nearest;

/// What can be asked of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Number,
    /// An address; the other field is the same as a network.
    Address(&'static str),
    /// True for `connect`, false for `accept`.
    Initiated,
}

/// A field of Sigma's.
pub(super) struct Known {
    pub(super) sigma: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Type,
}

const fn text(sigma: &'static str, name: &'static str) -> Known {
    Known { sigma, name, kind: Type::Text }
}

const fn number(sigma: &'static str, name: &'static str) -> Known {
    Known { sigma, name, kind: Type::Number }
}

/// Of all categories. A command line is what Sysmon shows: all arguments, the first as it was given.
const ALL: &[Known] = &[
    text("Image", "proc.exepath"),
    text("CommandLine", "proc.exeline"),
    text("ParentImage", "proc.pexepath"),
    text("ParentCommandLine", "proc.pcmdline"),
    text("CurrentDirectory", "proc.cwd"),
    text("User", "user.name"),
    number("ProcessId", "proc.pid"),
    number("ParentProcessId", "proc.ppid"),
    number("LogonId", "user.loginuid"),
    number("TerminalSessionId", "proc.sid"),
];

const FILE: &[Known] = &[text("TargetFilename", "fd.name")];

const NETWORK: &[Known] = &[
    Known { sigma: "DestinationIp", name: "fd.sip", kind: Type::Address("fd.snet") },
    Known { sigma: "SourceIp", name: "fd.cip", kind: Type::Address("fd.cnet") },
    number("DestinationPort", "fd.sport"),
    number("SourcePort", "fd.cport"),
    text("DestinationHostname", "fd.sip.name"),
    text("SourceHostname", "fd.cip.name"),
    text("Protocol", "fd.l4proto"),
    Known { sigma: "Initiated", name: "evt.type", kind: Type::Initiated },
];

/// The field of this name in rules of this category.
pub(super) fn find(category: Category, name: &str) -> Result<&'static Known, String> {
    let own: &[Known] = match category {
        Category::Process => &[],
        Category::File => FILE,
        Category::Network => NETWORK,
    };
    let mut all = ALL.iter().chain(own);
    if let Some(known) = all.clone().find(|known| known.sigma == name) {
        return Ok(known);
    }
    let remedy = match nearest(name, all.clone().map(|known| known.sigma)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", all.by_ref().map(|known| known.sigma).collect::<Vec<_>>().join(", ")),
    };
    Err(format!("nothing here tells the field `{name}`: {remedy}"))
}
