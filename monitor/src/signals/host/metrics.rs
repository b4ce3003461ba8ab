//! The names of the host's metrics: node_exporter's, because every dashboard and rule knows them. What node_exporter
//! exports without a type (`node_netstat_*`) is a gauge here, as a counter would need another name.

use crate::metrics::{Kind, Metric};

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $id: Metric =
            Metric { name: $name, help: $help, kind: Kind::$kind, labels: &[$($label),*] };)*
        /// Every metric of this signal.
        pub const METRICS: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    CPU: Counter "node_cpu_seconds_total" ["cpu", "mode"] "Time that each CPU spent in each mode.";
    LOAD1: Gauge "node_load1" [] "Tasks that run or wait for a CPU or a disk, averaged over a minute.";
    LOAD5: Gauge "node_load5" [] "Tasks that run or wait for a CPU or a disk, averaged over 5 minutes.";
    LOAD15: Gauge "node_load15" [] "Tasks that run or wait for a CPU or a disk, averaged over 15 minutes.";

    MEM_TOTAL: Gauge "node_memory_MemTotal_bytes" [] "Memory that the kernel manages.";
    MEM_AVAILABLE: Gauge "node_memory_MemAvailable_bytes" [] "Memory that programs can get without swapping.";
    MEM_FREE: Gauge "node_memory_MemFree_bytes" [] "Memory that nothing uses.";
    BUFFERS: Gauge "node_memory_Buffers_bytes" [] "Memory that caches blocks of devices.";
    CACHED: Gauge "node_memory_Cached_bytes" [] "Memory that caches files, shared memory included.";
    RECLAIMABLE: Gauge "node_memory_SReclaimable_bytes" [] "Memory of kernel objects that can be given back.";
    SWAP_TOTAL: Gauge "node_memory_SwapTotal_bytes" [] "Swap space.";
    SWAP_FREE: Gauge "node_memory_SwapFree_bytes" [] "Swap space that nothing uses.";

    FS_SIZE: Gauge "node_filesystem_size_bytes" ["device", "mountpoint", "fstype"] "Size of the file system.";
    FS_FREE: Gauge "node_filesystem_free_bytes" ["device", "mountpoint", "fstype"] "Free space, that reserved for root included.";
    FS_AVAILABLE: Gauge "node_filesystem_avail_bytes" ["device", "mountpoint", "fstype"] "Free space for everybody.";
    FS_READ_ONLY: Gauge "node_filesystem_readonly" ["device", "mountpoint", "fstype"] "1 when the file system is mounted read-only.";
    FS_AGE: Gauge "monitor_host_filesystems_age_seconds" []
        "Age of the node_filesystem_* values. It grows while a file system does not answer.";

    DISK_READS: Counter "node_disk_reads_completed_total" ["device"] "Reads completed.";
    DISK_READ: Counter "node_disk_read_bytes_total" ["device"] "Bytes read.";
    DISK_READ_TIME: Counter "node_disk_read_time_seconds_total" ["device"] "Time that reads took, those at the same time added up.";
    DISK_WRITES: Counter "node_disk_writes_completed_total" ["device"] "Writes completed.";
    DISK_WRITTEN: Counter "node_disk_written_bytes_total" ["device"] "Bytes written.";
    DISK_WRITE_TIME: Counter "node_disk_write_time_seconds_total" ["device"] "Time that writes took, those at the same time added up.";
    DISK_NOW: Gauge "node_disk_io_now" ["device"] "Requests in progress.";
    DISK_TIME: Counter "node_disk_io_time_seconds_total" ["device"] "Time with at least one request in progress.";
    DISK_WEIGHTED: Counter "node_disk_io_time_weighted_seconds_total" ["device"] "Time with requests in progress, times their number.";

    NET_RECEIVED: Counter "node_network_receive_bytes_total" ["device"] "Bytes received.";
    NET_RECEIVED_PACKETS: Counter "node_network_receive_packets_total" ["device"] "Packets received.";
    NET_RECEIVED_ERRORS: Counter "node_network_receive_errs_total" ["device"] "Packets received with errors.";
    NET_RECEIVED_DROPS: Counter "node_network_receive_drop_total" ["device"] "Packets received and dropped.";
    NET_SENT: Counter "node_network_transmit_bytes_total" ["device"] "Bytes sent.";
    NET_SENT_PACKETS: Counter "node_network_transmit_packets_total" ["device"] "Packets sent.";
    NET_SENT_ERRORS: Counter "node_network_transmit_errs_total" ["device"] "Packets that could not be sent because of errors.";
    NET_SENT_DROPS: Counter "node_network_transmit_drop_total" ["device"] "Packets dropped instead of being sent.";

    PSI_CPU: Counter "node_pressure_cpu_waiting_seconds_total" [] "Time in which some task waited for a CPU.";
    PSI_IO: Counter "node_pressure_io_waiting_seconds_total" [] "Time in which some task waited for I/O.";
    PSI_IO_FULL: Counter "node_pressure_io_stalled_seconds_total" [] "Time in which all tasks waited for I/O.";
    PSI_MEMORY: Counter "node_pressure_memory_waiting_seconds_total" [] "Time in which some task waited for memory.";
    PSI_MEMORY_FULL: Counter "node_pressure_memory_stalled_seconds_total" [] "Time in which all tasks waited for memory.";

    LISTEN_OVERFLOWS: Gauge "node_netstat_TcpExt_ListenOverflows" [] "Connections refused because a queue of accepted ones was full, since boot.";
    LISTEN_DROPS: Gauge "node_netstat_TcpExt_ListenDrops" [] "Connection requests dropped by listening sockets, since boot.";
    TCP_TIMEOUTS: Gauge "node_netstat_TcpExt_TCPTimeouts" [] "Timeouts of TCP's retransmission timer, since boot.";
    TCP_RETRANSMITS: Gauge "node_netstat_Tcp_RetransSegs" [] "TCP segments sent again, since boot.";
    TCP_ESTABLISHED: Gauge "node_netstat_Tcp_CurrEstab" [] "TCP connections that are established.";
    TCP_ACTIVE: Gauge "node_netstat_Tcp_ActiveOpens" [] "TCP connections opened from here, since boot.";
    TCP_PASSIVE: Gauge "node_netstat_Tcp_PassiveOpens" [] "TCP connections opened from elsewhere, since boot.";
    UDP_BUFFER_ERRORS: Gauge "node_netstat_Udp_RcvbufErrors" [] "UDP packets dropped because the socket's buffer was full, since boot.";

    BOOT_TIME: Gauge "node_boot_time_seconds" [] "When the kernel was started.";
    TIME: Gauge "node_time_seconds" [] "The wall clock.";
    UNAME: Gauge "node_uname_info" ["domainname", "machine", "nodename", "release", "sysname", "version"] "The kernel, as uname(2) tells; always 1.";

    SOURCE_UP: Gauge "monitor_host_source_up" ["source"] "1 when the source of some of the node_* metrics could be read, 0 when not.";
    DROPPED: Counter "monitor_host_devices_dropped_total" ["kind"]
        "Devices left out of node_* metrics, counted at each refresh, because there were more than 128 of their kind: disk, filesystem, network.";
}
