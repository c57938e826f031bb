//! The messages to a shard, and the way to it.

use std::any::Any;
use std::sync::Arc;

use ottla_partition::{AppendRequest, Claim, DeleteOutcome, Fate, MarkerRequest};
use ottla_replica::{
    AppendError, DeleteTo, FollowerFetch, PartitionState, ProducerState, ReplicaConfig, VerificationGuard,
};
use ottla_wire::Instant;
use ottla_wire::primitives::Str;
use tokio::sync::{mpsc, oneshot};

use super::appends::{AppendGroup, Ticket};
use super::driver::PartitionDriver;
use crate::partition::{PartitionHandle, PartitionKey};

/// The most messages in a shard's mailbox. Senders wait for room, so a slow disk slows its producers.
const MAILBOX_LEN: usize = 1024;

/// A message to a shard.
pub enum Mail {
    /// The appends of one group for this shard.
    Append(Vec<AddressedAppend>),
    /// The markers of ended transactions for this shard.
    WriteMarkers(Vec<AddressedMarker>),
    /// Transactions are about to be confirmed with their coordinators.
    BeginVerification(Vec<AddressedClaim>),
    /// Take over an opened partition.
    Adopt(Box<PartitionDriver>),
    /// The metadata of partitions has changed.
    Assign(Vec<AddressedState>),
    /// Settings of a partition have changed.
    Configure(PartitionKey, ReplicaConfig, ottla_log::LogConfig),
    DeleteRecords {
        partition: PartitionKey,
        before: DeleteTo,
        deadline: Instant,
        reply: oneshot::Sender<DeleteOutcome>,
    },
    /// A follower has fetched.
    FollowerFetched(PartitionKey, FollowerFetch),
    /// Mail to the coordinators in partitions, in order. Mail to a coordinator that has ended is dropped,
    /// which informs its waiters.
    Coordinators(Vec<(PartitionKey, LodgerMail)>),
    /// The world of the coordinators has changed, and these topics were deleted.
    Learn(Arc<[Str]>),
    /// The broker stops. Coordinators release the requests that wait for others.
    Resign,
    /// Describe all producers of a partition.
    DescribeProducers(PartitionKey, oneshot::Sender<Vec<ProducerState>>),
    /// Give a partition up. Answers when its folder is out of the way.
    Retire { partition: PartitionKey, fate: Fate, done: oneshot::Sender<()> },
    /// Answers when all earlier mail has been processed.
    Barrier(oneshot::Sender<()>),
    /// Flush and close every partition, then end.
    Stop(oneshot::Sender<()>),
}

/// The new metadata of a partition.
pub type AddressedState = (PartitionKey, PartitionState);

/// An append, its partition, and the waiter for its outcome.
pub type AddressedAppend = (PartitionKey, AppendRequest, Ticket);

/// A claim, its partition, and the waiter for the guard: `None` if the transaction is open there.
pub type AddressedClaim = (PartitionKey, Claim, oneshot::Sender<Option<VerificationGuard>>);

/// A marker, its partition, and the waiter for its outcome.
pub type AddressedMarker = (PartitionKey, MarkerRequest, Ticket);

/// A letter to a lodger beside a replica, which knows the type. The shard only carries it.
pub type LodgerMail = Box<dyn Any + Send>;

/// The shard has ended, because the broker is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is stopping")]
pub struct ShardGone;

/// The way to one shard. Cheap to clone.
#[derive(Clone)]
pub struct ShardHandle {
    number: usize,
    mailbox: mpsc::Sender<Mail>,
}

impl ShardHandle {
    /// A shard's handle, and the receiver for its task.
    pub fn new(number: usize) -> (ShardHandle, mpsc::Receiver<Mail>) {
        let (mailbox, mail) = mpsc::channel(MAILBOX_LEN);
        (ShardHandle { number, mailbox }, mail)
    }

    /// Sends a message, once there is room.
    pub async fn send(&self, mail: Mail) -> Result<(), ShardGone> {
        self.mailbox.send(mail).await.map_err(|_| ShardGone)
    }
}

/// All shards of the broker.
#[derive(Clone)]
pub struct Shards {
    shards: Arc<[ShardHandle]>,
}

impl Shards {
    pub fn new(shards: Vec<ShardHandle>) -> Shards {
        assert!(!shards.is_empty(), "a broker has at least one shard");
        Shards { shards: shards.into() }
    }

    /// The shard for the partition with this key.
    pub fn for_key(&self, key: PartitionKey) -> &ShardHandle {
        let number = key.0 % self.shards.len() as u64;
        &self.shards[number as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = &ShardHandle> {
        self.shards.iter()
    }
}

/// Items for partitions, sorted by shard. Those for one partition keep their order.
struct ByShard<T> {
    parts: Vec<(ShardHandle, Vec<T>)>,
    /// The expected number of items for one shard.
    expected: usize,
}

impl<T> ByShard<T> {
    fn expecting(expected: usize) -> ByShard<T> {
        ByShard { parts: Vec::new(), expected }
    }

    fn add(&mut self, partition: &PartitionHandle, item: T) {
        match self.parts.iter_mut().find(|(shard, _)| shard.number == partition.shard.number) {
            Some((_, items)) => items.push(item),
            None => {
                let mut items = Vec::with_capacity(self.expected);
                items.push(item);
                self.parts.push((partition.shard.clone(), items));
            }
        }
    }

    /// Sends each shard its part. If a shard has ended, its part is dropped, which informs the waiters.
    async fn send(self, mail: fn(Vec<T>) -> Mail) {
        for (shard, items) in self.parts {
            let _gone = shard.send(mail(items)).await;
        }
    }
}

impl<T> Default for ByShard<T> {
    fn default() -> ByShard<T> {
        ByShard::expecting(1)
    }
}

/// The appends of a group, sorted by shard.
pub struct ShardBatches<'a> {
    group: &'a Arc<AppendGroup>,
    added: usize,
    by_shard: ByShard<AddressedAppend>,
}

impl<'a> ShardBatches<'a> {
    pub fn new(group: &'a Arc<AppendGroup>) -> ShardBatches<'a> {
        ShardBatches { group, added: 0, by_shard: ByShard::expecting(group.len()) }
    }

    /// Adds the next append of the group.
    pub fn add(&mut self, partition: &PartitionHandle, append: AppendRequest) {
        let ticket = self.next_ticket();
        self.by_shard.add(partition, (partition.key, append, ticket));
    }

    /// Refuses the next append of the group without sending it.
    pub fn refuse(&mut self, why: AppendError) {
        self.next_ticket().answer(Err(why));
    }

    pub async fn send(self) {
        self.by_shard.send(Mail::Append).await;
    }

    fn next_ticket(&mut self) -> Ticket {
        self.added += 1;
        Ticket::new(self.group, self.added - 1)
    }
}

/// Claims, sorted by shard.
#[derive(Default)]
pub struct ShardClaims {
    by_shard: ByShard<AddressedClaim>,
}

impl ShardClaims {
    /// Adds a claim. The guard arrives after all claims have been sent. Nothing arrives for a partition that
    /// was removed.
    pub fn add(
        &mut self,
        partition: &PartitionHandle,
        claim: Claim,
    ) -> oneshot::Receiver<Option<VerificationGuard>> {
        let (reply, guard) = oneshot::channel();
        self.by_shard.add(partition, (partition.key, claim, reply));
        guard
    }

    pub async fn send(self) {
        self.by_shard.send(Mail::BeginVerification).await;
    }
}

/// Markers, sorted by shard.
#[derive(Default)]
pub struct ShardMarkers {
    by_shard: ByShard<AddressedMarker>,
}

impl ShardMarkers {
    /// Adds a marker. Its outcome is number `index` of `group`.
    pub fn add(
        &mut self,
        partition: &PartitionHandle,
        marker: MarkerRequest,
        group: &Arc<AppendGroup>,
        index: usize,
    ) {
        self.by_shard.add(partition, (partition.key, marker, Ticket::new(group, index)));
    }

    pub async fn send(self) {
        self.by_shard.send(Mail::WriteMarkers).await;
    }
}

/// States of partitions, sorted by shard.
#[derive(Default)]
pub struct ShardStates {
    by_shard: ByShard<AddressedState>,
}

impl ShardStates {
    pub fn add(&mut self, partition: &PartitionHandle, state: PartitionState) {
        self.by_shard.add(partition, (partition.key, state));
    }

    pub async fn send(self) {
        self.by_shard.send(Mail::Assign).await;
    }
}

/// Letters to coordinators, sorted by shard.
#[derive(Default)]
pub struct Letters {
    by_shard: ByShard<(PartitionKey, LodgerMail)>,
}

impl Letters {
    /// Adds the next letter. Letters to one coordinator keep their order.
    pub fn add(&mut self, partition: &PartitionHandle, letter: impl Any + Send) {
        self.by_shard.add(partition, (partition.key, Box::new(letter)));
    }

    pub async fn send(self) {
        self.by_shard.send(Mail::Coordinators).await;
    }
}
