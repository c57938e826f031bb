//! How a member fetches where it is to begin, and commits how far it has come, in transactions or not.

use ottla_coordinator::Producer;
use ottla_group::request::FetchOfGroup;
use ottla_group::{Request, Response};
use ottla_wire::Instant;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_wire::messages::{OffsetCommitRequest, TxnOffsetCommitRequest, offset_fetch_response};
use ottla_wire::primitives::Str;

use super::holdings::{Holdings, Partition};
use super::turn::{Heard, Identity, Turn};
use crate::group::settings::{MemberSettings, Protocol};

/// What is committed: partitions and offsets.
type Offsets = Vec<(Partition, i64)>;

#[derive(Debug)]
pub struct Progress {
    next: Instant,
    asked: Option<Awaited>,
    /// For one that commits in transactions: its producer in its present epoch.
    producer: Option<Producer>,
    transaction: Transaction,
}

/// What an answer is waited for to.
#[derive(Debug)]
enum Awaited {
    Fetch,
    Commit(Offsets),
    /// Of a transaction that is aborted for the fun of it if `commit` is false.
    InTransaction {
        offsets: Offsets,
        commit: bool,
    },
}

#[derive(Debug)]
enum Transaction {
    None,
    /// Its end is to be asked for.
    ToEnd(Offsets, bool),
    Ending(Offsets),
}

impl Progress {
    pub fn new(producer: Option<Producer>, turn: &mut Turn) -> Progress {
        let next = turn.now + turn.rng.millis(0, 500);
        Progress { next, asked: None, producer, transaction: Transaction::None }
    }

    pub fn request(
        &mut self,
        turn: &mut Turn,
        settings: &MemberSettings,
        identity: &Identity<'_>,
        holdings: &mut Holdings,
    ) -> Option<Request> {
        if holdings.is_empty() || turn.now < self.next || !matches!(self.transaction, Transaction::None) {
            return None;
        }
        self.next = turn.now + turn.rng.millis(200, 1_500);
        let unknown: Vec<Partition> = holdings.unknown().cloned().collect();
        if !unknown.is_empty() {
            self.next = turn.now + turn.rng.millis(50, 200);
            self.asked = Some(Awaited::Fetch);
            return Some(fetch(settings, identity, unknown));
        }
        let offsets = holdings.read(|| turn.rng.below(10) as i64);
        match self.producer {
            None => {
                self.asked = Some(Awaited::Commit(offsets.clone()));
                Some(commit(settings, identity, offsets))
            }
            Some(producer) => {
                let commits = turn.rng.chance(800);
                self.asked = Some(Awaited::InTransaction { offsets: offsets.clone(), commit: commits });
                Some(txn_commit(settings, identity, producer, offsets))
            }
        }
    }

    pub fn answered(&mut self, response: Response, holdings: &mut Holdings) -> Option<Heard> {
        match (self.asked.take()?, response) {
            (Awaited::Fetch, Response::OffsetFetch(response)) => {
                found(&response, holdings);
                None
            }
            (Awaited::Commit(offsets), Response::OffsetCommit(response)) => {
                let is_done = |(topic, partition): &Partition| {
                    let mut answers = response.topics.iter().filter(|answer| answer.name == *topic);
                    answers.any(|answer| {
                        let mut partitions = answer.partitions.iter();
                        partitions.any(|one| one.partition_index == *partition && one.error_code == 0)
                    })
                };
                let committed = offsets.into_iter().filter(|(partition, _)| is_done(partition));
                Some(Heard::Committed(committed.collect()))
            }
            (Awaited::InTransaction { offsets, commit }, Response::TxnOffsetCommit(response)) => {
                let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                let went_well = partitions.all(|partition| partition.error_code == 0);
                self.transaction = Transaction::ToEnd(offsets, commit && went_well);
                None
            }
            _ => None,
        }
    }

    /// An answer never came. What a transaction may have written is taken back.
    pub fn lost(&mut self) {
        if let Some(Awaited::InTransaction { offsets, .. }) = self.asked.take() {
            self.transaction = Transaction::ToEnd(offsets, false);
        }
    }

    /// The transaction whose end is to be asked for.
    pub fn take_ending(&mut self) -> Option<(Producer, bool)> {
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::ToEnd(offsets, commit) => {
                self.transaction = Transaction::Ending(offsets);
                self.producer.map(|producer| (producer, commit))
            }
            other => {
                self.transaction = other;
                None
            }
        }
    }

    /// The transaction of another process of the slot is none of its own: it was cut off before that.
    pub fn ended(&mut self, ended: Producer, next: Producer, commit: bool) -> Option<Heard> {
        if self.producer != Some(ended) {
            return None;
        }
        self.producer = Some(next);
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::Ending(offsets) if commit => Some(Heard::Committed(offsets)),
            // Ended over its head: what is in flight belongs to no transaction.
            _ => None,
        }
    }
}

fn found(response: &offset_fetch_response::OffsetFetchResponseGroup, holdings: &mut Holdings) {
    if response.error_code != 0 {
        return;
    }
    for topic in &response.topics {
        for partition in topic.partitions.iter().filter(|partition| partition.error_code == 0) {
            holdings.found(&(topic.name.clone(), partition.partition_index), partition.committed_offset);
        }
    }
}

fn fetch(settings: &MemberSettings, identity: &Identity<'_>, partitions: Vec<Partition>) -> Request {
    let is_member = settings.protocol == Protocol::Consumer;
    let topics = partitions.into_iter().map(|(name, partition)| OffsetFetchRequestTopics {
        name,
        partition_indexes: vec![partition],
        ..Default::default()
    });
    let group = OffsetFetchRequestGroup {
        group_id: settings.group.clone(),
        member_id: is_member.then(|| identity.member.clone()),
        member_epoch: if is_member { identity.generation_or_epoch } else { -1 },
        topics: Some(topics.collect()),
    };
    Request::OffsetFetch(FetchOfGroup { group, require_stable: true })
}

fn commit(settings: &MemberSettings, identity: &Identity<'_>, offsets: Offsets) -> Request {
    let topics = offsets.into_iter().map(|((name, partition_index), committed_offset)| {
        let partition =
            OffsetCommitRequestPartition { partition_index, committed_offset, ..Default::default() };
        OffsetCommitRequestTopic { name, partitions: vec![partition], ..Default::default() }
    });
    Request::OffsetCommit(OffsetCommitRequest {
        group_id: settings.group.clone(),
        generation_id_or_member_epoch: identity.generation_or_epoch,
        member_id: identity.member.clone(),
        group_instance_id: identity.instance.cloned(),
        topics: topics.collect(),
        ..Default::default()
    })
}

fn txn_commit(
    settings: &MemberSettings,
    identity: &Identity<'_>,
    producer: Producer,
    offsets: Offsets,
) -> Request {
    let topics = offsets.into_iter().map(|((name, partition_index), committed_offset)| {
        let partition =
            TxnOffsetCommitRequestPartition { partition_index, committed_offset, ..Default::default() };
        TxnOffsetCommitRequestTopic { name, partitions: vec![partition] }
    });
    Request::TxnOffsetCommit(TxnOffsetCommitRequest {
        transactional_id: Str::from_static("transactional"),
        group_id: settings.group.clone(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        generation_id: identity.generation_or_epoch,
        member_id: identity.member.clone(),
        group_instance_id: identity.instance.cloned(),
        topics: topics.collect(),
    })
}
