//! A lane and the feed at its other end, over connections that break: whatever happens, a follower is given
//! each record once and in order, and its leader knows what is safe there, and no more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_cluster::PartitionId;
use ottla_cluster::feed::{Feed, Look, Standing, Wanted};
use ottla_cluster::lane::{
    Lane, LaneAnswer, LaneConfig, LaneEffect, LaneRequest, PartitionAnswer, PartitionOutcome,
};
use ottla_replica::{FetchRequest, LeaderReply};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, Instant, LeaderEpoch, Offset, PartitionIndex, Uuid};
use proptest::prelude::*;

const POLL: Duration = Duration::from_millis(500);
const PARTITIONS: i32 = 4;
/// Partitions that fit into one answer.
const ANSWER_MAX: usize = 2;

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Producers write so many records to a partition.
    Write(i32, u8),
    /// A replica has made safe what it was given.
    Flush(i32),
    /// A request arrives at the leader, or an answer at the follower.
    RequestArrives,
    AnswerArrives,
    /// The connection breaks, with all that is on its way.
    Break,
    /// The leader loses the session, and only that.
    ForgetSession,
    /// The partition has a new epoch, of the same leader: first here, later there.
    NewEpoch(i32),
    EpochIsKnown(i32),
    /// A replica stops following, or begins anew.
    Stop(i32),
    Follow(i32),
    Time(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        4 => (partition.clone(), 1..5_u8).prop_map(|(index, records)| Step::Write(index, records)),
        6 => partition.clone().prop_map(Step::Flush),
        8 => Just(Step::RequestArrives),
        8 => Just(Step::AnswerArrives),
        1 => Just(Step::Break),
        1 => Just(Step::ForgetSession),
        1 => partition.clone().prop_map(Step::NewEpoch),
        2 => partition.clone().prop_map(Step::EpochIsKnown),
        1 => partition.clone().prop_map(Step::Stop),
        2 => partition.prop_map(Step::Follow),
        4 => (1..700_u16).prop_map(Step::Time),
    ]
}

#[derive(Clone, Copy, Default)]
struct Replica {
    epoch: i32,
    /// What it has, and what of it is safe.
    end: i64,
    safe: i64,
    follows: bool,
    /// The fetch that it waits for.
    asked: Option<i64>,
    paused: bool,
}

#[derive(Default)]
struct Leader {
    ends: BTreeMap<PartitionId, i64>,
    epochs: BTreeMap<PartitionId, i32>,
    /// Up to where it knows a follower to be safe.
    proofs: BTreeMap<PartitionId, i64>,
    /// Answered with records or an error, and not named since.
    answered: BTreeSet<PartitionId>,
    feed: Option<(i32, Feed)>,
    sessions: i32,
    waiting: Option<(LaneRequest, Instant)>,
}

struct World {
    now: Instant,
    lane: Lane,
    replicas: BTreeMap<PartitionId, Replica>,
    leader: Leader,
    requests: VecDeque<LaneRequest>,
    answers: VecDeque<(LaneRequest, LaneAnswer)>,
    sent: usize,
}

fn id(index: i32) -> PartitionId {
    PartitionId { topic: Uuid([1; 16]), index: PartitionIndex(index) }
}

impl World {
    fn new() -> World {
        let ids: Vec<_> = (0..PARTITIONS).map(id).collect();
        let leader = Leader {
            ends: ids.iter().map(|id| (*id, 0)).collect(),
            epochs: ids.iter().map(|id| (*id, 0)).collect(),
            ..Leader::default()
        };
        World {
            now: Instant(0),
            lane: Lane::new(LaneConfig::default()),
            replicas: ids.iter().map(|id| (*id, Replica::default())).collect(),
            leader,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            sent: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(index, records) => {
                *self.leader.ends.entry(id(index)).or_default() += i64::from(records);
                self.changed(id(index));
            }
            Step::Flush(index) => {
                let replica = self.replica(id(index));
                replica.safe = replica.end;
                self.go_on(id(index));
            }
            Step::RequestArrives => self.request_arrives(),
            Step::AnswerArrives => self.answer_arrives(),
            Step::Break => {
                self.requests.clear();
                self.answers.clear();
                self.leader.waiting = None;
                self.leader.feed = None;
                self.lane.lost(self.now);
            }
            Step::ForgetSession => self.leader.feed = None,
            Step::NewEpoch(index) => {
                *self.leader.epochs.entry(id(index)).or_default() += 1;
                self.changed(id(index));
            }
            Step::EpochIsKnown(index) => {
                let epoch = self.leader.epochs[&id(index)];
                let replica = self.replica(id(index));
                if std::mem::replace(&mut replica.epoch, epoch) != epoch {
                    (replica.asked, replica.paused) = (None, false);
                    self.go_on(id(index));
                }
            }
            Step::Stop(index) => {
                let replica = self.replica(id(index));
                (replica.follows, replica.asked, replica.paused) = (false, None, false);
                self.lane.stop(id(index));
            }
            Step::Follow(index) => {
                self.replica(id(index)).follows = true;
                self.go_on(id(index));
            }
            Step::Time(ms) => self.now = self.now + Duration::from_millis(u64::from(ms)),
        }
        self.settle();
    }

    fn replica(&mut self, id: PartitionId) -> &mut Replica {
        self.replicas.get_mut(&id).expect("each partition has a replica")
    }

    /// What drivers do after each step.
    fn settle(&mut self) {
        if self.lane.wants_connection(self.now) {
            self.lane.connected();
        }
        while let Some(request) = self.lane.next_request(self.now) {
            self.sent += 1;
            self.requests.push_back(request);
        }
        let under_way = self.requests.len() + self.answers.len() + self.leader.waiting.iter().count();
        assert!(under_way <= 2, "{under_way} requests are in flight");
        if let Some((_, since)) = &self.leader.waiting
            && self.now.since(*since) >= POLL
        {
            self.answer(true);
        }
    }

    /// As the core does: fetches on when all that it has is safe.
    fn go_on(&mut self, id: PartitionId) {
        let replica = self.replica(id);
        if !replica.follows || replica.asked.is_some() || replica.safe < replica.end {
            return;
        }
        replica.asked = Some(replica.end);
        let fetch = FetchRequest {
            leader: BrokerId(1),
            epoch: LeaderEpoch(replica.epoch),
            offset: Offset(replica.end),
            last_fetched_epoch: None,
            log_start: Offset(0),
            after_pause: std::mem::take(&mut replica.paused),
        };
        self.lane.want(self.now, id, fetch);
    }

    fn answer_arrives(&mut self) {
        let Some((request, answer)) = self.answers.pop_front() else { return };
        let mut effects = Vec::new();
        self.lane.answered(self.now, request.number, answer, &mut effects);
        for effect in effects {
            let LaneEffect::Answer(id, answer) = effect else { panic!("nothing is out of range") };
            let replica = self.replica(id);
            assert!(replica.follows, "{id} is told something and does not follow");
            assert_eq!(replica.asked.take(), Some(answer.offset.0), "{id} is given what it did not ask for");
            match answer.reply {
                LeaderReply::Records { mut records, .. } if !records.is_empty() => {
                    let (epoch, start, end) = (records.get_i32(), records.get_i64(), records.get_i64());
                    assert_eq!(start, replica.end, "{id}: records are left out or repeated");
                    assert_eq!(epoch, answer.epoch.0, "{id}: they are for another epoch");
                    replica.end = end;
                }
                LeaderReply::Records { .. } => {}
                LeaderReply::Failed => replica.paused = true,
                other => panic!("{other:?}"),
            }
            self.go_on(id);
        }
    }

    fn request_arrives(&mut self) {
        let Some(request) = self.requests.pop_front() else { return };
        // What is decided before the next request is read.
        if self.leader.waiting.is_some() {
            self.answer(true);
        }
        for (id, want) in &request.wanted {
            let safe = self.replicas[id].safe;
            assert!(want.offset.0 <= safe, "{id}: the leader believes in {} and {safe} is safe", want.offset);
            self.leader.proofs.insert(*id, want.offset.0);
            self.leader.answered.remove(id);
        }
        let wanted = request.wanted.iter().map(|(id, want)| {
            let FetchRequest { epoch, offset, last_fetched_epoch, log_start, .. } = *want;
            (*id, Wanted { epoch, offset, last_fetched_epoch, log_start })
        });
        let outcome = match (request.session_id, &mut self.leader.feed) {
            (0, feed) => {
                self.leader.sessions += 1;
                *feed = Some((self.leader.sessions, Feed::open(wanted)));
                Ok(())
            }
            (session, Some((id, feed))) if session == *id => feed
                .resume(request.session_epoch, wanted, &request.forgotten)
                .map_err(|_| ErrorCode::InvalidFetchSessionEpoch),
            _ => Err(ErrorCode::FetchSessionIdNotFound),
        };
        match outcome {
            Ok(()) => {
                self.leader.waiting = Some((request, self.now));
                self.answer(false);
            }
            Err(code) => {
                self.answers.push_back((request, LaneAnswer { outcome: Err(code), partitions: Vec::new() }));
            }
        }
    }

    fn standing(leader: &Leader, id: PartitionId) -> Standing {
        Standing {
            leads: Some(LeaderEpoch(leader.epochs[&id])),
            log_end: Offset(leader.ends[&id]),
            high_watermark: Offset(0),
            log_start: Offset(0),
        }
    }

    fn changed(&mut self, id: PartitionId) {
        let now = World::standing(&self.leader, id);
        if let Some((_, feed)) = &mut self.leader.feed
            && feed.changed(id, now)
            && self.leader.waiting.is_some()
        {
            self.answer(false);
        }
    }

    /// Answers the request that waits, at once or if there is something.
    fn answer(&mut self, at_once: bool) {
        let session = self.leader.feed.as_ref().map_or(0, |(id, _)| *id);
        let mut partitions = Vec::new();
        if let Some((_, mut feed)) = self.leader.feed.take() {
            while let Some((id, wanted)) = feed.next_look() {
                if partitions.len() == ANSWER_MAX {
                    feed.put_back(id);
                    break;
                }
                let now = World::standing(&self.leader, id);
                let outcome = if now.leads != Some(wanted.epoch) {
                    PartitionOutcome::Failed(ErrorCode::FencedLeaderEpoch)
                } else if now.log_end > wanted.offset {
                    let mut records = BytesMut::new();
                    records.put_i32(wanted.epoch.0);
                    records.put_i64(wanted.offset.0);
                    records.put_i64(now.log_end.0);
                    let (high_watermark, log_start) = (now.high_watermark, now.log_start);
                    PartitionOutcome::Records { records: records.freeze(), high_watermark, log_start }
                } else {
                    feed.looked(id, Look::Nothing);
                    continue;
                };
                feed.looked(id, Look::Answered(now));
                assert!(self.leader.answered.insert(id), "{id} is answered twice");
                partitions.push(PartitionAnswer { partition: id, outcome });
            }
            if at_once || !partitions.is_empty() {
                for (partition, now) in feed.news(ANSWER_MAX, |id| Some(World::standing(&self.leader, id))) {
                    let (high_watermark, log_start) = (now.high_watermark, now.log_start);
                    let outcome =
                        PartitionOutcome::Records { records: Bytes::new(), high_watermark, log_start };
                    partitions.push(PartitionAnswer { partition, outcome });
                }
            }
            self.leader.feed = Some((session, feed));
        }
        if at_once || !partitions.is_empty() {
            let (request, _) = self.leader.waiting.take().expect("somebody waits");
            self.answers.push_back((request, LaneAnswer { outcome: Ok(session), partitions }));
        }
    }

    /// No more faults: everything arrives, and all epochs are known.
    fn come_to_rest(&mut self) {
        for _ in 0..60 {
            for index in 0..PARTITIONS {
                self.take(Step::EpochIsKnown(index));
                self.take(Step::Follow(index));
                self.take(Step::Flush(index));
            }
            for _ in 0..4 {
                self.take(Step::RequestArrives);
                self.take(Step::AnswerArrives);
            }
            self.take(Step::Time(100));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn records_come_once_and_in_order_and_proofs_are_true(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.come_to_rest();
        for index in 0..PARTITIONS {
            let end = world.leader.ends[&id(index)];
            prop_assert_eq!(world.replicas[&id(index)].end, end, "{} is behind", id(index));
            prop_assert_eq!(world.leader.proofs.get(&id(index)), Some(&end), "of {}", id(index));
        }
        // At rest there is one request for each long poll, and it names nobody.
        let sent = world.sent;
        for _ in 0..10 {
            world.take(Step::Time(u16::try_from(POLL.as_millis()).unwrap()));
            world.take(Step::AnswerArrives);
            prop_assert!(world.requests.iter().all(|request| request.wanted.is_empty()));
            world.take(Step::RequestArrives);
        }
        prop_assert!(world.sent - sent <= 11, "{} requests", world.sent - sent);
    }
}
