//! The audit trail at the start and at the end of the daemon.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tracing::{error, warn};

use super::Stop;
use crate::{
    audit::{AuditError, Options, Seal, Trail, read_key, rule_files, text_hash},
    cli::{self, Exit},
    config::{Config, Loaded, show},
};

/// How long the last records have to get to disk.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// Opens the trail as the configuration says. A host that is observed without a trail is better than one that is not
/// observed, unless the configuration says otherwise.
pub(super) fn open(loaded: &Loaded) -> Result<Trail, Stop> {
    let audit = &loaded.config.audit;
    if !audit.enabled {
        return Ok(Trail::default());
    }
    match options(&loaded.config).and_then(|options| Trail::open(&options, &start(loaded))) {
        Ok(trail) => Ok(trail),
        Err(error) if audit.required => Err(Stop::new(Exit::FAILURE, error)),
        Err(error) => {
            error!("no audit trail is kept: {error}");
            Ok(Trail::default())
        }
    }
}

fn options(config: &Config) -> Result<Options, AuditError> {
    let audit = &config.audit;
    Ok(Options {
        directory: audit.directory.clone(),
        sync: audit.sync,
        segment_size: audit.segment_size,
        total_size: audit.total_size,
        seal: audit.key_file.as_deref().map_or(Ok(Seal::Hash), read_key)?,
    })
}

/// What starts: enough to know later what the daemon was and what it went by.
fn start(loaded: &Loaded) -> Value {
    let text = |path: &Path| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let host = rustix::system::uname();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "revision": cli::revision(),
        "pid": std::process::id(),
        "boot_id": text(Path::new("/proc/sys/kernel/random/boot_id")),
        "host": host.nodename().to_string_lossy(),
        "kernel": host.release().to_string_lossy(),
        "configuration": configuration(loaded),
        "rules": rules(&loaded.config),
    })
}

/// The configuration in effect, told by its hash.
pub(super) fn configuration(loaded: &Loaded) -> String {
    text_hash(show::show(loaded, false).as_bytes())
}

/// The rules, told by the hashes of their files.
pub(super) fn rules(config: &Config) -> Value {
    json!({ "files": rule_files(&config.rules.directory), "disabled": config.rules.disable })
}

/// Writes the last record.
pub(super) fn close(trail: &Trail, why: &str) {
    if !trail.close(&json!({ "why": why }), LAST_RECORDS) {
        warn!("the last records of the audit trail could not be written");
    }
}
