//! `container.*` and `k8s.*`. The control group tells id and runtime; what only the runtime knows (image, name, labels,
//! privileges) is missing.

use super::{Brackets, Definition, Facts, Type, field, unknown};
use crate::processes::Container;

pub(super) const FIELDS: &[Definition] = &[
    field("container.id", Type::Text, |facts, _, out| out.bytes(id(facts).as_bytes())),
    field("container.full_id", Type::Text, |facts, _, out| match container(facts) {
        Some(container) => out.bytes(container.id.as_bytes()),
        None => out.bytes(HOST.as_bytes()),
    }),
    field("container.type", Type::Text, |facts, _, out| {
        out.bytes(container(facts).map_or(HOST, |container| container.runtime).as_bytes());
    }),
    // A host has the name `host`; that of a container only its runtime knows.
    field("container.name", Type::Text, |facts, _, out| {
        if container(facts).is_none() {
            out.bytes(HOST.as_bytes());
        }
    }),
    unknown("container.image", Type::Text),
    unknown("container.image.id", Type::Text),
    unknown("container.image.repository", Type::Text),
    unknown("container.image.tag", Type::Text),
    unknown("container.image.digest", Type::Text),
    unknown("container.privileged", Type::Bool),
    unknown("container.mounts", Type::Text),
    unknown("container.mount", Type::Text).brackets(Brackets::Key),
    unknown("container.mount.source", Type::Text).brackets(Brackets::Key),
    unknown("container.mount.dest", Type::Text).brackets(Brackets::Key),
    unknown("container.mount.mode", Type::Text).brackets(Brackets::Key),
    unknown("container.mount.rdwr", Type::Text).brackets(Brackets::Key),
    unknown("container.mount.propagation", Type::Text).brackets(Brackets::Key),
    unknown("container.healthcheck", Type::Text),
    unknown("container.liveness_probe", Type::Text),
    unknown("container.readiness_probe", Type::Text),
    unknown("container.start_ts", Type::Number),
    unknown("container.duration", Type::Number),
    unknown("container.ip", Type::Text),
    unknown("container.cni.json", Type::Text),
    unknown("container.labels", Type::Text),
    unknown("container.label", Type::Text).brackets(Brackets::Key),
    unknown("container.host_pid", Type::Bool),
    unknown("container.host_network", Type::Bool),
    unknown("container.host_ipc", Type::Bool),
    unknown("k8s.pod.name", Type::Text),
    unknown("k8s.pod.id", Type::Text),
    unknown("k8s.pod.uid", Type::Text),
    unknown("k8s.pod.sandbox_id", Type::Text),
    unknown("k8s.pod.full_sandbox_id", Type::Text),
    unknown("k8s.pod.label", Type::Text).brackets(Brackets::Key),
    unknown("k8s.pod.labels", Type::Text),
    unknown("k8s.pod.ip", Type::Text),
    unknown("k8s.pod.cni.json", Type::Text),
    unknown("k8s.ns.name", Type::Text),
    unknown("k8s.ns.id", Type::Text),
    unknown("k8s.ns.label", Type::Text).brackets(Brackets::Key),
    unknown("k8s.ns.labels", Type::Text),
    unknown("k8s.rc.name", Type::Text),
    unknown("k8s.rc.id", Type::Text),
    unknown("k8s.rc.label", Type::Text).brackets(Brackets::Key),
    unknown("k8s.rc.labels", Type::Text),
    unknown("k8s.rs.name", Type::Text),
    unknown("k8s.rs.id", Type::Text),
    unknown("k8s.rs.label", Type::Text).brackets(Brackets::Key),
    unknown("k8s.rs.labels", Type::Text),
    unknown("k8s.svc.name", Type::Text),
    unknown("k8s.svc.id", Type::Text),
    unknown("k8s.svc.label", Type::Text).brackets(Brackets::Key),
    unknown("k8s.svc.labels", Type::Text),
    unknown("k8s.deployment.name", Type::Text),
    unknown("k8s.deployment.id", Type::Text),
    unknown("k8s.deployment.label", Type::Text).brackets(Brackets::Key),
    unknown("k8s.deployment.labels", Type::Text),
];

/// What Falco calls everything outside of containers.
const HOST: &str = "host";

fn container<'a>(facts: &Facts<'a>) -> Option<&'a Container> {
    // A process that has just been made known by its exec has its control group in the table, as every other.
    facts.process()?.cgroup.container.as_ref()
}

/// The first twelve digits, or `host`.
pub(super) fn id<'a>(facts: &Facts<'a>) -> &'a str {
    container(facts).map_or(HOST, Container::short)
}
