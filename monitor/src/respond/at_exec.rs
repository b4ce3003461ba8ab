//! Which rules' processes are killed in the kernel at exec, and which from user space, with the reason.
//!
//! What the kernel program leaves alone user space decides about, as it does without it. So it spares more than it has to
//! where it cannot tell exactly (what begins like an entry of `respond.allow`), and never less.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use monitor_common::signals::exec_kill::{Cgroup, TEXT};

use super::{Action, Deed, Guard, Options, act};
use crate::detect::eval::{AtExec, Engine, Pattern};
use crate::detect::lang::ast;
use crate::signals::exec_kill::Plan;

/// What a rule asks to be done itself.
pub fn asked(respond: &ast::Respond) -> Deed {
    let (action, command) = match &respond.action {
        ast::Action::Kill => (Action::Kill, Vec::new()),
        ast::Action::Stop => (Action::Stop, Vec::new()),
        ast::Action::Freeze => (Action::Freeze, Vec::new()),
        ast::Action::Run(command) => (Action::Run, command.clone()),
    };
    Deed { action, dry_run: respond.dry_run, command }
}

/// Whether processes of this rule are killed in the kernel; None: they are not killed at all.
pub fn of_rule(options: &Options, engine: &Engine, rule: &ast::Rule) -> Option<Result<AtExec, String>> {
    let asked: Vec<Deed> = rule.more.respond.iter().map(asked).collect();
    let deeds = options.deeds(&rule.name, &asked);
    let kill = deeds.iter().find(|deed| deed.action == Action::Kill)?;
    if options.dry_run || kill.dry_run {
        return None;
    }
    if let Some(first) = deeds.iter().find(|deed| matches!(deed.action, Action::Freeze | Action::Stop)) {
        return Some(Err(format!("the action {} comes before", first.action.name())));
    }
    Some(spared(options).and_then(|_| engine.at_exec(&rule.name)))
}

/// What everything on `respond.allow` begins with.
fn spared(options: &Options) -> Result<Vec<Pattern>, String> {
    let pattern = |glob: &crate::detect::Glob| {
        let (start, whole) = glob.start();
        match start {
            b"" => Err("an entry of respond.allow begins with a wildcard".to_owned()),
            start if whole && start.len() < TEXT => Ok(Pattern::Is(start.to_vec())),
            start => Ok(Pattern::Begins(start[..start.len().min(TEXT - 1)].to_vec())),
        }
    };
    options.allow.iter().map(pattern).collect()
}

/// Everything that the kernel is told. Without rules it is told nothing.
///
/// # Errors
/// Why nobody is killed in the kernel although rules would allow it.
pub fn plan(options: &Options, engine: &Engine, guard: &Guard) -> Result<Plan, String> {
    let rules = engine.rules().list.iter();
    let rules = rules.filter_map(|rule| Some((rule.ast.name.clone(), of_rule(options, engine, &rule.ast)?.ok()?)));
    let rules: Vec<(String, AtExec)> = rules.collect();
    if rules.is_empty() {
        return Ok(Plan::default());
    }
    let cgroups = own_cgroups()?;
    Ok(Plan { rules, spared: spared(options)?, own: guard.own.clone(), cgroups })
}

/// The daemon's own control groups, as the kernel numbers them.
fn own_cgroups() -> Result<Vec<Cgroup>, String> {
    // PROC_PID_INIT_INO, include/linux/proc_ns.h.
    const FIRST: &str = "pid:[4026531836]";
    if !fs::read_link("/proc/self/ns/pid").is_ok_and(|namespace| namespace.as_os_str() == FIRST) {
        return Err("the daemon is not in the host's pid namespace, and would not know itself".to_owned());
    }
    let text = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let cgroup = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let hierarchy = if controllers.is_empty() { number } else { controllers };
        let counts = Guard::counts(hierarchy) && path != "/";
        counts.then(|| identity(number, hierarchy, path).ok_or_else(|| format!("nobody knows which is {line}")))
    };
    text.lines().filter_map(cgroup).collect()
}

fn identity(number: &str, hierarchy: &str, path: &str) -> Option<Cgroup> {
    let mounts: &[&str] = match hierarchy {
        "0" => &["", "unified"],
        "name=systemd" => &["systemd"],
        _ => &["freezer"],
    };
    let place = |mount: &&str| Path::new(act::CGROUPS).join(mount).join(path.trim_start_matches('/'));
    // With both versions mounted the directory of that name may be something else.
    let place = mounts.iter().map(place).find(|place| place.join("cgroup.procs").exists())?;
    Some(Cgroup { id: fs::metadata(place).ok()?.ino(), hierarchy: number.parse().ok()?, reserved: 0 })
}

#[cfg(test)]
mod tests;
