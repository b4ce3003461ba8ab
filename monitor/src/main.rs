//! The daemon: reads the command line and does what it says.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use monitor::{
    app,
    cli::{self, Action, Console},
    doctor,
};

fn main() -> ExitCode {
    let terminal = io::stdout().is_terminal();
    // Not locked: the daemon's own threads write there, too.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut console = Console { out: &mut out, err: &mut err, terminal };
    let exit = match cli::start(std::env::args_os(), std::env::vars_os().collect(), &mut console) {
        Action::Done(exit) => exit,
        Action::Run(loaded) => return app::run(*loaded),
        Action::Record { file, options, loaded } => cli::record(&file, &options, &loaded, &mut console),
        Action::Doctor { json, loaded } => return doctor::run(json, &loaded.config, &mut console),
    };
    exit.into()
}
