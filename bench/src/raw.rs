//! The baseline: the least that a server could do with the same requests.
//!
//! It takes the frames of the load, checks the CRC32C of each batch, appends it to one file for each
//! partition and answers with prepared bytes. There is no protocol, no validation of records, no index and no
//! offset in the batch. How frames are handled depends on the topic: see [`Topic`]. Fetches are answered from
//! the file by `sendfile`. Segments are rolled and deleted as the brokers under test do it, so that the use
//! of the page cache is alike.

mod answers;
mod connection;
mod files;
mod lock;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;

use connection::Connection;
use files::Files;
use lock::lock;

/// As many as a broker has on a small machine.
const WORKERS: usize = 2;
/// Connections at one time.
const CONNECTIONS_MAX: usize = 4_096;
const EVENTS_MAX: usize = 64;

/// The raw server's command line.
#[derive(Clone, Debug, Args)]
pub struct RawArgs {
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where the files of partitions are made
    #[arg(long)]
    pub data: PathBuf,
    /// A file of a partition is followed by a new one when it has so many bytes
    #[arg(long)]
    pub segment_bytes: u64,
    /// Files are deleted while the others of the partition have so many bytes
    #[arg(long)]
    pub retention_bytes: u64,
    /// How often that is looked at
    #[arg(long)]
    pub retention_ms: u64,
}

/// Serves until it is killed.
pub fn serve(args: &RawArgs) -> Result<()> {
    let files = Arc::new(Files::create(&args.data, args.segment_bytes)?);
    let listener =
        TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let slots: Arc<Vec<Mutex<Option<Connection>>>> =
        Arc::new((0..CONNECTIONS_MAX).map(|_| Mutex::new(None)).collect());
    let mut epolls = Vec::new();
    for _ in 0..WORKERS {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        epolls.push(epoll.clone());
        let slots = slots.clone();
        thread::spawn(move || work(&epoll, &slots));
    }
    let (kept, retention, pause) =
        (files.clone(), args.retention_bytes, Duration::from_millis(args.retention_ms));
    thread::spawn(move || {
        loop {
            thread::sleep(pause);
            if let Err(error) = kept.retain(retention) {
                eprintln!("raw: retention: {error:#}");
            }
        }
    });
    accept(&listener, &files, &slots, &epolls)
}

fn accept(
    listener: &TcpListener,
    files: &Arc<Files>,
    slots: &[Mutex<Option<Connection>>],
    epolls: &[Arc<OwnedFd>],
) -> Result<()> {
    for number in 0usize.. {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(socket);
        let slot = slots.iter().position(|slot| lock(slot).is_none()).context("too many connections")?;
        *lock(&slots[slot]) = Some(Connection::new(socket.clone(), files.clone()));
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&epolls[number % epolls.len()], &socket, epoll::EventData::new_u64(slot as u64), flags)?;
    }
    Ok(())
}

fn work(epoll: &OwnedFd, slots: &[Mutex<Option<Connection>>]) {
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        if let Err(error) = epoll::wait(epoll, spare_capacity(&mut events), None)
            && error != rustix::io::Errno::INTR
        {
            eprintln!("raw: epoll: {error}");
            return;
        }
        for event in &events {
            let mut slot = lock(&slots[event.data.u64() as usize]);
            let Some(connection) = slot.as_mut() else { continue };
            match connection.turn() {
                Ok(true) => {}
                // The last handle closes the socket, which leaves the epoll by that.
                Ok(false) => *slot = None,
                Err(error) => {
                    eprintln!("raw: {error:#}");
                    *slot = None;
                }
            }
        }
    }
}
