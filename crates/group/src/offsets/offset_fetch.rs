//! OffsetFetch (key 9): how far a group has read. Version 7 may ask for offsets that no open transaction will
//! change (KIP-447); 9 names the member (KIP-848); 10 topic ids.

use ottla_coordinator::Ticket;
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, LeaderEpoch, PartitionIndex};

use super::committed::Offsets;
use super::store::{CommittedOffset, GroupTopicPartition, Topics};
use crate::groups::Groups;
use crate::request::{Caller, FetchOfGroup, GroupRequest, Response};
use crate::step::{Serve, Step};

/// The offset of a partition for which nothing is committed.
const NO_OFFSET: i64 = -1;

impl GroupRequest for FetchOfGroup {
    type Response = OffsetFetchResponseGroup;

    const READS_ONLY: bool = true;
    const NEEDS_NAME: bool = false;

    fn group(&self) -> Option<&Str> {
        Some(&self.group.group_id)
    }

    fn refuse(self, error: ErrorCode) -> OffsetFetchResponseGroup {
        refuse_fetch(&self.group, error)
    }
}

impl Serve for FetchOfGroup {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, _caller: &Caller) {
        let response = step.offsets.fetch(step.groups, &self);
        step.ctx.reply(ticket, Response::OffsetFetch(response));
    }
}

impl Offsets {
    /// Answers for the topics that are asked for, or for all that have offsets. A group that does not exist
    /// has none.
    fn fetch(&self, groups: &Groups, request: &FetchOfGroup) -> OffsetFetchResponseGroup {
        let FetchOfGroup { group: asked, require_stable } = request;
        let group = groups.get(&asked.group_id);
        let checked = group.map(|group| group.validate_fetch(asked.member_id.as_deref(), asked.member_epoch));
        let offsets = match checked {
            Some(Err(error)) => return refuse_fetch(asked, error),
            Some(Ok(())) => self.store.group(&asked.group_id),
            None => None,
        };
        let require_stable = *require_stable;
        Fetch { all: self, group: &asked.group_id, offsets, require_stable }.answer(asked)
    }
}

/// The answer that gives the group an error.
fn refuse_fetch(request: &OffsetFetchRequestGroup, error: ErrorCode) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup {
        group_id: request.group_id.clone(),
        topics: Vec::new(),
        error_code: error.code(),
    }
}

struct Fetch<'a> {
    all: &'a Offsets,
    group: &'a Str,
    offsets: Option<&'a Topics>,
    require_stable: bool,
}

impl Fetch<'_> {
    fn answer(&self, asked: &OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
        let topics = match &asked.topics {
            Some(topics) => topics.iter().map(|topic| self.topic(topic)).collect(),
            None => self.every_topic(),
        };
        let error_code = ErrorCode::None.code();
        OffsetFetchResponseGroup { group_id: asked.group_id.clone(), topics, error_code }
    }

    fn topic(&self, asked: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
        let offsets = self.offsets.and_then(|topics| topics.get(&asked.name));
        let partition = |index: &i32| {
            let partition = PartitionIndex(*index);
            let entry = offsets.and_then(|partitions| partitions.get(&partition));
            let committed = entry.map(|entry| &entry.committed);
            // An offset of an older topic of the same name says nothing of this one.
            let committed = committed.filter(|committed| !committed.is_of_another_topic(asked.topic_id));
            self.partition(&asked.name, partition, committed)
        };
        OffsetFetchResponseTopics {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            partitions: asked.partition_indexes.iter().map(partition).collect(),
        }
    }

    fn every_topic(&self) -> Vec<OffsetFetchResponseTopics> {
        let topics = self.offsets.into_iter().flatten();
        let answers = topics.map(|(name, partitions)| OffsetFetchResponseTopics {
            name: name.clone(),
            partitions: partitions
                .iter()
                .map(|(partition, entry)| self.partition(name, *partition, Some(&entry.committed)))
                .collect(),
            ..Default::default()
        });
        answers.collect()
    }

    fn partition(
        &self,
        topic: &Str,
        partition: PartitionIndex,
        committed: Option<&CommittedOffset>,
    ) -> OffsetFetchResponsePartitions {
        match committed {
            _ if self.is_unstable(topic, partition) => nothing(partition, ErrorCode::UnstableOffsetCommit),
            None => nothing(partition, ErrorCode::None),
            Some(committed) => OffsetFetchResponsePartitions {
                partition_index: partition.0,
                committed_offset: committed.offset.0,
                committed_leader_epoch: committed.leader_epoch.0,
                metadata: Some(committed.metadata.clone()),
                error_code: ErrorCode::None.code(),
            },
        }
    }

    fn is_unstable(&self, topic: &Str, partition: PartitionIndex) -> bool {
        let pending = &self.all.pending;
        self.require_stable
            && !pending.is_empty()
            && pending.contains(&GroupTopicPartition {
                group: self.group.clone(),
                topic: topic.clone(),
                partition,
            })
    }
}

fn nothing(partition: PartitionIndex, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition.0,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: LeaderEpoch::NONE.0,
        metadata: Some(Str::default()),
        error_code: error.code(),
    }
}
