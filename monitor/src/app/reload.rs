//! Reading the configuration again, on SIGHUP or `POST /-/reload`: all of it is checked first, and a mistake anywhere
//! leaves everything as it was.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use super::{http_options, rules};
use crate::{
    audit::{Kind, Trail},
    config::Loaded,
    events::Sink,
    http,
    logging::LogHandle,
    observer::Query,
};

/// How reloads went, for the metrics.
#[derive(Debug)]
pub struct Reloads {
    /// 1 when the last one was good.
    pub successful: AtomicU64,
    /// Unix time of the last good one, seconds.
    pub last_success: AtomicU64,
}

impl Default for Reloads {
    /// The start counts as one: the configuration was read and good.
    fn default() -> Self {
        Self { successful: AtomicU64::new(1), last_success: AtomicU64::new(now()) }
    }
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

/// Everything that a reload touches.
pub(super) struct Reloader {
    /// What the daemon was started with.
    pub(super) started: Loaded,
    /// What it works by now.
    pub(super) latest: Loaded,
    pub(super) log: LogHandle,
    pub(super) state: http::State,
    pub(super) queries: mpsc::Sender<Query>,
    pub(super) sink: Arc<Sink>,
    pub(super) trail: Arc<Trail>,
    pub(super) reloads: Arc<Reloads>,
}

impl Reloader {
    /// Reads the configuration and the rules again: what changed, or what is wrong.
    pub(super) async fn reload(&mut self) -> Result<String, String> {
        // Also when the configuration is bad: whoever rotated the file waits for it to be let go.
        self.sink.reopen();
        let before = super::audit::rules(&self.latest.config);
        let result = self.attempt().await;
        self.record(&result, &before);
        self.reloads.successful.store(u64::from(result.is_ok()), Ordering::Relaxed);
        match &result {
            Ok(summary) => {
                self.reloads.last_success.store(now(), Ordering::Relaxed);
                info!("{summary}");
            }
            Err(mistakes) => error!("the configuration stays as it was: {mistakes}"),
        }
        result
    }

    /// Who reads an alert later wants to know by which rules it was found.
    fn record(&self, result: &Result<String, String>, before: &Value) {
        let (ok, said) = match result {
            Ok(said) => (true, said),
            Err(said) => (false, said),
        };
        let configuration = super::audit::configuration(&self.latest);
        self.trail.urgent(Kind::Reload, &json!({ "ok": ok, "said": said, "configuration": configuration }));
        let after = super::audit::rules(&self.latest.config);
        if ok && *before != after {
            self.trail.urgent(Kind::RulesChanged, &json!({ "before": before, "after": after }));
        }
    }

    async fn attempt(&mut self) -> Result<String, String> {
        let new = self.latest.reload().map_err(|error| error.to_string())?;
        let (rules, diagnostics) = rules(&new.config);
        let wrong: Vec<String> = diagnostics.iter().filter(|one| one.error).map(|one| format!("\n  {one}")).collect();
        if !wrong.is_empty() {
            return Err(format!("the rules have {} mistake(s):{}", wrong.len(), wrong.concat()));
        }
        let restart = self.started.config.reload_difference(&new.config);
        self.log.reconfigure(&new.config.log).map_err(|error| error.to_string())?;
        self.state.set_options(http_options(&new.config));
        let (done, finished) = oneshot::channel();
        let query = Query::Reconfigure(Box::new(new.config.clone()), Box::new(rules), done);
        let stopping = |_| "the daemon is stopping".to_owned();
        self.queries.send(query).await.map_err(|_| stopping(()))?;
        finished.await.map_err(|_| stopping(()))?;
        // Compared with what the daemon was started with: what needs a restart is told again next time.
        self.latest = new;
        Ok(match restart.as_slice() {
            [] => "configuration and rules reloaded".to_owned(),
            keys => {
                format!("configuration and rules reloaded; needs a restart to come into effect: {}", keys.join(", "))
            }
        })
    }
}
