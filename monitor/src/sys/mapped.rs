//! A BPF array map as memory.

use std::{ffi::c_void, io, marker::PhantomData, os::fd::AsFd, ptr};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use zerocopy::{FromBytes, IntoBytes};

/// A BPF array map (with `BPF_F_MMAPABLE`) whose values are `T`, mapped into this process.
///
/// The kernel's programs write it at the same time, so every access is volatile and copies: no reference into the memory
/// is ever made. A value may be torn between two of its words; the counters in it are each meaningful alone.
#[derive(Debug)]
pub struct MappedArray<T> {
    memory: *mut c_void,
    bytes: usize,
    entries: usize,
    values: PhantomData<T>,
}

// SAFETY: the memory belongs to the map, not to a thread; all access goes through volatile copies.
unsafe impl<T> Send for MappedArray<T> {}

impl<T: FromBytes + IntoBytes> MappedArray<T> {
    const SIZE: () =
        assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 8, "array values are spaced by 8 bytes");

    /// Maps the array `map` of `entries` values.
    ///
    /// # Errors
    /// What mmap(2) says: `EINVAL` when the map is smaller or was made without `BPF_F_MMAPABLE`.
    pub fn new(map: impl AsFd, entries: u32) -> io::Result<Self> {
        const { Self::SIZE };
        let entries = entries as usize;
        let page = rustix::param::page_size();
        let bytes = (entries * size_of::<T>()).next_multiple_of(page);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let memory =
            unsafe { mmap(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0) }?;
        Ok(Self { memory, bytes, entries, values: PhantomData })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// No values at all?
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// A copy of value `index`; `None` beyond the end.
    pub fn read(&self, index: usize) -> Option<T> {
        // SAFETY: `at` keeps inside the mapping; `T` is plain bytes of any value, and the mapping is aligned to a page.
        self.at(index).map(|value| unsafe { ptr::read_volatile(value) })
    }

    /// Replaces value `index`. Only for values that the kernel's programs do not write at this time.
    pub fn write(&self, index: usize, new: T) {
        if let Some(value) = self.at(index) {
            // SAFETY: as in `read`.
            unsafe { ptr::write_volatile(value, new) };
        }
    }

    fn at(&self, index: usize) -> Option<*mut T> {
        // SAFETY: below `entries`, so inside the mapping.
        (index < self.entries).then(|| unsafe { self.memory.cast::<T>().add(index) })
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, and nothing refers into it.
        // A failure would leave the mapping behind; there is nobody to tell.
        let _ = unsafe { munmap(self.memory, self.bytes) };
    }
}
