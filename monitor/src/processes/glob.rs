//! Patterns for programs: `postgres`, `python3*`, `/opt/db/bin/*`, `/srv/**/worker-?`.

/// Whether `exe`, an absolute path, is meant by `pattern`: with a slash in it the pattern is for the whole path, without
/// one for the last component. `?` is any one byte and `*` any bytes of one component; a component `**` is any number of
/// components.
pub(super) fn matches(pattern: &[u8], exe: &[u8]) -> bool {
    if !pattern.contains(&b'/') {
        let name = exe.rsplit(|&byte| byte == b'/').next().unwrap_or(exe);
        return component(pattern, name);
    }
    let pattern: Vec<&[u8]> = pattern.split(|&byte| byte == b'/').collect();
    let path: Vec<&[u8]> = exe.split(|&byte| byte == b'/').collect();
    wild(&pattern, &path, |part| *part == b"**", |part, name| component(part, name))
}

/// The same for one name in which a slash is nothing special.
pub(super) fn component(pattern: &[u8], name: &[u8]) -> bool {
    wild(pattern, name, |&byte| byte == b'*', |&wanted, &byte| wanted == b'?' || wanted == byte)
}

/// Matching with one kind of wildcard that stands for any run of items: the last wildcard takes one item more each time
/// the rest does not fit, so the time is at most pattern times text, whatever the pattern.
fn wild<P, T>(pattern: &[P], text: &[T], star: impl Fn(&P) -> bool, one: impl Fn(&P, &T) -> bool) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut retry = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(item) if star(item) => {
                retry = Some((at + 1, position));
                at += 1;
            }
            Some(item) if one(item, &text[position]) => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((after, taken)) = retry else { return false };
                retry = Some((after, taken + 1));
                (at, position) = (after, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(star)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_matched_by_name_or_by_path() {
        for (pattern, exe, wanted) in [
            ("postgres", "/usr/lib/postgresql/15/bin/postgres", true),
            ("postgres", "/usr/bin/postgres2", false),
            ("python3*", "/usr/bin/python3.11", true),
            ("*", "/bin/sh", true),
            ("?h", "/bin/sh", true),
            ("?h", "/bin/bash", false),
            ("/opt/db/bin/*", "/opt/db/bin/server", true),
            ("/opt/db/bin/*", "/opt/db/bin/old/server", false),
            ("/opt/db/*/server", "/opt/db/bin/server", true),
            ("/srv/**/worker-?", "/srv/a/b/worker-1", true),
            ("/srv/**/worker-?", "/srv/worker-1", true),
            ("/srv/**/worker-?", "/srv/a/worker-10", false),
            ("/srv/**", "/srv/a/b", true),
            ("**/x", "/a/b/x", true),
            ("a*b*c", "/bin/a-b-b-c", true),
            ("a*b*c", "/bin/a-b-b-d", false),
            ("", "/bin/sh", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), exe.as_bytes()), wanted, "{pattern} and {exe}");
        }
    }

    #[test]
    fn a_hostile_name_takes_no_exponential_time() {
        let pattern = b"*a*a*a*a*a*a*a*a*a*a*a*a*b";
        assert!(!matches(pattern, &[b'a'; 4096]));
    }
}
