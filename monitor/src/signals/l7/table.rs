//! How each system call names the memory that it moves.

use monitor_common::signals::{
    l7::Shape,
    syscalls::{CALLS, CALLS_PER_ABI},
};

use crate::signals::syscalls::table::calls;

/// The table for the kernel programs, by the index of the call table. 32-bit programs hand over other structures: what
/// they move is counted as unseen.
pub fn shape_table() -> Vec<u8> {
    let mut table = vec![Shape::Compat as u8; CALLS];
    table.iter_mut().take(CALLS_PER_ABI as usize).for_each(|entry| *entry = Shape::Unseen as u8);
    for (index, name) in calls().filter(|(index, _)| *index < CALLS_PER_ABI) {
        if let Some(entry) = table.get_mut(index as usize) {
            *entry = shape(name) as u8;
        }
    }
    table
}

fn shape(call: &str) -> Shape {
    match call {
        "read" | "write" | "recvfrom" | "sendto" | "recv" | "send" => Shape::Buffer,
        "readv" | "writev" | "preadv2" | "pwritev2" => Shape::Vector,
        "recvmsg" | "sendmsg" => Shape::Message,
        "recvmmsg" | "sendmmsg" => Shape::Messages,
        "sendfile" | "sendfile64" | "splice" | "vmsplice" | "tee" => Shape::File,
        "io_uring_enter" => Shape::Uring,
        _ => Shape::Unseen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_this_machine_have_their_shape() {
        let table = shape_table();
        let of = |number: libc::c_long| table[number as usize];
        assert_eq!(of(libc::SYS_read), Shape::Buffer as u8);
        assert_eq!(of(libc::SYS_sendto), Shape::Buffer as u8);
        assert_eq!(of(libc::SYS_writev), Shape::Vector as u8);
        assert_eq!(of(libc::SYS_recvmsg), Shape::Message as u8);
        assert_eq!(of(libc::SYS_sendmmsg), Shape::Messages as u8);
        assert_eq!(of(libc::SYS_sendfile), Shape::File as u8);
        assert_eq!(of(libc::SYS_io_uring_enter), Shape::Uring as u8);
        assert_eq!(of(libc::SYS_getpid), Shape::Unseen as u8);
        assert!(table[CALLS_PER_ABI as usize..].iter().all(|shape| *shape == Shape::Compat as u8));
    }
}
