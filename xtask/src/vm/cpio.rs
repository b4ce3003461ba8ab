//! Archives in cpio's "newc" format, which the kernel unpacks as its first file system (Documentation/driver-api/
//! early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

/// An archive in the making. Paths are absolute; directories are made as needed.
#[derive(Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Cpio {
    pub(super) fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return;
        }
        self.parent_of(path);
        self.entry(path, 0o040_755, b"");
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        let path = path.trim_start_matches('/');
        self.parent_of(path);
        self.entry(path, 0o100_000 | mode, contents);
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        let path = path.trim_start_matches('/');
        self.parent_of(path);
        self.entry(path, 0o120_777, target.as_bytes());
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.pad();
        self.bytes
    }

    fn parent_of(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.pad();
        self.entries += 1;
        // Inode, mode, user, group, links, time, size, device of the file, device it stands for, length of the name,
        // sum.
        let size = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0];
        self.bytes.extend(b"070701");
        self.bytes.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_is_in_them_and_once() {
        let mut cpio = Cpio::default();
        cpio.file("/a/b/c", 0o644, b"x");
        cpio.directory("a/b");
        cpio.link("/a/d", "b/c");
        let text = String::from_utf8(cpio.finish()).unwrap();
        let names: Vec<&str> =
            text.split("070701").skip(1).map(|entry| entry[104..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/d", "TRAILER!!!"]);
        assert!(text.len().is_multiple_of(4));
    }

    #[test]
    fn an_entry_is_as_the_kernel_reads_it() {
        let mut cpio = Cpio::default();
        cpio.file("file", 0o755, b"12345");
        let bytes = cpio.finish();
        let header = "070701000000010000 81ed00000000000000000000000100000000000000050000000000000000000000000000000000000005\
                      00000000file\0";
        let header = header.replace(' ', "");
        // 110 bytes of header and 5 of name are followed by one that aligns the contents.
        assert_eq!(std::str::from_utf8(&bytes[..115]).unwrap(), header);
        assert_eq!(&bytes[115..124], b"\x0012345\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
    }
}
