//! `cargo xtask soak` and `cargo xtask flood`: long runs of the release daemon, by the program in `tests/soak`.

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    daemon,
    needs::Purpose,
    project::{Project, is_root},
    setup::setup,
    step::Step,
};

/// For the help.
pub(crate) const SOAK: &str = "[--minutes N]";
/// For the help.
pub(crate) const FLOOD: &str = "[--seconds N]";

/// Lets everything come and go for half an hour.
pub(crate) fn soak(project: &Project, arguments: &[String]) -> Result<()> {
    let minutes = option(arguments, "--minutes", SOAK, 30.0)?;
    build(project)?;
    run(project, &["soak", &minutes.to_string()], "the daemon must not grow once it has seen everything come and go")
}

/// Lets storms loose for a minute, then one of execs alone.
pub(crate) fn flood(project: &Project, arguments: &[String]) -> Result<()> {
    let seconds = option(arguments, "--seconds", FLOOD, 60.0)?.to_string();
    build(project)?;
    run(project, &["flood", &seconds], "each event is delivered or told as lost, to the last one")?;
    run(project, &["execs", &seconds], "the security ring loses nothing at full speed")
}

fn option(arguments: &[String], name: &str, usage: &str, default: f64) -> Result<f64> {
    let value = match arguments {
        [] => return Ok(default),
        [key, value] if key == name => value,
        _ => bail!("usage: {usage}"),
    };
    value.parse().ok().filter(|number| *number > 0.0).with_context(|| format!("{name}: {value:?} is no number above 0"))
}

fn build(project: &Project) -> Result<()> {
    ensure!(is_root(), "this starts the daemon, which needs root: sudo -E cargo xtask …");
    setup(Purpose::Build)?;
    daemon::compile(project)?;
    let mut command = project.cargo("build");
    command.args(["--locked", "--release", "--package", "monitor-tests", "--bins"]);
    Step { what: "cargo build", why: "the storms", remedy: "the compiler's message is above" }.shown(command)
}

fn run(project: &Project, arguments: &[&str], why: &str) -> Result<()> {
    let mut command = std::process::Command::new(project.target.join("release/monitor-soak"));
    command.args(arguments).env("MONITOR_BIN", project.daemon());
    Step { what: arguments[0], why, remedy: "what did not come out even is above, with the daemon's log" }
        .shown(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_a_number_above_zero() {
        let parse = |text: &str| {
            let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            option(&arguments, "--minutes", SOAK, 30.0)
        };
        assert_eq!(parse("").ok(), Some(30.0));
        assert_eq!(parse("--minutes 2.5").ok(), Some(2.5));
        for wrong in ["--minutes", "--minutes x", "--minutes 0", "--seconds 5", "5"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
