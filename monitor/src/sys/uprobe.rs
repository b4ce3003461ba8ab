//! Kernel programs on functions of user programs, many of them with one link (`BPF_TRACE_UPROBE_MULTI`, Linux 6.6), for which
//! aya has no wrapper. One perf event for each function, which it has, takes a tenth of a second each to take off, and keeps
//! everybody who traces from doing anything meanwhile.

use std::{
    ffi::{CStr, CString, c_long},
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

// `enum bpf_cmd`, `enum bpf_prog_type`, `enum bpf_attach_type` of include/uapi/linux/bpf.h.
const PROG_LOAD: c_long = 5;
const LINK_CREATE: c_long = 28;
const PROG_TYPE_KPROBE: u32 = 2;
const TRACE_UPROBE_MULTI: u32 = 48;
/// `BPF_F_UPROBE_MULTI_RETURN`.
const RETURN: u32 = 1;
/// Bytes of the kernel's reason for refusing a program.
const LOG: usize = 1 << 16;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// The same for `BPF_LINK_CREATE`.
#[repr(C)]
#[derive(Default)]
struct Link {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    reference_counters: u64,
    cookies: u64,
    count: u32,
    multi_flags: u32,
    pid: u32,
    reserved: u32,
}

/// Loads a program for functions of user programs.
///
/// # Errors
/// What bpf(2) says, with the end of the verifier's log.
pub fn load_for_functions(
    name: &str,
    instructions: &[[u8; 8]],
    license: &CStr,
) -> Result<OwnedFd, (io::Error, String)> {
    let mut load = Load {
        kind: PROG_TYPE_KPROBE,
        count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        attach_type: TRACE_UPROBE_MULTI,
        ..Load::default()
    };
    // The last byte stays 0.
    load.name.iter_mut().zip(name.bytes().take(15)).for_each(|(to, from)| *to = from);
    // SAFETY: the kernel reads the attributes, of the size told, and what they point to; all of it outlives the call.
    match unsafe { bpf(PROG_LOAD, &load) } {
        Ok(program) => Ok(program),
        Err(error) => {
            // Again, to be told why.
            let mut log = vec![0_u8; LOG];
            (load.log_level, load.log_size, load.log) = (1, LOG as u32, log.as_mut_ptr() as u64);
            // SAFETY: as above; the kernel writes the log, of the size told.
            match unsafe { bpf(PROG_LOAD, &load) } {
                Ok(program) => Ok(program),
                Err(_) => {
                    let text = CStr::from_bytes_until_nul(&log).unwrap_or_default();
                    Err((error, text.to_string_lossy().into_owned()))
                }
            }
        }
    }
}

/// Has `program` run, in every process that maps `file`, where the functions at these offsets of it are entered, or where they
/// return. Each is an offset and the number by which the program knows it. Closing the result takes it off.
///
/// # Errors
/// What bpf(2) says.
pub fn attach_to_functions(
    program: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    functions: &[(u64, u64)],
    returns: bool,
) -> io::Result<OwnedFd> {
    // By descriptor: what was looked at, whatever has its name by now.
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let (offsets, cookies): (Vec<u64>, Vec<u64>) = functions.iter().copied().unzip();
    let link = Link {
        program: u32::try_from(program.as_raw_fd()).unwrap_or(u32::MAX),
        attach_type: TRACE_UPROBE_MULTI,
        path: path.as_ptr() as u64,
        offsets: offsets.as_ptr() as u64,
        cookies: cookies.as_ptr() as u64,
        count: u32::try_from(functions.len()).unwrap_or(0),
        multi_flags: if returns { RETURN } else { 0 },
        ..Link::default()
    };
    // SAFETY: the kernel reads the attributes, of the size told, and what they point to; all of it outlives the call.
    unsafe { bpf(LINK_CREATE, &link) }
}

/// # Safety
/// `attributes` is what `command` wants, which makes a descriptor.
unsafe fn bpf<T>(command: c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let fd = RawFd::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

const _: () = assert!(size_of::<Load>() == 72 && size_of::<Link>() == 64);
