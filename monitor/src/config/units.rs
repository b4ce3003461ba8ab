//! Durations and sizes as people write them.

use std::time::Duration;

use bytesize::ByteSize;

use super::model::Share;

/// Reads "10m", "1h30m", "500ms".
///
/// # Errors
/// Says what is wrong with the text.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    match text.parse::<humantime::Duration>() {
        Ok(duration) => Ok(duration.into()),
        Err(humantime::DurationError::UnknownUnit { unit, .. }) if unit.is_empty() => Err("no unit".to_owned()),
        Err(humantime::DurationError::UnknownUnit { unit, .. }) => Err(format!("unknown unit {unit:?}")),
        Err(_) => Err(String::new()),
    }
}

/// Writes what [`parse_duration`] reads, exactly.
pub(super) fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// Reads "8MiB", "64 KiB", "1GB", "4096".
///
/// # Errors
/// Says what is wrong with the text.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim();
    if unit.parse::<bytesize::Unit>().is_err() && !unit.is_empty() && unit.len() < text.len() {
        return Err(format!("unknown unit {unit:?}"));
    }
    text.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| String::new())
}

/// Reads "1%", "2.5%", "off".
///
/// # Errors
/// Says what is wrong with the text.
pub(super) fn parse_share(text: &str) -> Result<Share, String> {
    if text == "off" {
        return Ok(Share::default());
    }
    let Some(number) = text.strip_suffix('%') else { return Err("no %".to_owned()) };
    let percent: f64 = number.trim().parse().map_err(|_| String::new())?;
    // Also refuses what is no number.
    if (0.1..=10_000.0).contains(&percent) {
        Ok(Share((percent * 100.0).round() as u32))
    } else {
        Err("out of range".to_owned())
    }
}

/// Writes what [`parse_share`] reads, exactly.
pub(super) fn format_share(share: Share) -> String {
    share.ratio().map_or_else(|| "off".to_owned(), |_| format!("{}%", f64::from(share.0) / 100.0))
}

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Writes what [`parse_size`] reads, exactly: in the largest unit that leaves no fraction.
pub(super) fn format_size(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}
