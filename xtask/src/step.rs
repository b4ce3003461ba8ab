//! Runs one step: says what and why, shows progress, and when it fails the command, its last lines and the remedy.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{self, BufRead, BufReader, IsTerminal as _, Read, Write as _},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

/// How many lines of a failed command to show: a compiler error with its context.
const KEPT_LINES: usize = 30;

/// How often a step without a terminal says that it is still alive.
const REPORT: Duration = Duration::from_secs(20);

/// What a step is, why it is needed, and what to do when it fails.
pub(crate) struct Step<'a> {
    pub(crate) what: &'a str,
    pub(crate) why: &'a str,
    pub(crate) remedy: &'a str,
}

impl Step<'_> {
    /// Runs a command whose own output is for people: cargo's.
    pub(crate) fn shown(&self, mut command: Command) -> Result<()> {
        self.announce();
        let status = command.stdin(Stdio::null()).status().with_context(|| start(&command))?;
        if status.success() { Ok(()) } else { Err(self.failure(&command, status, &VecDeque::new())) }
    }

    /// Runs a command whose output matters only when it fails; shows its latest line and the time it takes.
    pub(crate) fn quiet(&self, mut command: Command) -> Result<()> {
        self.announce();
        let begin = Instant::now();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| start(&command))?;
        let (sender, lines) = mpsc::channel();
        for stream in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || forward(stream, &sender));
        }
        drop(sender);
        let last = follow(&lines, begin);
        let status = child.wait().context("wait for a command")?;
        if !status.success() {
            return Err(self.failure(&command, status, &last));
        }
        println!("    done in {}", seconds(begin.elapsed()));
        Ok(())
    }

    fn announce(&self) {
        println!("==> {}: {}", self.what, self.why);
    }

    fn failure(&self, command: &Command, status: ExitStatus, last: &VecDeque<String>) -> anyhow::Error {
        let mut text = format!("{} failed ({status})\n  command: {}", self.what, shell(command));
        if !last.is_empty() {
            text.push_str("\n  its last lines:");
            for line in last {
                text.push_str("\n    ");
                text.push_str(line);
            }
        }
        anyhow!("{text}\n  remedy: {}", self.remedy)
    }
}

/// A duration as people read it.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

fn start(command: &Command) -> String {
    format!("start {}", command.get_program().display())
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

/// Passes the lines of a stream on, whatever bytes they are. Programs that draw progress end lines with a return.
fn forward(stream: Box<dyn Read + Send>, lines: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end().rsplit('\r').next().unwrap_or_default();
        if !line.trim().is_empty() && lines.send(line.to_owned()).is_err() {
            return;
        }
        bytes.clear();
    }
}

/// Shows the latest line until the streams end; returns the last ones.
fn follow(lines: &mpsc::Receiver<String>, begin: Instant) -> VecDeque<String> {
    let terminal = io::stdout().is_terminal();
    let mut kept: VecDeque<String> = VecDeque::with_capacity(KEPT_LINES);
    let mut reported = Instant::now();
    loop {
        match lines.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => {
                if kept.len() == KEPT_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let latest = kept.back().map(|line| line.trim()).unwrap_or_default();
        if terminal {
            let text: String = format!("    {:>5}  {latest}", seconds(begin.elapsed())).chars().take(78).collect();
            print!("\r\x1b[2K{text}");
        } else if reported.elapsed() >= REPORT {
            reported = Instant::now();
            println!("    {} so far: {latest}", seconds(begin.elapsed()));
        }
        // Progress is a courtesy: a terminal that went away must not stop the step.
        drop(io::stdout().flush());
    }
    if terminal {
        print!("\r\x1b[2K");
    }
    kept
}

/// A command as one could type it, with the variables that were set for it.
pub(crate) fn shell(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(key, value)| Some((key, value?)));
    // PATH is long, and what it finds is in the message by name.
    let variables = set.filter(|(key, _)| *key != "PATH").map(|(k, v)| format!("{}={}", k.display(), quote(v)));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quote);
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    // Flags that cargo takes in one variable are divided by a control character.
    let (dollar, text) = match text.contains('\u{1f}') {
        true => ("$", text.replace('\\', r"\\").replace('\u{1f}', r"\x1f").replace('\'', r"\'")),
        false => ("", text.replace('\'', r"'\''")),
    };
    format!("{dollar}'{text}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const STEP: Step<'_> = Step { what: "a step", why: "a test", remedy: "read the test" };

    #[test]
    fn a_failure_shows_command_last_lines_and_remedy() {
        let script = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; echo gone >&2; exit 3";
        let text = STEP.quiet(sh(script)).unwrap_err().to_string();
        assert!(text.contains("a step failed (exit status: 3)"), "{text}");
        assert!(text.contains("command: sh -c 'i=0;"), "{text}");
        assert!(text.contains("line 50") && text.contains("gone"), "{text}");
        assert!(!text.contains("line 20\n"), "only the last lines: {text}");
        assert!(text.ends_with("remedy: read the test"), "{text}");
    }

    #[test]
    fn success_and_odd_output() {
        STEP.quiet(sh(r"printf '\377\r50%%\r100%%\n'")).unwrap();
        STEP.shown(sh("true")).unwrap();
        assert!(STEP.shown(sh("exit 1")).is_err());
    }

    #[test]
    fn a_program_that_is_absent_is_named() {
        let error = STEP.quiet(Command::new("/nonexistent/program")).unwrap_err();
        assert!(format!("{error:#}").contains("start /nonexistent/program: "), "{error:#}");
    }

    #[test]
    fn commands_can_be_typed_again() {
        let mut command = Command::new("cargo");
        command.args(["build", "it's", ""]).env("FLAGS", "-a -b").env("PATH", "/x").env_remove("GONE");
        assert_eq!(shell(&command), r"FLAGS='-a -b' cargo build 'it'\''s' ''");
        let mut command = Command::new("cargo");
        command.env("FLAGS", "--cfg=a=\"b\"\u{1f}-g");
        assert_eq!(shell(&command), r#"FLAGS=$'--cfg=a="b"\x1f-g' cargo"#);
    }

    #[test]
    fn durations() {
        assert_eq!(seconds(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
