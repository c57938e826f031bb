//! The smallest coordinator: counters by name. Some rise in a transaction, and one rises by itself when time
//! passes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::{Coordinator, Moment, Output, Producer, Record, ReplayError, Ticket};
use ottla_wire::{Instant, Offset};

/// How long nothing rises before the timer does something.
const PERIOD: Duration = Duration::from_secs(10);

/// Rises when the timer is due.
const TIMER: &str = "timer";

#[derive(Debug, Default)]
pub struct Counters {
    values: BTreeMap<String, u64>,
    /// What transactions have raised that have not ended.
    open: BTreeMap<Producer, Vec<String>>,
    due: Option<Instant>,
}

#[derive(Debug)]
pub enum Request {
    /// With a record of this many bytes.
    Raise {
        name: String,
        producer: Option<Producer>,
        bytes: usize,
    },
    Read {
        name: String,
    },
}

impl Counters {
    pub fn values(&self) -> &BTreeMap<String, u64> {
        &self.values
    }

    pub fn open(&self) -> &BTreeMap<Producer, Vec<String>> {
        &self.open
    }

    fn value(&self, name: &str) -> u64 {
        self.values.get(name).copied().unwrap_or(0)
    }

    fn raise(&mut self, producer: Option<Producer>, name: String) {
        match producer {
            Some(producer) => self.open.entry(producer).or_default().push(name),
            None => *self.values.entry(name).or_default() += 1,
        }
    }
}

impl Coordinator for Counters {
    type Request = Request;
    /// A ticket with the value that it is told.
    type Outbound = (Ticket, u64);

    fn handle(&mut self, at: &Moment, ticket: Ticket, request: Request, out: &mut Output<(Ticket, u64)>) {
        let name = match request {
            Request::Read { name } => name,
            Request::Raise { name, producer, bytes } => {
                self.due = Some(at.now + PERIOD);
                match producer {
                    Some(producer) => out.write_in(producer, raised(&name, bytes)),
                    None => out.write(raised(&name, bytes)),
                }
                self.raise(producer, name.clone());
                name
            }
        };
        out.send((ticket, self.value(&name)));
    }

    fn only_reads(request: &Request) -> bool {
        matches!(request, Request::Read { .. })
    }

    fn tick(&mut self, at: &Moment, out: &mut Output<(Ticket, u64)>) {
        if self.due.is_some_and(|due| due <= at.now) {
            self.due = Some(at.now + PERIOD);
            out.write(raised(TIMER, 1));
            self.raise(None, TIMER.to_owned());
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    fn replay(&mut self, _: Offset, producer: Option<Producer>, record: Record) -> Result<(), ReplayError> {
        if record.value.is_none() {
            return Err(ReplayError::Contradiction("a counter does not go".to_owned()));
        }
        self.raise(producer, String::from_utf8_lossy(&record.key).into_owned());
        Ok(())
    }

    fn end_transaction(&mut self, producer: Producer, commit: bool) {
        for name in self.open.remove(&producer).unwrap_or_default() {
            if commit {
                self.raise(None, name);
            }
        }
    }

    fn start(&mut self, at: &Moment, _: &mut Output<(Ticket, u64)>) {
        self.due = Some(at.now + PERIOD);
    }
}

fn raised(name: &str, bytes: usize) -> Record {
    Record { key: Bytes::copy_from_slice(name.as_bytes()), value: Some(Bytes::from(vec![b'+'; bytes])) }
}
