//! Running other programs, also in ways that nobody honest uses.

use std::{
    env,
    ffi::CString,
    fs,
    io::Write as _,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::process::CommandExt as _,
    },
    process::Command,
    thread,
};

use crate::checked;

fn this() -> std::path::PathBuf {
    env::current_exe().expect("this process has an executable")
}

/// Becomes this program anew, with other steps.
pub(crate) fn exec(steps: &[&str]) {
    let error = Command::new(this()).args(steps).exec();
    panic!("exec: {error}");
}

/// The same so many times, one after the other.
pub(crate) fn exec_again(count: u32, steps: &[&str]) {
    if let Some(left) = count.checked_sub(1) {
        exec(&[&["exec-again", &left.to_string(), "+"], steps].concat());
    }
}

/// The same from a thread that is not the first: the kernel ends all others, and the thread gets the first one's id.
pub(crate) fn exec_from_thread(steps: &[&str]) {
    thread::scope(|scope| {
        scope.spawn(|| exec(steps));
    });
}

/// Copies `program` to a file in memory and becomes that.
pub(crate) fn exec_memfd(program: &str) {
    // SAFETY: the name ends with a zero byte.
    let fd = checked("memfd_create", i64::from(unsafe { libc::memfd_create(c"x".as_ptr(), libc::MFD_CLOEXEC) }));
    // SAFETY: the descriptor was just made and is nobody else's.
    let mut memory = unsafe { fs::File::from_raw_fd(i32::try_from(fd).expect("a descriptor")) };
    memory.write_all(&fs::read(program).expect("the program can be read")).expect("it fits into memory");
    let arguments = [c"x".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    // SAFETY: both lists end with a null pointer, their strings with a zero byte.
    unsafe { libc::fexecve(memory.as_raw_fd(), arguments.as_ptr(), environment.as_ptr()) };
    panic!("fexecve: {}", std::io::Error::last_os_error());
}

/// Removes its own file and becomes it.
pub(crate) fn exec_deleted(steps: &[&str]) {
    let path = this();
    let file = fs::File::open(&path).expect("its own file");
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).expect("copy the program");
    let file_of_copy = fs::File::open(&copy).expect("the copy");
    drop(file);
    fs::remove_file(&copy).expect("remove the copy");
    let steps: Vec<CString> = steps.iter().map(|step| CString::new(*step).expect("no zero byte")).collect();
    let mut arguments = vec![c"deleted".as_ptr()];
    arguments.extend(steps.iter().map(|step| step.as_ptr()));
    arguments.push(std::ptr::null());
    let environment = [std::ptr::null()];
    // SAFETY: both lists end with a null pointer, their strings with a zero byte.
    unsafe { libc::fexecve(file_of_copy.as_raw_fd(), arguments.as_ptr(), environment.as_ptr()) };
    panic!("fexecve: {}", std::io::Error::last_os_error());
}

/// Runs this program `count` times with these steps, one after the other.
pub(crate) fn spawn(count: u32, steps: &[&str]) {
    let this = this();
    for _ in 0..count {
        assert!(Command::new(&this).args(steps).status().expect("it can be started").success());
    }
}
