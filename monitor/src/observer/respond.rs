//! What the configuration says about responses, as the responder wants it.

use std::sync::Arc;

use tracing::error;

use crate::{
    audit::Trail,
    config::Config,
    detect::Glob,
    respond::{Action, Guard, Options, Responder},
};

/// The responder; it may be switched on later by a reload.
pub(super) fn start(config: &Config, trail: &Arc<Trail>) -> Option<Responder> {
    match Responder::start(options(config), Guard::here(), Arc::clone(trail)) {
        Ok(responder) => Some(responder),
        Err(error) => {
            error!(%error, "no thread for responses: nothing is done about alerts");
            None
        }
    }
}

/// The options.
pub fn options(config: &Config) -> Options {
    let respond = &config.respond;
    let rules = [
        (Action::Kill, &respond.kill),
        (Action::Stop, &respond.stop),
        (Action::Freeze, &respond.freeze),
        (Action::Run, &respond.run),
    ];
    Options {
        enabled: respond.enabled,
        dry_run: respond.dry_run,
        rules: rules.into_iter().map(|(action, names)| (action, globs(names))).collect(),
        allow: globs(&respond.allow),
        rate: respond.rate,
        program: respond.program.clone(),
        timeout: respond.timeout,
    }
}

fn globs(names: &[String]) -> Vec<Glob> {
    let glob = |name: &String| match Glob::name(name) {
        Ok(glob) => Some(glob),
        Err(why) => {
            error!(%why, name, "an entry of [respond] is no glob, and matches nothing");
            None
        }
    };
    names.iter().filter_map(glob).collect()
}
