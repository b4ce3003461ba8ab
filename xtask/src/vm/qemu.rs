//! One virtual machine: starts it, listens to it, and ends it at its deadline.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read, Write as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{console::Heard, series::Arch};

/// Boots until one has come up. Emulation is at fault now and then before the first program runs; whatever dies later
/// is a finding.
const BOOTS: u32 = 3;

/// How long a kernel may take to its first program. Emulated on a busy machine: 3 to 15 seconds.
const BOOT: Duration = Duration::from_secs(120);

/// What to start.
#[derive(Debug)]
pub(super) struct Guest<'a> {
    pub(super) arch: Arch,
    pub(super) program: &'a Path,
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    /// Contents of its disk; what it writes is thrown away.
    pub(super) disk: &'a Path,
    pub(super) cpus: u32,
    /// More words for the kernel's command line.
    pub(super) words: &'a str,
    /// What it says is written there too.
    pub(super) log: &'a Path,
    pub(super) deadline: Duration,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) heard: Heard,
    pub(super) timed_out: bool,
    /// How QEMU ended, when not by itself and well.
    pub(super) emulator: Option<String>,
    pub(super) took: Duration,
    /// Seconds of processor time that the emulator used: what it would have taken on a machine with nothing else to do.
    pub(super) cpu: f64,
    pub(super) boots: u32,
}

/// Ends the emulator with us, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Guest<'_> {
    /// Boots it, again if it did not come up.
    pub(super) fn run(&self) -> Result<Outcome> {
        let mut boot = 1;
        loop {
            let log = match boot {
                1 => self.log.to_path_buf(),
                _ => self.log.with_extension(format!("{boot}.log")),
            };
            let outcome = self.boot(&log, boot)?;
            if outcome.heard.release.is_some() || boot == BOOTS {
                return Ok(outcome);
            }
            boot += 1;
        }
    }

    fn boot(&self, log: &Path, boot: u32) -> Result<Outcome> {
        let begin = Instant::now();
        let mut command = self.command();
        let mut running = Running(command.spawn().with_context(|| format!("start {}", self.program.display()))?);
        let (sender, lines) = mpsc::channel();
        for stream in [running.0.stdout.take().map(boxed), running.0.stderr.take().map(boxed)].into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || forward(stream, &sender));
        }
        drop(sender);
        let mut log = File::create(log).with_context(|| format!("write {}", log.display()))?;
        writeln!(log, "{}", crate::step::shell(&command))?;
        let (mut heard, mut timed_out, mut cpu) = (Heard::default(), false, 0.0);
        loop {
            let limit = if heard.release.is_some() { self.deadline } else { BOOT };
            match lines.recv_timeout(limit.saturating_sub(begin.elapsed())) {
                Ok(line) => {
                    writeln!(log, "{:8.2} {line}", begin.elapsed().as_secs_f64())?;
                    heard.line(&line);
                    cpu = cpu_seconds(running.0.id()).unwrap_or(cpu);
                }
                Err(RecvTimeoutError::Timeout) => {
                    timed_out = true;
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let emulator = if timed_out { None } else { complaint(running.0.wait().context("wait for QEMU")?, &heard) };
        drop(running);
        Ok(Outcome { heard, timed_out, emulator, took: begin.elapsed(), cpu, boots: boot })
    }

    fn command(&self) -> Command {
        // It ends with us even if we are killed.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(self.program)
            .args(["-machine", machine(self.arch)])
            .args(accelerator(self.arch));
        command.args(["-m", "1536", "-smp", &self.cpus.to_string()]);
        command.args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-serial", "stdio"]);
        command.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot=on", self.disk.display()));
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        // The kernel writes between our lines only when it dies, which every fault of it makes it do; 5.10 has to be told
        // that LSM programs may be.
        let words = format!(
            "console={} loglevel=1 panic=-1 oops=panic lsm=lockdown,yama,bpf {}",
            console(self.arch),
            self.words
        );
        command.args(["-append", words.trim_end()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

fn forward(stream: Box<dyn Read + Send>, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
            return;
        }
    }
}

/// User and system time of a process, out of proc(5).
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    // Ticks as the kernel shows them have always had this length on the machines that are emulated.
    Some((ticks()? + ticks()?) / 100.0).filter(|seconds| *seconds > 0.0)
}

fn complaint(status: ExitStatus, heard: &Heard) -> Option<String> {
    (!status.success() || !heard.done).then(|| format!("the emulator ended with {status}"))
}

/// How to run a foreign kernel here. `/dev/kvm` alone does not say: where the processor shows neither extension it is
/// for guests that know of it, and these do not.
///
/// Emulated without cmpxchg16b, which QEMU 7.2 gets wrong: one boot of 6.12 in six died of it. And in one thread: with
/// one thread a processor, 6.1 hung in two runs of fourteen; several machines at a time use the others.
fn accelerator(arch: Arch) -> [&'static str; 4] {
    if arch == Arch::Arm64 {
        ["-accel", "tcg,thread=single", "-cpu", "cortex-a72"]
    } else if has_kvm() {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg,thread=single", "-cpu", "max,-cx16"]
    }
}

fn machine(arch: Arch) -> &'static str {
    match arch {
        Arch::X86 => "q35",
        Arch::Arm64 => "virt",
    }
}

/// What the kernel calls the serial port that we hear.
fn console(arch: Arch) -> &'static str {
    match arch {
        Arch::X86 => "ttyS0",
        Arch::Arm64 => "ttyAMA0",
    }
}

/// Are the processors of such a machine emulated here?
pub(super) fn is_emulated(arch: Arch) -> bool {
    arch != Arch::X86 || !has_kvm()
}

fn has_kvm() -> bool {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    virtualizes(&info) && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

fn virtualizes(info: &str) -> bool {
    let flags = info.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

/// The emulator of such machines.
pub(super) fn program(arch: Arch) -> &'static str {
    match arch {
        Arch::X86 => "qemu-system-x86_64",
        Arch::Arm64 => "qemu-system-aarch64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_processor_that_virtualizes_counts() {
        assert!(virtualizes("model: x\nflags\t\t: fpu vmx sse\nbugs: y\n"));
        assert!(virtualizes("flags : svm\n"));
        assert!(!virtualizes("flags : fpu vmx_like hypervisor\nvmx flags : vnmi svm\n"));
        assert!(!virtualizes(""));
    }

    /// A stand-in for the emulator: a script that says what a guest would.
    fn guest(name: &str, script: &str, deadline: Duration) -> Outcome {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = std::env::temp_dir().join(format!("xtask-qemu-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (program, log) = (directory.join("emulator"), directory.join("log"));
        let count = directory.join("count");
        fs::write(&program, format!("#!/bin/sh\necho x >> {}\n{script}\n", count.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let none = Path::new("/dev/null");
        let guest = Guest {
            arch: Arch::X86,
            program: &program,
            kernel: none,
            initramfs: none,
            disk: none,
            cpus: 1,
            words: "",
            log: &log,
            deadline,
        };
        // Another test's child may still hold the script open for writing, for a moment.
        let outcome = loop {
            match guest.run() {
                Err(error) if format!("{error:#}").contains("Text file busy") => {}
                result => break result.unwrap(),
            }
        };
        fs::remove_dir_all(&directory).unwrap();
        outcome
    }

    #[test]
    fn a_guest_that_ends_is_heard_to_the_end() {
        let outcome = guest("ends", "echo '@@vm up 1 x'; echo '@@vm done'", Duration::from_secs(20));
        assert!(outcome.heard.done && !outcome.timed_out && outcome.emulator.is_none());
        assert_eq!(outcome.boots, 1);
    }

    #[test]
    fn the_emulators_own_time_is_told() {
        let outcome = guest(
            "works",
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo '@@vm up 1 x'",
            Duration::from_secs(60),
        );
        assert!(outcome.cpu > 0.0 && outcome.cpu <= outcome.took.as_secs_f64() + 0.1, "{outcome:?}");
    }

    #[test]
    fn a_guest_that_hangs_is_ended_at_its_deadline() {
        let outcome = guest("hangs", "echo '@@vm up 1 x'; exec sleep 60", Duration::from_millis(300));
        assert!(outcome.timed_out && !outcome.heard.done);
        assert!(outcome.took < Duration::from_secs(20), "{:?}", outcome.took);
        assert_eq!(outcome.boots, 1, "what hangs after it came up is a finding");
    }

    #[test]
    fn a_guest_that_never_comes_up_is_booted_again_but_not_for_ever() {
        let outcome = guest("dies", "exit 3", Duration::from_secs(20));
        assert_eq!((outcome.boots, outcome.heard.release), (BOOTS, None));
        assert!(outcome.emulator.unwrap().contains("exit status: 3"));
        let outcome =
            guest("late", "test $(wc -l < ${0%/*}/count) = 2 || exit 3; echo '@@vm up 1 x'", Duration::from_secs(20));
        assert_eq!((outcome.boots, outcome.heard.release.is_some()), (2, true));
    }
}
