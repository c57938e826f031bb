//! The load generator: one thread, one epoll, as many connections as a shape has.
//!
//! A connection keeps `depth` requests under way. The latency of a request is from when its turn to be sent
//! has come until its response has been read.

mod fetch;
mod produce;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::histogram::Histogram;

pub use fetch::{FetchLoad, Stored};
pub use produce::ProduceLoad;

/// How long responses may stay away.
const STALL_MAX: Duration = Duration::from_secs(60);
const EVENTS_MAX: usize = 64;

/// One connection of a load.
pub trait Client {
    fn socket(&self) -> &TcpStream;
    /// Reads what is there and sends what may be sent, until neither goes on.
    fn turn(&mut self, now: Instant, tally: &mut Tally) -> Result<()>;
    /// Requests that have no response yet.
    fn in_flight(&self) -> usize;
}

/// What the connections of a load have done together.
pub struct Tally {
    /// Requests that may still be begun.
    pub allowance: u64,
    pub requests: u64,
    pub bytes: u64,
    pub latencies: Histogram,
}

impl Tally {
    fn new(allowance: u64) -> Tally {
        Tally { allowance, requests: 0, bytes: 0, latencies: Histogram::default() }
    }

    /// Takes leave to begin a request.
    pub fn begin(&mut self) -> bool {
        let may = self.allowance > 0;
        self.allowance -= u64::from(may);
        may
    }

    pub fn done(&mut self, began: Instant, now: Instant, bytes: usize) {
        self.requests += 1;
        self.bytes += bytes as u64;
        self.latencies.record(now.saturating_duration_since(began));
    }
}

/// What was done between two looks at the server.
pub struct Measured<S> {
    pub tally: Tally,
    pub wall: Duration,
    /// What the looks saw.
    pub before: S,
    pub after: S,
}

/// Runs a load for `warm_up` and then for `time`, which alone is counted; `look` is called at its ends.
pub fn measure<C: Client, S>(
    clients: Vec<C>,
    warm_up: Duration,
    time: Duration,
    mut look: impl FnMut() -> Result<S>,
) -> Result<Measured<S>> {
    let mut driver = Driver::new(clients)?;
    let mut tally = Tally::new(u64::MAX);
    driver.run_for(warm_up, &mut tally)?;
    tally = Tally::new(u64::MAX);
    let (before, began) = (look()?, Instant::now());
    driver.run_for(time, &mut tally)?;
    let (after, wall) = (look()?, began.elapsed());
    driver.drain()?;
    Ok(Measured { tally, wall, before, after })
}

/// Runs a load until `requests` are answered.
pub fn run<C: Client>(clients: Vec<C>, requests: u64) -> Result<()> {
    let mut driver = Driver::new(clients)?;
    let mut tally = Tally::new(requests);
    driver.run_until(&mut tally, |tally| tally.requests == requests)
}

/// A connection as the loads want it.
fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(addr).with_context(|| format!("cannot connect to {addr}"))?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

struct Driver<C> {
    epoll: rustix::fd::OwnedFd,
    clients: Vec<C>,
    events: Vec<epoll::Event>,
    begun: bool,
}

impl<C: Client> Driver<C> {
    fn new(clients: Vec<C>) -> Result<Driver<C>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (at, client) in clients.iter().enumerate() {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&epoll, client.socket(), epoll::EventData::new_u64(at as u64), flags)?;
        }
        Ok(Driver { epoll, clients, events: Vec::with_capacity(EVENTS_MAX), begun: false })
    }

    fn run_for(&mut self, time: Duration, tally: &mut Tally) -> Result<()> {
        let end = Instant::now() + time;
        self.run_until(tally, |_| Instant::now() >= end)
    }

    /// Lets what is under way come to its end.
    fn drain(&mut self) -> Result<()> {
        let mut nothing = Tally::new(0);
        let began = Instant::now();
        while self.clients.iter().any(|client| client.in_flight() > 0) {
            if began.elapsed() > STALL_MAX {
                bail!("responses are missing");
            }
            self.step(&mut nothing)?;
        }
        Ok(())
    }

    fn run_until(&mut self, tally: &mut Tally, end: impl Fn(&Tally) -> bool) -> Result<()> {
        if !self.begun {
            self.begun = true;
            let now = Instant::now();
            self.clients.iter_mut().try_for_each(|client| client.turn(now, tally))?;
        }
        let (mut progress, mut since) = (tally.requests, Instant::now());
        while !end(tally) {
            self.step(tally)?;
            if tally.requests != progress {
                (progress, since) = (tally.requests, Instant::now());
            } else if since.elapsed() > STALL_MAX {
                bail!("no response for {} s", STALL_MAX.as_secs());
            }
        }
        Ok(())
    }

    fn step(&mut self, tally: &mut Tally) -> Result<()> {
        self.events.clear();
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let at = event.data.u64() as usize;
            self.clients[at].turn(Instant::now(), tally)?;
        }
        Ok(())
    }
}
