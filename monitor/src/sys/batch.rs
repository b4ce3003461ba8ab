//! Many entries of a BPF hash with one system call, `BPF_MAP_LOOKUP_BATCH` of bpf(2), which aya has no wrapper for.

use std::{
    ffi::{c_long, c_void},
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    ptr,
};

use aya::maps::{MapData, MapType};

/// `enum bpf_cmd` of include/uapi/linux/bpf.h.
const LOOKUP_BATCH: c_long = 24;
/// Entries asked for at first. A bucket of the hash comes whole or not at all, and holds one entry on the average.
const ENTRIES: usize = 512;
/// A bucket with more than this is no hash any more.
const ENTRIES_MAX: usize = 1 << 16;

/// The part of `union bpf_attr` for batches, as the kernel has it since Linux 5.6.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    /// Address of the position to begin at; 0: at the first bucket.
    in_batch: u64,
    /// Address that the position to go on at is written to.
    out_batch: u64,
    keys: u64,
    values: u64,
    /// Room on the way in, entries on the way out.
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Reads a hash with keys of `K` and values of `V` bytes. It keeps its memory from one time to the next.
#[derive(Debug)]
pub struct HashReader<const K: usize, const V: usize> {
    /// A hash with keys and values of these sizes: `new` has asked the kernel.
    map: OwnedFd,
    keys: Vec<[u8; K]>,
    values: Vec<[u8; V]>,
}

impl<const K: usize, const V: usize> HashReader<K, V> {
    /// A reader of `map`.
    ///
    /// # Errors
    /// When the kernel does not tell what `map` is, or it is no hash with keys and values of these sizes.
    pub fn new(map: &MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let kind = info.map_type().map_err(io::Error::other)?;
        if kind != MapType::Hash || info.key_size() as usize != K || info.value_size() as usize != V {
            let what = format!("a map of kind {kind:?}, {} and {} bytes", info.key_size(), info.value_size());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let map = map.fd().as_fd().try_clone_to_owned()?;
        Ok(Self { map, keys: vec![[0; K]; ENTRIES], values: vec![[0; V]; ENTRIES] })
    }

    /// Hands every entry to `take`. Entries that come or go meanwhile may be there or not; every other one is there once.
    ///
    /// # Errors
    /// What bpf(2) says: `EINVAL` or `ENOTSUPP` when this kernel has no batches.
    pub fn read(&mut self, mut take: impl FnMut(&[u8; K], &[u8; V])) -> io::Result<()> {
        let mut position: Option<u32> = None;
        loop {
            let (result, count, next) = self.batch(position);
            // The last batch says that there is no more.
            let last = match result {
                Ok(()) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && self.keys.len() < ENTRIES_MAX => {
                    self.grow(self.keys.len() * 2);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (key, value) in self.keys.iter().zip(&self.values).take(count) {
                take(key, value);
            }
            if last {
                return Ok(());
            }
            position = Some(next);
        }
    }

    fn grow(&mut self, entries: usize) {
        self.keys.resize(entries, [0; K]);
        self.values.resize(entries, [0; V]);
    }

    /// One call: its result, how many entries there are now, and where to go on.
    fn batch(&mut self, position: Option<u32>) -> (io::Result<()>, usize, u32) {
        let mut next = 0_u32;
        let room = self.keys.len().min(self.values.len());
        let mut attributes = Attributes {
            in_batch: position.as_ref().map_or(0, address),
            out_batch: ptr::from_mut(&mut next).expose_provenance() as u64,
            keys: self.keys.as_mut_ptr().expose_provenance() as u64,
            values: self.values.as_mut_ptr().expose_provenance() as u64,
            count: u32::try_from(room).unwrap_or(u32::MAX),
            map_fd: u32::try_from(self.map.as_raw_fd()).unwrap_or(u32::MAX),
            ..Attributes::default()
        };
        // SAFETY: the kernel reads and writes the attributes, of the size told, and what their addresses lead to: `count`
        // keys and values, for which there is room, as the map's are of the sizes that `new` checked; and a position
        // of four bytes for each direction, which is what hashes have. All of it is integers and outlives the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                LOOKUP_BATCH,
                ptr::from_mut(&mut attributes).cast::<c_void>(),
                size_of::<Attributes>(),
            )
        };
        let result = if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        (result, (attributes.count as usize).min(room), next)
    }
}

fn address(position: &u32) -> u64 {
    ptr::from_ref(position).expose_provenance() as u64
}
