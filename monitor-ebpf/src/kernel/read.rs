//! Reads of kernel memory.

use core::{mem::MaybeUninit, ptr};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use monitor_common::offsets::MISSING;

/// A kernel object, by its address. 0 stands for "none".
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object(pub(crate) u64);

impl Object {
    /// No object.
    pub(crate) const NONE: Self = Self(0);

    /// The field at `offset`, or all zeroes when the kernel has no such field or the address cannot be read. Checked at
    /// run time by the kernel: a wrong address is harmless, and so is none. Asking for none here would make the verifier
    /// follow both answers through all that comes after, for each object anew.
    #[inline(always)]
    pub(crate) fn field<T: Copy>(self, offset: u64) -> T {
        let mut value = MaybeUninit::<T>::zeroed();
        if offset != MISSING {
            // SAFETY: the destination is a local of the size given; the helper checks the source.
            unsafe {
                bpf_probe_read_kernel(
                    value.as_mut_ptr().cast(),
                    size_of::<T>() as u32,
                    self.0.wrapping_add(offset) as *const _,
                )
            };
        }
        // SAFETY: `T` is a plain integer or an array of them in every use; zero is a value of those.
        unsafe { value.assume_init() }
    }

    /// The object that the pointer at `offset` points to.
    #[inline(always)]
    pub(crate) fn pointer(self, offset: u64) -> Self {
        Self(self.field::<u64>(offset))
    }

    /// [`Object::field`] without the helper: for what the verifier knows to be a kernel object. It wants to see that a
    /// pointer is not null where the kernel says that it may be.
    ///
    /// # Safety
    /// The object is an argument of a BTF tracepoint, or was reached from one by [`Object::follow`].
    #[inline(always)]
    pub(crate) unsafe fn load<T: Copy>(self, offset: u64) -> T {
        if self.0 == 0 || offset == MISSING {
            // SAFETY: zero is a value of every integer.
            return unsafe { MaybeUninit::zeroed().assume_init() };
        }
        // SAFETY: the verifier accepts the load only if the offset is inside the object; what was freed meanwhile reads
        // as zero or as something else.
        unsafe { direct(self.0 as *const u8, offset) }
    }

    /// [`Object::pointer`] in the same way.
    ///
    /// # Safety
    /// That of [`Object::load`].
    #[inline(always)]
    pub(crate) unsafe fn follow(self, offset: u64) -> Self {
        // SAFETY: the caller vouches for it.
        Self(unsafe { self.load(offset) })
    }

    /// Element `index` of an array of objects of `size` bytes that begins here.
    #[inline(always)]
    pub(crate) fn element(self, index: u64, size: u64) -> Self {
        if size == MISSING { Self::NONE } else { Self(self.0.wrapping_add(index * size)) }
    }

    /// The object embedded at `offset`.
    #[inline(always)]
    pub(crate) fn embedded(self, offset: u64) -> Self {
        if offset == MISSING { Self::NONE } else { Self(self.0.wrapping_add(offset)) }
    }

    /// The object that has this one embedded at `offset` (`container_of`).
    #[inline(always)]
    pub(crate) fn container(self, offset: u64) -> Self {
        if offset == MISSING { Self::NONE } else { Self(self.0.wrapping_sub(offset)) }
    }
}

/// The field at `offset` of a pointer that the verifier knows to be a kernel object: one load, no helper. Only for hot
/// paths; `offset` must not be [`MISSING`] where this is reachable.
///
/// # Safety
/// `base` is an argument of a BTF tracepoint or the current task. The verifier checks it.
#[inline(always)]
pub(crate) unsafe fn direct<T: Copy>(base: *const u8, offset: u64) -> T {
    // SAFETY: the verifier accepts the load only if the offset is inside the object; volatile keeps it one load.
    unsafe { ptr::read_volatile(base.add(offset as usize).cast()) }
}
