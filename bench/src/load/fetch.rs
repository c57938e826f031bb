//! Connections that fetch: each goes round its own partitions, from their beginnings to their ends and again.
//!
//! Of a response only the first bytes are looked at, the rest is thrown away by the kernel (`MSG_TRUNC`), so
//! that the generator does not pay for a copy. The first response of a connection is read and checked in
//! full.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{Client, Tally, connect};
use crate::frames::{FetchAnswer, FetchAsk, check_fetch_response, i32_at, i64_at, uvarint};

/// More than stands before the records and the base offset of the first batch.
const HEAD_BYTES: usize = 128;
/// What is thrown away at once.
const SKIP_BYTES: usize = 1 << 20;

/// What a partition that is fetched from holds.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    pub batches: i64,
    pub batch_len: usize,
    pub batch_records: i64,
}

/// One connection.
pub struct FetchLoad {
    socket: TcpStream,
    ask: FetchAsk,
    places: Arc<FetchAnswer>,
    stored: Stored,
    /// Partition, and the offset to be fetched next.
    partitions: Vec<(i32, i64)>,
    turn: usize,
    began: Option<Instant>,
    /// The begin of the response, or all of it as long as nothing is checked.
    head: Vec<u8>,
    checked: bool,
    /// Bytes of the response that are still to come.
    to_skip: usize,
    scratch: Vec<u8>,
}

impl FetchLoad {
    /// `connections` of them, which share `partitions`; each request asks for `bytes`.
    pub fn connect(
        addr: SocketAddr,
        topic: &str,
        stored: Stored,
        connections: usize,
        partitions: i32,
        bytes: usize,
    ) -> Result<Vec<FetchLoad>> {
        let places = Arc::new(FetchAnswer::new(topic)?);
        let ask = FetchAsk::new(topic, i32::try_from(bytes)?)?;
        let one = |number: usize| -> Result<FetchLoad> {
            let own = (0..partitions).filter(|partition| *partition as usize % connections == number);
            Ok(FetchLoad {
                socket: connect(addr)?,
                ask: ask.clone(),
                places: places.clone(),
                stored,
                partitions: own.map(|partition| (partition, 0)).collect(),
                turn: 0,
                began: None,
                head: Vec::with_capacity(HEAD_BYTES),
                checked: false,
                to_skip: 0,
                scratch: vec![0; SKIP_BYTES],
            })
        };
        (0..connections).map(one).collect()
    }

    fn ask(&mut self, now: Instant) -> Result<()> {
        let (partition, offset) = self.partitions[self.turn];
        let FetchAsk { bytes, partition_at, offset_at, .. } = &mut self.ask;
        bytes[*partition_at..*partition_at + 4].copy_from_slice(&partition.to_be_bytes());
        bytes[*offset_at..*offset_at + 8].copy_from_slice(&offset.to_be_bytes());
        self.began = Some(now);
        // A hundred bytes on an idle connection: they go at once.
        self.socket.write_all(bytes).context("a request could not be sent")
    }

    /// Whether the response is complete.
    fn receive(&mut self) -> Result<bool> {
        while self.to_skip == 0 {
            let want = if self.checked { HEAD_BYTES } else { self.whole_len() };
            let Some(count) = self.read_head(want)? else { return Ok(false) };
            ensure!(count > 0, "the server closed a connection");
            let whole = self.whole_len();
            if self.head.len() >= whole {
                return Ok(true);
            }
            if self.checked && self.head.len() >= HEAD_BYTES {
                self.to_skip = whole - self.head.len();
            }
        }
        while self.to_skip > 0 {
            let want = self.to_skip.min(SKIP_BYTES);
            match rustix::net::recv(&self.socket, &mut self.scratch[..want], RecvFlags::TRUNC) {
                Ok((_, 0)) => bail!("the server closed a connection"),
                Ok((_, count)) => self.to_skip -= count,
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Length of the response with its length in front, as far as it is known.
    fn whole_len(&self) -> usize {
        if self.head.len() < 4 { HEAD_BYTES } else { 4 + i32_at(&self.head, 0) as usize }
    }

    /// Reads on until `head` has `want` bytes; `None` if nothing is there.
    fn read_head(&mut self, want: usize) -> Result<Option<usize>> {
        let have = self.head.len();
        self.head.resize(want.max(have), 0);
        let read = self.socket.read(&mut self.head[have..]);
        self.head.truncate(have + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at a response that is complete and moves on. Gives the bytes of records that it had.
    fn take(&mut self) -> Result<usize> {
        let (partition, offset) = self.partitions[self.turn];
        let error = self.head.get(self.places.error_at..self.places.error_at + 2);
        ensure!(error == Some(&[0, 0]), "partition {partition} refused a fetch with error {error:?}");
        let records = self.head.get(self.places.records_len_at..).and_then(uvarint);
        let (len, varint_len) = records.context("a response without records")?;
        let len = len as usize - 1;
        let first = i64_at(&self.head, self.places.records_len_at + varint_len);
        ensure!(
            len >= self.stored.batch_len && first == offset,
            "wanted {offset}, got {len} bytes from {first}"
        );
        if !self.checked {
            let whole = Bytes::from(std::mem::take(&mut self.head)).slice(4..);
            ensure!(check_fetch_response(whole)? == offset, "the first batch is not the one asked for");
            self.checked = true;
        }
        self.head.clear();
        let next = offset + (len / self.stored.batch_len) as i64 * self.stored.batch_records;
        let end = self.stored.batches * self.stored.batch_records;
        self.partitions[self.turn].1 = if next >= end { 0 } else { next };
        self.turn = (self.turn + 1) % self.partitions.len();
        Ok(len)
    }
}

impl Client for FetchLoad {
    fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn turn(&mut self, now: Instant, tally: &mut Tally) -> Result<()> {
        if let Some(began) = self.began {
            if !self.receive()? {
                return Ok(());
            }
            let len = self.take()?;
            self.began = None;
            tally.done(began, Instant::now(), len);
        }
        if tally.begin() { self.ask(now) } else { Ok(()) }
    }

    fn in_flight(&self) -> usize {
        usize::from(self.began.is_some())
    }
}
