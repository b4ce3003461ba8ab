//! An activity as one line of JSON, for whoever looks at what the kernel tells.

use std::net::{IpAddr, SocketAddr};

use monitor_common::signals::activity::{FMODE_CREATED, FileObject, SocketObject};
use serde_json::{Value, json};

use super::{Activity, INET, INET6, Name};
use crate::processes::text::lossy;

impl Activity {
    /// What it tells. Bytes that are no text are spelt out; what it does not have is left out.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "time_ns": self.time_ns,
            "kind": self.act.name(),
            "call": self.call,
            "via": format!("{:?}", self.via).to_lowercase(),
            "result": self.result,
            "args": self.args,
            "pid": self.process.tgid,
            "start_ns": self.process.start_ns,
            "tid": self.tid,
            "comm": lossy(&self.comm),
            "uid": self.actor.uid,
            "euid": self.actor.euid,
            "suid": self.actor.suid,
            "gid": self.actor.gid,
            "egid": self.actor.egid,
            "capabilities": self.actor.capabilities,
            "cgroup_id": self.cgroup_id,
        });
        let mut put = |key: &str, part: Option<Value>| {
            if let (Some(part), Some(object)) = (part, value.as_object_mut()) {
                object.insert(key.to_owned(), part);
            }
        };
        put("target", self.target.map(|target| json!({ "pid": target.tgid, "start_ns": target.start_ns })));
        put("path", (!self.path.is_empty()).then(|| lossy(&self.path).into()));
        put("path_cut", self.path_cut.then_some(Value::Bool(true)));
        put("file", self.file.as_ref().map(file));
        put("socket", self.socket.as_ref().map(socket));
        put("name", self.name.as_ref().map(name));
        put("other", self.other.as_ref().map(name));
        value
    }
}

fn file(file: &FileObject) -> Value {
    json!({
        "inode": file.inode,
        "device": file.device,
        "magic": file.magic,
        "mode": file.mode,
        "links": file.links,
        "owner": file.owner,
        "flags": file.flags,
        "created": file.open_mode & FMODE_CREATED != 0,
    })
}

fn socket(socket: &SocketObject) -> Value {
    let end = |address: &[u8; 16], port| match (socket.family, *address) {
        (INET, [a, b, c, d, ..]) => SocketAddr::new(IpAddr::from([a, b, c, d]), port).to_string().into(),
        (INET6, address) => SocketAddr::new(IpAddr::from(address), port).to_string().into(),
        _ => Value::Null,
    };
    json!({
        "family": socket.family,
        "type": socket.kind,
        "protocol": socket.protocol,
        "state": socket.state,
        "inode": socket.inode,
        "local": end(&socket.local, socket.local_port),
        "peer": end(&socket.peer, socket.peer_port),
        "peer_asked": socket.peer_asked != 0,
    })
}

fn name(name: &Name) -> Value {
    json!({ "raw": lossy(&name.raw), "path": lossy(&name.path), "cut": name.cut })
}
