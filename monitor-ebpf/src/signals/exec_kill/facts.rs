//! What holds of the program that is about to begin: numbers and texts, and which of the table's facts they make.

use core::ptr;

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str},
    macros::map,
    maps::{LpmTrie, PerCpuArray, lpm_trie::Key},
};
use monitor_common::{
    limits::{NAME, PATH, PATH_DEPTH},
    signals::{
        exec::PATH_ROOM,
        exec_kill::{NUMBERS, Number, RANGES, TEXT, TEXT_KEY_HEAD, TEXTS, Table, Text, TextKey},
    },
};

use crate::{
    kernel::{
        file,
        path::{self, Room},
        read::Object,
        task,
    },
    settings::offset,
};

/// The facts of texts, of both tables.
#[map]
static EXEC_KILL_TEXTS: LpmTrie<TextKey, u64> = LpmTrie::with_max_entries(2 * TEXTS, 0);

/// Memory of this CPU's own. Nobody else writes there meanwhile: see `exec.rs`.
#[repr(C)]
pub(super) struct Scratch {
    numbers: [i64; NUMBERS],
    pub(super) facts: u64,
    /// Bytes of `names`, and whether the walk did not reach the root.
    length: u32,
    cut: u32,
    /// Components of the path, last first.
    names: [u8; PATH_ROOM],
    /// Where each of them begins.
    starts: [u32; STARTS],
    /// How far the path has been put together.
    at: u32,
    key: Key<TextKey>,
    /// What a name may write behind the key.
    over: [u8; 512 - TEXT],
}

/// Places of components, a power of two.
const STARTS: usize = 64;

#[map]
pub(super) static EXEC_KILL_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

impl Scratch {
    /// The path, once the facts are known.
    #[inline(always)]
    pub(super) fn path(&self) -> *const u8 {
        (&raw const self.key.data.bytes).cast()
    }
}

/// Finds out which facts hold; false: that cannot be told.
///
/// # Safety
/// Map values, of which the scratch is this program's alone, and arguments of a BTF tracepoint.
#[inline(always)]
pub(super) unsafe fn find(table: *const Table, scratch: *mut Scratch, task: Object, bprm: Object, number: u64) -> bool {
    // SAFETY: the caller vouches for it.
    unsafe {
        if !numbers(&raw mut (*scratch).numbers, task, bprm) {
            return false;
        }
        (*scratch).facts = 0;
        let links = (*scratch).numbers[Number::Links as usize];
        if !texts(scratch, task, bprm, number, links == 0) {
            return false;
        }
        ranges(table, scratch);
    }
    true
}

/// Takes all numbers; false: to user space this is no file.
#[inline(always)]
unsafe fn numbers(numbers: *mut [i64; NUMBERS], task: Object, bprm: Object) -> bool {
    // SAFETY: a map value; arguments of a BTF tracepoint.
    unsafe {
        let cred = task.follow(offset!(task_cred));
        let inode = bprm.follow(offset!(bprm_file)).follow(offset!(file_inode));
        let magic: u64 = inode.follow(offset!(inode_sb)).load(offset!(sb_magic));
        (*numbers)[Number::Uid as usize] = i64::from(cred.load::<u32>(offset!(cred_uid)));
        (*numbers)[Number::Euid as usize] = i64::from(cred.load::<u32>(offset!(cred_euid)));
        (*numbers)[Number::Suid as usize] = i64::from(cred.load::<u32>(offset!(cred_suid)));
        (*numbers)[Number::Gid as usize] = i64::from(cred.load::<u32>(offset!(cred_gid)));
        (*numbers)[Number::Egid as usize] = i64::from(cred.load::<u32>(offset!(cred_egid)));
        (*numbers)[Number::Owner as usize] = i64::from(inode.load::<u32>(offset!(inode_uid)));
        (*numbers)[Number::Links as usize] = i64::from(inode.load::<u32>(offset!(inode_nlink)));
        (*numbers)[Number::Mode as usize] = i64::from(inode.load::<u16>(offset!(inode_mode)) & 0o7777);
        let upper = magic == file::OVERLAY && file::is_upper_layer(inode);
        (*numbers)[Number::UpperLayer as usize] = i64::from(upper);
        inode.load::<u64>(offset!(inode_ino)) != 0
    }
}

/// Looks up the path and the name; false: the path is not known as a whole.
#[inline(always)]
unsafe fn texts(scratch: *mut Scratch, task: Object, bprm: Object, number: u64, anonymous: bool) -> bool {
    // SAFETY: a map value; arguments of a BTF tracepoint.
    unsafe {
        let key = &raw mut (*scratch).key;
        (*key).data.table = (number & 1) as u8;
        let bytes = (&raw mut (*key).data.bytes).cast::<u8>();

        let comm = task::comm(task);
        bpf_probe_read_kernel(bytes.cast(), size_of_val(&comm) as u32, comm.as_ptr().cast());
        // Its last byte is always zero.
        let mut length = 0;
        while length < comm.len() - 1 && comm[length] != 0 {
            length += 1;
        }
        look(scratch, Text::Comm, length as u32 + 1);

        let room = Room {
            names: (&raw mut (*scratch).names).cast(),
            length: &raw mut (*scratch).length,
            cut: &raw mut (*scratch).cut,
        };
        let file = bprm.follow(offset!(bprm_file));
        path::walk(&room, file.pointer(offset!(file_path_mnt)), file.pointer(offset!(file_path_dentry)));
        if ptr::read_volatile(room.cut) != 0 {
            return false;
        }
        turn(scratch, anonymous);
        let length = ptr::read_volatile(&raw const (*scratch).at);
        if length == 0 {
            return false;
        }
        look(scratch, Text::Path, length + 1);
        true
    }
}

/// Adds the facts of the text in the key, which has `length` bytes with its end.
#[inline(always)]
unsafe fn look(scratch: *mut Scratch, text: Text, length: u32) {
    // SAFETY: a map value. The key is packed: its first field is aligned all the same, because the struct around it is.
    unsafe {
        let key = &raw mut (*scratch).key;
        let length = if length > TEXT as u32 { TEXT as u32 } else { length };
        (*key).prefix_len = (TEXT_KEY_HEAD as u32 + length) * 8;
        (*key).data.text = text as u8;
        if let Some(facts) = EXEC_KILL_TEXTS.get(&*key) {
            let known = ptr::read_volatile(&raw const (*scratch).facts);
            ptr::write_volatile(&raw mut (*scratch).facts, known | *facts);
        }
    }
}

/// Puts the components that were walked together in the key, the first one first, as far as there is room. `anonymous`: the
/// file has no name any more or never had one. The same as user space does (`signals/exec/decode.rs`).
#[inline(always)]
unsafe fn turn(scratch: *mut Scratch, anonymous: bool) {
    // SAFETY: a map value. Masks show the verifier what holds by construction: a component begins below PATH, there are
    // fewer than STARTS of them, and what is in the key when the next one is written has fewer than 256 bytes.
    unsafe {
        let names = (&raw mut (*scratch).names).cast::<u8>();
        let bytes = (&raw mut (*scratch).key.data.bytes).cast::<u8>();
        let at = &raw mut (*scratch).at;
        let length = ptr::read_volatile(&raw const (*scratch).length);
        ptr::write_volatile(at, 0);
        let mut count = 0;
        while count < PATH_DEPTH {
            let start = ptr::read_volatile(at);
            if start >= length {
                break;
            }
            (*scratch).starts[count as usize & (STARTS - 1)] = start;
            let read =
                bpf_probe_read_kernel_str(bytes.cast(), NAME as u32, names.add(start as usize & (PATH - 1)).cast());
            if read <= 0 {
                break;
            }
            ptr::write_volatile(at, start + read as u32);
            count += 1;
        }
        // Of one component the key has it now.
        if count == 1 && anonymous && is_memfd(bytes) {
            return ptr::write_volatile(at, ptr::read_volatile(at) - 1);
        }
        ptr::write_volatile(at, 0);
        let mut step = 0;
        while step < PATH_DEPTH && count > 0 {
            step += 1;
            count -= 1;
            let end = ptr::read_volatile(at) as usize;
            if end >= TEXT {
                break;
            }
            let to = bytes.add(end & 255);
            let start = (*scratch).starts[count as usize & (STARTS - 1)];
            let from = names.add(start as usize & (PATH - 1));
            let read = bpf_probe_read_kernel_str(to.add(1).cast(), NAME as u32, from.cast());
            // A tree without a mount has a root called `/`. What becomes of that user space knows.
            if read <= 1 || read == 2 && ptr::read_volatile(from) == b'/' {
                return ptr::write_volatile(at, 0);
            }
            ptr::write_volatile(to, b'/');
            ptr::write_volatile(at, end as u32 + read as u32);
        }
    }
}

#[inline(always)]
unsafe fn is_memfd(bytes: *const u8) -> bool {
    const MEMFD: &[u8; 6] = b"memfd:";
    let mut index = 0;
    while index < MEMFD.len() {
        // SAFETY: within the key, says the caller.
        if unsafe { ptr::read_volatile(bytes.add(index)) } != MEMFD[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// Adds the facts of numbers.
#[inline(always)]
unsafe fn ranges(table: *const Table, scratch: *mut Scratch) {
    let mut index = 0;
    // SAFETY: map values; the mask shows the verifier that a number is one.
    unsafe {
        while index < RANGES {
            if index as u32 >= (*table).ranges {
                break;
            }
            let range = &raw const (*table).range[index];
            let value = (*scratch).numbers[(*range).number as usize & (NUMBERS - 1)];
            if value >= (*range).low && value <= (*range).high {
                let known = ptr::read_volatile(&raw const (*scratch).facts);
                ptr::write_volatile(&raw mut (*scratch).facts, known | (*range).facts);
            }
            index += 1;
        }
    }
}

const _: () = assert!(STARTS.is_power_of_two() && STARTS > PATH_DEPTH as usize && NUMBERS.is_power_of_two());
// A name that is written behind the longest beginning, and the slash before it.
const _: () = assert!(255 + 1 + NAME <= 512 && TEXT < 256);
