//! Laws that both cores keep whatever is answered, in whatever order things happen: the owner is told only
//! what it can carry out, the coordinator is told only what is so, and when all is calm the member has its
//! share.

use std::collections::VecDeque;

use ottla_wire::Uuid;
use ottla_wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use ottla_wire::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    SyncGroupResponse,
};
use ottla_wire::protocol::ErrorCode;
use proptest::prelude::*;

use super::classic::{Classic, metadata_of};
use super::consumer::Consumer;
use super::*;
use crate::group::assignor::Assignor;
use crate::group::protocol::{Subscribed, encode_assignment};

/// Rounds in which everything is answered well, after which the member must have its share.
const CALM_ROUNDS: usize = 30;
const MAX_POLL: Duration = Duration::from_secs(300);

/// Something that happens.
#[derive(Clone, Debug)]
enum Op {
    /// The oldest question is answered: well (with these partitions), or with an error.
    Answer {
        error: Option<ErrorCode>,
        share: u8,
    },
    /// The owner carries out the oldest change.
    CarryOut,
    /// So many seconds pass, while the owner polls or does not.
    Wait {
        seconds: u64,
        polling: bool,
    },
    Subscribe(u8),
    Unsubscribe,
    Look,
}

fn some_op() -> impl Strategy<Value = Op> {
    use ErrorCode::{
        CoordinatorLoadInProgress, FencedMemberEpoch, IllegalGeneration, MemberIdRequired, NotCoordinator,
        RebalanceInProgress, UnknownMemberId,
    };
    let errors = [
        CoordinatorLoadInProgress,
        FencedMemberEpoch,
        IllegalGeneration,
        MemberIdRequired,
        NotCoordinator,
        RebalanceInProgress,
        UnknownMemberId,
    ];
    prop_oneof![
        6 => any::<u8>().prop_map(|share| Op::Answer { error: None, share }),
        2 => prop::sample::select(errors.to_vec()).prop_map(|error| Op::Answer { error: Some(error), share: 0 }),
        4 => Just(Op::CarryOut),
        3 => (1..7u64, any::<bool>()).prop_map(|(seconds, polling)| Op::Wait { seconds, polling }),
        1 => Just(Op::Wait { seconds: 400, polling: false }),
        1 => (1..4u8).prop_map(Op::Subscribe),
        1 => Just(Op::Unsubscribe),
        2 => Just(Op::Look),
    ]
}

/// Eight partitions, one for each bit: t-0 to t-3, u-0 to u-3.
fn partitions(bits: u8) -> BTreeSet<TopicPartition> {
    let of = |bit: i32| TopicPartition::new(if bit < 4 { "t" } else { "u" }, bit % 4);
    (0..8).filter(|bit| bits & (1 << bit) != 0).map(of).collect()
}

/// One topic or both.
fn subscription(bits: u8) -> Subscription {
    let topics = [("t", 1), ("u", 2)].into_iter().filter(|(_, bit)| bits & bit != 0);
    Subscription { topics: topics.map(|(topic, _)| Str::from(topic)).collect(), regex: None }
}

/// What a protocol's questions say, and what they are answered.
trait Asks: Core {
    fn is_farewell(question: &Self::Question) -> bool;
    /// Questions of a kind that may be under way beside others.
    fn is_alone(question: &Self::Question) -> bool;
    /// What the member says that it has, if it does.
    fn owned(question: &Self::Question) -> Option<BTreeSet<TopicPartition>>;
    fn joins(question: &Self::Question) -> bool;
    fn answer(
        question: &Self::Question,
        error: Option<ErrorCode>,
        share: &BTreeSet<TopicPartition>,
        round: i32,
    ) -> Self::Answer;
}

impl Asks for Consumer {
    fn is_farewell(question: &Self::Question) -> bool {
        question.member_epoch < 0
    }

    fn is_alone(_: &Self::Question) -> bool {
        true
    }

    fn owned(question: &Self::Question) -> Option<BTreeSet<TopicPartition>> {
        let name = |id: TopicId| std::str::from_utf8(&id.0[..1]).unwrap().to_owned();
        let topics = question.topic_partitions.as_ref()?;
        let of = topics
            .iter()
            .flat_map(|of| of.partitions.iter().map(|&p| TopicPartition::new(name(of.topic_id), p)));
        Some(of.collect())
    }

    fn joins(question: &Self::Question) -> bool {
        question.member_epoch == 0
    }

    fn answer(
        question: &Self::Question,
        error: Option<ErrorCode>,
        share: &BTreeSet<TopicPartition>,
        round: i32,
    ) -> Self::Answer {
        let assigned = share.iter().map(|of| TopicPartitions {
            topic_id: Uuid([of.topic.as_bytes()[0]; 16]),
            partitions: vec![of.partition],
        });
        Ok(ConsumerGroupHeartbeatResponse {
            error_code: error.unwrap_or(ErrorCode::None).code(),
            member_epoch: if question.member_epoch < 0 { question.member_epoch } else { round },
            heartbeat_interval_ms: 5000,
            assignment: Some(Assignment { topic_partitions: assigned.collect() }),
            ..Default::default()
        })
    }
}

impl Asks for Classic {
    fn is_farewell(question: &Self::Question) -> bool {
        matches!(question, classic::Question::Leave { .. })
    }

    fn is_alone(question: &Self::Question) -> bool {
        matches!(question, classic::Question::Join(_) | classic::Question::Sync(_))
    }

    fn owned(question: &Self::Question) -> Option<BTreeSet<TopicPartition>> {
        let classic::Question::Join(request) = question else { return None };
        Some(Subscribed::decode(request.protocols[0].metadata.clone()).unwrap().owned)
    }

    fn joins(question: &Self::Question) -> bool {
        let classic::Question::Join(request) = question else { return false };
        Subscribed::decode(request.protocols[0].metadata.clone()).unwrap().generation < 0
    }

    fn answer(
        question: &Self::Question,
        error: Option<ErrorCode>,
        share: &BTreeSet<TopicPartition>,
        round: i32,
    ) -> Self::Answer {
        let error_code = error.unwrap_or(ErrorCode::None).code();
        match question {
            classic::Question::Join(_) => classic::Answer::Join(Ok(JoinGroupResponse {
                error_code,
                generation_id: round,
                member_id: "me".into(),
                leader: "you".into(),
                ..Default::default()
            })),
            classic::Question::Sync(_) => {
                let assignment = encode_assignment(share).unwrap();
                classic::Answer::Sync(Ok(SyncGroupResponse { error_code, assignment, ..Default::default() }))
            }
            classic::Question::Heartbeat(_) => {
                classic::Answer::Heartbeat(Ok(HeartbeatResponse { error_code, ..Default::default() }))
            }
            classic::Question::Leave { .. } => {
                classic::Answer::Leave(Ok(LeaveGroupResponse { error_code, ..Default::default() }))
            }
        }
    }
}

/// A core with its owner and its coordinator.
struct World<C: Asks> {
    core: C,
    now: Instant,
    polled: Instant,
    held: BTreeSet<TopicPartition>,
    told: VecDeque<(Ticket, Change)>,
    asked: VecDeque<(Ticket, C::Question)>,
    looked: Option<Ticket>,
    failed: bool,
    round: i32,
}

impl<C: Asks> World<C> {
    fn new(core: C) -> World<C> {
        let now = crate::seam::now();
        World {
            core,
            now,
            polled: now,
            held: BTreeSet::new(),
            told: VecDeque::new(),
            asked: VecDeque::new(),
            looked: None,
            failed: false,
            round: 0,
        }
    }

    fn step(&mut self, event: Event<C::Answer>) {
        let mut effects = Vec::new();
        self.core.step(Now { at: self.now, polled_at: self.polled }, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Ask { ticket, question, .. } => self.ask(ticket, question),
                Effect::Look { ticket, .. } => self.looked = Some(ticket),
                Effect::Tell { ticket, change } => {
                    self.told.push_back((ticket, change));
                    assert!(self.told.len() <= 2, "one change after another, and a loss: {:?}", self.told);
                }
                Effect::Become(_) | Effect::Report(_) | Effect::Closed => {}
                Effect::Fail(_) => self.failed = true,
            }
        }
    }

    fn ask(&mut self, ticket: Ticket, question: C::Question) {
        if C::is_farewell(&question) {
            self.asked.clear();
        } else if C::is_alone(&question) {
            self.asked.retain(|(_, before)| !C::is_alone(before) || C::is_farewell(before));
            let farewell = self.asked.iter().any(|(_, before)| C::is_farewell(before) && C::is_alone(before));
            assert!(!farewell, "a member that leaves says nothing more before that is answered");
        }
        if let Some(owned) = C::owned(&question) {
            assert!(!C::joins(&question) || owned.is_empty(), "who joins has nothing: {owned:?}");
            assert!(self.held.is_subset(&owned), "it has {:?} and says {owned:?}", self.held);
            let mut known = self.held.clone();
            for (_, change) in &self.told {
                if let Change::Assign(new) = change {
                    known.extend(new.iter().cloned());
                }
            }
            assert!(owned.is_subset(&known), "it says {owned:?} and has {known:?}");
        }
        self.asked.push_back((ticket, question));
    }

    fn carry_out(&mut self) {
        let Some((ticket, change)) = self.told.pop_front() else { return };
        match change {
            Change::Assign(new) => {
                assert!(self.held.is_disjoint(&new), "it has {:?} and is told to take {new:?}", self.held);
                self.held.extend(new);
            }
            Change::Revoke(gone) => {
                assert!(gone.is_subset(&self.held), "it has {:?} and is told to give up {gone:?}", self.held);
                self.held.retain(|of| !gone.contains(of));
            }
            Change::Lose(gone) => {
                self.held.retain(|of| !gone.contains(of));
                assert!(self.held.is_empty(), "after a loss nothing is left: {:?}", self.held);
            }
        }
        self.step(Event::Done { ticket });
    }

    fn answer(&mut self, error: Option<ErrorCode>, share: &BTreeSet<TopicPartition>) {
        let Some((ticket, question)) = self.asked.pop_front() else { return };
        self.round += 1;
        let answer = C::answer(&question, error, share, self.round);
        self.step(Event::Answered { ticket, answer });
    }

    fn look(&mut self) {
        let metadata = Arc::new(metadata_of(&[("t", 4), ("u", 4)]));
        if let Some(ticket) = self.looked.take() {
            self.step(Event::Looked { ticket, metadata });
        }
    }

    fn wait(&mut self, seconds: u64, polling: bool) {
        self.now += Duration::from_secs(seconds);
        if polling {
            self.polled = self.now;
        }
        self.step(Event::Tick);
    }

    fn happen(&mut self, op: Op) {
        match op {
            Op::Answer { error, share } => self.answer(error, &partitions(share)),
            Op::CarryOut => {
                self.polled = self.now;
                self.carry_out();
            }
            Op::Wait { seconds, polling } => self.wait(seconds, polling),
            Op::Subscribe(topics) => self.step(Event::Subscribed(subscription(topics))),
            Op::Unsubscribe => {
                self.told.clear();
                self.held.clear();
                self.step(Event::Unsubscribed);
            }
            Op::Look => self.look(),
        }
    }

    /// Nothing goes wrong any more: the member comes to have what it is given.
    fn calm_down(&mut self, share: &BTreeSet<TopicPartition>) {
        // Whatever it was, it changes, so that a classic group rebalances once more.
        self.step(Event::Subscribed(subscription(1)));
        self.step(Event::Subscribed(subscription(3)));
        for _ in 0..CALM_ROUNDS {
            self.look();
            self.polled = self.now;
            self.carry_out();
            self.answer(None, share);
            self.wait(5, true);
        }
        assert!(self.failed || self.held == *share, "it has {:?}, not {share:?}", self.held);
    }
}

fn classic(assignor: Assignor) -> Classic {
    Classic::new(classic::Settings {
        group: "g".into(),
        instance: None,
        rack: None,
        assignors: vec![assignor],
        session_timeout: Duration::from_secs(45),
        heartbeat_interval: Duration::from_secs(3),
        max_poll_interval: MAX_POLL,
    })
}

fn consumer() -> Consumer {
    Consumer::new(consumer::Settings {
        group: "g".into(),
        member_id: "me".into(),
        instance: None,
        rack: None,
        assignor: None,
        max_poll_interval: MAX_POLL,
    })
}

fn check<C: Asks>(core: C, ops: Vec<Op>, share: u8) {
    let mut world = World::new(core);
    for op in ops {
        world.happen(op);
    }
    world.calm_down(&partitions(share));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_eager_member_keeps_the_laws(ops in prop::collection::vec(some_op(), 0..60), share: u8) {
        check(classic(Assignor::Range), ops, share);
    }

    #[test]
    fn a_cooperative_member_keeps_the_laws(ops in prop::collection::vec(some_op(), 0..60), share: u8) {
        check(classic(Assignor::CooperativeSticky), ops, share);
    }

    #[test]
    fn a_member_of_the_consumer_protocol_keeps_the_laws(ops in prop::collection::vec(some_op(), 0..60), share: u8) {
        check(consumer(), ops, share);
    }
}
