//! The judge of what we export: Prometheus' own `promtool`.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const PROMTOOL: &str = "promtool";

fn promtool(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(PROMTOOL)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs promtool (Debian package prometheus): {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Fails unless `promtool check metrics` reads `text` and has no complaint.
pub(crate) fn promtool_check(text: &[u8]) {
    let output = promtool(&["check", "metrics"], text);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "promtool: {said}\n{}", String::from_utf8_lossy(text));
}

/// The series, as `{__name__="…"} value`, that Prometheus' OpenMetrics parser finds in `text`.
pub(crate) fn promtool_read_openmetrics(text: &[u8]) -> Vec<String> {
    // promtool only reads OpenMetrics to fill a database, for which each sample needs a time.
    let text = std::str::from_utf8(text).unwrap();
    let timed: String = text
        .split_inclusive('\n')
        .map(|line| {
            if line.starts_with('#') {
                line.to_owned()
            } else {
                format!("{} 1700000000\n", line.trim_end_matches('\n'))
            }
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let (input, database) = (directory.path().join("input"), directory.path().join("database"));
    std::fs::write(&input, timed).unwrap();
    let (input, database) = (input.to_str().unwrap(), database.to_str().unwrap());
    let output = promtool(&["tsdb", "create-blocks-from", "openmetrics", input, database], &[]);
    assert!(output.status.success(), "promtool: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    // Without a log beside the blocks, dump takes the directory for no database.
    std::fs::create_dir(format!("{database}/wal")).unwrap();
    let output = promtool(&["tsdb", "dump", database], &[]);
    assert!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
    let dump = String::from_utf8(output.stdout).unwrap();
    dump.lines().map(|line| line.strip_suffix(" 1700000000000").unwrap_or(line).to_owned()).collect()
}
