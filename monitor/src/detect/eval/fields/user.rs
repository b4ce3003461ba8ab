//! `user.*`, `group.*`, `thread.*`. As in Falco, `user.uid` and `group.gid` are the effective ones.

use super::{Argument, Brackets, Definition, Facts, Type, Values, field, unknown};
use crate::detect::eval::flags;
use crate::processes::Credentials;

pub(super) const FIELDS: &[Definition] = &[
    field("user.uid", Type::Number, |facts, _, out| who(facts, out, |who| who.euid)).cost(3),
    field("user.euid", Type::Number, |facts, _, out| who(facts, out, |who| who.euid)).cost(3),
    field("user.ruid", Type::Number, |facts, _, out| who(facts, out, |who| who.uid)).cost(3),
    field("user.suid", Type::Number, |facts, _, out| who(facts, out, |who| who.suid)).cost(3),
    field("user.name", Type::Text, |facts, _, out| named(facts, out, |who| Some(who.euid))).cost(20),
    field("user.homedir", Type::Text, |facts, _, out| {
        if let Some(home) = facts.credentials().and_then(|who| facts.world.user_home(who.euid)) {
            out.known(home);
        }
    })
    .cost(20),
    // -1 where nobody has logged in, as in Falco.
    field("user.loginuid", Type::Number, |facts, _, out| {
        if let Some(who) = facts.credentials() {
            out.number(who.loginuid.map_or(-1, i64::from));
        }
    }),
    field("user.loginname", Type::Text, |facts, _, out| named(facts, out, |who| who.loginuid)).cost(20),
    unknown("user.shell", Type::Text),
    field("group.gid", Type::Number, |facts, _, out| who(facts, out, |who| who.egid)).cost(3),
    field("group.egid", Type::Number, |facts, _, out| who(facts, out, |who| who.egid)).cost(3),
    field("group.rgid", Type::Number, |facts, _, out| who(facts, out, |who| who.gid)).cost(3),
    field("group.name", Type::Text, |facts, _, out| {
        if let Some(name) = facts.credentials().and_then(|who| facts.world.group_name(who.egid)) {
            out.bytes(name.as_bytes());
        }
    })
    .cost(20),
    field("thread.tid", Type::Number, |facts, _, out| out.number(facts.event.tid)).cost(1),
    field("thread.vtid", Type::Number, |facts, _, out| out.number(facts.event.tid)).cost(1),
    field("thread.ismain", Type::Bool, |facts, _, out| out.bool(facts.event.tid == facts.event.process.tgid)).cost(1),
    field("thread.nametid", Type::Text, |facts, _, out| {
        if let Some(name) = facts.name() {
            out.made(|text| {
                text.extend_from_slice(name);
                text.extend_from_slice(itoa::Buffer::new().format(facts.event.tid).as_bytes());
            });
        }
    })
    .cost(20),
    field("thread.cap_effective", Type::Text, |facts, _, out| {
        if let Some(who) = facts.credentials() {
            out.made(|text| flags::write_capabilities(who.capabilities, text));
        }
    })
    .cost(60),
    field("thread.cgroups", Type::Text, |facts, _, out| cgroup(facts, out)).cost(20),
    field("thread.cgroup", Type::Text, |facts, argument, out| {
        if matches!(argument, Argument::None | Argument::Key(_)) {
            cgroup(facts, out);
        }
    })
    .brackets(Brackets::Key)
    .cost(20),
    field("thread.vmsize", Type::Number, |facts, _, out| memory(facts, out, |gauges| gauges.virtual_bytes / 1024)),
    field("thread.vmrss", Type::Number, |facts, _, out| memory(facts, out, |gauges| gauges.resident_bytes / 1024)),
    field("thread.vmsize.b", Type::Number, |facts, _, out| memory(facts, out, |gauges| gauges.virtual_bytes)),
    field("thread.vmrss.b", Type::Number, |facts, _, out| memory(facts, out, |gauges| gauges.resident_bytes)),
    unknown("thread.cap_permitted", Type::Text),
    unknown("thread.cap_inheritable", Type::Text),
    unknown("thread.pfmajor", Type::Number),
    unknown("thread.pfminor", Type::Number),
    unknown("thread.exectime", Type::Number),
    unknown("thread.totexectime", Type::Number),
    unknown("thread.cpu", Type::Number),
    unknown("thread.cpu.user", Type::Number),
    unknown("thread.cpu.system", Type::Number),
];

fn who(facts: &Facts<'_>, out: &mut Values<'_>, which: fn(&Credentials) -> u32) {
    if let Some(who) = facts.credentials() {
        out.number(which(&who));
    }
}

/// Falco says `<NA>` of users that the host has no name for.
fn named<'a>(facts: &Facts<'a>, out: &mut Values<'a>, which: fn(&Credentials) -> Option<u32>) {
    let uid = facts.credentials().and_then(|who| which(&who));
    if let Some(name) = uid.and_then(|uid| facts.world.user_name(uid)) {
        out.bytes(name.as_bytes());
    }
}

/// The one control group that is known, that of the unified hierarchy or of systemd.
fn cgroup<'a>(facts: &Facts<'a>, out: &mut Values<'a>) {
    if let Some(process) = facts.process() {
        out.known(process.cgroup.path.as_bytes());
    }
}

fn memory(facts: &Facts<'_>, out: &mut Values<'_>, which: fn(&crate::processes::Gauges) -> u64) {
    if let Some(process) = facts.process() {
        out.number(which(&process.gauges));
    }
}
