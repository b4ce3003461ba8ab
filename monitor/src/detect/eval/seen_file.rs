//! The file of what rules have seen. The engine itself knows nothing of files; who runs it reads this one at the start and
//! writes it now and then, and at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::engine::Engine;
use super::state::seen::Damage;

/// Longest file that is read: more than rules may remember.
const MAX: u64 = 256 << 20;

/// Why the file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SeenFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}; make it a file that the daemon may read, or remove it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is damaged.
    #[error(
        "{} {damage}: what rules have seen begins anew, and what is known may be told as new once more; the file is kept as \
         {}: put a good copy in its place and restart, or remove it",
        path.display(),
        aside.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
        /// Where it is kept.
        aside: PathBuf,
    },
    /// It is damaged and could not be put aside: it stays, and nothing may be written over it.
    #[error("{} {damage}, and cannot be kept as {}: {source}; move it away", path.display(), aside.display())]
    Stuck {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
        /// Where it should be kept.
        aside: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Lets rules remember what the file says. There may be none yet.
///
/// # Errors
/// When it cannot be read or is damaged; rules begin anew then.
pub fn read(path: &Path, engine: &mut Engine) -> Result<(), SeenFileError> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut bytes));
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SeenFileError::Read { path: path.to_owned(), source }),
        Ok(_) => {}
    }
    let Err(damage) = engine.remember(&bytes) else { return Ok(()) };
    let (aside, moved) = put_aside(path);
    let path = path.to_owned();
    Err(match moved {
        Ok(()) => SeenFileError::Damaged { path, damage, aside },
        Err(source) => SeenFileError::Stuck { path, damage, aside, source },
    })
}

/// Most damaged files that are kept; from then on each takes the place of the last one.
const ASIDE: u32 = 9;

/// Gives it another name, that none has yet: `seen.damaged`, `seen.damaged.2` and so on.
fn put_aside(path: &Path) -> (PathBuf, io::Result<()>) {
    let name = |number: u32| match number {
        1 => beside(path, "damaged"),
        _ => beside(path, &format!("damaged.{number}")),
    };
    let free = (1..ASIDE).map(name).find(|aside| fs::symlink_metadata(aside).is_err());
    let aside = free.unwrap_or_else(|| name(ASIDE));
    let moved = fs::rename(path, &aside);
    (aside, moved)
}

/// Puts a new file in the place of the old one: whoever looks finds one of the two, whole, also after a crash.
///
/// # Errors
/// What the system says; the old file is as it was then.
pub fn write(path: &Path, seen: &[u8]) -> io::Result<()> {
    let new = beside(path, "new");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(seen)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        // Half a file is of no use to anybody; that it cannot be removed either says nothing new.
        let _ = fs::remove_file(&new);
    }
    written
}

/// `seen` becomes `seen.new`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
