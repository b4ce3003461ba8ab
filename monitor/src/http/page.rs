//! The landing page: what is running here, and where everything is.

use std::fmt::Write as _;

use super::backend::Status;

/// Nothing on the page comes from elsewhere, and nothing on it runs.
pub(super) const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;\
    color-scheme:light dark}table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1rem .2rem 0;\
    vertical-align:top}.off{color:#c33}.partial{color:#b80}.on{color:#393}";

const LINKS: [(&str, &str); 10] = [
    ("/metrics", "metrics for Prometheus (text and OpenMetrics)"),
    ("/api/v1/audit/head", "the last record of the audit trail, to be kept elsewhere"),
    ("/api/v1/events", "security events, oldest first"),
    ("/api/v1/events/stream", "security events as they happen (server-sent events)"),
    ("/api/v1/map", "who calls whom"),
    ("/api/v1/processes", "processes and what they do"),
    ("/api/v1/requests", "the slowest requests and queries of the last ten minutes"),
    ("/api/v1/status", "this page as JSON"),
    ("/-/healthy", "200 while the daemon runs"),
    ("/-/ready", "200 while events and numbers flow, else the reason"),
];

/// The page as HTML.
pub(super) fn render(status: &Status, ready: &Result<(), String>) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>monitor</title><style>{STYLE}</style>\n<h1>monitor</h1>\n<p>Version {} ({}), up for {}. ",
        escape(&status.version),
        escape(&status.revision),
        uptime(status.uptime_seconds),
    );
    match ready {
        Ok(()) => page.push_str("<span class=on>Ready.</span>"),
        Err(reason) => put(&mut page, format_args!("<span class=off>Not ready: {}</span>", escape(reason))),
    }
    page.push_str("</p>\n<h2>Signals</h2>\n<table>\n");
    for signal in &status.signals {
        let state = signal.state.name();
        let reason = signal.reason.as_deref().map(escape).unwrap_or_default();
        let name = escape(&signal.name);
        put(&mut page, format_args!("<tr><th>{name}<td class={state}>{state}<td>{reason}\n"));
    }
    page.push_str(
        "</table>\n<p><code>monitor doctor</code> says what this kernel can do, and what to do about the rest.</p>\n",
    );
    if let Some(budget) = &status.budget {
        let (used, cpu) = (budget.used * 100.0, budget.cpu * 100.0);
        put(&mut page, format_args!("<h2>Budget</h2>\n<p>Costs {used:.2} % of a CPU; may cost {cpu} %.</p>\n"));
        if !budget.shed.is_empty() {
            page.push_str("<p class=partial>To keep it:</p>\n<ul>\n");
            for step in &budget.shed {
                put(&mut page, format_args!("<li>{}\n", escape(step.lost())));
            }
            page.push_str("</ul>\n");
        }
    }
    page.push_str("<h2>Where things are</h2>\n<table>\n");
    for (path, what) in LINKS {
        put(&mut page, format_args!("<tr><td><a href=\"{path}\"><code>{path}</code></a><td>{what}\n"));
    }
    page.push_str(
        "</table>\n<p>Documentation: README.md and docs/ of the source, <code>monitor --help</code>.</p>\n</html>\n",
    );
    page
}

/// Text that cannot become markup, in content or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

fn uptime(seconds: f64) -> String {
    // Saturates, and takes anything that is not a number for 0.
    let minutes = (seconds / 60.0) as u64;
    let (days, hours) = (minutes / (24 * 60), minutes / 60 % 24);
    match (days, hours, minutes % 60) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        budget::{BudgetStatus, Step},
        http::{SignalState, SignalStatus},
    };

    #[test]
    fn nothing_that_comes_from_the_host_becomes_markup() {
        let hostile = "<script>alert(\"1\")</script>' & co";
        let status = Status {
            version: hostile.into(),
            revision: hostile.into(),
            uptime_seconds: 93_784.0,
            signals: vec![SignalStatus { name: hostile.into(), state: SignalState::Off, reason: Some(hostile.into()) }],
            budget: None,
            heartbeat: None,
        };
        let page = render(&status, &Err(hostile.into()));
        assert!(!page.contains("<script") && !page.contains("\"1\""), "{page}");
        assert_eq!(page.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39; &amp; co").count(), 5);
        assert!(page.contains("up for 1 d 2 h"), "{page}");
    }

    #[test]
    fn what_is_given_up_for_the_budget_is_on_the_page() {
        let shed = vec![Step::AdaptiveTiming];
        let status = Status {
            version: String::new(),
            revision: String::new(),
            uptime_seconds: 0.0,
            signals: Vec::new(),
            budget: Some(BudgetStatus { cpu: 0.01, used: 0.0123, shed }),
            heartbeat: None,
        };
        let page = render(&status, &Ok(()));
        assert!(page.contains("Costs 1.23 % of a CPU; may cost 1 %."), "{page}");
        assert!(page.contains(&format!("<li>{}", Step::AdaptiveTiming.lost())), "{page}");
    }

    #[test]
    fn an_uptime_is_readable() {
        let cases =
            [(f64::NAN, "less than a minute"), (59.0, "less than a minute"), (60.0, "1 min"), (7_500.0, "2 h 5 min")];
        for (seconds, text) in cases {
            assert_eq!(uptime(seconds), text);
        }
    }
}
