//! One incremental fetch session and its partitions (KIP-227).
//!
//! A client with a session names only changes, and the broker answers only for partitions with news.
//! Partitions that returned data move to the end of the order, so that all get their turn.

use std::collections::{BTreeMap, HashMap};

use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::primitives::Str;
use ottla_wire::{LeaderEpoch, PartitionIndex, TopicId};

use super::read::PartitionFetch;

/// A topic in a request: by name up to version 12, by id from version 13.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicRef {
    Name(Str),
    Id(TopicId),
}

/// A partition in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionId {
    pub topic: TopicRef,
    pub index: PartitionIndex,
}

/// A partition of a session: what the client wants of it, and the last answer.
#[derive(Clone, Debug)]
pub struct SessionPartition {
    pub asked: PartitionFetch,
    told: Option<Told>,
    /// Its position in the order of service.
    turn: u64,
}

/// What the client knows from the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    high_watermark: i64,
    last_stable: i64,
    log_start: i64,
    error: i16,
}

/// One session.
#[derive(Debug, Default)]
pub struct FetchSession {
    partitions: HashMap<PartitionId, SessionPartition>,
    order: BTreeMap<u64, PartitionId>,
    next_turn: u64,
}

impl FetchSession {
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Adds a partition, or changes what is wanted of it. A known one keeps its position.
    pub fn want(&mut self, id: PartitionId, asked: PartitionFetch) {
        if let Some(known) = self.partitions.get_mut(&id) {
            known.asked = asked;
            return;
        }
        let turn = self.take_turn();
        self.order.insert(turn, id.clone());
        self.partitions.insert(id, SessionPartition { asked, told: None, turn });
    }

    /// Removes a partition from the session.
    pub fn forget(&mut self, id: &PartitionId) {
        if let Some(gone) = self.partitions.remove(id) {
            self.order.remove(&gone.turn);
        }
    }

    /// All partitions in the order of service.
    pub fn wanted(&self) -> impl Iterator<Item = (&PartitionId, PartitionFetch)> {
        self.order.values().filter_map(|id| self.partitions.get(id).map(|partition| (id, partition.asked)))
    }

    /// Records the answer for a partition. False if it has no news and can be left out.
    pub fn tell(&mut self, id: &PartitionId, answer: &PartitionData) -> bool {
        let has_records = answer.records.as_ref().is_some_and(|records| !records.is_empty());
        let telling = Told {
            high_watermark: answer.high_watermark,
            last_stable: answer.last_stable_offset,
            log_start: answer.log_start_offset,
            error: answer.error_code,
        };
        let Some(known) = self.partitions.get_mut(id) else { return true };
        let news = known.told != Some(telling) || answer.error_code != 0 || answer.diverging_epoch.epoch >= 0;
        // An error is repeated each time, because silence would look like recovery.
        known.told = if answer.error_code == 0 { Some(telling) } else { None };
        if has_records {
            let before = known.turn;
            let turn = self.take_turn();
            if let Some(known) = self.partitions.get_mut(id) {
                known.turn = turn;
            }
            self.order.remove(&before);
            self.order.insert(turn, id.clone());
        }
        has_records || news
    }

    fn take_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }
}

impl PartitionId {
    /// The same, without a reference to the frame that it was read from.
    pub fn detached(self) -> PartitionId {
        let topic = match self.topic {
            TopicRef::Name(name) => TopicRef::Name(name.detached()),
            id @ TopicRef::Id(_) => id,
        };
        PartitionId { topic, ..self }
    }
}

/// `-1` on the wire means that the client does not state an epoch.
pub fn epoch(wire: i32) -> Option<LeaderEpoch> {
    (wire >= 0).then_some(LeaderEpoch(wire))
}

#[cfg(test)]
mod tests {
    use ottla_wire::Offset;
    use ottla_wire::primitives::Records;

    use super::*;

    fn id(index: i32) -> PartitionId {
        PartitionId { topic: TopicRef::Name("t".into()), index: PartitionIndex(index) }
    }

    fn asked(offset: i64) -> PartitionFetch {
        PartitionFetch {
            offset: Offset(offset),
            max_bytes: 100,
            current_epoch: None,
            last_fetched_epoch: None,
            log_start: Offset(-1),
        }
    }

    fn answer(high_watermark: i64, bytes: &'static [u8]) -> PartitionData {
        PartitionData {
            high_watermark,
            records: Some(Records::Bytes(bytes::Bytes::from_static(bytes))),
            ..Default::default()
        }
    }

    fn order(session: &FetchSession) -> Vec<i32> {
        session.wanted().map(|(id, _)| id.index.0).collect()
    }

    #[test]
    fn partitions_that_got_data_go_to_the_end() {
        let mut session = FetchSession::default();
        (0..3).for_each(|index| session.want(id(index), asked(0)));
        assert!(session.tell(&id(0), &answer(1, b"x")));
        assert_eq!(order(&session), [1, 2, 0]);
        session.want(id(1), asked(7));
        session.forget(&id(2));
        assert_eq!(order(&session), [1, 0]);
    }

    #[test]
    fn what_the_client_knows_is_left_out() {
        let mut session = FetchSession::default();
        session.want(id(0), asked(0));
        assert!(session.tell(&id(0), &answer(5, b"")), "the first answer is news");
        assert!(!session.tell(&id(0), &answer(5, b"")));
        assert!(session.tell(&id(0), &answer(6, b"")), "the high watermark moved");
        let failed = PartitionData { error_code: 3, ..answer(6, b"") };
        assert!(session.tell(&id(0), &failed) && session.tell(&id(0), &failed), "errors are repeated");
        assert!(session.tell(&id(0), &answer(6, b"")), "and so is their end");
    }
}
