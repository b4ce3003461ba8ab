//! How many records the telemetry ring carries: the daemon's own drain with a producer of its own
//! (`monitor/benches/ring.rs`), then the whole pipeline with processes that are born and die.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{daemon::kernel_object, project::Project, step::shell};

use super::{
    budget::Figures,
    machine::{self, Machine},
    process::{self, Daemon, Worker},
    subject::Places,
    usage::Usage,
};

/// Records a second that are asked of the producer: a little more than the budget, which the clock then cannot miss.
const RATE: f64 = 1.02e6;
const KEPT: Duration = Duration::from_secs(60);
/// With as many records as the producer can write.
const FLAT_OUT: Duration = Duration::from_secs(10);
/// How long processes are born.
const BIRTHS: Duration = Duration::from_secs(10);
/// Of a CPU, that the reader may use.
const SHARE: f64 = 0.15;

/// What the drain's bench found out.
#[derive(Debug, PartialEq)]
struct Drained {
    seconds: f64,
    received: f64,
    lost: f64,
    cpu_seconds: f64,
    record_bytes: f64,
}

impl Drained {
    /// Lines of a name and a number.
    fn parse(text: &str) -> Result<Self> {
        let value = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
            found.with_context(|| format!("no {name} in {text:?}"))
        };
        if value("malformed")? > 0.0 {
            bail!("the drain does not understand the producer's records: {text:?}");
        }
        Ok(Self {
            seconds: value("seconds")?,
            received: value("received")?,
            lost: value("lost")?,
            cpu_seconds: value("consumer_cpu_seconds")?,
            record_bytes: value("record_bytes")?,
        })
    }

    fn per_second(&self) -> f64 {
        self.received / self.seconds
    }

    fn cpu_percent(&self) -> f64 {
        self.cpu_seconds / self.seconds * 100.0
    }

    fn print(&self, what: &str) {
        println!(
            "{what}, {:.0} s: {:.0} records of {:.0} bytes a second received, {:.0} lost; reader {:.2} % of a CPU, {:.1} ns a record",
            self.seconds,
            self.per_second(),
            self.record_bytes,
            self.lost,
            self.cpu_percent(),
            self.cpu_seconds * 1e9 / self.received.max(1.0)
        );
    }
}

pub(super) fn measure(project: &Project, places: &Places, machine: &Machine) -> Result<Figures> {
    let object = kernel_object(project, "bench-ring-ebpf")?;
    let kept = drain(project, &object, KEPT, RATE)?;
    kept.print("drain, paced");
    let flat_out = drain(project, &object, FLAT_OUT, 0.0)?;
    flat_out.print("drain, as many as can be");
    let mut figures = Figures::from([
        ("ring.records_per_second", kept.per_second()),
        ("ring.consumer_cpu_percent", kept.cpu_percent()),
        ("ring.lost", kept.lost),
        ("ring.flat_out_per_second", flat_out.per_second()),
        ("ring.flat_out_lost", flat_out.lost),
    ]);
    figures.extend(pipeline(places, machine)?);
    println!("load {:.2} at the end", machine::load());
    Ok(figures)
}

/// Runs the drain against its producer.
fn drain(project: &Project, object: &Path, time: Duration, rate: f64) -> Result<Drained> {
    let mut command = project.cargo("bench");
    command.args(["--locked", "--quiet", "--package", "monitor", "--bench", "ring", "--"]);
    command.arg(object).args([time.as_secs().to_string(), rate.to_string()]);
    let output = command.output().with_context(|| format!("start {}", shell(&command)))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{}: {}\n{text}{}", shell(&command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    Drained::parse(&text)
}

/// Lets processes be born and die in front of the daemon: two records each. What is done with a record, and with a
/// process, costs more than its way.
fn pipeline(places: &Places, machine: &Machine) -> Result<Figures> {
    let mut worker = Worker::start(&places.loader, machine.cpu, &places.scratch)?;
    let daemon = process::daemon(places.against.as_deref().unwrap_or(&places.daemon), &places.scratch, &[])?;
    process::settled(&daemon)?;
    let (records, missing) = (counter(&daemon, "records")?, counter(&daemon, "missing")?);
    let (begin, before) = (Instant::now(), Usage::look(&daemon)?);
    while begin.elapsed() < BIRTHS {
        worker.run("fork")?;
    }
    let rate = Usage::look(&daemon)?.since(before);
    let seconds = begin.elapsed().as_secs_f64();
    let records = counter(&daemon, "records")? - records;
    let missing = counter(&daemon, "missing")? - missing;
    daemon.running.stop()?;
    let cpu_ns = rate.cpu_percent / 100.0 * seconds * 1e9 / records;
    println!(
        "whole pipeline, births and deaths: {:.0} records a second, {missing:.0} lost; daemon {:.2} % of a CPU, {cpu_ns:.0} ns a \
         record: {:.0} % of a CPU would carry {:.0} a second",
        records / seconds,
        rate.cpu_percent,
        SHARE * 100.0,
        SHARE * 1e9 / cpu_ns
    );
    Ok(Figures::from([
        ("ring.pipeline_per_second", records / seconds),
        ("ring.pipeline_lost", missing),
        ("ring.pipeline_cpu_percent", rate.cpu_percent),
        ("ring.pipeline_ns_a_record", cpu_ns),
    ]))
}

/// What the daemon says of the telemetry ring.
fn counter(daemon: &Daemon, what: &str) -> Result<f64> {
    let text = process::get(&daemon.address, "/metrics")?;
    let series = format!("monitor_ring_{what}_total{{ring=\"telemetry\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(series.as_str())?.parse().ok());
    value.with_context(|| format!("the daemon does not tell {series}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drains_words_are_understood() {
        let text = "seconds 2.0\nproduced 30\nreceived 20\nlost 10\nmissing 9\nmalformed 0\nrecord_bytes 96\n\
                    consumer_cpu_seconds 0.5\n";
        let drained = Drained::parse(text).unwrap();
        assert!((drained.per_second() - 10.0).abs() < 1e-9 && (drained.cpu_percent() - 25.0).abs() < 1e-9);
        assert!((drained.lost - 10.0).abs() < 1e-9, "lost is not missing");
        assert!(Drained::parse(&text.replace("malformed 0", "malformed 1")).is_err());
        assert!(Drained::parse(&text.replace("lost 10\n", "")).unwrap_err().to_string().contains("no lost"));
    }
}
