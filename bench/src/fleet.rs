//! Many connections that send what they are given and pass on what is answered, on one thread.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;

use crate::frames::i32_at;
use crate::histogram::Histogram;

const STALL_MAX: Duration = Duration::from_secs(120);
const EVENTS_MAX: usize = 256;
const READ_BYTES: usize = 64 << 10;
const RESPONSE_BYTES_MAX: usize = 16 << 20;

/// What a connection does after an answer.
pub enum Next {
    Rest,
    Ask(Bytes),
    /// After a pause, as clients do when they are told to try again.
    AskLater(Bytes, Duration),
}

impl From<Option<Bytes>> for Next {
    fn from(frame: Option<Bytes>) -> Next {
        frame.map_or(Next::Rest, Next::Ask)
    }
}

/// The connections, and the latencies of what they were asked.
pub struct Fleet {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    pub latencies: Histogram,
}

struct Connection {
    socket: TcpStream,
    outbox: BytesMut,
    inbox: BytesMut,
    /// When the requests under way were sent, oldest first.
    began: VecDeque<Instant>,
}

impl Fleet {
    pub fn connect(addr: SocketAddr, connections: usize) -> Result<Fleet> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut all = Vec::with_capacity(connections);
        for at in 0..connections {
            let socket = TcpStream::connect(addr).with_context(|| format!("cannot connect to {addr}"))?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&epoll, &socket, epoll::EventData::new_u64(at as u64), flags)?;
            all.push(Connection {
                socket,
                outbox: BytesMut::new(),
                inbox: BytesMut::new(),
                began: VecDeque::new(),
            });
        }
        Ok(Fleet { epoll, connections: all, latencies: Histogram::default() })
    }

    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Sends `asks` (connection and frame) and goes on until nothing is under way. For each answer `next` is
    /// told the connection and the response without its length, and says what the connection does next.
    pub fn exchange<N: Into<Next>>(
        &mut self,
        asks: impl IntoIterator<Item = (usize, Bytes)>,
        mut next: impl FnMut(usize, Bytes) -> Result<N>,
    ) -> Result<()> {
        let now = Instant::now();
        let mut under_way = 0;
        for (at, frame) in asks {
            self.connections[at].ask(&frame, now);
            under_way += 1;
        }
        for connection in &mut self.connections {
            connection.send()?;
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut progress = Instant::now();
        let mut later: Vec<(Instant, usize, Bytes)> = Vec::new();
        while under_way > 0 {
            events.clear();
            let timeout = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: if later.is_empty() { 20_000_000 } else { 1_000_000 },
            };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let at = event.data.u64() as usize;
                self.connections[at].receive()?;
                while let Some((response, began)) = self.connections[at].take_response()? {
                    progress = Instant::now();
                    self.latencies.record(progress.saturating_duration_since(began));
                    match next(at, response)?.into() {
                        Next::Ask(frame) => self.connections[at].ask(&frame, progress),
                        Next::AskLater(frame, pause) => later.push((progress + pause, at, frame)),
                        Next::Rest => under_way -= 1,
                    }
                }
                self.connections[at].send()?;
            }
            let now = Instant::now();
            for (_, at, frame) in later.extract_if(.., |(due, _, _)| *due <= now) {
                self.connections[at].ask(&frame, now);
                self.connections[at].send()?;
            }
            ensure!(progress.elapsed() < STALL_MAX, "{under_way} requests have no response");
        }
        Ok(())
    }
}

impl Connection {
    fn ask(&mut self, frame: &[u8], now: Instant) {
        self.outbox.extend_from_slice(frame);
        self.began.push_back(now);
    }

    fn send(&mut self) -> Result<()> {
        while !self.outbox.is_empty() {
            match self.socket.write(&self.outbox) {
                Ok(count) => drop(self.outbox.split_to(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        loop {
            let filled = self.inbox.len();
            self.inbox.resize(filled + READ_BYTES, 0);
            let read = self.socket.read(&mut self.inbox[filled..]);
            self.inbox.truncate(filled + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(0) => bail!("the server closed a connection"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_response(&mut self) -> Result<Option<(Bytes, Instant)>> {
        if self.inbox.len() < 4 {
            return Ok(None);
        }
        let len = i32_at(&self.inbox, 0) as usize;
        ensure!(len <= RESPONSE_BYTES_MAX, "a response of {len} bytes");
        if self.inbox.len() < 4 + len {
            return Ok(None);
        }
        let response = self.inbox.split_to(4 + len).freeze().slice(4..);
        let began = self.began.pop_front().context("a response without a request")?;
        Ok(Some((response, began)))
    }
}
