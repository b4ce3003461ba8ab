//! The project's own commands, `cargo xtask <command>`: plain Rust instead of shell scripts, and few dependencies,
//! because a newcomer's first command compiles this.

mod bench;
mod daemon;
mod docs;
mod json;
mod lint;
mod needs;
mod project;
mod setup;
mod soak;
mod step;
mod suite;
mod tidy;
mod toolchain;
mod vm;

// The build script's pure half: build scripts have no tests of their own.
#[cfg(test)]
#[path = "../../monitor/build/names.rs"]
mod names;

use std::{env, process::ExitCode};

use anyhow::{Result, bail, ensure};

use needs::Purpose;
use project::Project;

/// A command: its name, its arguments, and what it is for.
type Command = (&'static str, &'static str, &'static str);

const COMMANDS: &[Command] = &[
    ("run", "[-- ARGUMENTS]", "set up, build, and start the daemon in the foreground (root); Ctrl-C stops it"),
    ("test", suite::USAGE, "set up, then all tests and lints; with a filter only the tests whose names contain it"),
    ("build", "", "set up and build the release daemon: target/release/monitor"),
    ("setup", "", "install what building and testing need and this machine does not have, and nothing else"),
    ("bench", bench::USAGE, "what the daemon costs, compared with the bare machine (root, about 15 minutes)"),
    ("flood", soak::FLOOD, "storms of everything on all CPUs for a minute: nothing is lost untold (root)"),
    ("soak", soak::SOAK, "everything comes and goes for half an hour: the daemon does not grow (root)"),
    ("lint", "", "formatting, clippy for both halves, the project's own rules, generated documents, cargo-deny"),
    ("fmt", "", "format all code"),
    ("docs", "", "write the generated documents anew"),
    ("deny", "", "check licences, sources and duplicates of dependencies; installs cargo-deny (minutes) if missing"),
    ("help", "", "this text"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let (command, rest) = match arguments {
        [] => ("help", arguments),
        [command, rest @ ..] => (command.as_str(), rest),
    };
    let most = match command {
        "run" | "bench" | "test" | "flood" | "soak" => usize::MAX,
        _ => 0,
    };
    ensure!(rest.len() <= most, "`{command}` does not take {:?}\n{}", rest[most], help());
    let project = Project::here()?;
    match command {
        "run" => daemon::run(&project, rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest)),
        "test" => suite::test(&project, &suite::Options::parse(rest)?),
        "build" => daemon::build(&project),
        "setup" => setup::setup(Purpose::Test),
        "bench" => bench::bench(&project, rest),
        "flood" => soak::flood(&project, rest),
        "soak" => soak::soak(&project, rest),
        "lint" => suite::lint(&project),
        "fmt" => lint::format(&project),
        "docs" => docs::write(&project),
        "deny" => lint::deny(&project),
        "help" | "--help" | "-h" => {
            println!("{}", help());
            Ok(())
        }
        _ => bail!("no command {command:?}\n{}", help()),
    }
}

fn help() -> String {
    let lines = COMMANDS.iter().map(|(name, arguments, purpose)| {
        let usage = format!("{name} {arguments}");
        format!("  {usage:<20} {purpose}")
    });
    format!("usage: cargo xtask COMMAND\n\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        dispatch(&arguments).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_command_shows_the_known_ones() {
        let text = complaint(&["tset"]);
        assert!(text.contains("no command \"tset\""), "{text}");
        for (name, ..) in COMMANDS {
            assert!(text.contains(&format!("  {name} ")), "{name} is missing in {text}");
        }
    }

    #[test]
    fn superfluous_arguments_are_mistakes_and_do_nothing() {
        assert!(complaint(&["build", "--release"]).contains("`build` does not take \"--release\""));
        assert!(complaint(&["test", "one", "two"]).contains("`test` does not take \"two\""));
    }
}
