//! Every bound of the kernel side, with its reason. Each has a loss counter in [`crate::loss`].

/// Entries of the thread table, indexed by the low bits of the thread id: 64 bytes each, 4 MiB in all. Two live threads
/// that share the low bits push each other out; that costs a hash look-up and one call's duration, and is counted.
pub const THREADS: u32 = 1 << 16;

/// Process slots when nothing else is configured. A process without a slot is counted in [`SLOT_OTHER`].
pub const PROCESS_SLOTS: u32 = 4096;
/// Most process slots that can be configured: the thread table keeps a slot in 16 bits.
pub const PROCESS_SLOTS_MAX: u32 = 1 << 15;

/// The slot of every process that found the table full: its calls count in group `_other`.
pub const SLOT_OTHER: u32 = 0;
/// The slot for what no process could be found for (a socket older than the daemon, for instance): group `_unknown`.
pub const SLOT_UNKNOWN: u32 = 1;
/// First slot that is handed out.
pub const SLOT_FIRST: u32 = 2;
/// Marks, in the thread table, a thread that is not observed (the daemon's own).
pub const SLOT_IGNORED: u16 = u16::MAX;

/// Most copies (shards) of the hot per-process counters. One per CPU up to here, so that CPUs do not share cache lines.
pub const SHARDS_MAX: u32 = 8;

/// Sockets with a known owner at one time.
pub const SOCKETS: u32 = 65_536;
/// Block requests in flight at one time.
pub const BLOCK_REQUESTS: u32 = 16_384;
/// Pairs of device and operation.
pub const BLOCK_DEVICES: u32 = 1_024;
/// Triples of process, device and operation.
pub const BLOCK_PROCESSES: u32 = 16_384;
/// Triples of device, operation and error.
pub const BLOCK_ERRORS: u32 = 1_024;
/// Triples of process, family and errno.
pub const SYSCALL_ERRORS: u32 = 32_768;
/// Pairs of process and listening port.
pub const TCP_ACCEPTS: u32 = 8_192;

/// Bytes of the ring that carries what security rules need. Nothing else may fill it. A record is as long as what it
/// tells, about 1 KiB with most environments: room for seven thousand execs. Only what is longer than 4 KiB of arguments
/// or 16 KiB of environment takes 68 KiB. The ring counts twice in the daemon's resident memory, because it is mapped
/// twice, end to end.
pub const SECURITY_RING: u32 = 8 << 20;
/// Bytes of the ring for births and deaths of 3,000 processes.
pub const TELEMETRY_RING: u32 = 1 << 20;
/// Bytes of the ring for activities of bulk kinds: four thousand of them, which is twice what one control group may send
/// in a second ([`BULK_RATE`]). It counts twice in the daemon's resident memory, as the security ring does.
pub const BULK_RING: u32 = 2 << 20;
/// Bytes of the ring for what clients and servers say: twenty thousand short requests. It counts twice, as the others do.
pub const REQUESTS_RING: u32 = 4 << 20;
/// Threads that are inside of a TLS library's function at one time: whoever waits for an answer is.
pub const TLS_CALLS: u32 = 16_384;
/// Conversations inside TLS at one time.
pub const TLS_CONVERSATIONS: u32 = 16_384;
/// Records of what is said inside TLS that are put together at one time: programs in user functions may be preempted, so
/// each takes its own piece of memory.
pub const TLS_SCRATCHES: u32 = 32;
/// Pieces of conversations that one CPU may tell of in a second, when nothing else is configured: at something like half a
/// microsecond each for kernel and daemon together, 1 % of it.
pub const L7_RATE: u32 = 20_000;
/// Records of bulk kinds that one control group may send in a second, when nothing else is configured; and at once after
/// a second of silence. Beyond that they are counted only.
pub const BULK_RATE: u32 = 2_000;
/// Control groups, by class of activity, whose rate is known. The one that was quiet for longest is forgotten first.
pub const BULK_BUCKETS: u32 = 8_192;
/// The daemon is woken for a record of the security ring at most once in this time, nanoseconds: waking costs more than
/// all else about a record.
pub const WAKE_INTERVAL_NS: u64 = 5_000_000;

/// Files that are watched by inode.
pub const WATCHED_INODES: u32 = 4_096;
/// Files that are watched by the last component of their path.
pub const WATCHED_NAMES: u32 = 4_096;
/// Directories in which everything is watched.
pub const WATCHED_DIRECTORIES: u32 = 4_096;
/// Directories above a file that are looked for among the watched ones.
pub const WATCHED_DEPTH: u32 = 8;
/// Files of which it is remembered who last opened them for writing. The oldest are forgotten first.
pub const WRITTEN: u32 = 16_384;

/// Maps and programs of the daemon that others are kept from: about eighty, and the daemon makes no more while it runs.
pub const PROTECTED: u32 = 512;

/// Longest path that the kernel hands over; a longer one is cut at its root end and marked.
pub const PATH: usize = 1_024;
/// Longest path component (NAME_MAX of Linux is 255) with its terminator.
pub const NAME: usize = 256;
/// Most path components that the kernel walks.
pub const PATH_DEPTH: u32 = 40;
/// Most bytes of arguments that are copied at exec; the true length is always told.
pub const ARGS: usize = 32 << 10;
/// Most bytes of environment that are copied at exec.
pub const ENVIRONMENT: usize = 32 << 10;
