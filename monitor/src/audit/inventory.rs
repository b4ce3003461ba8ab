//! What the daemon works by, told by hashes: so that the trail says of each alert which rules were in force.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Most files that are told one by one.
const FILES: usize = 1_000;
/// Most bytes of one file that are read; a rule file has at most this.
const BYTES: u64 = 16 << 20;

/// The rule files of a directory with their hashes, by name.
pub fn rule_files(directory: &Path) -> Value {
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.retain(|path| path.extension().is_some_and(|end| ["toml", "yaml", "yml"].iter().any(|known| end == *known)));
    paths.sort();
    let all = paths.len();
    let files: Vec<Value> = paths.iter().take(FILES).map(|path| file(path)).collect();
    json!({ "directory": directory.to_string_lossy(), "files": files, "not_listed": all.saturating_sub(FILES) })
}

fn file(path: &Path) -> Value {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match hash(path) {
        Ok(hash) => json!({ "name": name, "sha256": hash }),
        Err(error) => json!({ "name": name, "error": error.to_string() }),
    }
}

fn hash(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES).read_to_end(&mut bytes)?;
    Ok(text_hash(&bytes))
}

/// The SHA-256 of these bytes, in hexadecimal digits.
pub fn text_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_rule_file_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("b.yaml", "abc");
        write("a.toml", "");
        write("notes.txt", "");
        let before = rule_files(directory.path());
        let names: Vec<_> = before["files"].as_array().unwrap().iter().map(|file| file["name"].clone()).collect();
        assert_eq!(names, ["a.toml", "b.yaml"]);
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(before["files"][1]["sha256"], abc);
        write("b.yaml", "abd");
        assert_ne!(rule_files(directory.path()), before);
    }
}
