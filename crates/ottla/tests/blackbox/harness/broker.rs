//! A broker as a process: started, watched, killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Wire;

/// How long a start or a stop may take before the test gives up. Debug builds on busy machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of the log a failing test shows.
const LOG_LINES_SHOWN: usize = 40;

/// What is said behind `--listen`.
enum Listen {
    /// 127.0.0.1, and the port that was found.
    Local,
    On(String),
    Unsaid,
}

/// How brokers of a test are started. The data directory is gone with it.
pub struct Setup {
    /// Holds the data directory and whatever else the test keeps on disk.
    pub dir: TempDir,
    pub data: PathBuf,
    /// 0 until the first start; then every start takes the same port, so that clients find the broker again.
    port: u16,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    listen: Listen,
    metrics: SocketAddr,
    /// The user to run as.
    user: Option<u32>,
    /// What `ulimit` is told.
    descriptors: Option<String>,
}

impl Setup {
    pub fn new() -> Setup {
        let dir = tempfile::Builder::new().prefix("ottla-test-").tempdir().unwrap();
        let data = dir.path().join("data");
        let metrics = SocketAddr::from(([127, 0, 0, 1], 0));
        let (settings, environment) = (Vec::new(), Vec::new());
        Setup {
            dir,
            data,
            port: 0,
            settings,
            environment,
            listen: Listen::Local,
            metrics,
            user: None,
            descriptors: None,
        }
    }

    pub fn set(mut self, name: &str, value: impl ToString) -> Setup {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn data(mut self, data: impl Into<PathBuf>) -> Setup {
        self.data = data.into();
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn listen(mut self, address: &str) -> Setup {
        self.listen = Listen::On(address.to_owned());
        self
    }

    /// Where it listens is among the settings.
    pub fn without_listen(mut self) -> Setup {
        self.listen = Listen::Unsaid;
        self
    }

    /// Brokers may have no more file descriptors than these.
    pub fn descriptors(mut self, limit: u64) -> Setup {
        self.descriptors = Some(format!("-n {limit}"));
        self
    }

    /// Brokers have so many file descriptors at first, and may raise that.
    pub fn soft_descriptors(mut self, limit: u64) -> Setup {
        self.descriptors = Some(format!("-Sn {limit}"));
        self
    }

    pub fn metrics(mut self, address: SocketAddr) -> Setup {
        self.metrics = address;
        self
    }

    /// Starts brokers as another user, which only root may do.
    pub fn user(mut self, id: u32) -> Setup {
        self.user = Some(id);
        self
    }

    fn command(&self) -> Command {
        const PROGRAM: &str = env!("CARGO_BIN_EXE_ottla");
        let mut command = match &self.descriptors {
            None => Command::new(PROGRAM),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\"")).arg(PROGRAM);
                shell
            }
        };
        for name in ["OTTLA_BOOTSTRAP", "OTTLA_LOG_FORMAT", "OTTLA_LOG_LEVEL", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.arg("start").arg("--data").arg(&self.data);
        match &self.listen {
            Listen::Local => drop(command.arg("--listen").arg(format!("127.0.0.1:{}", self.port))),
            Listen::On(address) => drop(command.arg("--listen").arg(address)),
            Listen::Unsaid => {}
        }
        command.arg("--metrics").arg(self.metrics.to_string());
        for (name, value) in &self.settings {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user {
            command.uid(user);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts a broker and waits until it is ready.
    #[track_caller]
    pub fn start(&mut self) -> Broker {
        let mut broker = Broker::spawn(self.command());
        broker.await_ready();
        self.port = broker.addr.port();
        broker
    }

    /// Starts a broker that is expected to refuse: its exit code and its log.
    #[track_caller]
    pub fn refused(&self) -> (i32, String) {
        let mut broker = Broker::spawn(self.command());
        // The end of the log, with the process, or the line that says it is ready.
        let ready = broker.ready.recv_timeout(PATIENCE).is_ok();
        assert!(!ready, "the broker has started, and should have refused");
        let status = broker.await_exit();
        (status.code().unwrap_or(-1), broker.log())
    }
}

/// A running broker. Killed when dropped; a failing test then shows the end of its log.
pub struct Broker {
    child: Child,
    pub addr: SocketAddr,
    pub metrics: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    ready: Receiver<(SocketAddr, SocketAddr)>,
    reader: Option<JoinHandle<()>>,
}

impl Broker {
    fn spawn(mut command: Command) -> Broker {
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (told, ready) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let kept = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(addresses) = addresses(&line) {
                    let _gone = told.send(addresses);
                }
                kept.lock().unwrap().push(line);
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Broker { child, addr: nowhere, metrics: nowhere, lines, ready, reader: Some(reader) }
    }

    #[track_caller]
    fn await_ready(&mut self) {
        match self.ready.recv_timeout(PATIENCE) {
            Ok((addr, metrics)) => (self.addr, self.metrics) = (addr, metrics),
            Err(error) => panic!("the broker is not ready: {error}"),
        }
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Wire {
        Wire::to(self.addr)
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _dead_already = self.child.kill();
        let _status = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ended = reader.join();
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM; the exit code and the log.
    #[track_caller]
    pub fn stop(mut self) -> (i32, String) {
        self.signal(Signal::TERM);
        let status = self.await_exit();
        (status.code().unwrap_or(-1), self.log())
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn await_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    let _ended = reader.join();
                }
                return status;
            }
            assert!(Instant::now() < deadline, "the broker does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident memory, in KiB.
    pub fn rss_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.http("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    }

    /// The answer to a GET on the port of the metrics, with its head.
    pub fn http(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let lines = self.lines.lock().unwrap();
            let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
            eprintln!("--- log of the broker, {} lines ---\n{}", lines.len(), lines[shown..].join("\n"));
        }
    }
}

/// Where a broker listens, from the line that says it is ready: clients, metrics.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    if event["message"] != "ready" {
        return None;
    }
    let listening = event["listening"].as_str()?.strip_prefix("PLAINTEXT://")?;
    Some((listening.parse().ok()?, event["metrics"].as_str()?.parse().ok()?))
}

/// The files of a folder whose names end so, in order.
pub fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.to_string_lossy().ends_with(suffix));
    found.sort();
    found
}
