//! Which libraries have programs on them, and which are to: what is found in processes' memory decides. Time is an
//! argument.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fs::File,
    time::{Duration, Instant},
};

use tracing::{debug, info};

use super::{
    library::{Family, Functions, Key, Library, Programs, Why},
    maps,
};

/// When a process is looked at after it has executed a program: as soon as its libraries can be there, and later, for
/// those that it loads as it starts.
const LOOKS: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(300), Duration::from_secs(2)];
/// Processes that wait for each of these looks.
const WAITING: usize = 4_096;
/// Libraries with programs on them at one time: two open files each, which the kernel takes 35 ms each to take off.
const LIBRARIES: usize = 64;
/// Files of which it is remembered that nothing can be done with them.
const USELESS: usize = 16_384;
/// Processes of a library that are known by number; one suffices for it to stay.
const USERS: usize = 64;
/// A library that nobody has in memory any more is kept for so long: the next program that uses it is seen from its
/// first byte on.
const LINGER: Duration = Duration::from_secs(15);

/// A library in use.
struct Used {
    library: Library,
    /// Processes that have it in memory, not all of them where there are many.
    users: HashSet<u32>,
    /// One of the host's own: it stays.
    of_host: bool,
    /// Since when no process is known to have it, and how many rounds through all processes had begun by then.
    idle: Option<(Instant, u64)>,
}

/// What is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Libraries with programs on them.
    pub(super) libraries: BTreeMap<&'static str, usize>,
    /// Files that have none, by reason.
    pub(super) without: BTreeMap<Why, u64>,
    /// Processes that were not looked at when they began, because too many did.
    pub(super) missed: u64,
}

/// The state.
pub(super) struct Finder {
    programs: Programs,
    used: HashMap<Key, Used>,
    useless: HashSet<Key>,
    due: [VecDeque<(Instant, u32)>; LOOKS.len()],
    /// Processes that this round has yet to look at.
    round: Vec<u32>,
    rounds: u64,
    without: BTreeMap<Why, u64>,
    missed: u64,
}

impl Finder {
    pub(super) fn new(programs: Programs) -> Self {
        Self {
            programs,
            used: HashMap::new(),
            useless: HashSet::new(),
            due: Default::default(),
            round: Vec::new(),
            rounds: 0,
            without: BTreeMap::new(),
            missed: 0,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let count = |family| self.used.values().filter(|used| used.library.family == family).count();
        Standing {
            libraries: Family::ALL.iter().map(|family| (family.name(), count(*family))).collect(),
            without: Why::ALL.iter().map(|why| (*why, self.without.get(why).copied().unwrap_or(0))).collect(),
            missed: self.missed,
        }
    }

    /// A process has executed a program.
    pub(super) fn executed(&mut self, pid: u32, now: Instant) {
        for (queue, delay) in self.due.iter_mut().zip(LOOKS) {
            if queue.len() >= WAITING {
                self.missed += 1;
                return;
            }
            queue.push_back((now + delay, pid));
        }
    }

    /// Processes that could not be told of.
    pub(super) fn missed(&mut self, count: u64) {
        self.missed += count;
    }

    /// When the next look after an exec is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.iter().filter_map(|queue| queue.front().map(|(due, _)| *due)).min()
    }

    /// Looks at one process whose time has come. `false`: there is none.
    pub(super) fn look_due(&mut self, now: Instant) -> bool {
        let ready = |queue: &&mut VecDeque<(Instant, u32)>| queue.front().is_some_and(|(due, _)| *due <= now);
        let Some((_, pid)) = self.due.iter_mut().find(ready).and_then(VecDeque::pop_front) else { return false };
        self.look(pid, now);
        true
    }

    /// Looks at the next process of a round through all of them.
    pub(super) fn look_next(&mut self, now: Instant) {
        let Some(pid) = self.round.pop() else {
            self.round = processes();
            self.rounds += 1;
            return self.host(now);
        };
        self.look(pid, now);
    }

    /// Looks at every process there is.
    pub(super) fn look_all(&mut self, now: Instant) {
        self.host(now);
        for pid in processes() {
            self.look(pid, now);
        }
    }

    /// Looks which of the host's own libraries there are now.
    fn host(&mut self, now: Instant) {
        let found: Vec<Key> = maps::of_host().iter().filter_map(|file| self.found(file, None, now)).collect();
        for (key, used) in &mut self.used {
            used.of_host = found.contains(key);
        }
    }

    fn look(&mut self, pid: u32, now: Instant) {
        if pid == std::process::id() {
            return;
        }
        let mut found: Vec<Key> = Vec::new();
        // The program itself may have the library in it.
        if let Ok(file) = File::open(format!("/proc/{pid}/exe")) {
            found.extend(self.found(&file, Some(pid), now));
        }
        for mapped in maps::of_process(pid).unwrap_or_default() {
            match maps::open(pid, &mapped) {
                Ok(file) => found.extend(self.found(&file, Some(pid), now)),
                // Gone meanwhile.
                Err(_) if !alive(pid) => {}
                Err(error) => {
                    debug!(pid, path = mapped.path, %error, "a TLS library cannot be opened");
                    *self.without.entry(Why::Unreachable).or_default() += 1;
                }
            }
        }
        for (key, used) in &mut self.used {
            if !found.contains(key) {
                used.users.remove(&pid);
            }
        }
    }

    /// A process may use this file. Returns it if there are programs on it.
    fn found(&mut self, file: &File, pid: Option<u32>, now: Instant) -> Option<Key> {
        let key = Key::of(file).ok()?;
        if self.useless.contains(&key) {
            return None;
        }
        if !self.used.contains_key(&key) {
            match self.attach(file) {
                Ok(library) => {
                    let idle = Some((now, self.rounds));
                    self.used.insert(key, Used { library, users: HashSet::new(), of_host: false, idle });
                }
                Err(why) => {
                    // A program that has no such function is nothing to speak of.
                    if pid.is_none() || why != Why::Unknown {
                        *self.without.entry(why).or_default() += 1;
                    }
                    // Room may come.
                    if why != Why::OverLimit {
                        if self.useless.len() >= USELESS {
                            self.useless.clear();
                        }
                        self.useless.insert(key);
                    }
                    return None;
                }
            }
        }
        let used = self.used.get_mut(&key)?;
        if let Some(pid) = pid {
            if used.users.len() < USERS {
                used.users.insert(pid);
            }
            used.idle = None;
        }
        Some(key)
    }

    fn attach(&self, file: &File) -> Result<Library, Why> {
        let functions = Functions::of(file).ok_or(Why::Unknown)?;
        if self.used.len() >= LIBRARIES {
            return Err(Why::OverLimit);
        }
        let library = Library::attach(file, &functions, &self.programs).map_err(|error| {
            info!(%error, "the kernel lets no program onto a TLS library");
            Why::Refused
        })?;
        debug!(library = library.family.name(), "what is said through a TLS library is heard from now on");
        Ok(library)
    }

    /// Takes the programs off libraries that nobody has in memory any more.
    pub(super) fn let_go(&mut self, now: Instant) {
        let rounds = self.rounds;
        self.used.retain(|_, used| {
            used.users.retain(|pid| alive(*pid));
            if used.of_host || !used.users.is_empty() {
                used.idle = None;
                return true;
            }
            let (since, round) = *used.idle.get_or_insert((now, rounds));
            // A round that began after that has found nobody: not a child either, which executes nothing.
            let keep = now.duration_since(since) < LINGER || rounds < round + 2;
            if !keep {
                debug!(library = used.library.family.name(), "nobody has a TLS library in memory any more");
            }
            keep
        });
    }
}

fn alive(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}/exe")).unwrap_or(true)
}

/// All processes there are.
fn processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
