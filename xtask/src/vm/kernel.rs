//! Stock kernels, kept outside of the tree.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};

use super::{apt::Apt, series::Series};

/// Names the directory of kernels, when it is to be another one.
const DIRECTORY: &str = "MONITOR_KERNELS";

/// How long a name stands for the package that it stood for before.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// What `uname -r` will say.
    pub(super) release: String,
    /// The kernel itself.
    pub(super) image: PathBuf,
    /// Its modules: `.../modules/RELEASE`.
    pub(super) modules: PathBuf,
}

/// Where kernels are kept.
pub(super) fn cache() -> Result<PathBuf> {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return Ok(directory.into());
    }
    let caches = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(caches) => PathBuf::from(caches),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(caches.join("monitor/kernels"))
}

/// The newest kernel of a series, fetched unless it is there already. The private apt is made when it is needed, once.
pub(super) fn kernel(series: Series, apt: &mut Option<Apt>) -> Result<Kernel> {
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    // Another checkout may want the same at the same time.
    let lock = File::create(cache.join("lock")).context("make a lock file")?;
    lock.lock().context("wait for whoever fetches kernels")?;
    let note = cache.join(format!("{series}.name"));
    let before = fs::read_to_string(&note).ok().map(|version| cache.join(version.trim())).filter(|path| path.is_dir());
    let age = fs::metadata(&note).and_then(|file| file.modified()).map(|time| SystemTime::now().duration_since(time));
    if let (Some(directory), Ok(Ok(age))) = (&before, age)
        && age < FRESH
    {
        return unpacked(directory);
    }
    match (fetch(series, &cache, &note, apt), before) {
        (Ok(directory), _) => unpacked(&directory),
        // What was the newest yesterday tests the same code.
        (Err(error), Some(directory)) => {
            println!("    warning: kernel {series} may not be the newest any more: {error:#}");
            unpacked(&directory)
        }
        (Err(error), None) => Err(error),
    }
}

fn fetch(series: Series, cache: &Path, note: &Path, apt: &mut Option<Apt>) -> Result<PathBuf> {
    let apt = match apt {
        Some(apt) => apt,
        None => apt.insert(Apt::new(cache, series.arch)?),
    };
    let found = apt.find(series)?;
    let name = format!("{}{}", series.arch.prefix(), found.version);
    let directory = cache.join(&name);
    if !directory.is_dir() {
        let scratch = cache.join(format!("{name}.part"));
        drop(fs::remove_dir_all(&scratch));
        fs::create_dir_all(&scratch)?;
        apt.unpack(&found.packages, &scratch, &scratch)?;
        unpacked(&scratch)?;
        fs::rename(&scratch, &directory).context("put the kernel in its place")?;
    }
    fs::write(note, &name)?;
    Ok(directory)
}

/// Finds kernel and modules; where they are has changed over the years.
fn unpacked(directory: &Path) -> Result<Kernel> {
    let (mut image, mut modules) = (None, None);
    walk(directory, &mut |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("vmlinuz") {
            image = Some(path.to_path_buf());
        } else if name == "modules.builtin" {
            modules = path.parent().map(Path::to_path_buf);
        }
    })?;
    let (Some(image), Some(modules)) = (image, modules) else {
        bail!("{} has no kernel with modules: remove it and try again", directory.display());
    };
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Kernel { release, image, modules })
}

/// Calls `each` for every file below a directory.
pub(super) fn walk(directory: &Path, each: &mut dyn FnMut(&Path)) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), each)?;
        } else {
            each(&entry.path());
        }
    }
    Ok(())
}
