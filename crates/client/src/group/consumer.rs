//! The consumer of a group: what its owner can do with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::Offset;
use ottla_wire::Uuid;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use tokio::task::JoinSet;

use super::config::{GroupConfig, GroupProtocol};
use super::driver::{self, Command, Member, Told, Wanted, What};
use super::follow::Step;
use super::listener::RebalanceListener;
use super::membership::{Departure, classic, consumer};
use super::pattern::Pattern;
use super::place::Placed;
use crate::cluster::{Cluster, TopicPartition};
use crate::config::ClientConfig;
use crate::consumer::{Consumer, ConsumerConfig, Seek};
use crate::coordinator::{Coordinated, Coordinator};
use crate::error::{ApiError, Error};
use crate::offsets::{Commit, Committer, Found, GroupMetadata, OffsetAndMetadata, Offsets};
use crate::seam::{self, Instant};

/// Reads the partitions that its group gives it. Not cloneable: one owner, who MUST poll at least every
/// `max.poll.interval.ms`.
///
/// A task in the background keeps the place in the group; what changes the share is done during
/// [`GroupConsumer::poll`], and never else: between two polls the owner has what it had. When it is dropped
/// rather than closed, it still leaves the group, but commits nothing.
pub struct GroupConsumer {
    pub(super) consumer: Consumer,
    pub(super) config: GroupConfig,
    pub(super) coordinator: Arc<Coordinator>,
    pub(super) member: Member,
    pub(super) committer: Committer,
    pub(super) listener: Option<Box<dyn RebalanceListener>>,
    /// What the member is told to do and has not done yet.
    pub(super) steps: VecDeque<Step>,
    /// Searches for committed offsets, and the partitions that they are for.
    pub(super) placed: JoinSet<Placed>,
    pub(super) placing: BTreeMap<TopicPartition, u64>,
    /// Errors that the next poll gives.
    pub(super) errors: VecDeque<Error>,
    /// Why the member cannot go on.
    pub(super) failed: Option<Error>,
    /// Counts how often it unsubscribed.
    pub(super) incarnation: u64,
    pub(super) auto_commit: AutoCommit,
}

pub(super) struct AutoCommit {
    pub(super) due: Instant,
    pub(super) under_way: Option<Commit>,
}

impl GroupConsumer {
    /// A consumer with a cluster of its own. MUST be called in a tokio runtime. Joins nothing before it
    /// subscribes.
    pub fn new(
        client: ClientConfig,
        consumer: ConsumerConfig,
        group: GroupConfig,
    ) -> Result<GroupConsumer, Error> {
        GroupConsumer::on(Cluster::new(client)?, consumer, group)
    }

    /// A consumer on a cluster that others may use, too.
    pub fn on(
        cluster: Cluster,
        consumer: ConsumerConfig,
        group: GroupConfig,
    ) -> Result<GroupConsumer, Error> {
        group.check()?;
        let coordinator =
            Arc::new(Coordinator::new(cluster.clone(), Coordinated::Group, Str::from(&group.group_id)));
        let member = start_member(&cluster, &consumer, &group, coordinator.clone());
        Ok(GroupConsumer {
            committer: Committer::start(coordinator.clone(), member.identity.clone()),
            consumer: Consumer::on(cluster, consumer),
            auto_commit: AutoCommit { due: seam::now() + group.auto_commit_interval, under_way: None },
            config: group,
            coordinator,
            member,
            listener: None,
            steps: VecDeque::new(),
            placed: JoinSet::new(),
            placing: BTreeMap::new(),
            errors: VecDeque::new(),
            failed: None,
            incarnation: 0,
        })
    }

    /// Who is told when the share changes, instead of whoever was before.
    pub fn set_listener(&mut self, listener: impl RebalanceListener + 'static) {
        self.listener = Some(Box::new(listener));
    }

    /// Subscribes to these topics, and to no others. Topics that do not exist yet count from when they do. To
    /// subscribe to none, use [`GroupConsumer::unsubscribe`].
    pub fn subscribe<T: Into<Str>>(&mut self, topics: impl IntoIterator<Item = T>) -> Result<(), Error> {
        let topics: BTreeSet<Str> = topics.into_iter().map(Into::into).collect();
        if topics.is_empty() {
            let (name, value, reason) = ("topics", "none".to_owned(), "name at least one, or unsubscribe");
            return Err(Error::Config { name, value, reason });
        }
        self.want(What::Topics(topics));
        Ok(())
    }

    /// Subscribes to all topics whose whole name matches, also those that come later. RE2's syntax.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), Error> {
        let pattern = Pattern::new(pattern, self.config.exclude_internal_topics)?;
        self.want(What::Pattern(pattern));
        Ok(())
    }

    /// Gives up all partitions (committing, and telling the listener, as before any rebalance) and leaves the
    /// group.
    pub async fn unsubscribe(&mut self) -> Result<(), Error> {
        let outcome = self.give_up_all().await;
        self.incarnation += 1;
        self.want(What::Nothing);
        self.steps.clear();
        outcome
    }

    /// Commits where it is in every partition that it has.
    pub async fn commit(&self) -> Result<(), Error> {
        self.commit_async().await
    }

    /// Commits these offsets: each that of the next record to be read.
    pub async fn commit_offsets(&self, offsets: Offsets) -> Result<(), Error> {
        self.commit_offsets_async(offsets).await
    }

    /// [`GroupConsumer::commit`], without waiting for it.
    pub fn commit_async(&self) -> Commit {
        self.commit_offsets_async(self.positions(|_| true))
    }

    /// [`GroupConsumer::commit_offsets`], without waiting for it. Commits are carried out in the order of
    /// these calls; tried again for up to `default.api.timeout.ms` where that helps.
    pub fn commit_offsets_async(&self, offsets: Offsets) -> Commit {
        let who = self.group_metadata();
        // Without a generation it would pass for a commit from outside of the group.
        if who.generation < 0 && !offsets.is_empty() {
            let message = Some("this consumer is not a member of its group now; nothing was sent".to_owned());
            return Commit::settled(Err(Error::Api(ApiError { code: ErrorCode::UnknownMemberId, message })));
        }
        self.committer.commit(who, offsets)
    }

    /// What the group has committed; none where it has not. Tries again for up to `default.api.timeout.ms`.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, Error> {
        let found: Found = self.reader().read(partitions.into_iter().collect()).await?;
        Ok(found)
    }

    /// The partitions that it has.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.consumer.assignment()
    }

    /// Goes elsewhere in a partition, which it MUST have.
    pub fn seek(&mut self, partition: &TopicPartition, to: Seek) -> Result<(), Error> {
        self.consumer.seek(partition, to)
    }

    /// The offset of the next record that it gives of a partition; none while that is not known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.consumer.position(partition)
    }

    /// How many offsets a partition's end was ahead of the position at the last fetch; none while that is not
    /// known.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        let (end, position) = (self.consumer.readable_end(partition)?, self.consumer.position(partition)?);
        Some(end.0.saturating_sub(position.0).max(0))
    }

    /// Gives no records of a partition, and fetches none, until [`GroupConsumer::resume`], or until it is
    /// given up.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), Error> {
        self.consumer.pause(partition)
    }

    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), Error> {
        self.consumer.resume(partition)
    }

    /// Who it is in the group now, as those need it who commit in its name (transactions).
    pub fn group_metadata(&self) -> GroupMetadata {
        self.member.identity.borrow().clone()
    }

    /// Why it cannot be a member any more (fenced, not authorized, refused); every poll says this from then
    /// on.
    pub fn failure(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    pub fn cluster(&self) -> &Cluster {
        self.consumer.cluster()
    }

    /// Commits where it is (with `enable.auto.commit`), waits for earlier commits, tells the listener, and
    /// leaves the group, all within `timeout`. An error is that of the commit; it leaves all the same.
    pub async fn close(self, timeout: Duration) -> Result<(), Error> {
        self.close_as(Departure::Default, timeout).await
    }

    /// [`GroupConsumer::close`], leaving the group in another way.
    pub async fn close_as(mut self, departure: Departure, timeout: Duration) -> Result<(), Error> {
        let deadline = seam::now() + timeout;
        let outcome = tokio::time::timeout_at(deadline, self.give_up_all()).await;
        let outcome = outcome.unwrap_or(Err(Error::Waited { what: "the last commit", after: timeout }));
        if self.member.commands.try_send(Command::Close(departure)).is_ok() {
            let closed = async {
                while let Some(told) = self.member.told.recv().await {
                    if matches!(told, Told::Closed) {
                        return;
                    }
                }
            };
            if tokio::time::timeout_at(deadline, closed).await.is_err() {
                tracing::debug!(group = %self.coordinator.key(), "closed before the group was left");
            }
        }
        outcome
    }

    fn want(&mut self, what: What) {
        self.member.wanted.send_replace(Wanted { incarnation: self.incarnation, what });
    }

    /// Positions of partitions, to be committed.
    pub(super) fn positions(&self, of: impl Fn(&TopicPartition) -> bool) -> Offsets {
        let positions = self.consumer.positions().filter(|(partition, ..)| of(partition));
        let offsets = positions.map(|(partition, offset, leader_epoch)| {
            let committed = OffsetAndMetadata { offset, leader_epoch, metadata: String::new() };
            (partition.clone(), committed)
        });
        offsets.collect()
    }
}

fn start_member(
    cluster: &Cluster,
    consumer: &ConsumerConfig,
    group: &GroupConfig,
    coordinator: Arc<Coordinator>,
) -> Member {
    let rack = (!consumer.client_rack.is_empty()).then(|| Str::from(&consumer.client_rack));
    let instance = group.group_instance_id.as_ref().map(Str::from);
    match group.group_protocol {
        GroupProtocol::Classic => {
            let settings = classic::Settings {
                group: coordinator.key().clone(),
                instance,
                rack,
                assignors: group.partition_assignment_strategy.clone(),
                session_timeout: group.session_timeout,
                heartbeat_interval: group.heartbeat_interval,
                max_poll_interval: group.max_poll_interval,
            };
            driver::start(classic::Classic::new(settings), coordinator)
        }
        GroupProtocol::Consumer => {
            let settings = consumer::Settings {
                group: coordinator.key().clone(),
                member_id: Str::from(Uuid(cluster.dice().bytes()).to_string()),
                instance,
                rack,
                assignor: group.group_remote_assignor.as_ref().map(Str::from),
                max_poll_interval: group.max_poll_interval,
            };
            driver::start(consumer::Consumer::new(settings), coordinator)
        }
    }
}
