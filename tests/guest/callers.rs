//! A program for another processor: 32 bits.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use monitor_tests::{Daemon, directory, shared};
use serde_json::Value;

use super::calls;

/// Where the program is in memory.
const BASE: u32 = 0x0804_8000;
/// Bytes before the code: the file's header and that of its one segment.
const HEADERS: u32 = 52 + 32;

/// A static i386 executable that asks for its parent `count` times and ends, and nothing else.
fn program(count: u32) -> Vec<u8> {
    let mut code = vec![0xbe]; // mov esi, count
    code.extend(count.to_le_bytes());
    // Each call: mov eax, 64 (getppid; for 64-bit programs that is semget); int 0x80; dec esi; jne to the mov.
    code.extend([0xb8, 64, 0, 0, 0, 0xcd, 0x80, 0x4e, 0x75, 0xf6]);
    // xor ebx, ebx; mov eax, 1 (exit; for 64-bit programs that is write); int 0x80
    code.extend([0x31, 0xdb, 0xb8, 1, 0, 0, 0, 0xcd, 0x80]);
    let size = HEADERS + u32::try_from(code.len()).unwrap();

    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable for machine 3.
    file.extend([2_u16, 3].iter().flat_map(|field| field.to_le_bytes()));
    // Version, entry, headers of segments and of sections, flags.
    file.extend([1, BASE + HEADERS, 52, 0, 0].iter().flat_map(|field: &u32| field.to_le_bytes()));
    // Sizes and numbers of the headers.
    file.extend([52_u16, 32, 1, 40, 0, 0].iter().flat_map(|field| field.to_le_bytes()));
    // One segment: load all of the file, to be read and executed.
    file.extend([1, 0, BASE, BASE, size, size, 5, 4096].iter().flat_map(|field: &u32| field.to_le_bytes()));
    file.extend(code);
    file
}

fn run(daemon: &Daemon, path: &Path, count: u32) -> Value {
    fs::write(path, program(count)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = Command::new(path).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    daemon.ended(child.id())
}

#[test]
fn a_program_of_32_bits_is_counted_by_its_own_numbers() {
    let daemon = shared();
    let directory = directory();
    let path = directory.path().join("i386");
    let once = run(&daemon, &path, 1);
    let often = run(&daemon, &path, 2_001);
    daemon.counted(calls(&often, "query") - calls(&once, "query"), 2_000);
    for process in [&once, &often] {
        assert_eq!(calls(process, "ipc"), 0, "{process}");
        assert_eq!(process["exe"], path.to_str().unwrap());
        assert_eq!((&process["exit"]["code"], &process["execs"]), (&0.into(), &1.into()));
        // The execve that was entered with 64 bits and left with 32, and the exit that never returns.
        let family = &process["syscalls"]["families"]["process"];
        assert!(family["calls"].as_u64() >= Some(2) && family["untimed"] == 1, "{family}");
    }
}
