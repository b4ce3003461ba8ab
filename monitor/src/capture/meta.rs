//! What a recording says of the host it was made on.

use monitor_common::record::ABI_VERSION;
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::detect::eval::Limits;
use crate::processes::Accounts;

/// Most lines of a user or group file that are taken.
const LINES: usize = 10_000;

/// The host, and what was running on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Version of the program that recorded.
    pub monitor: String,
    /// Commit that it was built from.
    pub revision: String,
    /// Layout of the records.
    pub abi: u32,
    /// Most records of a ring that were taken at one look.
    pub limit: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The processor.
    pub machine: String,
    /// The host's name.
    pub host: String,
    /// Nanoseconds since 1970 at boot, when the recording began.
    pub boot_ns: i128,
    /// When the recording began, nanoseconds since boot.
    pub began_ns: u64,
    /// The recorder itself, which is left out.
    pub recorder: u32,
    /// Users: id, name, home directory.
    pub users: Vec<(u32, String, String)>,
    /// User groups: id, name.
    pub groups: Vec<(u32, String)>,
    /// Groups that the configuration names: name and programs.
    pub named: Vec<(String, Vec<String>)>,
    /// Alerts of one rule that were published at once …
    pub alert_burst: u32,
    /// … and after that in a second.
    pub alert_rate: u32,
}

impl Meta {
    /// Users and groups of the host.
    pub fn accounts(&self) -> Accounts {
        Accounts::of_lists(&self.users, &self.groups)
    }

    /// How many findings of a rule were published.
    pub fn limits(&self) -> Limits {
        Limits { burst: self.alert_burst, per_second: self.alert_rate }
    }

    /// Of this host, now.
    pub fn here(limit: usize, boot_ns: i128, began_ns: u64, named: Vec<(String, Vec<String>)>, limits: Limits) -> Self {
        let host = rustix::system::uname();
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            monitor: env!("CARGO_PKG_VERSION").to_owned(),
            revision: cli::revision().to_owned(),
            abi: ABI_VERSION,
            limit,
            kernel: host.release().to_string_lossy().into_owned(),
            machine: host.machine().to_string_lossy().into_owned(),
            host: host.nodename().to_string_lossy().into_owned(),
            boot_ns,
            began_ns,
            recorder: std::process::id(),
            users: users(&text("/etc/passwd")),
            groups: groups(&text("/etc/group")),
            named,
            alert_burst: limits.burst,
            alert_rate: limits.per_second,
        }
    }
}

/// passwd(5)
fn users(text: &str) -> Vec<(u32, String, String)> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((fields.get(2)?.parse().ok()?, (*fields.first()?).to_owned(), (*fields.get(5)?).to_owned()))
    };
    text.lines().take(LINES).filter_map(user).collect()
}

/// group(5)
fn groups(text: &str) -> Vec<(u32, String)> {
    let group = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((fields.get(2)?.parse().ok()?, (*fields.first()?).to_owned()))
    };
    text.lines().take(LINES).filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_read() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n# no user\nme:x:1000:1000::/home/me:/bin/sh\n";
        assert_eq!(users(passwd), [(0, "root".into(), "/root".into()), (1000, "me".into(), "/home/me".into())]);
        assert_eq!(groups("adm:x:4:me\nbroken\n"), [(4, "adm".into())]);
    }
}
