//! What the kernel side could not deliver, by cause. One counter each, per CPU, published as
//! `monitor_lost_total{signal,cause}`. Numbers are the array index: never reused, never reordered.

macro_rules! losses {
    ($($(#[$doc:meta])* $variant:ident = $index:literal, $signal:literal, $cause:literal;)*) => {
        /// A cause of loss.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Loss {
            $($(#[$doc])* $variant = $index,)*
        }

        impl Loss {
            /// Every cause there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The signal that suffers from it.
            pub const fn signal(self) -> &'static str {
                match self { $(Self::$variant => $signal,)* }
            }

            /// The cause, as the metric's label tells it.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause,)* }
            }
        }
    };
}

losses! {
    /// An exec record found the security ring full.
    ExecRing = 0, "exec", "ring_full";
    /// A fork record found the telemetry ring full.
    ForkRing = 1, "process", "fork_ring_full";
    /// An exit record found the telemetry ring full.
    ExitRing = 2, "process", "exit_ring_full";
    /// A birth or a call of a process that found no free slot: its numbers went to group `_other`.
    Slots = 3, "process", "slots_full";
    /// Two live threads share an entry of the thread table: one call was counted without its duration.
    ThreadCollision = 4, "syscalls", "thread_collision";
    /// A triple of process, family and errno found its table full.
    SyscallErrors = 5, "syscalls", "errors_full";
    /// A socket's owner found the socket table full.
    Sockets = 6, "tcp", "sockets_full";
    /// A pair of process and port found its table full.
    TcpAccepts = 7, "tcp", "accepts_full";
    /// A block request found the request table full: it was not timed.
    BlockRequests = 8, "block_io", "requests_full";
    /// A pair of device and operation found its table full.
    BlockDevices = 9, "block_io", "devices_full";
    /// A triple of process, device and operation found its table full.
    BlockProcesses = 10, "block_io", "processes_full";
    /// A triple of device, operation and error found its table full.
    BlockErrors = 11, "block_io", "errors_full";
    /// Arguments or environment of a new program could not be read at all.
    ExecArgs = 12, "exec", "arguments_unreadable";
    /// The kernel did not let a closed socket's entry be removed: its room is taken until the address is used again.
    SocketsLocked = 13, "tcp", "sockets_locked";
    /// The same for a completed block request.
    BlockRequestsLocked = 14, "block_io", "requests_locked";
    /// An activity found the security ring full.
    ActivityRing = 15, "activity", "ring_full";
    /// An activity of a bulk kind found the bulk ring full.
    ActivityBulkRing = 16, "activity", "bulk_ring_full";
    /// An activity of a bulk kind, of a control group that had sent too many.
    ActivityThrottled = 17, "activity", "throttled";
    /// A call whose kernel program could not be loaded.
    ActivityProgram = 18, "activity", "program_missing";
    /// Something that was forbidden found the security ring full: it was forbidden and counted all the same.
    ProtectRing = 19, "protect", "ring_full";
    /// A process that was killed at its exec, or was not for `respond.rate`: the record found the security ring full.
    ExecKillRing = 20, "exec_kill", "ring_full";
    /// What was said over a connection found the ring of requests full.
    L7Ring = 21, "l7", "ring_full";
    /// A request of more than one CPU may tell of in a second (`l7.rate`): nothing was told of it and its answer.
    L7Rate = 22, "l7", "rate";
    /// What a request or an answer began with went through an io_uring: whose memory it is in nothing tells.
    L7Uring = 23, "l7", "io_uring";
    /// It came out of a file or a pipe (sendfile, splice), not out of memory.
    L7File = 24, "l7", "file";
    /// It was moved by a 32-bit program, whose structures are others.
    L7Compat = 25, "l7", "compat";
    /// It was moved by a call of another kind, or its memory was not there.
    L7Memory = 26, "l7", "memory";
    /// A thread that entered a TLS library's function found the table full: what the call moved is not heard.
    TlsCalls = 27, "l7", "tls_calls_full";
    /// A conversation inside TLS found the table full.
    TlsConversations = 28, "l7", "tls_conversations_full";
    /// So many records of what is said inside TLS were being put together that there was no memory for another one.
    TlsScratches = 29, "l7", "tls_scratches_taken";
    /// The kernel did not let an entry of these tables be removed.
    TlsLocked = 30, "l7", "tls_locked";
}

/// Number of counters.
pub const LOSSES: u32 = Loss::ALL.len() as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_so_that_the_array_has_no_holes() {
        for (index, loss) in Loss::ALL.iter().enumerate() {
            assert_eq!(*loss as usize, index);
        }
    }

    #[test]
    fn no_two_causes_share_their_labels() {
        for (index, one) in Loss::ALL.iter().enumerate() {
            for other in &Loss::ALL[index + 1..] {
                assert!((one.signal(), one.cause()) != (other.signal(), other.cause()));
            }
        }
    }
}
