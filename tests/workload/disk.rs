//! Block I/O past the page cache.

use std::{
    alloc::Layout,
    fs,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    slice,
};

use crate::{number, say};

/// Bytes of one request.
const BLOCK: usize = 4096;

/// The file or device in use.
#[derive(Default)]
pub(crate) struct Disk {
    file: Option<fs::File>,
}

pub(crate) fn step(name: &str, words: &[&str], disk: &mut Disk) -> bool {
    match (name, words) {
        ("open-direct", [path]) => disk.file = Some(open(path)),
        ("write-direct", [from, blocks]) => each(disk, number(from), number(blocks), |file, block, at| {
            assert_eq!(file.write_at(block, at).expect("write"), BLOCK);
        }),
        ("read-direct", [from, blocks]) => each(disk, number(from), number(blocks), |file, block, at| {
            assert_eq!(file.read_at(block, at).expect("read"), BLOCK);
        }),
        ("read-in-vain", [from, blocks]) => each(disk, number(from), number(blocks), |file, block, at| {
            let error = file.read_at(block, at).expect_err("there should be nothing to read");
            say(&error.raw_os_error().unwrap_or_default().to_string());
        }),
        _ => return false,
    }
    true
}

fn open(path: &str) -> fs::File {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_DIRECT).open(path).expect("open for direct I/O")
}

/// One request a block, one after the other.
fn each(disk: &Disk, from: u64, blocks: u64, request: impl Fn(&fs::File, &mut [u8], u64)) {
    let file = disk.file.as_ref().expect("a step before this one opens a file");
    let layout = Layout::from_size_align(BLOCK, BLOCK).expect("a power of two");
    // SAFETY: the layout is not empty; the memory is never given back. Direct I/O wants it aligned.
    let block = unsafe { slice::from_raw_parts_mut(std::alloc::alloc_zeroed(layout), BLOCK) };
    for number in from..from + blocks {
        request(file, block, number * BLOCK as u64);
    }
}
