//! A member of the consumer protocol (KIP-848): it beats, and moves to the assignment that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_group::{Request, Response, Topics};
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_wire::messages::consumer_group_heartbeat_response::Assignment;
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Instant, TopicId};

use super::holdings::{Holdings, Partition};
use super::turn::Turn;
use crate::group::settings::{HEARTBEAT, MemberSettings, REBALANCE};
use crate::group::topics::SimTopics;

/// Time between two tries.
const RETRY: Duration = Duration::from_millis(200);

/// Epochs of a member that joins, that leaves, and that is static and leaves for now.
const JOINS: i32 = 0;
const LEAVES: i32 = -1;
const LEAVES_FOR_NOW: i32 = -2;

#[derive(Debug)]
pub struct Consumer {
    /// Made by the member itself.
    pub id: Str,
    pub epoch: i32,
    next: Instant,
    /// All is said again: the coordinator may not have heard the last request.
    says_all: bool,
    /// What it was told to hold, and from when on it has let go of the rest.
    moving_to: Option<(BTreeSet<(TopicId, i32)>, Instant)>,
    /// What it holds has changed since it last said so.
    has_moved: bool,
    fenced: bool,
}

impl Consumer {
    pub fn new(process: u64) -> Consumer {
        Consumer {
            id: Str::from(format!("process-{process}")),
            epoch: JOINS,
            next: Instant(0),
            says_all: true,
            moving_to: None,
            has_moved: false,
            fenced: false,
        }
    }

    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    pub fn lost(&mut self) {
        self.says_all = true;
        self.next = Instant(0);
    }

    /// Says good-bye; a static member says that it comes back.
    pub fn leave(&self, settings: &MemberSettings) -> Option<Request> {
        let leaves = if settings.instance.is_some() { LEAVES_FOR_NOW } else { LEAVES };
        (self.epoch != JOINS).then(|| {
            Request::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest {
                group_id: settings.group.clone(),
                member_id: self.id.clone(),
                member_epoch: leaves,
                instance_id: settings.instance.clone(),
                ..Default::default()
            })
        })
    }

    pub fn request(
        &mut self,
        turn: &mut Turn,
        settings: &MemberSettings,
        holdings: &mut Holdings,
        may_let_go: bool,
    ) -> Option<Request> {
        if may_let_go {
            self.move_on(turn, holdings);
        }
        if self.fenced || turn.now < self.next {
            return None;
        }
        self.next = turn.now + HEARTBEAT;
        let says_all = self.says_all || self.epoch == JOINS;
        let says_holdings = says_all || self.has_moved;
        (self.says_all, self.has_moved) = (false, false);
        Some(Request::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest {
            group_id: settings.group.clone(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: settings.instance.clone().filter(|_| says_all),
            rebalance_timeout_ms: if says_all { REBALANCE.as_millis() as i32 } else { -1 },
            subscribed_topic_names: says_all.then(|| settings.subscription.clone()),
            topic_partitions: says_holdings.then(|| by_topic(holdings, turn.topics)),
            ..Default::default()
        }))
    }

    pub fn answered(&mut self, turn: &mut Turn, response: Response, holdings: &mut Holdings) {
        let Response::ConsumerGroupHeartbeat(response) = response else { return };
        match ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => self.beaten(turn, response),
            // The last: the group has become a classic one without this member.
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                holdings.clear();
                self.epoch = JOINS;
                self.moving_to = None;
                self.next = turn.now;
            }
            ErrorCode::FencedInstanceId => {
                holdings.clear();
                self.fenced = true;
            }
            _ => {
                self.says_all = true;
                self.next = turn.now + RETRY;
            }
        }
    }

    fn beaten(&mut self, turn: &mut Turn, response: ConsumerGroupHeartbeatResponse) {
        self.epoch = response.member_epoch;
        if let Some(assignment) = response.assignment {
            // Most let go at once; some take as long as they may, or longer.
            let takes = if turn.rng.chance(900) {
                turn.rng.millis(0, 300)
            } else {
                turn.rng.millis(0, REBALANCE.as_millis() as u64 * 5 / 4)
            };
            self.moving_to = Some((ids(&assignment), turn.now + takes));
        }
    }

    /// Holds what it was told to hold, as far as it knows the topics.
    fn move_on(&mut self, turn: &mut Turn, holdings: &mut Holdings) {
        let Some((assignment, due)) = &self.moving_to else { return };
        if turn.now < *due {
            return;
        }
        let known = assignment
            .iter()
            .filter_map(|(topic, partition)| turn.topics.by_id(*topic).map(|facts| (facts.name, *partition)));
        let target: BTreeSet<Partition> = known.collect();
        holdings.become_these(&target);
        self.moving_to = None;
        self.has_moved = true;
        self.next = turn.now;
    }
}

fn ids(assignment: &Assignment) -> BTreeSet<(TopicId, i32)> {
    let topics = assignment.topic_partitions.iter();
    topics.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition))).collect()
}

fn by_topic(holdings: &Holdings, topics: &SimTopics) -> Vec<TopicPartitions> {
    let mut by_topic: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in holdings.partitions() {
        if let Some(facts) = topics.by_name(topic) {
            by_topic.entry(facts.id).or_default().push(*partition);
        }
    }
    by_topic.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
}
