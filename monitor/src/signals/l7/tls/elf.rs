//! Where functions are in an ELF file: the little of it that is needed, read in place. The file may be anybody's and
//! anything: every length is bounded, and nothing in it is believed.

use std::{fs::File, os::unix::fs::FileExt as _};

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Most bytes of one table that are read. The symbols of a browser fit.
const TABLE_MAX: u64 = 32 << 20;
/// Most entries of the tables of sections and of segments.
const HEADERS_MAX: u16 = 1_024;

const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const PT_LOAD: u32 = 1;
/// Of a symbol's type: a function.
const STT_FUNC: u8 = 2;
/// `EM_X86_64` or `EM_AARCH64`: what this daemon runs on.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct FileHeader {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    segments_at: u64,
    sections_at: u64,
    flags: u32,
    size: u16,
    segment_size: u16,
    segments: u16,
    section_size: u16,
    sections: u16,
    names: u16,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct Section {
    name: u32,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry_size: u64,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    in_file: u64,
    in_memory: u64,
    align: u64,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

/// A function's place in a file, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// The functions called `wanted` in `file`: in the order of `wanted`, `None` where it has none of its own.
/// `None`: it is no program of this machine, or too much of one.
pub(super) fn functions(file: &File, wanted: &[&str]) -> Option<Vec<Option<Function>>> {
    look(&|offset, length| read(file, offset, length), wanted)
}

/// Reads a part of a file.
pub(super) fn read(file: &File, offset: u64, length: u64) -> Option<Vec<u8>> {
    // No more room than there are bytes: a length may be a lie.
    let rest = file.metadata().ok()?.len().checked_sub(offset)?;
    if length > rest || length > TABLE_MAX {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn look(read: &dyn Fn(u64, u64) -> Option<Vec<u8>>, wanted: &[&str]) -> Option<Vec<Option<Function>>> {
    let header = FileHeader::read_from_bytes(&read(0, size_of::<FileHeader>() as u64)?).ok()?;
    // 64 bits, little endian.
    if !header.ident.starts_with(b"\x7fELF\x02\x01") || header.machine != MACHINE {
        return None;
    }
    let sections: Vec<Section> = table(read, header.sections_at, header.sections)?;
    let segments: Vec<Segment> = table(read, header.segments_at, header.segments)?;
    let mut found = vec![None; wanted.len()];
    // What is exported first: it suffices nearly always.
    for kind in [SHT_DYNSYM, SHT_SYMTAB] {
        // There is one.
        if let Some(section) = sections.iter().find(|section| section.kind == kind) {
            let names = sections.get(section.link as usize)?;
            // Too many: as if there were none.
            let Some(names) = read(names.offset, names.size) else { continue };
            let Some(symbols) = read(section.offset, section.size) else { continue };
            let symbols =
                symbols.chunks_exact(size_of::<Symbol>()).filter_map(|bytes| Symbol::read_from_bytes(bytes).ok());
            // Without a section: somebody else's.
            for symbol in symbols.filter(|symbol| symbol.info & 15 == STT_FUNC && symbol.section != 0) {
                let name = names.get(symbol.name as usize..).unwrap_or_default();
                let is =
                    |wanted: &&str| name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0));
                if let Some(index) = wanted.iter().position(is)
                    && let Some(entry) = found.get_mut(index)
                {
                    let place = || Some(Function { offset: place(&segments, symbol.value)?, size: symbol.size });
                    *entry = entry.or_else(place);
                }
            }
        }
        if found.iter().any(Option::is_some) {
            break;
        }
    }
    Some(found)
}

/// Where in the file an address is.
fn place(segments: &[Segment], address: u64) -> Option<u64> {
    let holds = |segment: &&Segment| {
        segment.kind == PT_LOAD && address.checked_sub(segment.address).is_some_and(|at| at < segment.in_file)
    };
    let segment = segments.iter().find(holds)?;
    segment.offset.checked_add(address - segment.address)
}

fn table<T: FromBytes>(read: &dyn Fn(u64, u64) -> Option<Vec<u8>>, at: u64, count: u16) -> Option<Vec<T>> {
    if count > HEADERS_MAX {
        return None;
    }
    let bytes = read(at, u64::from(count) * size_of::<T>() as u64)?;
    Some(bytes.chunks_exact(size_of::<T>()).filter_map(|bytes| T::read_from_bytes(bytes).ok()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The test program itself has functions, and imports others.
    #[test]
    fn functions_of_ones_own_are_found_where_the_bytes_are_and_imported_ones_are_not() {
        #[unsafe(no_mangle)]
        extern "C" fn monitor_test_function_in_elf() -> u32 {
            4_711
        }
        let address = std::hint::black_box(monitor_test_function_in_elf as extern "C" fn() -> u32) as usize;
        let exe = File::open("/proc/self/exe").unwrap();
        let found = functions(&exe, &["monitor_test_function_in_elf", "malloc", "no_such_function"]).unwrap();
        let Function { offset, size } = found[0].expect("it is in the table of symbols");
        assert!(size > 0);
        assert_eq!(found[1..], [None, None]);
        // Where this address is mapped from.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let (from, to) = words.next()?.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            let (from, to, offset) = (number(from)?, number(to)?, number(words.nth(1)?)?);
            (from..to).contains(&address).then(|| (address - from + offset) as u64)
        });
        assert_eq!(Some(offset), mapped);
    }

    #[test]
    fn what_is_no_program_of_this_machine_has_no_functions() {
        assert_eq!(functions(&File::open("/proc/self/maps").unwrap(), &["main"]), None);
        let read = |bytes: &[u8]| {
            let bytes = bytes.to_vec();
            move |offset: u64, length: u64| bytes.get(offset as usize..(offset + length) as usize).map(<[u8]>::to_vec)
        };
        assert_eq!(
            look(&read(b"\x7fELF\x01\x01 and then some more, sixty-four bytes of it in all, or so.."), &["main"]),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 64..600), sane in any::<bool>()) {
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            bytes[18..20].copy_from_slice(&MACHINE.to_le_bytes());
            if sane {
                // Tables inside of the file, with few entries.
                for at in [32, 40] {
                    bytes[at + 1..at + 8].fill(0);
                }
                for at in [56, 60] {
                    bytes[at..at + 2].copy_from_slice(&[4, 0]);
                }
            }
            let read = |offset: u64, length: u64| {
                let end = offset.checked_add(length)?;
                Some(bytes.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)?.to_vec())
            };
            let _ = look(&read, &["main"]);
        }
    }
}
