//! The daemon: reads the command line and does what it says.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use monitor::cli::{self, Action, Console, Exit};

fn main() -> ExitCode {
    let terminal = io::stdout().is_terminal();
    // Not locked: the daemon's own threads write there, too.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut console = Console { out: &mut out, err: &mut err, terminal };
    let exit = match cli::start(std::env::args_os(), std::env::vars_os().collect(), &mut console) {
        Action::Done(exit) => exit,
        Action::Run(_) | Action::Doctor { .. } => {
            console.complain("this build has no kernel programs");
            Exit::UNAVAILABLE
        }
    };
    exit.into()
}
