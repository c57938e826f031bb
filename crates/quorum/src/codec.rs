//! How log ids, votes, memberships and log entries are written, in files and between nodes. Big-endian.
//!
//! ```text
//! log id      u64 term, u64 index                     optional: u8 0, or u8 1 and the log id
//! vote        u64 term, u8 committed, u8 0 | (u8 1, i32 voted for)
//! membership  u32 configs, each: u32 voters, each i32;  u32 nodes, each i32 (voters and learners)
//! entry       log id, u8 kind: 0 blank | 1 batch | 2 membership, then
//!   batch     u32 proposals, each: u64 epoch, u32 records, each: u32 length, bytes
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, Bytes};
use openraft::LeaderId;
use ottla_wire::ids::BrokerId;

use crate::raft::{Batch, Entry, LogId, Membership, Payload, Proposal, StoredMembership, Vote, log_id};

const ENTRY_BLANK: u8 = 0;
const ENTRY_BATCH: u8 = 1;
const ENTRY_MEMBERSHIP: u8 = 2;

/// Bytes that this version does not write; names the part that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Reads from the front of a buffer. Byte strings share its memory, and nothing larger than it is allocated.
pub(crate) struct Input(Bytes);

impl Input {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Input(bytes)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed(what))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed(what))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed(what))
    }

    pub(crate) fn bool(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed(what)),
        }
    }

    /// A u32 length, then that number of bytes.
    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Bytes, Malformed> {
        let len = self.u32(what)? as usize;
        if len > self.0.len() {
            return Err(Malformed(what));
        }
        Ok(self.0.split_to(len))
    }

    /// A u32 count of things that take at least `size` bytes each.
    pub(crate) fn count(&mut self, size: usize, what: &'static str) -> Result<usize, Malformed> {
        let count = self.u32(what)? as usize;
        if count > self.0.len() / size { Err(Malformed(what)) } else { Ok(count) }
    }

    pub(crate) fn broker(&mut self, what: &'static str) -> Result<BrokerId, Malformed> {
        self.0.try_get_i32().map(BrokerId).map_err(|_| Malformed(what))
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, Malformed> {
        Ok(log_id(self.u64("term")?, self.u64("index")?))
    }

    pub(crate) fn log_id_option(&mut self) -> Result<Option<LogId>, Malformed> {
        Ok(if self.bool("log id")? { Some(self.log_id()?) } else { None })
    }

    pub(crate) fn vote(&mut self) -> Result<Vote, Malformed> {
        let term = self.u64("vote term")?;
        let committed = self.bool("vote committed")?;
        let voted_for = if self.bool("voted for")? { Some(self.broker("voted for")?) } else { None };
        Ok(Vote { leader_id: LeaderId { term, voted_for }, committed })
    }

    pub(crate) fn membership(&mut self) -> Result<Membership, Malformed> {
        let mut configs = Vec::new();
        for _ in 0..self.count(4, "voter sets")? {
            configs.push(self.brokers("voters")?);
        }
        let nodes: BTreeMap<BrokerId, ()> = self.brokers("nodes")?.into_iter().map(|id| (id, ())).collect();
        Ok(Membership::new(configs, nodes))
    }

    pub(crate) fn stored_membership(&mut self) -> Result<StoredMembership, Malformed> {
        Ok(StoredMembership::new(self.log_id_option()?, self.membership()?))
    }

    pub(crate) fn entry(&mut self) -> Result<Entry, Malformed> {
        let log_id = self.log_id()?;
        let payload = match self.u8("entry kind")? {
            ENTRY_BLANK => Payload::Blank,
            ENTRY_BATCH => Payload::Normal(self.batch()?),
            ENTRY_MEMBERSHIP => Payload::Membership(self.membership()?),
            _ => return Err(Malformed("entry kind")),
        };
        Ok(Entry { log_id, payload })
    }

    /// Fails if something is left over.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes after the end")) }
    }

    fn batch(&mut self) -> Result<Batch, Malformed> {
        let mut proposals = Vec::new();
        for _ in 0..self.count(12, "proposals")? {
            let epoch = self.u64("epoch")?;
            let mut records = Vec::new();
            for _ in 0..self.count(4, "records")? {
                records.push(self.bytes("record")?);
            }
            proposals.push(Proposal { epoch, records });
        }
        Ok(Batch(proposals))
    }

    fn brokers(&mut self, what: &'static str) -> Result<BTreeSet<BrokerId>, Malformed> {
        (0..self.count(4, what)?).map(|_| self.broker(what)).collect()
    }
}

/// Writes to the end of some bytes; the mirror of [`Input`].
pub(crate) trait Output {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    fn bool(&mut self, value: bool) {
        self.u8(value as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.put(bytes);
    }

    fn count(&mut self, count: usize) {
        // Counts stay far below `u32::MAX`: PROPOSAL_BYTES_MAX, the snapshot's runs and the voters bound
        // them.
        self.u32(u32::try_from(count).unwrap_or_else(|_| unreachable!("{count} things in one field")));
    }

    fn broker(&mut self, id: BrokerId) {
        self.put(&id.0.to_be_bytes());
    }

    fn log_id(&mut self, id: &LogId) {
        self.u64(id.leader_id.term);
        self.u64(id.index);
    }

    fn log_id_option(&mut self, id: Option<&LogId>) {
        self.bool(id.is_some());
        if let Some(id) = id {
            self.log_id(id);
        }
    }

    fn vote(&mut self, vote: &Vote) {
        self.u64(vote.leader_id.term);
        self.bool(vote.committed);
        self.bool(vote.leader_id.voted_for.is_some());
        if let Some(id) = vote.leader_id.voted_for {
            self.broker(id);
        }
    }

    fn membership(&mut self, membership: &Membership) {
        self.count(membership.get_joint_config().len());
        for voters in membership.get_joint_config() {
            self.count(voters.len());
            voters.iter().for_each(|id| self.broker(*id));
        }
        self.count(membership.nodes().count());
        membership.nodes().for_each(|(id, ())| self.broker(*id));
    }

    fn stored_membership(&mut self, stored: &StoredMembership) {
        self.log_id_option(stored.log_id().as_ref());
        self.membership(stored.membership());
    }

    fn entry(&mut self, entry: &Entry) {
        self.log_id(&entry.log_id);
        match &entry.payload {
            Payload::Blank => self.u8(ENTRY_BLANK),
            Payload::Normal(batch) => {
                self.u8(ENTRY_BATCH);
                self.count(batch.0.len());
                for proposal in &batch.0 {
                    self.u64(proposal.epoch);
                    self.count(proposal.records.len());
                    proposal.records.iter().for_each(|record| self.bytes(record));
                }
            }
            Payload::Membership(membership) => {
                self.u8(ENTRY_MEMBERSHIP);
                self.membership(membership);
            }
        }
    }
}

impl Output for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Roughly the encoded size of an entry. Exact for the parts that can be large.
pub(crate) fn entry_size(entry: &Entry) -> usize {
    const FIXED: usize = 21;
    match &entry.payload {
        Payload::Normal(batch) => FIXED + batch.0.iter().map(|proposal| 12 + proposal.size()).sum::<usize>(),
        Payload::Blank | Payload::Membership(_) => FIXED,
    }
}
