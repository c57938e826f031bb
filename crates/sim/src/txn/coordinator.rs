//! The coordinator with its log, which outlives it.

use std::collections::{BTreeMap, VecDeque};

use ottla_coordinator::{Frame, Moment, Record, Ticket};
use ottla_txn::{Call, Outbound, TransactionVersion, TxnConfig, TxnCoordinator};
use ottla_wire::{ErrorCode, Instant, LeaderEpoch, Offset};

use crate::rng::Rng;

/// Who is to hear an answer.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    Client {
        client: usize,
        attempt: u64,
    },
    /// A partition that verifies a batch.
    Partition {
        verification: u64,
    },
}

pub struct Coordinator {
    config: TxnConfig,
    /// `None` while no broker has taken over.
    frame: Option<Frame<TxnCoordinator>>,
    /// Counts the brokers that have led; what was planned for an earlier one is void.
    pub life: u64,
    log: Vec<Record>,
    /// Appended and not committed, oldest first.
    appended: VecDeque<Vec<Record>>,
    askers: BTreeMap<Ticket, Asker>,
    tickets: u64,
}

impl Coordinator {
    pub fn new(version: TransactionVersion) -> Coordinator {
        let config = TxnConfig { transaction_version: version, ..TxnConfig::default() };
        Coordinator {
            config,
            frame: None,
            life: 0,
            log: Vec::new(),
            appended: VecDeque::new(),
            askers: BTreeMap::new(),
            tickets: 0,
        }
    }

    /// `transaction.version` is raised or lowered.
    pub fn set_version(&mut self, version: TransactionVersion) {
        self.config.transaction_version = version;
        if let Some(frame) = &mut self.frame {
            frame.core_mut().set_config(self.config.clone());
        }
    }

    /// Another broker takes over with what is committed. `Err` is a record that it cannot read.
    pub fn take_over(&mut self, at: &Moment) -> Result<(), String> {
        let epoch = LeaderEpoch(i32::try_from(self.life).unwrap_or(i32::MAX));
        let mut frame = Frame::loading(TxnCoordinator::new(self.config.clone(), epoch));
        for (offset, record) in self.log.iter().enumerate() {
            let replayed = frame.replay(Offset(offset as i64), None, record.clone());
            replayed.map_err(|why| format!("record {offset} cannot be replayed: {why}"))?;
        }
        frame.loaded(at);
        self.frame = Some(frame);
        Ok(())
    }

    /// The broker fails. Of what was under way some may be committed: nobody was told.
    pub fn fail(&mut self, rng: &mut Rng, lose: usize) {
        let kept = rng.index(self.appended.len() + 1);
        let batches = self.appended.drain(..).take(kept);
        self.log.extend(batches.flatten());
        self.appended.clear();
        self.log.truncate(self.log.len().saturating_sub(lose));
        self.frame = None;
        self.askers.clear();
        self.life += 1;
    }

    /// The code, if the request is refused at once.
    pub fn ask(&mut self, at: &Moment, asker: Asker, call: Call) -> Result<(), ErrorCode> {
        let frame = self.frame.as_mut().ok_or(ErrorCode::NotCoordinator)?;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.askers.insert(ticket, asker);
        frame.handle(at, ticket, call).map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    pub fn asker(&mut self, ticket: Ticket) -> Option<Asker> {
        self.askers.remove(&ticket)
    }

    pub fn frame(&mut self) -> Option<&mut Frame<TxnCoordinator>> {
        self.frame.as_mut()
    }

    /// Appends what there is. Says how many batches that were.
    pub fn append(&mut self) -> usize {
        let mut count = 0;
        while let Some(batch) = self.frame.as_mut().and_then(Frame::next_batch) {
            self.appended.push_back(batch.records);
            count += 1;
        }
        count
    }

    /// The oldest batch that was appended is committed.
    pub fn commit(&mut self) {
        if let Some(records) = self.appended.pop_front() {
            self.log.extend(records);
            if let Some(frame) = &mut self.frame {
                frame.committed();
            }
        }
    }

    pub fn take_released(&mut self) -> Vec<Outbound> {
        self.frame.as_mut().map(Frame::take_released).unwrap_or_default()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.frame.as_ref()?.next_deadline()
    }
}
