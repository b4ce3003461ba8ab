//! Puts a record together: in memory of this CPU's own, from where it is copied into a ring as long as it is.
//!
//! Nobody else writes there meanwhile: of these programs all but one run behind `sys_exit`, which the kernel does not start
//! again on a CPU where it runs already (Linux 7 may preempt it). The other one, of io_uring, has memory of its own.

use core::{ptr, slice};

use aya_ebpf::{
    helpers::generated::{
        bpf_get_current_cgroup_id, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user,
        bpf_probe_read_user_str,
    },
    macros::map,
    maps::PerCpuArray,
};
use monitor_common::{
    limits::{NAME, PATH},
    loss::Loss,
    record::{Kind, ProcessKey, Ring},
    signals::activity::{Act, ActivityHead, FileObject, PARTS, PARTS_ROOM, Part},
};

use super::call::{AT_FDCWD, Call};
use crate::{
    emit,
    kernel::{
        file,
        path::{self, Room},
        read::Object,
        task,
    },
    settings::offset,
};

/// Bytes for a record and what is noted beside it: a power of two, so that a mask shows the verifier that a length is
/// within.
const SCRATCH: usize = 16 << 10;
const TAIL: usize = SCRATCH - size_of::<ActivityHead>() - size_of::<[u32; PARTS]>() - size_of::<[u32; 3]>();
/// Where a part begins: below this.
pub(super) const AT: usize = 8 << 10;

const _: () = assert!(PARTS_ROOM < AT && AT + PATH + NAME <= TAIL && size_of::<Scratch>() == SCRATCH);
const _: () = assert!(AT.is_power_of_two() && size_of::<ActivityHead>().is_multiple_of(8));

#[repr(C)]
struct Scratch {
    head: ActivityHead,
    tail: [u8; TAIL],
    /// Not 0: the part with this index is not whole.
    cut: [u32; PARTS],
    /// See [`Note`].
    notes: [u32; 3],
}

#[map]
static ACTIVITY_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(3, 0);

/// Whose memory a record is put together in: an index of `ACTIVITY_SCRATCH`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Memory {
    /// What a system call is told in.
    Call = 0,
    /// What a request in an io_uring is told in.
    Request = 1,
    /// What the programs tell of themselves, while another record is in the making.
    Notice = 2,
}

/// Longest address of a Unix socket without its family (`sun_path`).
const UNIX_ADDRESS: u32 = 108;

/// A place in the tree of files.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// `struct vfsmount`.
    pub(super) mount: Object,
    /// `struct dentry`.
    pub(super) dentry: Object,
}

impl Place {
    /// Where an open file is.
    #[inline(always)]
    pub(super) fn of_file(file: Object) -> Self {
        Self { mount: file.pointer(offset!(file_path_mnt)), dentry: file.pointer(offset!(file_path_dentry)) }
    }

    /// The root directory of a process.
    #[inline(always)]
    pub(super) fn root(task: Object) -> Self {
        let fs = task.pointer(offset!(task_fs));
        Self { mount: fs.pointer(offset!(fs_root_mnt)), dentry: fs.pointer(offset!(fs_root_dentry)) }
    }

    /// The directory that the name at `name` in user memory is relative to: the root directory of the process for an
    /// absolute one, else that of descriptor `directory`, or the working directory.
    #[inline(always)]
    pub(super) fn of_directory(task: Object, directory: i32, name: u64) -> Self {
        Self::below(task, directory, first_byte(name))
    }

    /// The same of the kernel's copy of a name.
    #[inline(always)]
    pub(super) fn of_kernel_name(task: Object, directory: i32, name: u64) -> Self {
        Self::below(task, directory, Some(Object(name).field(0)))
    }

    #[inline(always)]
    fn below(task: Object, directory: i32, first: Option<u8>) -> Self {
        let fs = task.pointer(offset!(task_fs));
        if first == Some(b'/') {
            Self { mount: fs.pointer(offset!(fs_root_mnt)), dentry: fs.pointer(offset!(fs_root_dentry)) }
        } else if directory == AT_FDCWD {
            Self { mount: fs.pointer(offset!(fs_pwd_mnt)), dentry: fs.pointer(offset!(fs_pwd_dentry)) }
        } else {
            Self::of_file(file::of_task(task, directory as u32))
        }
    }
}

/// The first byte of the string at `name` in user memory, 0 when it is empty; none when it cannot be read.
#[inline(always)]
pub(super) fn first_byte(name: u64) -> Option<u8> {
    let mut first = [0_u8; 2];
    // SAFETY: a local of two bytes: one character and the byte that ends a string.
    let read = unsafe { bpf_probe_read_user_str(first.as_mut_ptr().cast(), 2, name as *const _) };
    (read >= 0).then_some(first[0])
}

/// A number in memory: read back, it is any number to the verifier. Where it would follow every value of a variable through
/// all that comes after, it then sees one state.
#[derive(Clone, Copy)]
pub(super) struct Note(*mut u32);

impl Note {
    /// What it is.
    #[inline(always)]
    pub(super) fn get(self) -> u32 {
        // SAFETY: only [`Record::note`] makes one, of a map value.
        unsafe { ptr::read_volatile(self.0) }
    }

    /// Changes it.
    #[inline(always)]
    pub(super) fn set(self, value: u32) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(self.0, value) };
    }
}

/// Fills in who it was; all else becomes zero.
///
/// # Safety
/// A record in the making.
#[inline(always)]
pub(in crate::signals) unsafe fn fill(head: *mut ActivityHead, task: Object, act: u8) {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        ptr::write_bytes(head.cast::<u64>(), 0, size_of::<ActivityHead>() / 8);
        (*head).process = task::process(task);
        (*head).act = u16::from(act);
        (*head).tid = task::tid(task);
        (*head).cgroup_id = bpf_get_current_cgroup_id();
        let cred = task.pointer(offset!(task_cred));
        (*head).uid = cred.field(offset!(cred_uid));
        (*head).euid = cred.field(offset!(cred_euid));
        (*head).suid = cred.field(offset!(cred_suid));
        (*head).gid = cred.field(offset!(cred_gid));
        (*head).egid = cred.field(offset!(cred_egid));
        (*head).cap_effective = cred.field(offset!(cred_cap_effective));
        (*head).comm = task::comm(task);
    }
}

/// A record in the making. Its parts have to be written in the order of [`Part`]; each may be left out.
#[derive(Clone, Copy)]
pub(super) struct Record {
    scratch: *mut Scratch,
}

impl Record {
    /// Fills in who did what.
    #[inline(always)]
    pub(super) fn begin(task: Object, call: &Call, act: Act) -> Option<Self> {
        Self::begin_as(task, call, act as u8)
    }

    /// The same for the kind with this number.
    #[inline(always)]
    pub(super) fn begin_as(task: Object, call: &Call, act: u8) -> Option<Self> {
        Self::begin_in(Memory::Call, task, call, act)
    }

    /// The same in memory that is said.
    #[inline(always)]
    pub(super) fn begin_in(memory: Memory, task: Object, call: &Call, act: u8) -> Option<Self> {
        let scratch = ACTIVITY_SCRATCH.get_ptr_mut(memory as u32)?;
        // SAFETY: a map value, which is this program's alone.
        unsafe {
            (*scratch).cut = [0; PARTS];
            fill(&raw mut (*scratch).head, task, act);
            let head = &raw mut (*scratch).head;
            (*head).via = call.via as u16;
            (*head).call = call.number;
            (*head).result = call.result;
            (*head).args = call.args;
        }
        Some(Self { scratch })
    }

    /// Everything of fixed size, for what [`Self::begin`] does not know.
    #[inline(always)]
    pub(super) fn head(self) -> *mut ActivityHead {
        // SAFETY: a map value.
        unsafe { &raw mut (*self.scratch).head }
    }

    /// Says whom it was about.
    #[inline(always)]
    pub(super) fn target(self, target: ProcessKey) {
        // SAFETY: a map value.
        unsafe { (*self.head()).target = target };
    }

    /// Says which file it was about. `file` is [`Object::NONE`] where none was opened.
    #[inline(always)]
    pub(super) fn file(self, inode: Object, file: Object) {
        let superblock = inode.pointer(offset!(inode_sb));
        let object = FileObject {
            inode: inode.field(offset!(inode_ino)),
            magic: superblock.field(offset!(sb_magic)),
            device: superblock.field(offset!(sb_dev)),
            mode: u32::from(inode.field::<u16>(offset!(inode_mode))),
            links: inode.field(offset!(inode_nlink)),
            owner: inode.field(offset!(inode_uid)),
            flags: file.field(offset!(file_flags)),
            open_mode: file.field(offset!(file_mode)),
        };
        // SAFETY: a map value.
        unsafe { (*self.head()).file = object };
    }

    /// Writes the path of `place` as part `part`.
    #[inline(always)]
    pub(super) fn path(self, part: Part, place: Place) {
        if place.dentry == Object::NONE {
            return;
        }
        // SAFETY: map values; the mask shows that the path has room, and what it shows is so.
        unsafe {
            let room = Room {
                names: (&raw mut (*self.scratch).tail).cast::<u8>().add(self.used()),
                length: &raw mut (*self.scratch).head.parts[part as usize],
                cut: &raw mut (*self.scratch).cut[part as usize],
            };
            path::walk(&room, place.mount, place.dentry);
            // The root directory: an empty component, to be told from no path at all.
            if ptr::read_volatile(room.length) == 0 {
                *room.names = 0;
                ptr::write_volatile(room.length, 1);
            }
        }
    }

    /// Writes the string at `name` in user memory as part `part`; how long it is.
    #[inline(always)]
    pub(super) fn name(self, part: Part, name: u64) -> u32 {
        if name == 0 {
            return 0;
        }
        // SAFETY: map values; room as in `path`. The helper checks the source.
        unsafe {
            let to = self.tail().add(self.used());
            self.told(part, bpf_probe_read_user_str(to.cast(), PATH as u32, name as *const _))
        }
    }

    /// Says how long a string is that was copied behind the other parts.
    ///
    /// # Safety
    /// It was, if `copied` says so.
    #[inline(always)]
    unsafe fn told(self, part: Part, copied: i64) -> u32 {
        // Without the byte that ends it.
        let length = if copied > 0 { copied as u32 - 1 } else { 0 };
        // SAFETY: map values.
        unsafe {
            ptr::write_volatile(&raw mut (*self.scratch).head.parts[part as usize], length);
            (*self.scratch).cut[part as usize] = u32::from(copied <= 0 || length == PATH as u32 - 1);
        }
        length
    }

    /// The same for the kernel's copy of a name.
    #[inline(always)]
    pub(super) fn kernel_name(self, part: Part, name: u64) -> u32 {
        if name == 0 {
            return 0;
        }
        // SAFETY: as in `name`.
        unsafe {
            let to = self.tail().add(self.used());
            self.told(part, bpf_probe_read_kernel_str(to.cast(), PATH as u32, name as *const _))
        }
    }

    /// Writes the address of a Unix socket, which may contain zeroes: what follows the family.
    #[inline(always)]
    pub(super) fn unix_address(self, part: Part, address: u64, length: u32, user: bool) {
        let length = if length > UNIX_ADDRESS { UNIX_ADDRESS } else { length };
        // SAFETY: as in `name`.
        unsafe {
            let to = self.tail().add(self.used());
            let result = if user {
                bpf_probe_read_user(to.cast(), length, address as *const _)
            } else {
                bpf_probe_read_kernel(to.cast(), length, address as *const _)
            };
            let length = if result == 0 { length } else { 0 };
            ptr::write_volatile(&raw mut (*self.scratch).head.parts[part as usize], length);
        }
    }

    /// Bytes of all parts so far. Read back: any number to the verifier, which then sees one state instead of many.
    #[inline(always)]
    pub(super) fn used(self) -> usize {
        // SAFETY: map values.
        let length = |part: usize| unsafe { ptr::read_volatile(&raw const (*self.scratch).head.parts[part]) };
        (length(0) + length(1) + length(2) + length(3) + length(4)) as usize & (AT - 1)
    }

    /// The bytes of the parts.
    #[inline(always)]
    pub(super) fn tail(self) -> *mut u8 {
        // SAFETY: a map value.
        unsafe { (&raw mut (*self.scratch).tail).cast::<u8>() }
    }

    /// A place beside the record for a number, 0 at first.
    #[inline(always)]
    pub(super) fn note(self, index: usize) -> Note {
        // SAFETY: a map value.
        let note = Note(unsafe { &raw mut (*self.scratch).notes[index] });
        note.set(0);
        note
    }

    /// Hands the record over.
    #[inline(always)]
    pub(super) fn finish(self, ring: Ring) {
        // SAFETY: map values, of which all that is handed over has been written.
        unsafe {
            let cut = |part: usize| u32::from(ptr::read_volatile(&raw const (*self.scratch).cut[part]) != 0) << part;
            (*self.head()).cut = cut(0) | cut(1) | cut(2) | cut(3) | cut(4);
            let length = (size_of::<ActivityHead>() + self.used()) & (SCRATCH - 1);
            emit::number(ring);
            (*self.head()).header = emit::header(ring, Kind::Activity);
            let record = slice::from_raw_parts(self.scratch.cast::<u8>(), length);
            match ring {
                Ring::Bulk => emit::output(Ring::Bulk, Loss::ActivityBulkRing, record),
                _ => emit::output(Ring::Security, Loss::ActivityRing, record),
            }
        }
    }
}
