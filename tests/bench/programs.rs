//! What each kernel program of a process costs, by the kernel's own account, less what the account itself costs: an empty
//! program is measured along with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufRead as _},
    os::fd::OwnedFd,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};

/// Runs and nanoseconds so far, by program id.
type Account = BTreeMap<u32, (String, u64, u128)>;

/// Measures the programs that process `pid` holds between the lines `begin` and `end` on standard input. Answers the
/// first with `ready`, the second with one line a program, `NAME RUNS NANOSECONDS`, and a line `end`; the program called
/// `empty` is ours.
pub(super) fn measure(object: &str, pid: u32) -> Result<()> {
    let _empty = super::attached(object, "empty", "sys_exit")?;
    let ids: BTreeSet<u32> = [held(pid)?, held(std::process::id())?].concat().into_iter().collect();
    ensure!(ids.len() > 1, "process {pid} holds no kernel programs");
    let mut open: Option<(OwnedFd, Account)> = None;
    for line in io::stdin().lock().lines() {
        match (line?.trim(), open.take()) {
            ("begin", None) => {
                let before = account(&ids)?;
                open = Some((enable_stats(Stats::RunTime).context("switch the kernel's account on")?, before));
                super::answer("ready")?;
            }
            ("end", Some((enabled, before))) => {
                drop(enabled);
                for (id, (name, runs, time)) in account(&ids)? {
                    let (_, runs_before, time_before) = before.get(&id).context("a program came meanwhile")?;
                    super::answer(&format!("{name} {} {}", runs - runs_before, time - time_before))?;
                }
                super::answer("end")?;
            }
            (line, _) => bail!("not expected: {line:?}"),
        }
    }
    Ok(())
}

/// The ids of the programs that a process has open, itself or by a link.
fn held(pid: u32) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).with_context(|| format!("look at process {pid}"))? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        ids.extend(text.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}

fn account(ids: &BTreeSet<u32>) -> Result<Account> {
    let mut account = Account::new();
    for program in loaded_programs() {
        // One of somebody else's may go while it is asked.
        let Ok(program) = program else { continue };
        if ids.contains(&program.id()) {
            let name = program.name_as_str().unwrap_or("?").to_owned();
            account.insert(program.id(), (name, program.run_count(), program.run_time().as_nanos()));
        }
    }
    ensure!(account.len() == ids.len(), "a program is gone");
    Ok(account)
}
