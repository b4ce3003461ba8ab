//! The configuration as text: what is in effect, and the commented example.

use super::field::{toml_list, toml_string};
use super::keys::{GROUP_HELP, GROUP_KEYS, KEYS, Key, TABLES};
use super::load::Loaded;
use super::model::Config;
use super::origin::Origin;

/// Width of comments.
const WIDTH: usize = 100;

/// Every key with its value, as TOML that gives the same configuration again; with `origins`, each line says where its
/// value comes from.
pub fn show(loaded: &Loaded, origins: bool) -> String {
    let mut out = String::new();
    for (index, (table, _)) in TABLES.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&format!("[{table}]\n"));
        for key in KEYS.iter().filter(|key| key.table() == *table) {
            let origin = origins.then(|| loaded.origin(key.name));
            line(&mut out, key.short(), &key.field.show(&loaded.config), origin.as_ref());
        }
    }
    for (index, rule) in loaded.config.groups.iter().enumerate() {
        let origin = loaded.group_origins.get(index).filter(|_| origins);
        out.push('\n');
        let comment = origin.map(|origin| format!("  # {origin}")).unwrap_or_default();
        out.push_str(&format!("[[group]]{comment}\n"));
        line(&mut out, "name", &toml_string(&rule.name), None);
        line(&mut out, "exe", &toml_list(&rule.exe), None);
    }
    out
}

fn line(out: &mut String, name: &str, value: &str, origin: Option<&Origin>) {
    let comment = origin.map(|origin| format!("  # {origin}")).unwrap_or_default();
    out.push_str(&format!("{name} = {value}{comment}\n"));
}

/// A configuration file in which every key stands with its default, commented out: what it does not change keeps
/// following the defaults of newer versions.
pub fn default_file() -> String {
    let mut out = comment(
        "Configuration of monitor. Every key is optional; a line that begins with #, directly followed by the key, shows the \
         default. The environment (MONITOR_HTTP_LISTEN for http.listen) and flags (--set http.listen=ADDRESS) win over \
         this file. `monitor config check` checks it, `monitor config show --origin` shows what is in effect.",
    );
    for (table, help) in TABLES {
        out.push('\n');
        out.push_str(&comment(help));
        out.push_str(&format!("[{table}]\n"));
        for key in KEYS.iter().filter(|key| key.table() == *table) {
            out.push_str(&comment(&format!("{} Accepted: {}.", key.help, key.field.accepts())));
            out.push_str(&format!("#{} = {}\n", key.short(), default_of(key)));
        }
        if *table == "metrics" {
            out.push_str(&group_example());
        }
    }
    out
}

/// The default of a key, as TOML.
pub fn default_of(key: &Key) -> String {
    key.field.show(&Config::default())
}

/// `# ` instead of `#`: it is an example and no default.
fn group_example() -> String {
    let mut out = format!("\n{}# [[group]]\n", comment(GROUP_HELP));
    for key in GROUP_KEYS {
        out.push_str(&format!("# {} = {}\n", key.name, key.example));
    }
    out
}

/// `text` as comment lines.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.len() + 1 + word.len() > WIDTH) {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
