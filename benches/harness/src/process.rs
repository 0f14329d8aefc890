//! One server under test: started with what it needs, measured through `/proc`, ended by its pid.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::stop;

/// How long a server may take to announce itself: the slowest, on a busy machine, takes seconds.
const START_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to end by itself.
const END_MAX: Duration = Duration::from_secs(15);

/// A running server. Ended on drop: TERM, wait, KILL, wait.
pub(crate) struct Process {
    child: Child,
    /// When the program was started.
    pub(crate) since: Instant,
    // Kept open: a server that writes to a closed stdout may end.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program; its stderr goes into a file.
    pub(crate) fn start(command: &mut Command, stderr: &Path, pin: Option<usize>) -> Result<Self> {
        let stderr = File::create(stderr)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let before = sched_getaffinity(None)?;
        if let Some(cpu) = pin {
            pin_this_thread(cpu)?;
        }
        let since = Instant::now();
        // The child inherits the affinity of the thread that starts it.
        let spawned = command.spawn();
        sched_setaffinity(None, &before)?;
        let mut child = spawned.with_context(|| format!("start {command:?}"))?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self { child, since, stdout })
    }

    /// The address in the JSON line with which our servers announce themselves.
    pub(crate) fn announced(&mut self) -> Result<SocketAddr> {
        let mut stdout = self.stdout.take().context("announced already")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).map(|_| line);
            let _nobody_waits = sender.send(read);
            // Read on, so that the server can go on writing.
            let _ended = std::io::copy(&mut stdout, &mut std::io::sink());
        });
        let deadline = Instant::now() + START_MAX;
        let line = loop {
            stop::check()?;
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => break line?,
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(error) => return Err(error).context("no announcement"),
            }
        };
        let value: serde_json::Value = serde_json::from_str(&line).context(line)?;
        let url = value["url"].as_str().context("announcement without url")?;
        let (_, address) = url.split_once("://").context("url without scheme")?;
        Ok(address.trim_end_matches('/').parse()?)
    }

    /// Waits until something accepts at this address: for servers that announce nothing.
    pub(crate) fn accepts(&mut self, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while std::net::TcpStream::connect(address).is_err() {
            stop::check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("does not listen after {START_MAX:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// CPU time of the process itself so far, user and system, to the tick of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, after_name) = stat.rsplit_once(')').context("/proc stat")?;
        let fields: Vec<_> = after_name.split_ascii_whitespace().collect();
        // Fields 14 and 15 of proc(5); the state, field 3, is the first here.
        let field = |number: usize| -> Result<u64> {
            Ok(fields.get(number - 3).context("/proc stat")?.parse()?)
        };
        let ticks = field(14)? + field(15)?;
        Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let number = line.split_ascii_whitespace().next().context("VmRSS")?;
        Ok(number.parse()?)
    }

    /// Asks it to end, waits, and forces it.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("pid")?;
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("process {}: {error:#}", self.child.id());
        }
    }
}

/// Keeps the calling thread, and what it starts, on one CPU.
pub(crate) fn pin_this_thread(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).context("sched_setaffinity")
}
