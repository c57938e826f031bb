//! The consumer protocol (KIP-848): members move to their target one by one, and a partition waits for who
//! has it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::Uuid;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::super::broker::World;

const HEARTBEAT_INTERVAL_MS: i32 = 10;

type Partitions = BTreeSet<(Uuid, i32)>;

#[derive(Default)]
pub struct Consumer {
    pub epoch: i32,
    pub members: BTreeMap<String, Member>,
}

#[derive(Default)]
pub struct Member {
    pub epoch: i32,
    pub instance: Option<String>,
    pub topics: BTreeSet<String>,
    regex: Option<String>,
    /// What it was told that it may have, or has not given up yet.
    pub holds: Partitions,
    target: Partitions,
    told: Option<Partitions>,
}

impl Consumer {
    pub fn remove(&mut self, member: &str) {
        if self.members.remove(member).is_some() {
            self.epoch += 1;
        }
    }

    pub fn may_commit(&self, member: &str, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member).ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }

    /// Shares the partitions of each topic among those who subscribe to it, in turn.
    fn retarget(&mut self, topics: &BTreeMap<String, (Uuid, i32)>) {
        self.members.values_mut().for_each(|member| member.target.clear());
        for (name, &(id, partitions)) in topics {
            let wants = |member: &Member| {
                let matches =
                    member.regex.as_ref().is_some_and(|regex| name.starts_with(regex.trim_end_matches(".*")));
                member.topics.contains(name) || matches
            };
            let mut subscribed: Vec<&mut Member> = self.members.values_mut().filter(|m| wants(m)).collect();
            if subscribed.is_empty() {
                continue;
            }
            for partition in 0..partitions {
                let turn = partition as usize % subscribed.len();
                subscribed[turn].target.insert((id, partition));
            }
        }
    }

    fn hear(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<(), ErrorCode> {
        let id = request.member_id.as_str();
        match request.member_epoch {
            -2 => {
                // Its place is kept; its partitions are not, in this fake.
                let member = self.members.get_mut(id).ok_or(ErrorCode::UnknownMemberId)?;
                assert!(member.instance.is_some(), "only static members leave for a while");
                self.members.remove(id);
                return Ok(());
            }
            -1 => {
                self.members.contains_key(id).then_some(()).ok_or(ErrorCode::UnknownMemberId)?;
                self.remove(id);
                return Ok(());
            }
            0 => {
                assert_eq!(request.topic_partitions, Some(Vec::new()), "who joins owns nothing");
                assert!(request.rebalance_timeout_ms > 0 && request.subscribed_topic_names.is_some());
                let instance = request.instance_id.as_ref().map(Str::to_string);
                if instance.is_some() && self.members.values().any(|member| member.instance == instance) {
                    return Err(ErrorCode::UnreleasedInstanceId);
                }
                self.members.insert(id.to_owned(), Member { instance, ..Member::default() });
                self.epoch += 1;
            }
            epoch => {
                let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
                if member.epoch != epoch {
                    return Err(ErrorCode::FencedMemberEpoch);
                }
            }
        }
        let member = self.members.get_mut(id).unwrap();
        let before = (member.topics.clone(), member.regex.clone());
        if let Some(topics) = &request.subscribed_topic_names {
            member.topics = topics.iter().map(Str::to_string).collect();
        }
        if let Some(regex) = &request.subscribed_topic_regex {
            member.regex = (!regex.is_empty()).then(|| regex.to_string());
        }
        if request.member_epoch > 0 && before != (member.topics.clone(), member.regex.clone()) {
            self.epoch += 1;
        }
        if let Some(owned) = &request.topic_partitions {
            let owned: Partitions =
                owned.iter().flat_map(|of| of.partitions.iter().map(|&p| (of.topic_id, p))).collect();
            assert!(owned.is_subset(&member.holds), "{id} owns {owned:?}, was given {:?}", member.holds);
            // What it gave up, or has not taken yet: it may take what is its target.
            let target = member.target.clone();
            member.holds.retain(|of| owned.contains(of) || target.contains(of));
        }
        Ok(())
    }

    /// What a member is to have now: first without what it must give up, then with what is free.
    fn tell(&mut self, id: &str, full: bool) -> Option<Partitions> {
        let elsewhere: Partitions = self
            .members
            .iter()
            .filter(|(other, _)| *other != id)
            .flat_map(|(_, member)| member.holds.iter().copied())
            .collect();
        let group_epoch = self.epoch;
        let member = self.members.get_mut(id).unwrap();
        let assigned: Partitions = if member.holds.is_subset(&member.target) {
            member.epoch = group_epoch;
            member.holds = member.target.difference(&elsewhere).copied().collect();
            member.holds.clone()
        } else {
            member.epoch = member.epoch.max(1);
            member.holds.intersection(&member.target).copied().collect()
        };
        let news = full || member.told.as_ref() != Some(&assigned);
        member.told = Some(assigned.clone());
        news.then_some(assigned)
    }
}

pub fn heartbeat(
    world: &mut World,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let topics: BTreeMap<String, (Uuid, i32)> = world
        .topics
        .iter()
        .map(|(name, topic)| (name.clone(), (topic.id, topic.partitions.len() as i32)))
        .collect();
    let consumer = world.group(&request.group_id).consumer();
    if let Err(error) = consumer.hear(&request) {
        return ConsumerGroupHeartbeatResponse { error_code: error.code(), ..Default::default() };
    }
    consumer.retarget(&topics);
    let mut response = ConsumerGroupHeartbeatResponse {
        member_id: Some(request.member_id.clone()),
        member_epoch: request.member_epoch,
        heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
        ..Default::default()
    };
    if request.member_epoch >= 0 {
        let full = request.rebalance_timeout_ms > 0;
        let assigned = consumer.tell(&request.member_id, full);
        response.member_epoch = consumer.members[request.member_id.as_str()].epoch;
        response.assignment = assigned.map(|of| consumer_group_heartbeat_response::Assignment {
            topic_partitions: of
                .into_iter()
                .map(|(topic_id, partition)| consumer_group_heartbeat_response::TopicPartitions {
                    topic_id,
                    partitions: vec![partition],
                })
                .collect(),
        });
    }
    response
}
