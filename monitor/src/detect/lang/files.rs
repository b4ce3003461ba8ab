//! Rule files on disk, in the order in which they are loaded.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ast::{Diagnostic, Place};
use super::load::{MAX_FILE, Source};

/// Most files of one directory.
const MAX_FILES: usize = 1000;

/// What was read, and what could not be.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Files with their text.
    pub sources: Vec<Source>,
    /// Files that could not be read, and why.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a rule file, or all `*.yaml` and `*.yml` of a directory in the order of their names. Hidden files are left out:
/// editors leave such.
pub fn files(path: &Path) -> Read {
    let mut read = Read::default();
    let paths = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => match directory(path) {
            Ok(paths) => paths,
            Err(error) => {
                read.refuse(path, format!("cannot be listed: {error}"));
                return read;
            }
        },
        _ => vec![path.to_owned()],
    };
    for (index, path) in paths.into_iter().enumerate() {
        if index >= MAX_FILES {
            read.refuse(
                &path,
                format!("the directory has more than {MAX_FILES} rule files: this and later ones are left out"),
            );
            break;
        }
        match text(&path) {
            Ok(text) => read.sources.push(Source { path, text }),
            Err(message) => read.refuse(&path, message),
        }
    }
    read
}

impl Read {
    fn refuse(&mut self, path: &Path, message: String) {
        let place = Place { file: Arc::new(path.to_owned()), line: 1, column: 1 };
        self.diagnostics.push(Diagnostic { place, item: None, error: true, message });
    }
}

fn directory(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let rules = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if rules && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    // Anything else might never end, or never answer.
    if !metadata.is_file() {
        return Err(if metadata.is_dir() { "is a directory" } else { "is no regular file" }.to_owned());
    }
    let file = fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > MAX_FILE {
        return Err(format!("is longer than {} MiB: split it", MAX_FILE >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        format!("is no UTF-8 text: byte {} in line {line}", valid + 1)
    })
}
