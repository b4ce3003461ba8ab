//! Kinds of programs that the daemon does not use: where they work, it could.

use std::{
    net::{TcpListener, TcpStream},
    process::Command,
};

use aya::{
    Btf, Ebpf,
    maps::{Array, MapData},
    programs::{FEntry, FExit, Lsm},
};

/// `monitor-ebpf/src/tiers.rs`, as the harness put it onto the disk.
const OBJECT: &str = "/disk/tiers.o";

/// How often each of the programs ran.
fn runs(ebpf: &Ebpf) -> [u64; 3] {
    let runs: Array<&MapData, u64> = Array::try_from(ebpf.map("RUNS").unwrap()).unwrap();
    [0, 1, 2].map(|index| runs.get(&index, 0).unwrap())
}

/// On x86-64 every kernel of the matrix, from 5.10 on, can do all of it.
#[test]
fn entries_and_returns_of_functions_and_questions_to_security_modules_are_seen() {
    let btf = Btf::from_sys_fs().unwrap();
    let mut ebpf = Ebpf::load_file(OBJECT).unwrap();
    // Where a kernel cannot do it, only attaching fails.
    let program: &mut FEntry = ebpf.program_mut("entered").unwrap().try_into().unwrap();
    program.load("tcp_connect", &btf).unwrap();
    program.attach().unwrap();
    let program: &mut FExit = ebpf.program_mut("returned").unwrap().try_into().unwrap();
    program.load("tcp_connect", &btf).unwrap();
    program.attach().unwrap();
    let program: &mut Lsm = ebpf.program_mut("asked").unwrap().try_into().unwrap();
    program.load("bprm_check_security", &btf).unwrap();
    program.attach().unwrap();
    assert_eq!(runs(&ebpf), [0, 0, 0]);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..5 {
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    }
    for _ in 0..3 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    assert_eq!(runs(&ebpf), [5, 5, 3]);
}
