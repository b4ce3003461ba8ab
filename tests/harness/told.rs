//! Activities as the daemon logs them at level debug.

use serde_json::Value;

use crate::Daemon;

/// What precedes the value in the daemon's log.
const MARK: &str = "monitor::activity: ";

/// One activity.
#[derive(Clone, Debug, PartialEq)]
pub struct Told(Value);

impl Told {
    /// A field by its path, such as `/socket/peer`; null where there is none.
    pub fn at(&self, path: &str) -> &Value {
        self.0.pointer(path).unwrap_or(&Value::Null)
    }

    /// A field that is a number.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn number(&self, path: &str) -> i64 {
        let value = self.at(path);
        let number = value.as_i64().or_else(|| value.as_u64().map(u64::cast_signed));
        number.unwrap_or_else(|| panic!("{path} is {value} in {}", self.0))
    }

    /// A field that is text; empty where there is none.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn text(&self, path: &str) -> &str {
        match self.at(path) {
            Value::Null => "",
            Value::String(text) => text,
            other => panic!("{path} is {other} in {}", self.0),
        }
    }

    /// Name of the system call.
    pub fn call(&self) -> &str {
        self.text("/call")
    }

    /// What it returned.
    pub fn result(&self) -> i64 {
        self.number("/result")
    }
}

impl Daemon {
    /// The activities of a process that this thread started, in order, as soon as `enough` says that they are all there.
    /// What it did before it executed its program, under this thread's name, is left out.
    ///
    /// # Panics
    /// When that does not come.
    pub fn told(&self, pid: u32, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let starter = std::fs::read_to_string("/proc/thread-self/comm").expect("this thread has a name");
        self.awaited(|| {
            let log = self.log();
            let lines = log.lines().filter_map(|line| line.split_once(MARK)?.1.parse().ok());
            let mut told: Vec<Told> = lines
                .filter(|line: &Value| line["pid"] == pid && line["comm"] != starter.trim_end())
                .map(Told)
                .collect();
            told.sort_by_key(|told| told.number("/time_ns"));
            if enough(&told) {
                Ok(told)
            } else {
                Err(told.iter().map(|told| told.0.to_string()).collect::<Vec<_>>().join("\n"))
            }
        })
    }
}
