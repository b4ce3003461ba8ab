//! What is told of single processes: by `/api/v1/processes` of all, as series only of those in the groups that
//! `metrics.per_process` names.

use serde_json::{Map, Value};

use super::Observer;
use crate::{
    http::{ProcessQuery, Sort as Wanted},
    metrics::{Families, Kind, Metric},
    processes::{self, ProcessId, Sort},
};

const LABELS: &[&str] = &["group", "pid"];

static CALLS: Metric = Metric {
    name: "monitor_pid_syscalls_total",
    help: "System calls of the process.",
    kind: Kind::Counter,
    labels: LABELS,
};
static SENT: Metric = Metric {
    name: "monitor_pid_tcp_sent_bytes_total",
    help: "Payload bytes that the process handed to TCP.",
    kind: Kind::Counter,
    labels: LABELS,
};
static RECEIVED: Metric = Metric {
    name: "monitor_pid_tcp_received_bytes_total",
    help: "Payload bytes that the process took from TCP.",
    kind: Kind::Counter,
    labels: LABELS,
};

pub(super) const METRICS: &[&Metric] = &[&CALLS, &SENT, &RECEIVED];

impl Observer {
    /// Adds what the kernel's counters know to the series of single processes.
    pub(super) fn per_process(&self, families: &mut Families) {
        let Some(kernel) = &self.kernel else { return };
        for process in self.table.selected() {
            let pid = process.id.pid.to_string();
            let group = self.table.groups().name_of(process.group).unwrap_or_default();
            let labels = [group, &pid];
            if let Some(syscalls) = &kernel.syscalls {
                families.counter(&CALLS, &labels, syscalls.calls(process.id) as f64);
            }
            if let Some(tcp) = &kernel.tcp {
                let [sent, received] = tcp.bytes(process.id);
                families.counter(&SENT, &labels, sent as f64);
                families.counter(&RECEIVED, &labels, received as f64);
            }
        }
    }

    /// `{"processes":[…],"total":N}`, with what each signal knows of each process.
    pub(super) fn describe(&self, query: &ProcessQuery) -> Value {
        let (sort, by_detail) = match query.sort {
            Wanted::Pid => (Sort::Pid, false),
            Wanted::Start => (Sort::Start, false),
            Wanted::Cpu => (Sort::Cpu, false),
            Wanted::Memory => (Sort::Memory, false),
            Wanted::Syscalls | Wanted::Network | Wanted::Disk => (Sort::Pid, true),
        };
        // What the table cannot sort by is sorted by here, which takes all of them.
        let limit = if by_detail { usize::MAX } else { query.limit };
        let inner = processes::Query { pid: query.pid, group: query.group.clone(), limit, sort };
        let mut answer = self.table.query(&inner, |id, object| self.detail(id, object));
        if by_detail && let Some(list) = answer.get_mut("processes").and_then(Value::as_array_mut) {
            list.sort_by_key(|process| std::cmp::Reverse(weight(query.sort, process)));
            list.truncate(query.limit);
        }
        answer
    }

    fn detail(&self, id: ProcessId, object: &mut Map<String, Value>) {
        let Some(kernel) = &self.kernel else { return };
        let mut put = |signal: &str, detail: Option<Value>| {
            if let Some(detail) = detail {
                object.insert(signal.to_owned(), detail);
            }
        };
        put("syscalls", kernel.syscalls.as_ref().and_then(|signal| signal.describe(id)));
        put("tcp", kernel.tcp.as_ref().and_then(|signal| signal.describe(id)));
        put("block_io", kernel.block_io.as_ref().and_then(|signal| signal.describe(id)));
    }
}

fn weight(sort: Wanted, process: &Value) -> u64 {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    match sort {
        Wanted::Syscalls => number(&process["syscalls"]["calls"]),
        Wanted::Network => number(&process["tcp"]["bytes_sent"]) + number(&process["tcp"]["bytes_received"]),
        Wanted::Disk => {
            process["block_io"].as_array().map_or(0, |list| list.iter().map(|entry| number(&entry["bytes"])).sum())
        }
        _ => 0,
    }
}
