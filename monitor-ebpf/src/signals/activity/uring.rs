//! What is asked through io_uring: no system call of its own tells of it. Each request that rules look at becomes a record
//! of the same kind as that of the system call that does the same, with the same arguments at the same places.
//!
//! The record is made when the request is submitted: names have been copied into the kernel by then, and that copy is what
//! is told and what the kernel uses. Nothing has been opened or connected yet, so there is no object and no result. The
//! process is the one whose thread submits: with a polling thread (SQPOLL) that is a thread of the owner's process.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    offsets::MISSING,
    record::Ring,
    signals::activity::{Act, Class, Part, Scope, Select, Via, WATCH_READ, WATCH_WRITE},
};

use super::{
    ACTIVITY_SELECT, bulk,
    call::Call,
    file_open,
    record::{Memory, Place, Record},
    watch,
};
use crate::{
    kernel::{
        file,
        read::Object,
        socket::{self, AF_INET, AF_INET6, AF_UNIX, Address},
        task,
    },
    settings::{knob, offset},
};

// Operations (`enum io_uring_op`, include/uapi/linux/io_uring.h).
const SENDMSG: u8 = 9;
const ACCEPT: u8 = 13;
const CONNECT: u8 = 16;
const OPENAT: u8 = 18;
const OPENAT2: u8 = 28;
const RENAMEAT: u8 = 35;
const UNLINKAT: u8 = 36;
const MKDIRAT: u8 = 37;
const SYMLINKAT: u8 = 38;
const LINKAT: u8 = 39;
const FSETXATTR: u8 = 41;
const SETXATTR: u8 = 42;
const SOCKET: u8 = 45;
const SENDMSG_ZC: u8 = 48;
const FTRUNCATE: u8 = 55;
const BIND: u8 = 56;
const LISTEN: u8 = 57;

/// `REQ_F_FIXED_FILE`: the file is one of a table of the ring's, not a descriptor.
const FIXED_FILE: u32 = 1;
const AT_FDCWD: i32 = -100;
const AT_REMOVEDIR: u64 = 0x200;
const O_ACCMODE: u64 = 0o3;
const O_CREAT: u64 = 0o100;

/// `io_uring_submit_req(struct io_kiocb *req)`
#[btf_tracepoint(function = "io_uring_submit_req")]
fn activity_ring_request(ctx: BtfTracePointContext) -> i32 {
    submitted(Object(ctx.arg(0)));
    0
}

/// `io_uring_submit_sqe(struct io_kiocb *req, bool force_nonblock)`, before Linux 6.0
/// `(void *ctx, void *req, u8 opcode, u64 user_data, u32 flags, bool force_nonblock, bool sq_thread)`
#[btf_tracepoint(function = "io_uring_submit_sqe")]
fn activity_ring_entry(ctx: BtfTracePointContext) -> i32 {
    // Both are read in any case: of two reads in branches the compiler makes one at an address that it works out, which the
    // kernel's check does not allow.
    let (first, second): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    submitted(Object(if knob!(ring_request_argument) == 0 { first } else { second }));
    0
}

#[inline(always)]
fn submitted(request: Object) {
    let Some(select) = ACTIVITY_SELECT.get(0) else { return };
    let operation: u8 = request.field(offset!(io_opcode));
    let Some(act) = act(operation) else { return };
    let task = task::current();
    // An unlinkat may be a rmdir: the arguments tell.
    let wanted = if operation == UNLINKAT { Act::Unlink.bit() | Act::Rmdir.bit() } else { act.bit() };
    if select.kinds & wanted == 0 || u64::from(task::tgid(task)) == knob!(self_tgid) {
        return;
    }
    let mut call = Call { number: u32::from(operation), via: Via::IoUring, args: [0; 6], result: 0 };
    if act.class() as u8 == Class::Network as u8 {
        network(select, task, request, &mut call, act);
    } else {
        of_files(select, task, request, &mut call, act);
    }
}

/// What kind of activity an operation is.
#[inline(always)]
fn act(operation: u8) -> Option<Act> {
    Some(match operation {
        OPENAT | OPENAT2 => Act::FileOpen,
        RENAMEAT => Act::Rename,
        UNLINKAT => Act::Unlink,
        MKDIRAT => Act::Mkdir,
        SYMLINKAT => Act::Symlink,
        LINKAT => Act::Link,
        FTRUNCATE => Act::Truncate,
        SETXATTR | FSETXATTR => Act::Setxattr,
        SOCKET => Act::Socket,
        CONNECT => Act::Connect,
        BIND => Act::Bind,
        LISTEN => Act::Listen,
        ACCEPT => Act::Accept,
        SENDMSG | SENDMSG_ZC => Act::Send,
        _ => return None,
    })
}

/// The kernel's copy of a name: what a `struct filename *` at `offset` points to.
#[inline(always)]
fn filename(command: Object, offset: u64) -> u64 {
    command.pointer(offset).field(offset!(filename_name))
}

/// Signed numbers of 32 bits as a register holds them.
#[inline(always)]
fn signed(value: i32) -> u64 {
    i64::from(value) as u64
}

/// A name and the descriptor of the directory that it is relative to; 0: no name.
#[derive(Clone, Copy)]
struct Given(i32, u64);

impl Given {
    const NONE: Self = Self(AT_FDCWD, 0);

    /// Writes it, and tells whether it is watched for `access`.
    #[inline(always)]
    fn write(self, select: &Select, task: Object, record: Record, [base, name]: [Part; 2], access: u32) -> bool {
        if self.1 == 0 {
            return false;
        }
        let place = Place::of_kernel_name(task, self.0, self.1);
        record.path(base, place);
        let length = record.kernel_name(name, self.1);
        watch::directory(select, place, access) || watch::last_component(select, record, length, access)
    }
}

/// What a request about files was given.
struct Files {
    first: Given,
    /// A second path, of a rename or link …
    second: Given,
    /// … or a text, of a symbolic link or an attribute.
    text: u64,
    /// The file, where it is told by a descriptor.
    file: Object,
}

/// Reads what was given, and puts the arguments where the system call that does the same has them.
#[inline(always)]
fn given(task: Object, request: Object, call: &mut Call, act: &mut Act) -> Files {
    let command = request.embedded(offset!(io_cmd));
    let mut files = Files { first: Given::NONE, second: Given::NONE, text: 0, file: Object::NONE };
    match *act {
        // openat(dirfd, path, flags, mode)
        Act::FileOpen => {
            let directory: i32 = command.field(offset!(io_open_dfd));
            let [flags, mode]: [u64; 2] = command.field(offset!(io_open_how));
            call.args = [signed(directory), 0, flags, mode, 0, 0];
            files.first = Given(directory, filename(command, offset!(io_open_filename)));
        }
        // unlinkat(dirfd, path, flags)
        Act::Unlink => {
            let directory: i32 = command.field(offset!(io_unlink_dfd));
            let flags = u64::from(command.field::<u32>(offset!(io_unlink_flags)));
            if flags & AT_REMOVEDIR != 0 {
                *act = Act::Rmdir;
            }
            call.args = [signed(directory), 0, flags, 0, 0, 0];
            files.first = Given(directory, filename(command, offset!(io_unlink_filename)));
        }
        // mkdirat(dirfd, path, mode)
        Act::Mkdir => {
            let directory: i32 = command.field(offset!(io_mkdir_dfd));
            let mode = u64::from(command.field::<u16>(offset!(io_mkdir_mode)));
            call.args = [signed(directory), 0, mode, 0, 0, 0];
            files.first = Given(directory, filename(command, offset!(io_mkdir_filename)));
        }
        // renameat2(olddirfd, oldpath, newdirfd, newpath, flags)
        Act::Rename => {
            let (old, new): (i32, i32) =
                (command.field(offset!(io_rename_old_dfd)), command.field(offset!(io_rename_new_dfd)));
            let flags: u32 = command.field(offset!(io_rename_flags));
            call.args = [signed(old), 0, signed(new), 0, u64::from(flags), 0];
            files.first = Given(old, filename(command, offset!(io_rename_oldpath)));
            files.second = Given(new, filename(command, offset!(io_rename_newpath)));
        }
        // linkat with the same
        Act::Link => {
            let (old, new): (i32, i32) =
                (command.field(offset!(io_link_old_dfd)), command.field(offset!(io_link_new_dfd)));
            let flags: u32 = command.field(offset!(io_link_flags));
            call.args = [signed(old), 0, signed(new), 0, u64::from(flags), 0];
            files.first = Given(old, filename(command, offset!(io_link_oldpath)));
            files.second = Given(new, filename(command, offset!(io_link_newpath)));
        }
        // symlinkat(target, newdirfd, path): the new name is the first, the other one is text
        Act::Symlink => {
            let directory: i32 = command.field(offset!(io_symlink_new_dfd));
            call.args[1] = signed(directory);
            files.first = Given(directory, filename(command, offset!(io_symlink_newpath)));
            files.text = filename(command, offset!(io_symlink_oldpath));
        }
        // setxattr(path, name, …), fsetxattr(fd, name, …)
        Act::Setxattr => {
            files.first = Given(AT_FDCWD, filename(command, offset!(io_xattr_filename)));
            files.text = command.field(offset!(io_xattr_kname));
            if call.number == u32::from(FSETXATTR) {
                files.first = Given::NONE;
                files.file = file_of(task, request);
            }
        }
        // ftruncate(fd, length)
        _ => {
            call.args[1] = command.field(offset!(io_ftrunc_len));
            files.file = file_of(task, request);
        }
    }
    files
}

/// Opening and changing files.
#[inline(always)]
fn of_files(select: &Select, task: Object, request: Object, call: &mut Call, mut act: Act) {
    let files = given(task, request, call, &mut act);
    // Whether it is opened for writing, or is a rmdir, is known only now.
    let writes = !matches!(act, Act::FileOpen) || call.args[2] & (O_ACCMODE | O_CREAT) != 0;
    let scope = match act {
        Act::FileOpen if writes => select.open_write,
        Act::FileOpen => select.open_read,
        _ if select.everywhere & act.bit() != 0 => Scope::All as u32,
        _ => Scope::Watched as u32,
    };
    if select.kinds & act.bit() == 0 || scope == Scope::Off as u32 {
        return;
    }
    let Some(record) = Record::begin_in(Memory::Request, task, call, act as u8) else { return };
    let wanted = if writes { WATCH_WRITE } else { WATCH_READ };
    let mut watched = false;
    if files.file != Object::NONE {
        let (inode, place) = (files.file.pointer(offset!(file_inode)), Place::of_file(files.file));
        record.file(inode, files.file);
        record.path(Part::Object, place);
        watched = watch::file(select, place, watch::key(inode), wanted);
    }
    watched |= files.first.write(select, task, record, [Part::Base, Part::Name], wanted);
    if files.second.1 != 0 {
        watched |= files.second.write(select, task, record, [Part::OtherBase, Part::OtherName], wanted);
    } else {
        record.kernel_name(Part::OtherName, files.text);
    }
    // Where a name leads is not known yet: one that might lead to what is watched is told like all others.
    if let Some(ring) = file_open::ring(select, act.class(), Scope::All as u32, watched) {
        record.finish(ring);
    }
}

/// The file that a request works on; none when it is one of the ring's own table.
#[inline(always)]
fn file_of(task: Object, request: Object) -> Object {
    if offset!(io_fd) == MISSING {
        // Looked up before the request was submitted, where the number is not kept.
        return request.pointer(offset!(io_cmd));
    }
    if request.field::<u32>(offset!(io_flags)) & FIXED_FILE != 0 {
        return Object::NONE;
    }
    file::of_task(task, request.field(offset!(io_fd)))
}

/// Sockets. The address of a connect is in user memory until Linux 6.10: there it is read as late as the kernel's own copy
/// is made.
#[inline(always)]
fn network(select: &Select, task: Object, request: Object, call: &mut Call, act: Act) {
    let command = request.embedded(offset!(io_cmd));
    let mut asked = Address::NONE;
    // Where the address is.
    let user = matches!(act, Act::Send) || offset!(io_bind_length) == MISSING;
    match act {
        Act::Socket => {
            let domain: u32 = command.field(offset!(io_socket_domain));
            let kind: u32 = command.field(offset!(io_socket_type));
            let protocol: u32 = command.field(offset!(io_socket_protocol));
            call.args = [domain.into(), kind.into(), protocol.into(), 0, 0, 0];
        }
        Act::Connect => {
            let length: u32 = command.field(offset!(io_connect_length));
            call.args[2] = u64::from(length);
            asked = if offset!(io_bind_length) == MISSING {
                Address::of_user(command.field(offset!(io_connect_addr)), length)
            } else {
                copied(request, length)
            };
        }
        Act::Bind => {
            let length: u32 = command.field(offset!(io_bind_length));
            call.args[2] = u64::from(length);
            asked = copied(request, length);
        }
        Act::Listen => call.args[1] = u64::from(command.field::<u32>(offset!(io_listen_backlog))),
        Act::Send => {
            let (name, length) = socket::message_name(command.field(offset!(io_send_message)), false);
            if name == 0 {
                return;
            }
            asked = Address::of_user(name, length as u32);
        }
        _ => {}
    }
    let special = matches!(act, Act::Socket) && super::network::is_special(call);
    if !special && !bulk::allowed(select, Class::Network) {
        return;
    }
    let file = if matches!(act, Act::Socket) { Object::NONE } else { file_of(task, request) };
    if !matches!(act, Act::Socket) && offset!(io_fd) != MISSING {
        call.args[0] = u64::from(request.field::<u32>(offset!(io_fd)));
    }
    let Some(record) = Record::begin_in(Memory::Request, task, call, act as u8) else { return };
    // SAFETY: the head of a record in the making.
    unsafe {
        let to = &raw mut (*record.head()).socket;
        socket::fill(to, file::sock(file), file);
        if matches!(act, Act::Socket) {
            (*to).family = call.args[0] as u16;
            (*to).kind = (call.args[1] & 0xf) as u16;
            (*to).protocol = call.args[2] as u16;
        }
        if asked.address != 0 {
            if (*to).family == 0 {
                (*to).family = asked.family;
            }
            if asked.family != AF_UNIX {
                (*to).peer = asked.ip;
                (*to).peer_port = asked.port;
                (*to).peer_asked = 1;
            }
        }
    }
    if asked.family == AF_UNIX {
        record.unix_address(Part::Object, asked.address + 2, asked.length.saturating_sub(2), user);
    }
    record.finish(if special { Ring::Security } else { Ring::Bulk });
}

/// The kernel's copy of an address that was passed: alone in memory of its own, or, until it had that (Linux 6.11 to 6.17),
/// in what is kept of a message, which begins with a pointer: an aligned one is no address family.
#[inline(always)]
fn copied(request: Object, length: u32) -> Address {
    let data = request.pointer(offset!(io_async_data));
    let alone = Address::of_kernel(data.0, length);
    if matches!(alone.family, AF_UNIX | AF_INET | AF_INET6) {
        alone
    } else {
        Address::of_kernel(data.embedded(offset!(io_message_addr)).0, length)
    }
}
