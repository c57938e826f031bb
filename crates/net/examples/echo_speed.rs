//! What this room costs: CPU time of an echo server, per small frame and per byte of large ones.
//!
//! `cargo run --release -p ottla-net --example echo_speed [seconds [part of a name]]` starts the server as a
//! process of its own, so that the CPU time of the load is not counted, and prints one line for each load.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use bytes::Bytes;
use ottla_net::{
    CloseReason, Frame, Listener, NetSettings, Part, Peer, Plain, Response, Responses, SecurityProtocol,
    Server, Service,
};
use ottla_tasks::Tasks;

/// The first byte of a frame says what is wanted.
#[derive(Clone, Copy)]
enum Want {
    /// The frame itself.
    Echo = 0,
    /// The frame itself, by way of a future.
    EchoLater = 1,
    /// A few bytes.
    Ack = 2,
    /// A MiB of a file.
    File = 3,
    /// A MiB of memory.
    Memory = 4,
    /// A MiB of a file, read into memory first.
    Read = 5,
}

struct Load {
    name: &'static str,
    want: Want,
    connections: usize,
    pipelined: usize,
    request_bytes: usize,
    response_bytes: usize,
}

const FILE_PART_BYTES: usize = 1 << 20;

const LOADS: [Load; 8] = [
    Load {
        name: "200 B echo, 16 x 100",
        want: Want::Echo,
        connections: 16,
        pipelined: 100,
        request_bytes: 200,
        response_bytes: 200,
    },
    Load {
        name: "200 B echo later, 16 x 100",
        want: Want::EchoLater,
        connections: 16,
        pipelined: 100,
        request_bytes: 200,
        response_bytes: 200,
    },
    Load {
        name: "200 B echo, 16 x 1",
        want: Want::Echo,
        connections: 16,
        pipelined: 1,
        request_bytes: 200,
        response_bytes: 200,
    },
    Load {
        name: "128 KiB in, 16 B out, 4 x 4",
        want: Want::Ack,
        connections: 4,
        pipelined: 4,
        request_bytes: 128 << 10,
        response_bytes: 16,
    },
    Load {
        name: "1 MiB in, 16 B out, 4 x 4",
        want: Want::Ack,
        connections: 4,
        pipelined: 4,
        request_bytes: 1 << 20,
        response_bytes: 16,
    },
    Load {
        name: "1 MiB out by sendfile, 4 x 2",
        want: Want::File,
        connections: 4,
        pipelined: 2,
        request_bytes: 16,
        response_bytes: FILE_PART_BYTES,
    },
    Load {
        name: "1 MiB out by read and send, 4 x 2",
        want: Want::Read,
        connections: 4,
        pipelined: 2,
        request_bytes: 16,
        response_bytes: FILE_PART_BYTES,
    },
    Load {
        name: "1 MiB out of memory, 4 x 2",
        want: Want::Memory,
        connections: 4,
        pipelined: 2,
        request_bytes: 16,
        response_bytes: FILE_PART_BYTES,
    },
];

struct Echo {
    file: Arc<fs::File>,
    memory: Bytes,
}

impl Echo {
    fn read(&self) -> Vec<u8> {
        let mut part = vec![0; FILE_PART_BYTES];
        match self.file.read_exact_at(&mut part, 0) {
            Ok(()) => part,
            Err(error) => panic!("the file of this very process cannot be read: {error}"),
        }
    }

    fn answer(&self, frame: &Frame) -> Response {
        match frame.bytes.first() {
            Some(2) => Response::new(frame.bytes.slice(..16)),
            Some(3) => Response {
                parts: vec![Part::File { file: self.file.clone(), position: 0, len: FILE_PART_BYTES }],
                ..Response::default()
            },
            Some(5) => Response::new(self.read().into()),
            Some(4) => Response::new(self.memory.clone()),
            _ => Response::new(frame.bytes.clone()),
        }
    }
}

impl Service for Echo {
    type Session = ();

    fn open(&self, _: &Peer) {}

    async fn serve(&self, _: &mut (), frames: &mut VecDeque<Frame>) -> Result<Responses, CloseReason> {
        let later = frames.front().is_some_and(|frame| frame.bytes.first() == Some(&1));
        let responses: Vec<_> = frames.drain(..).map(|frame| self.answer(&frame)).collect();
        Ok(if later {
            Responses::Later(Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(responses)
            }))
        } else {
            Responses::Ready(responses)
        })
    }

    fn closed(&self, (): ()) {}
}

fn main() -> io::Result<()> {
    let argument = env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        return serve();
    }
    let seconds: u64 = argument.and_then(|seconds| seconds.parse().ok()).unwrap_or(3);
    let chosen = env::args().nth(2).unwrap_or_default();
    for load in LOADS.iter().filter(|load| load.name.contains(&chosen)) {
        run(load, Duration::from_secs(seconds))?;
    }
    beside_silent_peers(1_000)?;
    idle(5_000)
}

fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener =
            Listener::bind("speed", SecurityProtocol::Plaintext, any, 1024).map_err(io::Error::other)?;
        println!("{}", listener.addr());
        let path = env::temp_dir().join(format!("echo_speed-{}", std::process::id()));
        let file = fs::File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        fs::remove_file(path)?;
        file.write_all_at(&vec![1; FILE_PART_BYTES], 0)?;
        let echo = Echo { file: Arc::new(file), memory: vec![1; FILE_PART_BYTES].into() };
        let mut server = Server::new(NetSettings::default(), Tasks::default());
        server.serve(Arc::new(echo), listener, Arc::new(Plain));
        // The load closes standard input when it has measured.
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()))
            .await
            .map_err(io::Error::other)??;
        server.shutdown(Duration::from_secs(1)).await;
        Ok(())
    })
}

/// The server process, and where it listens.
fn start() -> io::Result<(Child, SocketAddr)> {
    let mut child = Command::new(env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    Ok((child, line.trim().parse().map_err(io::Error::other)?))
}

fn run(load: &Load, time: Duration) -> io::Result<()> {
    let (mut child, addr) = start()?;
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (frames, cpu, wall) = thread::scope(|scope| -> io::Result<_> {
        for _ in 0..load.connections {
            scope.spawn(|| drive(load, addr, &done, &stop));
        }
        thread::sleep(Duration::from_millis(300));
        let (frames, cpu, since) = (done.load(Relaxed), cpu_seconds(&child)?, Instant::now());
        thread::sleep(time);
        let measured =
            (done.load(Relaxed) - frames, cpu_seconds(&child)? - cpu, since.elapsed().as_secs_f64());
        stop.store(true, Relaxed);
        Ok(measured)
    })?;
    let gib = frames as f64 * load.request_bytes.max(load.response_bytes) as f64 / f64::from(1 << 30);
    println!(
        "{:34} {:>10.0} frames/s {:>8.3} CPU us/frame {:>7.2} GiB/s {:>7.3} CPU s/GiB",
        load.name,
        frames as f64 / wall,
        cpu / frames as f64 * 1e6,
        gib / wall,
        cpu / gib
    );
    drop(child.stdin.take());
    child.wait().map(drop)
}

/// One connection: a pipeline is written, then its responses are read.
fn drive(load: &Load, addr: SocketAddr, done: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let mut frame = (load.request_bytes as u32).to_be_bytes().to_vec();
    frame.resize(4 + load.request_bytes, 0);
    frame[4] = load.want as u8;
    let requests = Bytes::from(frame.repeat(load.pipelined));
    let mut responses = vec![0; load.pipelined * (4 + load.response_bytes)];
    while !stop.load(Relaxed) {
        stream.write_all(&requests)?;
        stream.read_exact(&mut responses)?;
        done.fetch_add(load.pipelined as u64, Relaxed);
    }
    Ok(())
}

/// What peers cost an honest client that announce large requests and send nothing more.
fn beside_silent_peers(peers: usize) -> io::Result<()> {
    let (mut child, addr) = start()?;
    let (alone, mut silent) = (honest(addr)?, Vec::new());
    for at in 0..peers {
        let mut stream = TcpStream::connect(addr)?;
        stream.write_all(if at % 2 == 0 { &[3, 0, 0, 0x13] } else { &[5, 1, 0, 0] })?;
        silent.push(stream);
    }
    thread::sleep(Duration::from_secs(1));
    let beside = honest(addr)?;
    for (name, [median, p99]) in [("alone", alone), ("beside silent peers", beside)] {
        println!("200 kB in, 16 B out, {name}: median {median:?}, 99% below {p99:?}");
    }
    drop(silent);
    drop(child.stdin.take());
    child.wait().map(drop)
}

/// Median and 99th percentile of the time that a request of 200 kB takes.
fn honest(addr: SocketAddr) -> io::Result<[Duration; 2]> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    let mut frame = 200_000_u32.to_be_bytes().to_vec();
    frame.resize(200_004, Want::Ack as u8);
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let since = Instant::now();
        stream.write_all(&frame)?;
        stream.read_exact(&mut [0; 20])?;
        times.push(since.elapsed());
    }
    times.sort();
    Ok([times[times.len() / 2], times[times.len() / 100 * 99]])
}

/// Memory of connections that have been used and are idle.
fn idle(connections: usize) -> io::Result<()> {
    let (mut child, addr) = start()?;
    let before = resident_kib(&child)?;
    let mut streams = Vec::new();
    for _ in 0..connections {
        let Ok(mut stream) = TcpStream::connect(addr) else { break };
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0])?;
        stream.read_exact(&mut [0; 8])?;
        streams.push(stream);
    }
    thread::sleep(Duration::from_secs(3));
    let kib = resident_kib(&child)?.saturating_sub(before);
    println!("{} idle connections: {:.1} KiB each", streams.len(), kib as f64 / streams.len() as f64);
    drop(streams);
    drop(child.stdin.take());
    child.wait().map(drop)
}

/// CPU time of a process so far.
fn cpu_seconds(child: &Child) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}

fn resident_kib(child: &Child) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse().unwrap_or(0))
}
