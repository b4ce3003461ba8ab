//! Requests to real servers, against what the programs that asked, and the servers, say of them: how many, how they ended,
//! how long they took.
//!
//! Each has a daemon of its own that is older than its connections, and program names of its own. One after the other: a
//! response time says nothing while others make a storm.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, in its helpers too"
)]

mod crowd;
mod dns;
mod grpc;
mod http2;
mod mariadb;
mod memcached;
mod nginx;
mod postgres;
mod redis;

use monitor_tests::{DEADLINE, Daemon, Sample, Samples, expected, until};

/// Every group has series of its own, whatever else runs here; and the daemon may be slow, but what it is told waits for it,
/// however much that is.
const CONFIG: &str =
    "[signals]\nl7 = true\n[l7]\nrate = 0\n[metrics]\ngroups = 2000\n[kernel]\nrequests_ring = \"64MiB\"\n";

/// Kernel programs that hear what is said.
const PROGRAMS: [&str; 2] = ["tcp_send", "tcp_receive"];

/// A daemon with the signal, where this kernel has the hooks for it.
fn daemon() -> Option<Daemon> {
    daemon_with(CONFIG)
}

fn daemon_with(config: &str) -> Option<Daemon> {
    let has = expected::has_hook("bpf_task_pt_regs");
    let daemon = Daemon::start(config);
    let up = daemon.fresh_metrics().sum("monitor_signal_up", &[("signal", "l7")]);
    assert_eq!(up, f64::from(u8::from(has)), "{}", daemon.log());
    has.then_some(daemon)
}

/// Waits until what is counted is what was asked, each by its name, and asserts that it is no more afterwards. Where the kernel
/// left programs out, as it may since Linux 7, and says so, less may be counted.
#[track_caller]
fn counted(daemon: &Daemon, wanted: &[(&str, f64)], count: impl Fn(&Samples, &str) -> f64) {
    let compare = || {
        let metrics = daemon.fresh_metrics();
        let counts = wanted.iter().map(|(name, made)| (name, count(&metrics, name), *made));
        let wrong: Vec<_> = counts.filter(|(_, counted, made)| counted != made).collect();
        if wrong.is_empty() || wrong.iter().all(|(_, counted, made)| counted < made) && daemon.missed(&PROGRAMS) > 0 {
            return Ok(());
        }
        let wrong = wrong.iter().map(|(name, counted, made)| format!("{name}: {counted} counted, {made} made\n"));
        Err(wrong.collect::<String>() + &doubts(&metrics))
    };
    until(DEADLINE, compare);
    if let Err(wrong) = compare() {
        panic!("it goes on counting: {wrong}");
    }
}

/// What was lost or not understood, or counted for nobody, for whoever reads why a test failed.
fn doubts(metrics: &Samples) -> String {
    let of_l7 = |sample: &&Sample| match sample.name.as_str() {
        "monitor_l7_doubts_total" => true,
        "monitor_lost_total" => sample.label("signal") == Some("l7"),
        name => {
            let requests = name.ends_with("_duration_seconds_count") && sample.label("role").is_some();
            requests && matches!(sample.label("group"), Some("_unknown" | "_other" | "timeout"))
        }
    };
    let told = metrics.0.iter().filter(of_l7).filter(|sample| sample.value > 0.0);
    told.map(|sample| format!("  {}{:?} {}\n", sample.name, sample.labels, sample.value)).collect()
}

/// How many requests took how long.
struct Times {
    /// Upper bounds in seconds, and how many took no longer.
    buckets: Vec<(f64, f64)>,
}

impl Times {
    /// Of all series with these labels.
    fn of(metrics: &Samples, metric: &str, labels: &[(&str, &str)]) -> Self {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in metrics.all(&format!("{metric}_bucket"), labels) {
            let bound = sample.label("le").unwrap().replace("+Inf", "inf").parse().unwrap();
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { buckets }
    }

    /// Which bucket the quantile is in.
    fn quantile(&self, quantile: f64) -> usize {
        let all = self.buckets.last().expect("the series is there").1;
        self.buckets.iter().position(|(_, count)| *count >= quantile * all).unwrap()
    }

    /// Asserts that these quantiles are as whoever measured them says, in seconds: at most one bucket away.
    #[track_caller]
    fn agree(&self, measured: &[(f64, f64)]) {
        for (quantile, seconds) in measured {
            let measured = self.buckets.iter().position(|(bound, _)| seconds <= bound).unwrap();
            let counted = self.quantile(*quantile);
            println!("quantile {quantile}: {seconds} s measured, {} s counted at most", self.buckets[counted].0);
            assert!(
                counted.abs_diff(measured) <= 1,
                "quantile {quantile}: {seconds} s measured, not within a bucket of it: {:?}",
                self.buckets
            );
        }
    }
}

/// The median of response times and how long the slowest took, each as it was measured. Of few, one more or less would be
/// another hundredth.
fn quantiles(times: &mut [f64]) -> Vec<(f64, f64)> {
    times.sort_by(f64::total_cmp);
    let at = |quantile: f64| times[((times.len() as f64 * quantile).ceil() as usize).clamp(1, times.len()) - 1];
    let slow = if times.len() >= 500 { 0.99 } else { 0.9 };
    vec![(0.5, at(0.5)), (slow, at(slow))]
}
