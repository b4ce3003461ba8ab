//! A BPF array map as memory.

use std::{
    cell::Cell,
    ffi::c_void,
    io,
    marker::PhantomData,
    os::fd::{AsFd, OwnedFd},
    ptr,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use tracing::error;
use zerocopy::{FromBytes, IntoBytes};

/// Pages that are mapped at a time. A window is one kernel call when it is first needed.
const WINDOW_PAGES: usize = 4;

/// A BPF array map (with `BPF_F_MMAPABLE`) whose values are `T`, mapped into this process.
///
/// The kernel's programs write it at the same time, so every access is volatile and copies: no reference into the memory
/// is ever made. A value may be torn between two of its words; the counters in it are each meaningful alone.
///
/// The kernel makes all pages of such a mapping resident at once, also those that nobody looks at, and most slots are
/// free on most hosts. So addresses are reserved for the whole array, and windows of it are mapped when a value in them
/// is looked at, until nobody does any more ([`Self::give_back`]).
#[derive(Debug)]
pub struct MappedArray<T> {
    map: OwnedFd,
    memory: *mut c_void,
    bytes: usize,
    entries: usize,
    windows: Box<[Cell<Window>]>,
    window_bytes: usize,
    values: PhantomData<T>,
}

/// What there is at a window's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    /// Nothing: an access would be a fault.
    Absent,
    /// The array, and nobody looked at it since the last [`MappedArray::give_back`].
    Idle,
    /// The array.
    Used,
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
        let window_bytes = page * WINDOW_PAGES;
        let map = map.as_fd().try_clone_to_owned()?;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let memory = unsafe { mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::empty(), RESERVED) }?;
        let windows = vec![Cell::new(Window::Absent); bytes.div_ceil(window_bytes)].into();
        let array = Self { map, memory, bytes, entries, windows, window_bytes, values: PhantomData };
        // Tells now what any window would tell later: whether this is a map of that size that can be mapped.
        if let Some(last) = array.windows.len().checked_sub(1) {
            array.show(last)?;
        }
        Ok(array)
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// No values at all?
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// A copy of value `index`; `None` beyond the end, and when the kernel has no room to map it.
    pub fn read(&self, index: usize) -> Option<T> {
        // SAFETY: `at` keeps inside what is mapped; `T` is plain bytes of any value, and the mapping is aligned to a page.
        self.at(index).map(|value| unsafe { ptr::read_volatile(value) })
    }

    /// Replaces value `index`. Only for values that the kernel's programs do not write at this time.
    pub fn write(&self, index: usize, new: T) {
        match self.at(index) {
            // SAFETY: as in `read`.
            Some(value) => unsafe { ptr::write_volatile(value, new) },
            None => error!(index, "an entry of a kernel array cannot be written: its counts go to the next owner, too"),
        }
    }

    /// Unmaps what nobody has looked at since the last call.
    pub fn give_back(&mut self) {
        for index in 0..self.windows.len() {
            match self.windows[index].get() {
                Window::Absent => {}
                Window::Used => self.windows[index].set(Window::Idle),
                Window::Idle => {
                    let (address, bytes) = self.window(index);
                    // SAFETY: replaces pages of our own reservation, which nothing refers into: `at` is only used inside
                    // one read or write, and this borrows the array alone.
                    let hidden =
                        unsafe { mmap_anonymous(address, bytes, ProtFlags::empty(), RESERVED | MapFlags::FIXED) };
                    if hidden.is_ok() {
                        self.windows[index].set(Window::Absent);
                    }
                }
            }
        }
    }

    fn at(&self, index: usize) -> Option<*mut T> {
        if index >= self.entries {
            return None;
        }
        let (first, end) = (index * size_of::<T>(), (index + 1) * size_of::<T>());
        for window in first / self.window_bytes..=(end - 1) / self.window_bytes {
            let state = self.windows.get(window)?;
            if state.get() == Window::Absent {
                self.show(window).ok()?;
            }
            state.set(Window::Used);
        }
        // SAFETY: below `entries`, so inside the reservation.
        Some(unsafe { self.memory.cast::<T>().add(index) })
    }

    /// Maps a window.
    fn show(&self, index: usize) -> io::Result<()> {
        let (address, bytes) = self.window(index);
        let offset = (index * self.window_bytes) as u64;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
        // SAFETY: replaces pages of our own reservation that cannot be accessed, so nothing refers into them.
        unsafe { mmap(address, bytes, access, flags, &self.map, offset) }?;
        self.windows[index].set(Window::Used);
        Ok(())
    }

    /// Address and size of a window; the last one may be smaller.
    fn window(&self, index: usize) -> (*mut c_void, usize) {
        let start = index * self.window_bytes;
        (self.memory.wrapping_byte_add(start), self.window_bytes.min(self.bytes - start))
    }
}

/// Addresses that nobody else gets, without memory.
const RESERVED: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: this is the reservation made in `new` with all its windows, and nothing refers into it.
        // A failure would leave the mapping behind; there is nobody to tell.
        let _ = unsafe { munmap(self.memory, self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _};

    use super::*;

    /// 24 bytes: values lie across the borders of windows.
    type Value = [u64; 3];
    const ENTRIES: u32 = 10_000;

    /// Any file can be mapped as an array is.
    fn file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len((u64::from(ENTRIES) * 24).next_multiple_of(rustix::param::page_size() as u64)).unwrap();
        for index in 0..u64::from(ENTRIES) {
            let value: Vec<u8> = [index, index * 3, !index].iter().flat_map(|word| word.to_ne_bytes()).collect();
            file.write_all_at(&value, index * 24).unwrap();
        }
        file
    }

    fn mapped(array: &MappedArray<Value>) -> usize {
        array.windows.iter().filter(|window| window.get() != Window::Absent).count()
    }

    #[test]
    fn every_value_is_found_also_after_its_window_was_given_back() {
        let mut array: MappedArray<Value> = MappedArray::new(file(), ENTRIES).unwrap();
        for _ in 0..3 {
            for index in 0..u64::from(ENTRIES) {
                assert_eq!(array.read(index as usize), Some([index, index * 3, !index]));
            }
            assert_eq!(mapped(&array), array.windows.len());
            array.give_back();
            assert_eq!(mapped(&array), array.windows.len(), "looked at since the last time");
            array.give_back();
            assert_eq!(mapped(&array), 0);
        }
        assert_eq!(array.read(ENTRIES as usize), None);
    }

    #[test]
    fn only_what_is_looked_at_is_mapped() {
        let mut array: MappedArray<Value> = MappedArray::new(file(), ENTRIES).unwrap();
        array.give_back();
        array.give_back();
        // Across the border of two windows.
        let across = rustix::param::page_size() * WINDOW_PAGES / 24;
        assert_eq!(array.read(across).map(|value| value[0]), Some(across as u64));
        assert_eq!(mapped(&array), 2);
        for _ in 0..5 {
            array.give_back();
            array.read(0);
        }
        assert_eq!(mapped(&array), 1);
    }

    #[test]
    fn what_is_written_is_in_the_map() {
        let file = file();
        let mut array: MappedArray<Value> = MappedArray::new(&file, ENTRIES).unwrap();
        array.write(682, [7, 8, 9]);
        array.give_back();
        array.give_back();
        let mut bytes = [0; 24];
        file.read_exact_at(&mut bytes, 682 * 24).unwrap();
        assert_eq!(bytes.chunks(8).map(|word| word[0]).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(array.read(682), Some([7, 8, 9]));
        assert_eq!(array.read(683).map(|value| value[0]), Some(683));
    }

    #[test]
    fn what_cannot_be_mapped_is_told_at_once() {
        let file = File::open("/dev/null").unwrap();
        assert!(MappedArray::<Value>::new(file, ENTRIES).is_err());
    }
}
