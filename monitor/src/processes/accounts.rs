//! Names of users and groups on this host, from `/etc/passwd` and `/etc/group` (passwd(5), group(5)). Other sources of
//! names (LDAP, systemd) are not asked: that may take seconds, and whoever is asked may be the one who is watched.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 8 << 20;

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct User {
    name: Box<str>,
    home: Box<[u8]>,
}

/// Names of users and groups.
#[derive(Debug, Default)]
pub struct Accounts {
    users: HashMap<u32, User>,
    groups: HashMap<u32, Box<str>>,
    files: Option<[Watched; 2]>,
}

/// A file, and what it looked like when it was read.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl Watched {
    fn new(path: &str) -> Self {
        Self { path: PathBuf::from(path), seen: None }
    }

    /// Its text, if it is another than the last time.
    fn changed(&mut self) -> io::Result<Option<Vec<u8>>> {
        let metadata = fs::metadata(&self.path)?;
        let seen = Some((metadata.modified()?, metadata.len()));
        if self.seen == seen {
            return Ok(None);
        }
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return Err(io::Error::other("it is no regular file or larger than 8 MiB"));
        }
        let text = fs::read(&self.path)?;
        self.seen = seen;
        Ok(Some(text))
    }
}

impl Accounts {
    /// Those of this host, as they are now.
    pub fn of_host() -> Self {
        let files = Some([Watched::new("/etc/passwd"), Watched::new("/etc/group")]);
        let mut accounts = Self { files, ..Self::default() };
        accounts.refresh();
        accounts
    }

    /// Those that are written down.
    pub fn of_text(passwd: &[u8], group: &[u8]) -> Self {
        let mut accounts = Self::default();
        accounts.read_users(passwd);
        accounts.read_groups(group);
        accounts
    }

    /// Those with these ids and names, users with their homes.
    pub fn of_lists(users: &[(u32, String, String)], groups: &[(u32, String)]) -> Self {
        let user = |(uid, name, home): &(u32, String, String)| {
            (*uid, User { name: name.as_str().into(), home: home.as_bytes().into() })
        };
        let group = |(gid, name): &(u32, String)| (*gid, name.as_str().into());
        Self { users: users.iter().map(user).collect(), groups: groups.iter().map(group).collect(), files: None }
    }

    /// Looks whether the files have changed. A file that cannot be read leaves what was known.
    pub fn refresh(&mut self) {
        let Some(mut files) = self.files.take() else { return };
        let [passwd, group] = &mut files;
        let read = |file: &mut Watched| match file.changed() {
            Ok(text) => text,
            Err(error) => {
                tracing::debug!(path = %file.path.display(), %error, "names of users cannot be read");
                None
            }
        };
        if let Some(text) = read(passwd) {
            self.read_users(&text);
        }
        if let Some(text) = read(group) {
            self.read_groups(&text);
        }
        self.files = Some(files);
    }

    /// Name of a user.
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.get(&uid).map(|user| &*user.name)
    }

    /// Home directory of a user.
    pub fn home(&self, uid: u32) -> Option<&[u8]> {
        self.users.get(&uid).map(|user| &*user.home)
    }

    /// Name of a group.
    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.get(&gid).map(|name| &**name)
    }

    /// Home directories of all users, without doubles.
    pub fn homes(&self) -> impl Iterator<Item = &Path> {
        use std::os::unix::ffi::OsStrExt as _;
        self.users.values().map(|user| Path::new(std::ffi::OsStr::from_bytes(&user.home)))
    }

    fn read_users(&mut self, text: &[u8]) {
        self.users.clear();
        for fields in lines(text).filter(|fields| fields.len() >= 6) {
            let Some(uid) = number(fields[2]) else { continue };
            // Of two names for one number the first counts, as for getpwuid(3).
            self.users.entry(uid).or_insert_with(|| User { name: readable(fields[0]), home: fields[5].into() });
        }
    }

    fn read_groups(&mut self, text: &[u8]) {
        self.groups.clear();
        for fields in lines(text).filter(|fields| fields.len() >= 3) {
            let Some(gid) = number(fields[2]) else { continue };
            self.groups.entry(gid).or_insert_with(|| readable(fields[0]));
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    lines.map(|line| line.split(|byte| *byte == b':').collect())
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn readable(text: &[u8]) -> Box<str> {
    String::from_utf8_lossy(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_files_and_the_first_of_two_counts() {
        let accounts = Accounts::of_text(
            b"root:x:0:0:root:/root:/bin/sh\n# no user\ntoor:x:0:0::/elsewhere:/bin/sh\nbroken\n\nann:x:1000:1000:Ann:/home/ann:/bin/sh\nx:x:no number:1::/:/",
            b"root:x:0:\nstaff:x:50:ann\n",
        );
        assert_eq!(accounts.user(0), Some("root"));
        assert_eq!(accounts.home(1000), Some(b"/home/ann".as_slice()));
        assert_eq!(accounts.group(50), Some("staff"));
        assert_eq!(accounts.user(7), None);
        assert_eq!(accounts.homes().count(), 2);
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_one_that_goes_leaves_what_was_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        let other = directory.path().join("group");
        fs::write(&path, "ann:x:1:1::/a:/bin/sh\n").unwrap();
        let watched = |path: &Path| Watched { path: path.to_owned(), seen: None };
        let mut accounts = Accounts { files: Some([watched(&path), watched(&other)]), ..Accounts::default() };
        accounts.refresh();
        assert_eq!(accounts.user(1), Some("ann"));
        fs::write(&path, "annette:x:1:1::/a:/bin/sh\n").unwrap();
        accounts.refresh();
        assert_eq!(accounts.user(1), Some("annette"));
        fs::remove_file(&path).unwrap();
        accounts.refresh();
        assert_eq!(accounts.user(1), Some("annette"));
    }
}
