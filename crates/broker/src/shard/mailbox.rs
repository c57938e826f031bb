//! What a shard is told, and how to reach it.

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

/// Messages that may wait for a shard. A sender waits for room: a slow disk slows its producers.
const MAILBOX_LEN: usize = 1024;

/// A message to a shard.
pub enum Mail {
    /// The appends of one group that are this shard's.
    Append(Vec<AddressedAppend>),
    /// The markers of ended transactions that are this shard's.
    WriteMarkers(Vec<AddressedMarker>),
    /// Transactions are about to be confirmed with their coordinators.
    BeginVerification(Vec<AddressedClaim>),
    /// Take over a partition that has been opened.
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
    /// To the coordinators that live in partitions, in order. What is for one that is gone is dropped: that
    /// tells whoever waits.
    Coordinators(Vec<(PartitionKey, LodgerMail)>),
    /// The world that coordinators know has changed, and these topics are gone.
    Learn(Arc<[Str]>),
    /// The broker stops: coordinators let everybody go who waits for others.
    Resign,
    /// Everything known of the producers of a partition.
    DescribeProducers(PartitionKey, oneshot::Sender<Vec<ProducerState>>),
    /// Give a partition up. Answers when its folder is out of the way.
    Retire { partition: PartitionKey, fate: Fate, done: oneshot::Sender<()> },
    /// Answers when all mail before it has been taken in.
    Barrier(oneshot::Sender<()>),
    /// Flush and close every partition, and end.
    Stop(oneshot::Sender<()>),
}

/// What the metadata says of a partition now.
pub type AddressedState = (PartitionKey, PartitionState);

/// An append with the partition it is for and who waits for it.
pub type AddressedAppend = (PartitionKey, AppendRequest, Ticket);

/// A claim with the partition it is for, and who waits for the guard: `None` if the transaction is open
/// there.
pub type AddressedClaim = (PartitionKey, Claim, oneshot::Sender<Option<VerificationGuard>>);

/// A marker with the partition it is for and who waits for it.
pub type AddressedMarker = (PartitionKey, MarkerRequest, Ticket);

/// A letter to somebody who lives beside a replica, and knows it by its type. The shard only carries it.
pub type LodgerMail = Box<dyn Any + Send>;

/// The shard has ended: the broker is stopping.
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
    /// A shard's handle and the end that its task reads.
    pub fn new(number: usize) -> (ShardHandle, mpsc::Receiver<Mail>) {
        let (mailbox, mail) = mpsc::channel(MAILBOX_LEN);
        (ShardHandle { number, mailbox }, mail)
    }

    /// Sends when there is room.
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

/// Things that go to partitions, sorted by shard, those for one partition in order.
struct ByShard<T> {
    parts: Vec<(ShardHandle, Vec<T>)>,
    /// So many things may go to one shard.
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

    /// Sends each shard its part. A shard that is gone drops it, which tells whoever waits.
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

    /// The next append of the group does not go anywhere.
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
    /// Adds a claim. Its guard comes when all have been sent; nothing comes of a partition that is gone.
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
    /// Adds a marker whose outcome is number `index` of `group`.
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
    /// Adds the next letter. Those to one coordinator arrive in order.
    pub fn add(&mut self, partition: &PartitionHandle, letter: impl Any + Send) {
        self.by_shard.add(partition, (partition.key, Box::new(letter)));
    }

    pub async fn send(self) {
        self.by_shard.send(Mail::Coordinators).await;
    }
}
