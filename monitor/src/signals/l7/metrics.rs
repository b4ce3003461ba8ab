//! What the signal publishes.

use super::{L7, Series};
use crate::{
    l7::Doubt,
    metrics::{Families, Kind, Metric},
    processes::Groups,
};

static HTTP_SERVER: Metric = Metric {
    name: "monitor_http_server_request_duration_seconds",
    help: "Time from the first byte of a request that a server received to the last byte of its answer.",
    kind: Kind::Histogram,
    labels: &["group", "method", "route", "status_class"],
};
static HTTP_CLIENT: Metric = Metric {
    name: "monitor_http_client_request_duration_seconds",
    help: "Time from the first byte of a request that a client sent to the last byte of the answer, by the server's address.",
    kind: Kind::Histogram,
    labels: &["group", "method", "peer", "status_class"],
};
static QUERY: Metric = Metric {
    name: "monitor_db_query_duration_seconds",
    help: "Time from the first byte of a query to the last byte of its answer, as client or server.",
    kind: Kind::Histogram,
    labels: &["group", "role", "system", "operation", "table", "status"],
};
static ERRORS: Metric = Metric {
    name: "monitor_db_query_errors_total",
    help: "Queries that were answered with an error, by the protocol's code.",
    kind: Kind::Counter,
    labels: &["group", "role", "system", "code"],
};
static DNS: Metric = Metric {
    name: "monitor_dns_lookup_duration_seconds",
    help: "Time from a question for a name to its answer, as client or server.",
    kind: Kind::Histogram,
    labels: &["group", "role", "type", "status"],
};
static BYTES: Metric = Metric {
    name: "monitor_l7_bytes_total",
    help: "Bytes of requests and answers that were understood.",
    kind: Kind::Counter,
    labels: &["group", "role", "protocol", "direction"],
};
static COVERAGE: Metric = Metric {
    name: "monitor_l7_coverage_ratio",
    help: "Share of the bytes that a group sent and received over TCP that is of requests and answers that were understood. The rest is encrypted, of other protocols, unseen or lost.",
    kind: Kind::Gauge,
    labels: &["group"],
};
static DOUBTS: Metric = Metric {
    name: "monitor_l7_doubts_total",
    help: "What was said and not understood, or is uncertain, by reason.",
    kind: Kind::Counter,
    labels: &["protocol", "reason"],
};
static CONNECTIONS: Metric = Metric {
    name: "monitor_l7_connections",
    help: "Connections that are listened to.",
    kind: Kind::Gauge,
    labels: &[],
};
static UNHEARD: Metric = Metric {
    name: "monitor_l7_unheard_connections_total",
    help: "Connections that are not listened to: encrypted, of no protocol that is known, or there was no room.",
    kind: Kind::Counter,
    labels: &["reason"],
};
static INSIDE: Metric = Metric {
    name: "monitor_l7_tls_connections_total",
    help: "Connections that are heard inside TLS, by whether their peer is known: not where the library has no socket.",
    kind: Kind::Counter,
    labels: &["peer"],
};
static BEYOND: Metric = Metric {
    name: "monitor_l7_beyond_limit_total",
    help: "Requests that are in no histogram because there were too many combinations at once.",
    kind: Kind::Counter,
    labels: &[],
};

/// What this signal publishes.
pub const METRICS: &[&Metric] = &[
    &HTTP_SERVER,
    &HTTP_CLIENT,
    &QUERY,
    &ERRORS,
    &DNS,
    &BYTES,
    &COVERAGE,
    &DOUBTS,
    &CONNECTIONS,
    &UNHEARD,
    &INSIDE,
    &BEYOND,
];

/// The bounds of [`super::tally::BOUNDS_NS`], in seconds.
const BOUNDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const fn role(serves: bool) -> &'static str {
    if serves { "server" } else { "client" }
}

/// How much of what a group said was understood.
pub(super) fn coverage(group: &str, understood: u64, moved: u64, families: &mut Families) {
    families.gauge(&COVERAGE, &[group], (understood as f64 / moved as f64).min(1.0));
}

pub(super) fn collect(l7: &L7, groups: &Groups, families: &mut Families) {
    for (id, totals) in &l7.by_group {
        let Some(group) = groups.name_of(*id) else { continue };
        for (series, tally) in &totals.requests {
            let Series { serves, protocol, operation, target, status } = series;
            let sum = tally.sum_ns as f64 / 1e9;
            let (metric, labels): (_, &[&str]) = match *protocol {
                "http" if *serves => (&HTTP_SERVER, &[group, operation, target, status]),
                "http" => (&HTTP_CLIENT, &[group, operation, target, status]),
                "dns" => (&DNS, &[group, role(*serves), operation, status]),
                _ => (&QUERY, &[group, role(*serves), protocol, operation, target, status]),
            };
            families.histogram(metric, labels, &BOUNDS, &tally.buckets, sum);
        }
        for ((serves, protocol, code), count) in &totals.errors {
            families.counter(&ERRORS, &[group, role(*serves), protocol, code], *count as f64);
        }
        let mut bytes = std::collections::BTreeMap::<(bool, &str), [u64; 2]>::new();
        for (series, tally) in &totals.requests {
            let sums = bytes.entry((series.serves, series.protocol)).or_default();
            sums[0] += tally.request_bytes;
            sums[1] += tally.response_bytes;
        }
        for ((serves, protocol), [request, response]) in bytes {
            families.counter(&BYTES, &[group, role(serves), protocol, "request"], request as f64);
            families.counter(&BYTES, &[group, role(serves), protocol, "response"], response as f64);
        }
    }
    for ((protocol, doubt), count) in &l7.doubts {
        families.counter(&DOUBTS, &[protocol, Doubt::reason(*doubt)], *count as f64);
    }
    let heard = l7.listener.heard();
    families.gauge(&CONNECTIONS, &[], heard.connections as f64);
    families.counter(&UNHEARD, &["encrypted"], heard.encrypted as f64);
    families.counter(&UNHEARD, &["unknown_protocol"], heard.unknown as f64);
    families.counter(&UNHEARD, &["no_room"], heard.refused as f64);
    families.counter(&INSIDE, &["known"], heard.inside_tls[0] as f64);
    families.counter(&INSIDE, &["unknown"], heard.inside_tls[1] as f64);
    families.counter(&BEYOND, &[], l7.beyond as f64);
}
