//! What a process uses, and how it ends.

use std::{
    fs,
    io::Write as _,
    process, ptr,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{calls, checked, number, say};

pub(crate) fn step(name: &str, words: &[&str]) -> bool {
    match (name, words) {
        ("burn", [milliseconds]) => burn(Duration::from_millis(number(milliseconds))),
        ("touch", [pages]) => touch(number(pages)),
        ("write", [path, bytes]) => write(path, number(bytes)),
        ("rename", [hex]) => rename(hex),
        ("die", [signal]) => die(number(signal)),
        ("fork", [count]) => fork(number(count)),
        ("fork-failing", [count, calls]) => fork_failing(number(count), number(calls)),
        ("zombie", [calls, milliseconds]) => zombie(number(calls), Duration::from_millis(number(milliseconds))),
        ("reap", []) => wait_for(-1),
        ("fork-and-call", [child, parent]) => fork_and_call(number(child), number(parent)),
        ("again-as", [pid, count]) => again_as(number(pid), number(count)),
        ("crowd", [count, calls, errors]) => crowd(number(count), number(calls), number(errors)),
        ("orphan", [milliseconds]) => orphan(number(milliseconds)),
        _ => return false,
    }
    true
}

/// Uses this much CPU time.
fn burn(time: Duration) {
    let used = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
    };
    let end = used() + time;
    while used() < end {
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_micros(100) {}
    }
}

/// Touches this many fresh pages, each of which is one fault.
fn touch(pages: usize) {
    let length = pages * 4096;
    // SAFETY: new memory, which nobody else has.
    let memory = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    assert_ne!(memory, libc::MAP_FAILED);
    for page in 0..pages {
        // SAFETY: within the memory just mapped. Volatile: the compiler sees no use in it.
        unsafe { memory.cast::<u8>().add(page * 4096).write_volatile(1) };
    }
}

fn write(path: &str, bytes: usize) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).expect("open the file");
    file.write_all(&vec![b'x'; bytes]).expect("write the file");
}

/// Takes another short name, given as hexadecimal digits.
fn rename(hex: &str) {
    let mut name: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits")).collect();
    name.push(0);
    // SAFETY: the name ends with a zero byte.
    checked("prctl", unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }.into());
}

/// Ends by a signal, without a core file.
fn die(signal: i32) {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives the call.
    checked("setrlimit", unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) }.into());
    // SAFETY: no memory is involved; the runtime's own handler of some signals is taken out first.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
    }
}

/// Makes `count` children that end at once, one after the other.
pub(crate) fn fork(count: u32) {
    for _ in 0..count {
        // SAFETY: there is one thread only, and the child does nothing but end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: no memory is involved.
            unsafe { libc::_exit(0) };
        }
        wait_for(child);
    }
}

/// Makes `count` children, some dozens at a time, each of which makes `calls` calls that fail.
fn fork_failing(count: u32, calls: u64) {
    const AT_ONCE: u32 = 50;
    for made in (0..count).step_by(AT_ONCE as usize) {
        let children: Vec<i32> = (made..count.min(made + AT_ONCE))
            .map(|_| {
                // SAFETY: there is one thread only.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    calls::fsync_nothing(calls);
                    // SAFETY: no memory is involved.
                    unsafe { libc::_exit(0) };
                }
                child
            })
            .collect();
        children.into_iter().for_each(wait_for);
    }
}

/// Makes a child that calls so many times and uses so much CPU time, and does not wait for it when it has ended. Prints its
/// id then.
fn zombie(calls: u64, time: Duration) {
    // SAFETY: there is one thread only.
    let child = unsafe { libc::fork() };
    if child == 0 {
        calls::getppid(calls);
        burn(time);
        // SAFETY: no memory is involved.
        unsafe { libc::_exit(0) };
    }
    checked("fork", child.into());
    // SAFETY: all bytes zero is a valid value, and it outlives the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let ended = libc::WEXITED | libc::WNOWAIT;
        checked("waitid", libc::waitid(libc::P_PID, child.unsigned_abs(), &raw mut info, ended).into());
    }
    say(&child.to_string());
}

/// Forks; the child calls `child` times, the parent `parent` times. Prints the child's id.
fn fork_and_call(child: u64, parent: u64) {
    // SAFETY: there is one thread only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        calls::getppid(child);
        // SAFETY: no memory is involved.
        unsafe { libc::_exit(0) };
    }
    calls::getppid(parent);
    wait_for(pid);
    say(&pid.to_string());
}

/// Makes a child with a given id, which must be free; it calls so many times and ends.
fn again_as(pid: i32, count: u64) {
    let wanted = [pid];
    let arguments = [0_u64, 0, 0, 0, u64::from(libc::SIGCHLD.unsigned_abs()), 0, 0, 0, wanted.as_ptr() as u64, 1, 0];
    // SAFETY: the layout is that of struct clone_args (88 bytes). Without CLONE_VM the child has its own copy of this
    // one thread, as after fork.
    let child = unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) };
    if checked("clone3", child) == 0 {
        calls::getppid(count);
        // SAFETY: no memory is involved.
        unsafe { libc::_exit(0) };
    }
    wait_for(i32::try_from(child).expect("a pid"));
}

/// Makes a child that makes a child that sleeps, and ends: the grandchild is an orphan whose parent has ended. Prints the
/// ids of child and grandchild.
fn orphan(milliseconds: i64) {
    // SAFETY: there is one thread only.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        let grandchild = unsafe { libc::fork() };
        if grandchild == 0 {
            calls::sleep(milliseconds);
        } else {
            say(&format!("{} {grandchild}", process::id()));
        }
        // SAFETY: no memory is involved.
        unsafe { libc::_exit(0) };
    }
    wait_for(child);
}

/// Makes `count` children, each of which makes so many calls and so many errors, and then waits until this process ends.
/// Returns when all of them wait.
fn crowd(count: usize, made: u64, errors: u64) {
    let pipe = || {
        let mut ends = [0; 2];
        // SAFETY: room for the two ends.
        checked("pipe", unsafe { libc::pipe(ends.as_mut_ptr()) }.into());
        ends
    };
    // A child holds its own copy of every end: of the leash it must not keep the one that breaks it.
    let (leash, ready) = (pipe(), pipe());
    let mut byte = [0_u8];
    for _ in 0..count {
        // SAFETY: there is one thread only.
        let child = unsafe { libc::fork() };
        checked("fork", child.into());
        if child == 0 {
            calls::getppid(made);
            calls::stat_missing(errors);
            // SAFETY: the byte outlives the calls; the descriptors are ours.
            unsafe {
                libc::close(leash[1]);
                libc::write(ready[1], byte.as_ptr().cast(), 1);
                libc::read(leash[0], byte.as_mut_ptr().cast(), 1);
                libc::_exit(0);
            }
        }
    }
    for _ in 0..count {
        // SAFETY: as above.
        let read = unsafe { libc::read(ready[0], byte.as_mut_ptr().cast(), 1) };
        checked("read", i64::try_from(read).expect("one byte"));
    }
}

/// Waits for a child, or (-1) for any.
pub(crate) fn wait_for(child: i32) {
    assert!(child > 0 || child == -1, "fork: {}", std::io::Error::last_os_error());
    // SAFETY: the status is not wanted.
    let waited = unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
    assert!(waited == child || child == -1 && waited > 0, "{}", std::io::Error::last_os_error());
}
