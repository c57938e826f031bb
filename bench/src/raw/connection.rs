//! One connection of the raw server.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use ottla_wire::ApiKey;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::answers::{Answers, send_all};
use super::files::Files;
use crate::frames::{
    FetchAnswer, FetchAsk, ProduceAnswer, REQUEST_CORRELATION_AT, RESPONSE_CORRELATION_AT,
    fetch_answer_around, find_batch, i32_at, i64_at,
};
use crate::shape::{PARTITIONS, Topic};

/// What one read brings at the most, if a frame is not longer.
const INBOX_BYTES: usize = 256 << 10;
/// From this length on, frames are read one by one, so that no begin of the next one has to be moved.
const LONG_FRAME_BYTES: usize = 64 << 10;
const FRAME_BYTES_MAX: usize = 100 << 20;
/// What one `sendfile` sends at the most: a whole MiB in one call was measured to cost more.
const SEND_BYTES: usize = 256 << 10;
/// Where the CRC32C of a batch stands, and where what it covers begins.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

pub struct Connection {
    socket: Arc<TcpStream>,
    files: Arc<Files>,
    answers: Arc<Answers>,
    inbox: Vec<u8>,
    filled: usize,
    produces: Option<Produces>,
    fetches: Option<Fetches>,
    sending: Option<Sending>,
}

/// What the Produce requests of the connection have in common.
struct Produces {
    frame_len: usize,
    topic: Topic,
    batch: Range<usize>,
    answer: ProduceAnswer,
}

/// What the Fetch requests of the connection have in common.
struct Fetches {
    ask: FetchAsk,
    answer: FetchAnswer,
    /// What stands around so many bytes of records.
    around: (usize, Vec<u8>, Vec<u8>),
}

/// A response to a fetch that is on its way.
struct Sending {
    file: Arc<File>,
    position: u64,
    left: usize,
}

impl Connection {
    pub fn new(socket: Arc<TcpStream>, files: Arc<Files>) -> Connection {
        Connection {
            answers: Arc::new(Answers::new(socket.clone())),
            socket,
            files,
            inbox: vec![0; INBOX_BYTES],
            filled: 0,
            produces: None,
            fetches: None,
            sending: None,
        }
    }

    /// Goes on until there is nothing to read, or no room to send. `false` when the other side has closed.
    pub fn turn(&mut self) -> Result<bool> {
        loop {
            if !self.send_file()? {
                return Ok(true);
            }
            let want = self.read_len()?;
            if self.inbox.len() < want {
                self.inbox.resize(want, 0);
            }
            match (&*self.socket).read(&mut self.inbox[self.filled..want]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            self.take_frames()?;
        }
    }

    /// How far the inbox is to be filled by the next read.
    fn read_len(&self) -> Result<usize> {
        if self.filled < 4 {
            return Ok(INBOX_BYTES);
        }
        let len = 4 + i32_at(&self.inbox, 0) as usize;
        ensure!(len <= FRAME_BYTES_MAX, "a frame of {len} bytes");
        Ok(if len >= LONG_FRAME_BYTES { len } else { INBOX_BYTES })
    }

    fn take_frames(&mut self) -> Result<()> {
        let mut frames = Vec::new();
        let mut from = 0;
        while self.filled - from >= 4 {
            let end = from + 4 + i32_at(&self.inbox, from) as usize;
            if end > self.filled {
                break;
            }
            frames.push(from..end);
            from = end;
        }
        if frames.is_empty() {
            return Ok(());
        }
        let inbox = std::mem::take(&mut self.inbox);
        let taken = self.serve(&inbox, &frames);
        self.inbox = inbox;
        self.inbox.copy_within(from..self.filled, 0);
        self.filled -= from;
        taken
    }

    fn serve(&mut self, inbox: &[u8], frames: &[Range<usize>]) -> Result<()> {
        let first = &inbox[frames[0].clone()];
        let key = i16::from_be_bytes([first[4], first[5]]);
        if key == ApiKey::Fetch.code() {
            ensure!(frames.len() == 1, "fetches are not pipelined");
            return self.fetch(first);
        }
        ensure!(key == ApiKey::Produce.code(), "API key {key}");
        let produces = match self.produces.take() {
            Some(known) if known.frame_len == first.len() => known,
            _ => Produces::learn(first)?,
        };
        let served = match produces.topic {
            Topic::Coalesced => self.produce_together(&produces, inbox, frames),
            _ => frames.iter().try_for_each(|frame| self.produce(&produces, &inbox[frame.clone()])),
        };
        self.produces = Some(produces);
        served
    }

    fn produce(&self, produces: &Produces, frame: &[u8]) -> Result<()> {
        let (partition, batch) = produces.open(frame)?;
        let file = self.files.partition(produces.topic, partition)?;
        match produces.topic {
            Topic::Stored => file.store(batch)?,
            _ => file.append(&[IoSlice::new(batch)])?,
        }
        let answer = produces.answer(partition);
        if produces.topic == Topic::Flushed {
            return file.answer_when_flushed(&self.answers, self.answers.reserve(), answer);
        }
        Ok(send_all(&self.socket, &answer)?)
    }

    /// All batches for a partition leave in one write, and all answers in one send.
    fn produce_together(&self, produces: &Produces, inbox: &[u8], frames: &[Range<usize>]) -> Result<()> {
        let mut batches: Vec<Vec<IoSlice<'_>>> = vec![Vec::new(); PARTITIONS as usize];
        let mut answers = Vec::with_capacity(frames.len() * produces.answer.bytes.len());
        for frame in frames {
            let (partition, batch) = produces.open(&inbox[frame.clone()])?;
            let batches = batches.get_mut(partition as usize).context("no such partition")?;
            batches.push(IoSlice::new(batch));
            answers.extend_from_slice(&produces.answer(partition));
        }
        for (partition, batches) in batches.iter().enumerate().filter(|(_, batches)| !batches.is_empty()) {
            self.files.partition(produces.topic, partition as i32)?.append(batches)?;
        }
        Ok(send_all(&self.socket, &answers)?)
    }

    fn fetch(&mut self, frame: &[u8]) -> Result<()> {
        let topic = Topic::Stored.name();
        let fetches = match &mut self.fetches {
            Some(known) => known,
            none => none.insert(Fetches::new(topic)?),
        };
        let partition = i32_at(frame, fetches.ask.partition_at);
        let offset = i64_at(frame, fetches.ask.offset_at);
        let max_bytes = i32_at(frame, fetches.ask.max_bytes_at) as usize;
        let (file, stored) = self.files.partition(Topic::Stored, partition)?.stored();
        ensure!((0..stored.end as i64).contains(&offset), "offset {offset} is not in 0 to {}", stored.end);
        let position = offset as u64 / stored.batch_records * stored.batch_len;
        let end = stored.end / stored.batch_records * stored.batch_len;
        let len = max_bytes.min((end - position) as usize);
        if fetches.around.0 != len {
            let (head, tail) = fetch_answer_around(topic, stored.end as i64, len)?;
            fetches.around = (len, head, tail);
        }
        let head = &mut fetches.around.1;
        head[fetches.answer.index_at..][..4].copy_from_slice(&partition.to_be_bytes());
        let sent = rustix::net::send(&self.socket, head, SendFlags::MORE | SendFlags::NOSIGNAL)?;
        ensure!(sent == head.len(), "no room for the head of a response");
        self.sending = Some(Sending { file, position, left: len });
        Ok(())
    }

    /// Whether everything has left.
    fn send_file(&mut self) -> Result<bool> {
        let Some(sending) = &mut self.sending else { return Ok(true) };
        while sending.left > 0 {
            let chunk = sending.left.min(SEND_BYTES);
            match rustix::fs::sendfile(&self.socket, &sending.file, Some(&mut sending.position), chunk) {
                Ok(0) => bail!("a file is shorter than it was"),
                Ok(count) => sending.left -= count,
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.sending = None;
        if let Some(Fetches { around: (_, _, tail), .. }) = &self.fetches {
            send_all(&self.socket, tail)?;
        }
        Ok(true)
    }
}

impl Fetches {
    fn new(topic: &str) -> Result<Fetches> {
        let (ask, answer) = (FetchAsk::new(topic, 0)?, FetchAnswer::new(topic)?);
        Ok(Fetches { ask, answer, around: (0, Vec::new(), Vec::new()) })
    }
}

impl Produces {
    fn learn(frame: &[u8]) -> Result<Produces> {
        let (name, batch) = find_batch(frame)?;
        let topic = Topic::ALL.into_iter().find(|topic| topic.name() == &*name);
        let topic = topic.with_context(|| format!("topic {name} is not one of the loads'"))?;
        Ok(Produces { frame_len: frame.len(), topic, batch, answer: ProduceAnswer::new(&name)? })
    }

    /// The partition of a frame, and its batch once its CRC32C has been checked.
    fn open<'a>(&self, frame: &'a [u8]) -> Result<(i32, &'a [u8])> {
        ensure!(frame.len() == self.frame_len, "frames of a connection are equally long");
        let batch = &frame[self.batch.clone()];
        ensure!(i32_at(batch, CRC_AT) as u32 == crc32c::crc32c(&batch[CRC_FROM..]), "a batch is damaged");
        Ok((i32_at(frame, REQUEST_CORRELATION_AT), batch))
    }

    fn answer(&self, partition: i32) -> Vec<u8> {
        let mut answer = self.answer.bytes.to_vec();
        let partition = partition.to_be_bytes();
        answer[RESPONSE_CORRELATION_AT..][..4].copy_from_slice(&partition);
        answer[self.answer.index_at..][..4].copy_from_slice(&partition);
        answer
    }
}
