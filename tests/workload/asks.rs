//! Any system call with any arguments, by the machine's own convention, by that of 32-bit programs, or as a request in an
//! io_uring. What is passed by address lies in memory below 4 GiB, so that all three can name it.
//!
//! An argument is one of
//! - a number, decimal or `0x…`, also negative;
//! - `$N`: what the call before last-but-N returned, from the first one: `$0`;
//! - `%`: this process's id; `%%`: its parent's;
//! - `@TEXT`: the address of a string;
//! - `inet:IP:PORT`, `inet6:[IP]:PORT`, `unix:PATH`, `abstract:NAME`: the address of a socket address;
//! - `words:A,B,…`: the address of 32-bit numbers, `longs:A,B,…` of 64-bit ones; each may be any argument of this list.

use std::{net::SocketAddr, ptr, sync::Mutex};

use crate::{checked, say};

/// Bytes that arguments may take.
const ROOM: usize = 1 << 16;

struct Asked {
    /// Memory below 4 GiB, and how much of it is used.
    memory: usize,
    used: usize,
    results: Vec<i64>,
    ring: Option<Ring>,
}

static ASKED: Mutex<Asked> = Mutex::new(Asked { memory: 0, used: 0, results: Vec::new(), ring: None });

pub(crate) fn step(name: &str, words: &[&str]) -> bool {
    let mut asked = ASKED.lock().expect("one thread");
    let result = match (name, words) {
        ("ask", [number, arguments @ ..]) => {
            let number = asked.value(number);
            let given = asked.values(arguments);
            // SAFETY: what is passed by address is this process's memory, and stays.
            unsafe { native(number, given) }
        }
        ("ask32", [number, arguments @ ..]) => {
            let number = asked.value(number);
            let given = asked.values(arguments);
            // SAFETY: as above, all of it below 4 GiB.
            unsafe { compat(number, given) }
        }
        // A call that makes a child, which ends at once.
        ("ask-child", [number, arguments @ ..]) => {
            let number = asked.value(number);
            let given = asked.values(arguments);
            // SAFETY: as above. The child does nothing but end.
            let result = unsafe { native(number, given) };
            if result == 0 {
                std::process::exit(0);
            }
            result
        }
        // Flags of io_uring_setup.
        ("ring", [flags]) => {
            let flags = asked.value(flags);
            let ring = Ring::new(u32::try_from(flags).expect("flags"));
            let descriptor = ring.descriptor;
            asked.ring = Some(ring);
            descriptor
        }
        // Fields of `struct io_uring_sqe`: opcode, fd, off, addr, len, op_flags.
        ("request", arguments) => {
            let given = asked.values(arguments);
            asked.ring.as_mut().expect("a step before this one makes the ring").ask(given)
        }
        _ => return false,
    };
    asked.results.push(result);
    say(&result.to_string());
    true
}

impl Asked {
    fn values(&mut self, arguments: &[&str]) -> [i64; 6] {
        let mut values = [0; 6];
        assert!(arguments.len() <= values.len(), "too many arguments");
        for (value, argument) in values.iter_mut().zip(arguments) {
            *value = self.value(argument);
        }
        values
    }

    fn value(&mut self, argument: &str) -> i64 {
        let (kind, rest) = argument.split_once(':').unwrap_or((argument, ""));
        let list = |asked: &mut Self| -> Vec<i64> { rest.split(',').map(|word| asked.value(word)).collect() };
        match kind {
            "%" => i64::from(std::process::id()),
            "%%" => i64::from(std::os::unix::process::parent_id()),
            "words" => {
                let bytes = list(self).iter().flat_map(|word| (*word as u32).to_ne_bytes()).collect::<Vec<_>>();
                self.put(&bytes)
            }
            "longs" => {
                let bytes = list(self).iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
                self.put(&bytes)
            }
            "inet" | "inet6" => self.put(&internet(rest.parse().expect("an address"))),
            "unix" => self.put(&[&1_u16.to_ne_bytes(), rest.as_bytes(), &[0]].concat()),
            "abstract" => self.put(&[&1_u16.to_ne_bytes(), &[0][..], rest.as_bytes()].concat()),
            _ => {
                if let Some(text) = argument.strip_prefix('@') {
                    self.put(&[text.as_bytes(), &[0]].concat())
                } else if let Some(index) = argument.strip_prefix('$') {
                    self.results[index.parse::<usize>().expect("a number")]
                } else if let Some(hexadecimal) = argument.strip_prefix("0x") {
                    i64::from_str_radix(hexadecimal, 16).expect("a number")
                } else {
                    argument.parse().unwrap_or_else(|_| panic!("no argument: {argument}"))
                }
            }
        }
    }

    /// Copies bytes to where they may be passed from; their address.
    fn put(&mut self, bytes: &[u8]) -> i64 {
        if self.memory == 0 {
            #[cfg(target_arch = "x86_64")]
            let low = libc::MAP_32BIT;
            #[cfg(not(target_arch = "x86_64"))]
            let low = 0;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | low;
            // SAFETY: new memory.
            let memory = unsafe { libc::mmap(ptr::null_mut(), ROOM, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
            assert_ne!(memory, libc::MAP_FAILED);
            self.memory = memory as usize;
        }
        let address = self.memory + self.used;
        self.used += bytes.len().next_multiple_of(8);
        assert!(self.used <= ROOM, "too much to pass");
        // SAFETY: inside that memory, which nobody else writes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        i64::try_from(address).expect("below 4 GiB, or at least below the kernel")
    }
}

/// `struct sockaddr_in` or `sockaddr_in6`.
fn internet(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(address) => {
            [&(libc::AF_INET as u16).to_ne_bytes()[..], &port, &address.ip().octets(), &[0; 8]].concat()
        }
        SocketAddr::V6(address) => {
            [&(libc::AF_INET6 as u16).to_ne_bytes()[..], &port, &[0; 4], &address.ip().octets(), &[0; 4]].concat()
        }
    }
}

/// # Safety
/// That of the call.
unsafe fn native(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> i64 {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { result }
}

/// # Safety
/// That of the call.
#[cfg(target_arch = "x86_64")]
unsafe fn compat(number: i64, [a, b, c, d, e, f]: [i64; 6]) -> i64 {
    let mut result = number;
    // SAFETY: the caller's. rbx and rbp are the compiler's own: exchanged around the call, the second one by way of the
    // stack. The kernel may clear r8 to r11.
    unsafe {
        std::arch::asm!(
            "push rbp",
            "push rbx",
            "mov rbp, r13",
            "mov rbx, r12",
            "int 0x80",
            "pop rbx",
            "pop rbp",
            inout("rax") result,
            in("r12") a, in("rcx") b, in("rdx") c, in("rsi") d, in("rdi") e, in("r13") f,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    i64::from(result as i32)
}

/// Other machines have no such door from 64-bit code.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn compat(_: i64, _: [i64; 6]) -> i64 {
    panic!("32-bit calls can be made from 64-bit code on x86-64 only");
}

/// A ring of one request at a time.
struct Ring {
    descriptor: i64,
    flags: u32,
    submissions: usize,
    completions: usize,
    requests: usize,
    parameters: Parameters,
}

/// `struct io_uring_params`, as 32-bit words.
type Parameters = [u32; 30];

const SETUP: i64 = 425;
const ENTER: i64 = 426;
const SQPOLL: u32 = 2;
const GET_EVENTS: i64 = 1;
const WAKE_UP: i64 = 2;

impl Ring {
    fn new(flags: u32) -> Self {
        let mut parameters: Parameters = [0; 30];
        parameters[2] = flags;
        let address = parameters.as_mut_ptr() as i64;
        // SAFETY: the kernel writes the parameters, which are as large as its structure.
        let descriptor = checked("io_uring_setup", unsafe { native(SETUP, [4, address, 0, 0, 0, 0]) });
        let map = |size: u32, offset: i64| {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
            // SAFETY: new memory, of the ring just made.
            let memory =
                unsafe { libc::mmap(ptr::null_mut(), size as usize, protection, flags, descriptor as i32, offset) };
            assert_ne!(memory, libc::MAP_FAILED, "map a ring");
            memory as usize
        };
        // Behind ten words of parameters come ten of offsets of the one ring, then ten of the other's.
        let submissions = map(parameters[10 + 6] + 4 * parameters[0], 0);
        let completions = map(parameters[20 + 5] + 16 * parameters[1], 0x800_0000);
        let requests = map(64 * parameters[0], 0x1000_0000);
        Self { descriptor, flags, submissions, completions, requests, parameters }
    }

    /// Submits a request and waits for its result.
    fn ask(&mut self, [operation, descriptor, offset, address, length, flags]: [i64; 6]) -> i64 {
        let mut entry = [0_u8; 64];
        entry[0] = u8::try_from(operation).expect("an opcode");
        entry[4..8].copy_from_slice(&(descriptor as i32).to_ne_bytes());
        entry[8..16].copy_from_slice(&offset.to_ne_bytes());
        entry[16..24].copy_from_slice(&address.to_ne_bytes());
        entry[24..28].copy_from_slice(&(length as u32).to_ne_bytes());
        entry[28..32].copy_from_slice(&(flags as u32).to_ne_bytes());
        let word = |ring: usize, at: u32| (ring + at as usize) as *mut u32;
        // SAFETY: memory shared with the kernel, at the offsets that it told. Nobody else submits.
        unsafe {
            let tail = word(self.submissions, self.parameters[11]);
            let index = tail.read_volatile() & (self.parameters[0] - 1);
            ptr::copy_nonoverlapping(entry.as_ptr(), (self.requests + 64 * index as usize) as *mut u8, 64);
            word(self.submissions, self.parameters[16]).add(index as usize).write_volatile(index);
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            tail.write_volatile(tail.read_volatile().wrapping_add(1));
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            // A polling thread takes it without being asked, but may have gone to sleep.
            let (count, wake) = if self.flags & SQPOLL == 0 { (1, 0) } else { (0, WAKE_UP) };
            checked("io_uring_enter", native(ENTER, [self.descriptor, count, 1, GET_EVENTS | wake, 0, 0]));
            let head = word(self.completions, self.parameters[20]);
            let index = head.read_volatile() & (self.parameters[1] - 1);
            let result = word(self.completions, self.parameters[25] + 16 * index + 8).read_volatile() as i32;
            head.write_volatile(head.read_volatile().wrapping_add(1));
            i64::from(result)
        }
    }
}
