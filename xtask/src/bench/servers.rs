//! What servers still do while they are observed: real ones, under the load that their own tools make, on all CPUs.
//!
//! A round takes the observers in random order, and each load is measured bare right before it and then under the
//! observer. The servers and their data stay the same from the first round to the last.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    budget::Figures,
    options::Options,
    process::{self, Running},
    statistics::{Quartiles, Random},
    subject::Places,
};
use crate::needs::{NEEDS, Need};

/// Packages that have the servers and what asks them; the tests need them, too.
const PACKAGES: [&str; 5] = ["nginx", "apache2-utils", "postgresql", "redis-server", "redis-tools"];
/// How long a server may take to start.
const READY: Duration = Duration::from_secs(30);
/// Who runs what refuses to be root: `nobody`.
const NOBODY: u32 = 65_534;

/// Who observes, by settings of the daemon; and the name of its figures.
const OBSERVERS: [(&str, &[&str]); 3] =
    [("no l7", &["signals.l7=false"]), ("default", &[]), ("adaptive", &["syscalls.timing=adaptive"])];

/// One way to ask a server, which says how many answers it got in a second.
struct Load {
    name: &'static str,
    /// Of its share of bare under the default, and without l7.
    figures: [&'static str; 2],
    command: fn(&Servers) -> Command,
    rate: fn(&str) -> Option<f64>,
}

const LOADS: [Load; 4] = [
    Load {
        name: "redis-benchmark",
        figures: ["servers.redis", "servers.redis_by_l7"],
        command: |servers| redis(servers, &["-n", "200000", "-c", "20"]),
        rate: redis_rate,
    },
    Load {
        name: "redis-benchmark -P 16",
        figures: ["servers.redis_pipelined", "servers.redis_pipelined_by_l7"],
        command: |servers| redis(servers, &["-n", "2000000", "-c", "20", "-P", "16"]),
        rate: redis_rate,
    },
    Load {
        name: "pgbench -S",
        figures: ["servers.pgbench", "servers.pgbench_by_l7"],
        command: pgbench,
        rate: |said| number_after(said, "tps = "),
    },
    Load {
        name: "ab -k, nginx",
        figures: ["servers.nginx", "servers.nginx_by_l7"],
        command: |servers| {
            let mut command = Command::new("ab");
            command.args(["-q", "-k", "-c", "10", "-n", "120000"]);
            command.arg(format!("http://127.0.0.1:{}/index.html", servers.nginx.1));
            command
        },
        rate: |said| number_after(said, "Requests per second:"),
    },
];

fn redis(servers: &Servers, more: &[&str]) -> Command {
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &servers.redis.1.to_string(), "-t", "get", "--csv"]).args(more);
    command
}

fn redis_rate(said: &str) -> Option<f64> {
    let row = said.lines().find(|line| line.starts_with("\"GET\""))?;
    row.split(',').nth(1)?.trim_matches('"').parse().ok()
}

fn pgbench(servers: &Servers) -> Command {
    let mut command = Command::new(servers.postgres_bin.join("pgbench"));
    command.args(["-S", "-n", "-c", "4", "-T", "3", "-h", "127.0.0.1", "-U", "postgres"]);
    command.args(["-p", &servers.postgres.1.to_string(), "postgres"]);
    command
}

/// The number that follows some words, wherever they are.
fn number_after(said: &str, words: &str) -> Option<f64> {
    said.split_once(words)?.1.split_whitespace().next()?.parse().ok()
}

/// Servers with their ports. They end when this is dropped.
struct Servers {
    redis: (Running, u16),
    nginx: (Running, u16),
    postgres: (Running, u16),
    postgres_bin: PathBuf,
    _directory: Room,
}

/// A directory that everybody may enter, which goes when it is dropped.
struct Room(PathBuf);

impl Room {
    fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        // Not where the build is: who is not root may not be let in there.
        let path = std::env::temp_dir().join(format!("monitor-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            println!("    warning: remove {} by hand: {error}", self.0.display());
        }
    }
}

impl Servers {
    fn start() -> Result<Self> {
        let room = Room::new()?;
        let (redis, nginx, postgres) = (free_port()?, free_port()?, free_port()?);
        let mut command = quiet("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &redis.to_string()]).current_dir(&room.0);
        let redis = (listening(&mut command, redis)?, redis);
        let mut command = quiet("nginx");
        command.arg("-c").arg(nginx_files(&room.0, nginx)?).arg("-e").arg(room.0.join("nginx-errors"));
        let nginx = (listening(&mut command, nginx)?, nginx);
        let postgres_bin = postgres_bin()?;
        let postgres = (database(&postgres_bin, &room.0, postgres)?, postgres);
        Ok(Self { redis, nginx, postgres, postgres_bin, _directory: room })
    }
}

fn nginx_files(room: &Path, port: u16) -> Result<PathBuf> {
    let at = room.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .concat();
    fs::create_dir(room.join("www"))?;
    fs::write(room.join("www/index.html"), "x".repeat(612))?;
    let config = room.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/nginx-errors;\n\
         events {{ worker_connections 256; }}\nhttp {{ access_log off; keepalive_requests 1000000;\n{temporary}\
         server {{ listen 127.0.0.1:{port}; root {at}/www; }} }}\n"
    );
    fs::write(&config, text)?;
    Ok(config)
}

/// Where the newest PostgreSQL has its programs.
fn postgres_bin() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?.flatten();
    let versions = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("postgres").exists());
    versions.max().context("PostgreSQL is not installed")
}

/// A database with pgbench's tables.
fn database(bin: &Path, room: &Path, port: u16) -> Result<Running> {
    let data = room.join("data");
    fs::create_dir(&data)?;
    std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY))?;
    let mut made = quiet(bin.join("initdb"));
    made.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "--no-sync", "--locale=C"]);
    ensure!(made.current_dir(room).uid(NOBODY).gid(NOBODY).status()?.success(), "initdb failed");
    let mut command = quiet(bin.join("postgres"));
    command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", "", "-F"]);
    let server = listening(command.current_dir(room).uid(NOBODY).gid(NOBODY), port)?;
    let begin = Instant::now();
    loop {
        let mut fill = quiet(bin.join("pgbench"));
        fill.args(["-i", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string(), "postgres"]);
        // It listens before it lets anybody in.
        if fill.status()?.success() {
            return Ok(server);
        }
        ensure!(begin.elapsed() < READY, "pgbench -i fails");
        thread::sleep(Duration::from_millis(100));
    }
}

fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts a server and waits until it listens.
fn listening(command: &mut Command, port: u16) -> Result<Running> {
    let mut server = Running::start(command)?;
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = server.ended()? {
            anyhow::bail!("{} ended with {status}", command.get_program().display());
        }
        ensure!(begin.elapsed() < READY, "{} does not listen", command.get_program().display());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

impl Load {
    /// Answers in a second.
    fn measure(&self, servers: &Servers) -> Result<f64> {
        let mut command = (self.command)(servers);
        let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {}", self.name))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {error}", self.name);
        (self.rate)(&said).with_context(|| format!("{} does not say its rate: {said}", self.name))
    }
}

pub(super) fn measure(places: &Places, options: &Options) -> Result<Figures> {
    let needs: Vec<Need> = NEEDS.iter().filter(|need| PACKAGES.contains(&need.package)).copied().collect();
    crate::setup::install(&needs)?;
    let servers = Servers::start()?;
    let mut random = Random::new(options.seed);
    // By load and observer: rate, and share of bare, one a round.
    let mut shares = vec![vec![Vec::new(); OBSERVERS.len()]; LOADS.len()];
    let mut rates = vec![vec![Vec::new(); OBSERVERS.len() + 1]; LOADS.len()];
    for round in 1..=options.rounds {
        let mut order: Vec<usize> = (0..OBSERVERS.len()).collect();
        random.shuffle(&mut order);
        for at in order {
            let bare = LOADS.iter().map(|load| load.measure(&servers)).collect::<Result<Vec<_>>>()?;
            let settings: Vec<String> = OBSERVERS[at].1.iter().map(|&setting| setting.to_owned()).collect();
            let daemon = process::daemon(&places.daemon, &places.scratch, &settings)?;
            process::settled(&daemon)?;
            for (number, load) in LOADS.iter().enumerate() {
                let rate = load.measure(&servers)?;
                shares[number][at].push(rate / bare[number]);
                rates[number][at].push(rate);
                rates[number][OBSERVERS.len()].push(bare[number]);
            }
            daemon.running.stop()?;
        }
        println!("    round {round} of {}", options.rounds);
    }
    Ok(report(&shares, &rates))
}

fn report(shares: &[Vec<Vec<f64>>], rates: &[Vec<Vec<f64>>]) -> Figures {
    let mut figures = Figures::new();
    println!("{:<24} {:<10} {:>12} {:>24}", "load", "observer", "a second", "part of bare");
    for ((load, shares), rates) in LOADS.iter().zip(shares).zip(rates) {
        let median = |values: &[f64]| Quartiles::of(values.iter().copied()).map_or(0.0, |them| them.median);
        println!("{:<24} {:<10} {:>12.0}", load.name, "bare", median(&rates[OBSERVERS.len()]));
        for (at, (name, _)) in OBSERVERS.iter().enumerate() {
            if let Some(Quartiles { low, median: middle, high }) = Quartiles::of(shares[at].iter().copied()) {
                let rate = median(&rates[at]);
                println!("{:<24} {name:<10} {rate:>12.0}    {middle:.3} ({low:.3}..{high:.3})", load.name);
            }
        }
        // The second observer is the daemon as it comes, the first has no l7.
        let by_l7: Vec<f64> = shares[1].iter().zip(&shares[0]).map(|(with, without)| with / without).collect();
        let [of_bare, of_others] = load.figures;
        figures.insert(of_bare, median(&shares[1]));
        figures.insert(of_others, median(&by_l7));
        println!("{:<24} {:<10} {:>12}    {:.3} of the daemon without it", load.name, "l7", "", median(&by_l7));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_the_tools_say_them() {
        assert_eq!(redis_rate("\"test\",\"rps\"\n\"GET\",\"125000.00\",\"0.1\"\n"), Some(125_000.0));
        assert_eq!(redis_rate("\"test\",\"rps\"\n"), None);
        let said = "number of failed transactions: 0\ntps = 41234.5 (without initial connection time)\n";
        assert_eq!(number_after(said, "tps = "), Some(41_234.5));
        assert_eq!(
            number_after("Requests per second:    93000.12 [#/sec] (mean)", "Requests per second:"),
            Some(93_000.12)
        );
        assert_eq!(number_after("nothing", "tps = "), None);
    }
}
