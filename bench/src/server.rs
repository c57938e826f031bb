//! The servers that are compared: each is a process of its own, with an empty directory.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use rustix::process::Signal;
use serde::Serialize;

use crate::admin::Admin;
use crate::process;
use crate::shape::{PARTITIONS, Topic};

/// Old segments are looked for so often that a topic stays small at any speed.
const RETENTION_CHECK_MS: u64 = 250;
const READY_MAX: Duration = Duration::from_secs(90);
const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    Raw,
    Ottla,
    Kafka,
}

impl ServerKind {
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::Raw => "raw",
            ServerKind::Ottla => "ottla",
            ServerKind::Kafka => "kafka",
        }
    }
}

/// Where the programs are, and what all servers have in common.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Ottla's binary.
    pub ottla: PathBuf,
    /// The script that starts Kafka.
    pub kafka: PathBuf,
    /// Data directories are made below it, and deleted.
    pub dir: PathBuf,
    /// Of the topics of the loads, with short retention; as much is retained beside the newest segment.
    pub segment_bytes: u64,
    /// Further settings of Ottla, as NAME=VALUE.
    pub settings: Vec<String>,
    /// Further settings of Ottla and of Kafka.
    pub common: Vec<String>,
}

/// A server that answers. It ends, and its data goes, when this is dropped.
pub struct Server {
    pub kind: ServerKind,
    pub addr: SocketAddr,
    pub pid: u32,
    /// From when the process was asked for until it answered.
    pub ready_after: Duration,
    data: PathBuf,
    keep_data: bool,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on an empty directory.
    pub fn start(setup: &Setup, kind: ServerKind) -> Result<Server> {
        let data = setup.dir.join(format!("{}-{}", kind.name(), std::process::id()));
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(&data)?;
        Server::start_on(setup, kind, data)
    }

    /// Starts a server on what another one has left.
    pub fn start_on(setup: &Setup, kind: ServerKind, data: PathBuf) -> Result<Server> {
        let addr = free_addr()?;
        let began = Instant::now();
        let (pid, child) = match kind {
            ServerKind::Raw => spawned(raw(setup, addr, &data)?, &data)?,
            ServerKind::Ottla => spawned(ottla(setup, addr, &data)?, &data)?,
            ServerKind::Kafka => (kafka(setup, addr, &data)?, None),
        };
        let mut server =
            Server { kind, addr, pid, ready_after: Duration::ZERO, data, keep_data: false, child };
        server.await_ready(began)?;
        server.ready_after = began.elapsed();
        Ok(server)
    }

    /// Kills it (`kill -9`) and gives back its directory.
    pub fn kill(mut self) -> Result<PathBuf> {
        self.keep_data = true;
        self.end(Signal::KILL)?;
        Ok(self.data.clone())
    }

    /// Stops it and gives back its directory.
    pub fn stop(mut self) -> Result<PathBuf> {
        self.keep_data = true;
        self.end(Signal::TERM)?;
        Ok(self.data.clone())
    }

    /// Makes a topic of the loads; the raw server has them all.
    pub fn create(&self, topic: Topic, segment_bytes: u64) -> Result<()> {
        if self.kind == ServerKind::Raw || topic == Topic::Coalesced {
            return Ok(());
        }
        let flush = if topic == Topic::Flushed { 1 } else { NEVER };
        let mut configs = vec![("flush.messages", flush.to_string())];
        if topic.is_retained_briefly() {
            configs.push(("segment.bytes", segment_bytes.to_string()));
            configs.push(("retention.bytes", segment_bytes.to_string()));
            configs.push(("file.delete.delay.ms", "0".to_owned()));
        }
        let mut admin = Admin::connect(self.addr)?;
        admin.create_topic(topic.name(), PARTITIONS, &configs)?;
        self.await_served(&mut admin, topic.name(), PARTITIONS)?;
        Ok(())
    }

    /// Waits until all partitions of a topic are served. Gives their ends.
    pub fn await_served(&self, admin: &mut Admin, topic: &str, partitions: i32) -> Result<Vec<i64>> {
        let began = Instant::now();
        loop {
            if let Some(ends) = admin.ends(topic, partitions)? {
                return Ok(ends);
            }
            ensure!(began.elapsed() < READY_MAX, "{topic} is not served by {}", self.kind.name());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn await_ready(&mut self, began: Instant) -> Result<()> {
        while began.elapsed() < READY_MAX {
            if self.answers() {
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                bail!("{} ended ({status}), see {}", self.kind.name(), self.data.join("stderr").display());
            }
            thread::sleep(Duration::from_micros(500));
        }
        bail!("{} is not ready after {} s", self.kind.name(), READY_MAX.as_secs())
    }

    fn answers(&self) -> bool {
        match self.kind {
            // It listens when its files are there, and speaks no protocol.
            ServerKind::Raw => std::net::TcpStream::connect(self.addr).is_ok(),
            _ => Admin::connect(self.addr).and_then(|mut admin| admin.api_versions()).is_ok(),
        }
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        process::end(self.pid, signal)?;
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.keep_data {
            return;
        }
        let ended = self.end(Signal::KILL).and_then(|()| Ok(fs::remove_dir_all(&self.data)?));
        if let Err(error) = ended {
            eprintln!("{} (process {}) could not be cleaned up: {error:#}", self.kind.name(), self.pid);
        }
    }
}

fn raw(setup: &Setup, addr: SocketAddr, data: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("raw").arg("--listen").arg(addr.to_string()).arg("--data").arg(data);
    command.arg("--segment-bytes").arg(setup.segment_bytes.to_string());
    command.arg("--retention-bytes").arg(setup.segment_bytes.to_string());
    command.arg("--retention-ms").arg(RETENTION_CHECK_MS.to_string());
    Ok(command)
}

fn ottla(setup: &Setup, addr: SocketAddr, data: &Path) -> Result<Command> {
    ensure!(
        setup.ottla.exists(),
        "{} is not there: cargo build --release -p ottla, or --server",
        setup.ottla.display()
    );
    let mut command = Command::new(&setup.ottla);
    command.arg("start").arg("--data").arg(data.join("log")).arg("--listen").arg(addr.to_string());
    command.args(["--metrics", "off", "--log-level", "warn"]);
    command.arg("--set").arg(format!("log.retention.check.interval.ms={RETENTION_CHECK_MS}"));
    for setting in setup.settings.iter().chain(&setup.common) {
        command.arg("--set").arg(setting);
    }
    Ok(command)
}

fn spawned(mut command: Command, data: &Path) -> Result<(u32, Option<Child>)> {
    let said = |name: &str| fs::File::create(data.join(name));
    let child = command.stdin(Stdio::null()).stdout(said("stdout")?).stderr(said("stderr")?).spawn();
    let child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok((child.id(), Some(child)))
}

/// The script gives the process id once Kafka says that it has started.
fn kafka(setup: &Setup, addr: SocketAddr, data: &Path) -> Result<u32> {
    let mut command = Command::new(&setup.kafka);
    command.arg("--data").arg(data).arg("--listen").arg(addr.to_string());
    command.arg("--set").arg(format!("log.retention.check.interval.ms={RETENTION_CHECK_MS}"));
    command.args(["--set", "log.initial.task.delay.ms=0"]);
    for setting in &setup.common {
        command.arg("--set").arg(setting);
    }
    let said = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let said = said.with_context(|| format!("cannot run {}", setup.kafka.display()))?;
    ensure!(said.status.success(), "{} failed ({})", setup.kafka.display(), said.status);
    String::from_utf8_lossy(&said.stdout).trim().parse().context("Kafka's process id is missing")
}

/// A port of the loopback that nobody has at the moment.
fn free_addr() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
