//! Processes as JSON, for `/api/v1/processes`.

use serde_json::{Map, Value, json};

use super::{Process, ProcessId, ProcessTable, metrics::signal_name, text::lossy};

/// What to list first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Lowest pid first.
    #[default]
    Pid,
    /// Most CPU time first.
    Cpu,
    /// Most resident memory first.
    Memory,
    /// Latest start first.
    Start,
}

impl Sort {
    /// The order with this name: `pid`, `cpu`, `memory` or `start`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "pid" => Self::Pid,
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            "start" => Self::Start,
            _ => return None,
        })
    }
}

/// Which processes to tell about, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Only this one, or ended ones that had the same pid.
    pub pid: Option<u32>,
    /// Only those in the group of this name.
    pub group: Option<String>,
    /// Most processes in the answer; `total` tells how many there are.
    pub limit: usize,
    /// Their order.
    pub sort: Sort,
}

impl Default for Query {
    fn default() -> Self {
        Self { pid: None, group: None, limit: 1_000, sort: Sort::Pid }
    }
}

impl ProcessTable {
    /// `{"processes":[…],"total":N}`. `detail` may add what other signals know of a process to its object.
    pub fn query(&self, query: &Query, mut detail: impl FnMut(ProcessId, &mut Map<String, Value>)) -> Value {
        let group = |process: &Process| self.groups.name_of(process.group);
        let mut found: Vec<&Process> = self
            .iter()
            .filter(|process| query.pid.is_none_or(|pid| process.id.pid == pid))
            .filter(|process| query.group.as_deref().is_none_or(|name| group(process) == Some(name)))
            .collect();
        let total = found.len();
        found.sort_unstable_by(|a, b| {
            let order = match query.sort {
                Sort::Pid => std::cmp::Ordering::Equal,
                Sort::Cpu => b.usage.cpu_ns().cmp(&a.usage.cpu_ns()),
                Sort::Memory => b.gauges.resident_bytes.cmp(&a.gauges.resident_bytes),
                Sort::Start => b.started_ns.cmp(&a.started_ns),
            };
            order.then(a.id.cmp(&b.id))
        });
        let processes: Vec<Value> = found
            .into_iter()
            .take(query.limit)
            .map(|process| {
                let mut object = self.describe(process);
                detail(process.id, &mut object);
                Value::Object(object)
            })
            .collect();
        json!({ "processes": processes, "total": total })
    }

    /// A process as an object, its ancestors included.
    pub fn describe(&self, process: &Process) -> Map<String, Value> {
        let image = &process.image;
        let ids = &process.credentials;
        let ancestors: Vec<Value> = self
            .ancestors(process.id)
            .map(|ancestor| json!({ "pid": ancestor.id.pid, "exe": lossy(&ancestor.image.exe) }))
            .collect();
        let container = process.cgroup.container.as_ref();
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| {
            object.insert(key.to_owned(), value);
        };
        put("pid", process.id.pid.into());
        put("start_time", self.clock.rfc3339(process.started_ns).into());
        put("ppid", process.parent.map(|parent| parent.pid).into());
        put("exe", lossy(&image.exe).into());
        let written = image.written.map(|written| {
            let by = ProcessId::from_key(written.by);
            json!({ "pid": by.pid, "start_ticks": by.start_ticks, "time": self.clock.rfc3339(written.time_ns) })
        });
        put("exe_written", written.into());
        put("argv", image.argv().map(lossy).collect());
        put("argv_bytes", image.args_length.into());
        put("argv_truncated", image.args_cut.into());
        put("cwd", lossy(&image.cwd).into());
        put("comm", lossy(process.comm.as_bytes()).into());
        put("uid", ids.uid.into());
        put("euid", ids.euid.into());
        put("gid", ids.gid.into());
        put("suid", ids.suid.into());
        put("capabilities", format!("{:#x}", ids.capabilities).into());
        put("loginuid", ids.loginuid.into());
        put("session", process.session.into());
        put("process_group", process.process_group.into());
        put("tty", (!image.tty.is_empty()).then(|| lossy(&image.tty)).into());
        put("cgroup", process.cgroup.path.as_str().into());
        put("unit", process.cgroup.unit.as_deref().into());
        put("container", container.map(|found| json!({ "runtime": found.runtime, "id": found.id })).into());
        put("group", self.groups.name_of(process.group).into());
        put("execs", process.execs.into());
        put("state", state(process).into());
        put("exit", self.exit(process));
        put("threads", process.gauges.threads.into());
        put("open_fds", process.gauges.open_fds.into());
        put("resident_memory_bytes", process.gauges.resident_bytes.into());
        put("virtual_memory_bytes", process.gauges.virtual_bytes.into());
        usage(process, &mut put);
        put("ancestors", ancestors.into());
        object
    }

    fn exit(&self, process: &Process) -> Value {
        let Some(exit) = process.exit else { return Value::Null };
        json!({
            "time": self.clock.rfc3339(exit.time_ns),
            "code": exit.code(),
            "signal": exit.signal().map(signal_name),
            "core_dumped": exit.core_dumped(),
            "recorded": exit.recorded,
            "max_resident_memory_bytes": exit.max_resident_bytes,
        })
    }
}

fn usage(process: &Process, put: &mut impl FnMut(&str, Value)) {
    let usage = &process.usage;
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    put("cpu_seconds", json!({ "user": seconds(usage.user_ns), "system": seconds(usage.system_ns) }));
    put("page_faults", json!({ "minor": usage.minor_faults, "major": usage.major_faults }));
    let switches = json!({ "voluntary": usage.voluntary_switches, "involuntary": usage.involuntary_switches });
    put("context_switches", switches);
    put("read_bytes", usage.read_chars.into());
    put("written_bytes", usage.written_chars.into());
    put("storage_read_bytes", usage.read_bytes.into());
    put("storage_written_bytes", usage.written_bytes.into());
}

/// The state's name (proc(5)); none for one that was never looked at.
fn state(process: &Process) -> Option<&'static str> {
    if !process.alive() {
        return Some("exited");
    }
    Some(match process.gauges.state {
        b'R' => "running",
        b'S' => "sleeping",
        b'D' => "waiting",
        b'T' => "stopped",
        b't' => "traced",
        b'Z' | b'X' => "zombie",
        b'I' => "idle",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
