//! What sysinfo does not tell, from `/proc`. Each function takes a file's contents.

use std::collections::BTreeMap;

/// The modes of [`cpu`], in the order of the file. Time of guests is in `user` and `nice` already.
pub(super) const CPU_MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

const SECTOR: f64 = 512.0;

fn numbers<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<f64> {
    fields.map_while(|field| field.parse::<u64>().ok()).map(|number| number as f64).collect()
}

/// `/proc/stat`: seconds of each CPU in each mode. Old kernels have fewer modes.
pub(super) fn cpu(text: &str) -> BTreeMap<u32, [f64; CPU_MODES.len()]> {
    let line = |line: &str| {
        let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
        // The line for all of them is just `cpu`, so its first field is no CPU's number but a time.
        let number = line.as_bytes().get(3).filter(|byte| byte.is_ascii_digit()).and_then(|_| fields.next())?;
        let mut modes = [0.0; CPU_MODES.len()];
        for (mode, ticks) in modes.iter_mut().zip(numbers(fields)) {
            *mode = ticks / 100.0;
        }
        Some((number.parse().ok()?, modes))
    };
    text.lines().filter_map(line).collect()
}

/// `/proc/meminfo`: the value of one line, bytes.
pub(super) fn meminfo(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes as f64 * 1024.0)
}

/// One disk of `/proc/diskstats`, in seconds and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Disk {
    pub(super) reads: f64,
    pub(super) read_bytes: f64,
    pub(super) read_seconds: f64,
    pub(super) writes: f64,
    pub(super) written_bytes: f64,
    pub(super) write_seconds: f64,
    pub(super) now: f64,
    pub(super) io_seconds: f64,
    pub(super) weighted_seconds: f64,
}

/// `/proc/diskstats`, of the devices that are `wanted`.
pub(super) fn disks(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<(String, Disk)> {
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let name = fields.next().filter(|name| wanted(name))?;
        let [reads, _, read_sectors, read_ms, writes, _, written_sectors, write_ms, now, io_ms, weighted_ms, ..] =
            numbers(fields)[..]
        else {
            return None;
        };
        let disk = Disk {
            reads,
            read_bytes: read_sectors * SECTOR,
            read_seconds: read_ms / 1e3,
            writes,
            written_bytes: written_sectors * SECTOR,
            write_seconds: write_ms / 1e3,
            now,
            io_seconds: io_ms / 1e3,
            weighted_seconds: weighted_ms / 1e3,
        };
        Some((name.to_owned(), disk))
    };
    text.lines().filter_map(line).collect()
}

/// `/proc/net/dev`: packets received and dropped, and dropped instead of sent, by interface.
pub(super) fn drops(text: &str) -> BTreeMap<String, (f64, f64)> {
    let line = |line: &str| {
        let (name, values) = line.rsplit_once(':')?;
        let values = numbers(values.split_ascii_whitespace());
        Some((name.trim().to_owned(), (*values.get(3)?, *values.get(11)?)))
    };
    text.lines().filter_map(line).collect()
}

/// `/proc/pressure/*`: seconds in which some and in which all tasks waited.
pub(super) fn pressure(text: &str) -> (Option<f64>, Option<f64>) {
    let total = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        let microseconds: u64 = line.rsplit_once("total=")?.1.trim().parse().ok()?;
        Some(microseconds as f64 / 1e6)
    };
    (total("some "), total("full "))
}

/// `/proc/net/netstat` and `/proc/net/snmp`: a line of names, then one of values, both with the protocol before.
pub(super) fn netstat(text: &str, protocol: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let (names, values) = (lines.next()?, lines.next()?);
    let position = names.split_ascii_whitespace().position(|found| found == name)?;
    values.split_ascii_whitespace().nth(position)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_seconds_by_mode() {
        let text =
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 200 300 400 500 600 700 800 900 1000\ncpu12 1 2\nintr 5\ncpufreq 1\n";
        let found = cpu(text);
        assert_eq!(found[&0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(found[&12], [0.01, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(found.len(), 2);
        assert!(cpu("").is_empty() && cpu("cpux 1").is_empty());
    }

    #[test]
    fn memory_is_in_bytes() {
        let text = "MemTotal:       24683656 kB\nCached:          8280904 kB\nHugePages_Total:       0\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(24_683_656.0 * 1024.0));
        assert_eq!(meminfo(text, "Mem"), None);
        assert_eq!(meminfo(text, "HugePages_Total"), None, "no bytes");
    }

    #[test]
    fn disks_in_bytes_and_seconds() {
        let text =
            " 254 0 vda 1 2 3 4000 5 6 7 8000 9 10000 11000 12 13\n 7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n 8 0 sda 1 2\n";
        let found = disks(text, |name| name != "loop0");
        let wanted = Disk {
            reads: 1.0,
            read_bytes: 1536.0,
            read_seconds: 4.0,
            writes: 5.0,
            written_bytes: 3584.0,
            write_seconds: 8.0,
            now: 9.0,
            io_seconds: 10.0,
            weighted_seconds: 11.0,
        };
        assert_eq!(found, [("vda".to_owned(), wanted)]);
    }

    #[test]
    fn drops_by_interface() {
        let text = "Inter-|   Receive | Transmit\n face |bytes packets\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13\neth0:1: 0 0 0 7 0 0 0 0 0 0 0 8 0\n";
        let found = drops(text);
        assert_eq!(found["eth0"], (4.0, 12.0));
        assert_eq!(found["eth0:1"], (7.0, 8.0), "an alias has a colon in its name");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn pressure_in_seconds() {
        let text =
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(pressure(text), (Some(1.5), Some(0.000_007)));
        assert_eq!(pressure("some total=x"), (None, None));
    }

    #[test]
    fn netstat_pairs_names_with_values() {
        let text = "TcpExt: A ListenDrops B\nTcpExt: 1 22 3\nIpExt: ListenDrops\nIpExt: 4\nTcp: MaxConn\nTcp: -1\n";
        assert_eq!(netstat(text, "TcpExt", "ListenDrops"), Some(22.0));
        assert_eq!(netstat(text, "IpExt", "ListenDrops"), Some(4.0));
        assert_eq!(netstat(text, "Tcp", "MaxConn"), Some(-1.0));
        assert_eq!(netstat(text, "Tcp", "None"), None);
        assert_eq!(netstat("Tcp: A\n", "Tcp", "A"), None);
    }
}
