//! What a shard does around a frame: it loads, appends the batches of a turn, reports them, carries out what
//! leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::{Batch, Frame, Moment, Producer, Record, Ticket};
use ottla_scripts::{Command, Stage};
use ottla_wire::{Instant, Offset, ProducerEpoch, ProducerId, Timestamp, Uuid};

use crate::counters::{Counters, Request};

/// One broker after the other, all in charge of the same partition.
pub struct Host {
    frame: Option<Frame<Counters>>,
    log: Vec<Entry>,
    /// Entries of the log that are committed.
    committed: usize,
    /// Tickets that have been taken and not answered.
    open: BTreeSet<u64>,
    now: Instant,
}

enum Entry {
    Batch(Batch),
    Marker { producer: Producer, commit: bool },
}

impl Host {
    pub fn new() -> Host {
        Host { frame: None, log: Vec::new(), committed: 0, open: BTreeSet::new(), now: Instant(0) }
    }

    fn frame(&mut self) -> Result<&mut Frame<Counters>, String> {
        self.frame.as_mut().ok_or_else(|| "nobody is the coordinator: load first".to_owned())
    }

    fn at(&self) -> Moment {
        Moment { now: self.now, wall: Timestamp(0), uuid: Uuid::ZERO }
    }

    fn phase(&self) -> &'static str {
        match &self.frame {
            None => "none",
            Some(frame) if frame.is_loading() => "loading",
            Some(frame) if frame.is_broken() => "broken",
            Some(frame) if frame.is_active() => "active",
            Some(_) => "paused",
        }
    }

    /// Reads the log from its beginning to its end.
    fn read_log(&mut self, out: &mut Vec<String>) -> Result<(), String> {
        let at = self.at();
        let log = std::mem::take(&mut self.log);
        let mut refused = false;
        let frame = self.frame()?;
        for (offset, entry) in (0..).zip(&log) {
            match entry {
                Entry::Marker { producer, commit } => frame.end_transaction(*producer, *commit),
                Entry::Batch(batch) => {
                    for record in &batch.records {
                        if let Err(why) = frame.replay(Offset(offset), batch.producer, record.clone()) {
                            out.push(format!("cannot replay {}: {why}", name(record)));
                            refused = true;
                        }
                    }
                }
            }
        }
        if !refused {
            frame.loaded(&at);
        }
        self.log = log;
        self.committed = self.log.len();
        Ok(())
    }

    fn request(&mut self, request: Request, ticket: u64, out: &mut Vec<String>) -> Result<(), String> {
        let at = self.at();
        match self.frame()?.handle(&at, Ticket(ticket), request) {
            Ok(()) => {
                self.open.insert(ticket);
            }
            Err(refusal) => out.push(format!("ticket {ticket} is refused: {refusal}")),
        }
        Ok(())
    }

    /// The end of a turn: everything that is to be appended is appended.
    fn turn(&mut self, out: &mut Vec<String>) -> Result<(), String> {
        while let Some(batch) = self.frame()?.next_batch() {
            out.push(format!("append {}", describe(&batch)));
            self.log.push(Entry::Batch(batch));
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), String> {
        if self.committed == self.log.len() {
            return Err("everything is committed".to_owned());
        }
        self.committed += 1;
        self.frame.as_mut().map(Frame::committed);
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Result<(), String> {
        self.now = self.now + time;
        let at = self.at();
        let frame = self.frame()?;
        if frame.next_deadline().is_some_and(|due| due <= at.now) {
            frame.tick(&at);
        }
        Ok(())
    }

    fn end_transaction(&mut self, producer: Producer, commit: bool) -> Result<(), String> {
        self.frame()?.end_transaction(producer, commit);
        self.log.push(Entry::Marker { producer, commit });
        self.committed += 1;
        Ok(())
    }

    fn tell_state(&mut self, out: &mut Vec<String>) -> Result<(), String> {
        let now = self.now;
        let frame = self.frame()?;
        out.extend(frame.core().values().iter().map(|(name, value)| format!("{name} = {value}")));
        for (producer, names) in frame.core().open() {
            out.push(format!("open in the transaction of {}: {}", producer.id, names.join(", ")));
        }
        out.push(match frame.next_deadline() {
            Some(due) => format!("timer due in {} s", due.since(now).as_secs()),
            None => "no timer runs".to_owned(),
        });
        Ok(())
    }

    /// What is told to those who wait when the frame is given up: to look for the coordinator anew.
    fn abandon(&mut self, out: &mut Vec<String>) {
        let left = std::mem::take(&mut self.open);
        out.extend(left.iter().map(|ticket| format!("ticket {ticket} was never answered")));
    }

    fn dispatch(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        match command.name() {
            "load" => self.frame = Some(Frame::loading(Counters::default())),
            "read-log" => self.read_log(out)?,
            "raise" => {
                let (ticket, name) = (command.parsed("the ticket")?, command.word("a name")?);
                let producer = command.parsed_value("in")?.map(producer);
                let bytes = command.parsed_value("bytes")?.unwrap_or(1);
                self.request(Request::Raise { name, producer, bytes }, ticket, out)?;
            }
            "read" => {
                let (ticket, name) = (command.parsed("the ticket")?, command.word("a name")?);
                self.request(Request::Read { name }, ticket, out)?;
            }
            "turn" => self.turn(out)?,
            "committed" => self.commit()?,
            "append-fails" => {
                self.log.truncate(self.committed);
                self.frame()?.fail();
                self.abandon(out);
            }
            "writable" => {
                let (at, writable) = (self.at(), !command.flag("not"));
                self.frame()?.set_writable(&at, writable);
            }
            "after" => self.pass(Duration::from_secs(command.parsed("seconds")?))?,
            "end" => {
                let commit = command.flag("commit");
                if !commit && !command.flag("abort") {
                    return Err("commit or abort?".to_owned());
                }
                self.end_transaction(producer(command.parsed("the producer")?), commit)?;
            }
            "tombstone" => {
                let key = Bytes::from(command.word("a name")?);
                let records = vec![Record { key, value: None }];
                self.log.push(Entry::Batch(Batch { producer: None, records }));
            }
            "resign" => {
                self.frame = None;
                self.abandon(out);
            }
            "state" => self.tell_state(out)?,
            other => return Err(format!("{other} is unknown")),
        }
        Ok(())
    }
}

impl Stage for Host {
    fn run(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        let before = self.phase();
        self.dispatch(command, out)?;
        let after = self.phase();
        if before != after {
            out.push(format!("coordinator: {before} -> {after}"));
        }
        for (Ticket(ticket), value) in self.frame.as_mut().map(Frame::take_released).unwrap_or_default() {
            if !self.open.remove(&ticket) {
                return Err(format!(
                    "ticket {ticket} is answered again, or after its coordinator was given up"
                ));
            }
            out.push(format!("ticket {ticket} is answered: {value}"));
        }
        Ok(())
    }
}

fn producer(id: i64) -> Producer {
    Producer { id: ProducerId(id), epoch: ProducerEpoch(0) }
}

fn name(record: &Record) -> String {
    String::from_utf8_lossy(&record.key).into_owned()
}

fn describe(batch: &Batch) -> String {
    let names: Vec<String> = batch.records.iter().map(name).collect();
    let names = names.join(", ");
    match batch.producer {
        Some(producer) => format!("in the transaction of {}: {names}", producer.id),
        None => names,
    }
}
