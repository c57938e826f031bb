//! The answers of one connection that become ready out of order and leave in order.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::lock::lock;

/// Any thread may make an answer ready; it then sends all that are due.
pub struct Answers {
    socket: Arc<TcpStream>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// The number of the first of `waiting`.
    first: u64,
    waiting: VecDeque<Option<Vec<u8>>>,
}

impl Answers {
    pub fn new(socket: Arc<TcpStream>) -> Answers {
        Answers { socket, queue: Mutex::default() }
    }

    /// A place in the order.
    pub fn reserve(&self) -> u64 {
        let mut queue = lock(&self.queue);
        queue.waiting.push_back(None);
        queue.first + queue.waiting.len() as u64 - 1
    }

    pub fn ready(&self, number: u64, answer: Vec<u8>) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        let at = (number - queue.first) as usize;
        queue.waiting[at] = Some(answer);
        let mut due = Vec::new();
        while let Some(Some(_)) = queue.waiting.front() {
            due.extend(queue.waiting.pop_front().flatten().unwrap_or_default());
            queue.first += 1;
        }
        // Sent with the queue locked: the order holds on the wire.
        if due.is_empty() { Ok(()) } else { send_all(&self.socket, &due) }
    }
}

/// Sends everything on a socket that does not block. Answers are small: there is room, or soon will be.
pub fn send_all(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(socket, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
