//! The command line: reads it, carries out the small commands, and says which large one to run.

mod arguments;
mod audit;
mod client;
mod console;
mod docs;
mod events;
mod exit;
mod processes;
mod replay;
mod rules;
#[cfg(test)]
mod tests;
mod text;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;

use crate::capture::{RecordOptions, ReplayOptions};
use crate::config::{ConfigError, DEFAULT_FILE, Flag, Loaded, Sources, schema, show};
use arguments::{Arguments, Command, ConfigCommand, Global};

pub use console::Console;
pub use exit::Exit;
pub use replay::record;

/// What remains to be done.
#[derive(Debug)]
pub enum Action {
    /// Run the daemon.
    Run(Box<Loaded>),
    /// Examine this machine.
    Doctor {
        /// Print JSON.
        json: bool,
        /// The configuration.
        loaded: Box<Loaded>,
    },
    /// Record what the kernel tells.
    Record {
        /// The file.
        file: PathBuf,
        /// How.
        options: RecordOptions,
        /// The configuration.
        loaded: Box<Loaded>,
    },
    /// Nothing: leave with this code.
    Done(Exit),
}

/// Commit that this program was built from; `unknown` when the build did not tell.
pub fn revision() -> &'static str {
    option_env!("MONITOR_REVISION").unwrap_or("unknown")
}

/// Version and, where the build knows it, revision.
pub fn version() -> String {
    let revision = option_env!("MONITOR_REVISION").map(|revision| format!(" ({revision})")).unwrap_or_default();
    format!("monitor {}{revision}", env!("CARGO_PKG_VERSION"))
}

/// Carries out the command line. `arguments` begins with the name of the program.
pub fn start(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Vec<(OsString, OsString)>,
    console: &mut Console<'_>,
) -> Action {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return Action::Done(not_run(&error, console)),
    };
    let Some(command) = arguments.command else {
        return Action::Done(no_command(console));
    };
    let sources = sources(arguments.global, environment);
    dispatch(command, sources, console).unwrap_or_else(|error| {
        console.complain(&error.to_string());
        Action::Done(Exit::CONFIG)
    })
}

fn dispatch(command: Command, mut sources: Sources, console: &mut Console<'_>) -> Result<Action, ConfigError> {
    Ok(match command {
        Command::Run { listen } => {
            sources.flags.extend(listen.map(|listen| flag("--listen", "http.listen", &listen)));
            Action::Run(Box::new(Loaded::load(sources)?))
        }
        Command::Doctor { json } => Action::Doctor { json, loaded: Box::new(Loaded::load(sources)?) },
        Command::Config { command } => Action::Done(config(&command, sources, console)?),
        Command::Events(options) => {
            let address = client::address(options.daemon.addr.clone(), sources)?;
            Action::Done(events::run(&options, &address, console))
        }
        Command::Processes(options) => {
            let address = client::address(options.daemon.addr.clone(), sources)?;
            Action::Done(processes::run(&options, &address, console))
        }
        Command::Record { file, seconds, max_size, rules } => {
            let rules = ReplayOptions { rules, disable: Vec::new() };
            let options = RecordOptions { time: Duration::from_secs(seconds), most_bytes: max_size << 20, rules };
            Action::Record { file, options, loaded: Box::new(Loaded::load(sources)?) }
        }
        Command::Replay { file, rules, format } => Action::Done(replay::run(&file, rules, &format, console)),
        Command::Rules { command } => Action::Done(rules::run(command, sources, console)?),
        Command::Audit { command } => Action::Done(audit::run(command, sources, console)?),
        Command::Docs { page } => Action::Done(print(console, &docs::page(&page))),
        Command::Version => Action::Done(print(console, &format!("{}\n", version()))),
    })
}

fn config(command: &ConfigCommand, sources: Sources, console: &mut Console<'_>) -> Result<Exit, ConfigError> {
    let text = match command {
        ConfigCommand::Show { origin } => show::show(&Loaded::load(sources)?, *origin),
        ConfigCommand::Check => checked(&Loaded::load(sources)?),
        ConfigCommand::Default => show::default_file(),
        ConfigCommand::Schema => schema::schema(),
    };
    Ok(print(console, &text))
}

fn checked(loaded: &Loaded) -> String {
    match &loaded.file {
        Some(file) => format!("{}: no mistakes\n", crate::config::mistake::printable(&file.to_string_lossy())),
        None => "no configuration file; flags and environment: no mistakes\n".to_owned(),
    }
}

fn print(console: &mut Console<'_>, text: &str) -> Exit {
    let written = console.print(text);
    console.ended(written)
}

/// Where the configuration comes from. A flag that names the file wins over the environment.
fn sources(global: Global, environment: Vec<(OsString, OsString)>) -> Sources {
    let named = || environment.iter().find(|(name, _)| name == OsStr::new("MONITOR_CONFIG"));
    let file = global.config.or_else(|| named().map(|(_, value)| PathBuf::from(value)));
    // An explicit --set log.level comes later and so wins over -v.
    let level = match (global.verbose, global.quiet) {
        (0, 0) => None,
        (1, _) => Some(flag("-v", "log.level", "info,monitor=debug")),
        (0, 1) => Some(flag("-q", "log.level", "warn")),
        (0, _) => Some(flag("-qq", "log.level", "error")),
        (_, _) => Some(flag("-vv", "log.level", "debug,monitor=trace")),
    };
    let set = global.set.iter().map(|(key, value)| flag("--set", key, value));
    let flags = level.into_iter().chain(set).collect();
    Sources { file, default_file: Some(PathBuf::from(DEFAULT_FILE)), environment, flags }
}

fn flag(flag: &str, key: &str, value: &str) -> Flag {
    Flag { flag: flag.to_owned(), key: key.to_owned(), value: value.to_owned() }
}

/// Help and version are what was asked for; everything else is a wrong command line.
fn not_run(error: &clap::Error, console: &mut Console<'_>) -> Exit {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp => print(console, &text),
        ErrorKind::DisplayVersion => print(console, &format!("{}\n", version())),
        _ => {
            let _ = console.err.write_all(text.as_bytes());
            Exit::USAGE
        }
    }
}

/// `monitor` alone: a person gets the help, a script that forgot the command is told so.
fn no_command(console: &mut Console<'_>) -> Exit {
    if console.terminal {
        let help = <Arguments as clap::CommandFactory>::command().render_long_help().to_string();
        return print(console, &help);
    }
    console.complain("no command; `monitor --help` lists them, `monitor run` runs the daemon");
    Exit::USAGE
}
