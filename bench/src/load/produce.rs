//! Connections that produce: each goes round the partitions, from a place of its own.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use super::{Client, Tally, connect};
use crate::frames::{ProduceAnswer, RESPONSE_CORRELATION_AT, Ring, i32_at};

/// Room for many small responses.
const INBOX_BYTES: usize = 64 << 10;

/// One connection.
pub struct ProduceLoad {
    socket: TcpStream,
    ring: Arc<Ring>,
    places: Arc<ProduceAnswer>,
    depth: usize,
    /// Where in the ring the next byte to be sent is, and how many may be.
    at: usize,
    to_send: usize,
    /// When the requests under way began.
    began: VecDeque<Instant>,
    /// The frame of the ring whose response is next.
    answered: usize,
    inbox: Vec<u8>,
    filled: usize,
}

impl ProduceLoad {
    /// `connections` of them, with `depth` requests under way on each.
    pub fn connect(
        addr: SocketAddr,
        topic: &str,
        ring: &Arc<Ring>,
        connections: usize,
        depth: usize,
    ) -> Result<Vec<ProduceLoad>> {
        let places = Arc::new(ProduceAnswer::new(topic)?);
        let one = |number: usize| -> Result<ProduceLoad> {
            let first = number % ring.partitions;
            Ok(ProduceLoad {
                socket: connect(addr)?,
                ring: ring.clone(),
                places: places.clone(),
                depth,
                at: first * ring.frame_len,
                to_send: 0,
                began: VecDeque::with_capacity(depth),
                answered: first,
                inbox: vec![0; INBOX_BYTES],
                filled: 0,
            })
        };
        (0..connections).map(one).collect()
    }

    fn receive(&mut self, now: Instant, tally: &mut Tally) -> Result<()> {
        loop {
            let room = &mut self.inbox[self.filled..];
            let room_len = room.len();
            let count = match self.socket.read(room) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.filled += count;
            self.take_responses(now, tally)?;
            if count < room_len {
                return Ok(());
            }
        }
    }

    fn take_responses(&mut self, now: Instant, tally: &mut Tally) -> Result<()> {
        let mut from = 0;
        while self.filled - from >= 4 {
            let len = 4 + i32_at(&self.inbox, from) as usize;
            ensure!(len <= INBOX_BYTES, "a response of {len} bytes");
            if self.filled - from < len {
                break;
            }
            check(&self.inbox[from..from + len], &self.places, self.answered % self.ring.partitions)?;
            from += len;
            self.answered += 1;
            let Some(began) = self.began.pop_front() else { bail!("a response without a request") };
            tally.done(began, now, self.ring.batch_len);
        }
        self.inbox.copy_within(from..self.filled, 0);
        self.filled -= from;
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        while self.to_send > 0 {
            let end = self.ring.bytes.len().min(self.at + self.to_send);
            match self.socket.write(&self.ring.bytes[self.at..end]) {
                Ok(count) => {
                    self.to_send -= count;
                    self.at = (self.at + count) % self.ring.bytes.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn check(response: &[u8], places: &ProduceAnswer, partition: usize) -> Result<()> {
    let answered = i32_at(response, RESPONSE_CORRELATION_AT);
    ensure!(answered == partition as i32, "a response to {answered} in place of {partition}");
    let error = response.get(places.error_at..places.error_at + 2);
    ensure!(error == Some(&[0, 0]), "partition {partition} refused a batch with error {error:?}");
    Ok(())
}

impl Client for ProduceLoad {
    fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn turn(&mut self, now: Instant, tally: &mut Tally) -> Result<()> {
        self.receive(now, tally)?;
        while self.began.len() < self.depth && tally.begin() {
            self.began.push_back(now);
            self.to_send += self.ring.frame_len;
        }
        self.send()
    }

    fn in_flight(&self) -> usize {
        self.began.len()
    }
}
