//! The coordinator of a partition in its shard: its host (`ottla-partition`), the waiters for its answers,
//! and its effects, such as reading its log off the shard.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_coordinator::{Frame, Moment, Refusal};
use ottla_group::GroupCoordinator;
use ottla_partition::load::{LoadError, Skipped, read};
use ottla_partition::{
    AppendOutcome, Generation, Host, HostEffect, HostStatus, Household, Load, Loaded, Lodger, LodgerAppend,
    NewUuid, Seen, Turn, Unserved,
};
use ottla_replica::ViewRole;
use ottla_txn::TxnCoordinator;
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, LeaderEpoch, Offset};

use super::desk::Coordinators;
use super::internal;
use super::kind::{AnswerWaiters, CoordinatorKind, Home, Letter, PendingRequest};
use super::kit::{Counted, Kit, Metered};
use crate::partition::PartitionHandle;
use crate::shard::{Letters, LodgerMail, Partition};

/// The pause after a load that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The coordinator of a partition, by kind.
pub enum Coordinating {
    Groups(Box<Hosted<GroupCoordinator>>),
    Transactions(Box<Hosted<TxnCoordinator>>),
}

impl Coordinating {
    /// The coordinator for a partition, or none if its topic has no coordinators.
    pub fn of(partition: &Arc<PartitionHandle>, desk: &Arc<Coordinators>) -> Option<Coordinating> {
        let home = || Home { partition: partition.clone(), kit: desk.kit().clone(), desk: desk.clone() };
        match &*partition.topic {
            internal::OFFSETS_TOPIC => Some(Coordinating::Groups(Box::new(Hosted::new(home())))),
            internal::TRANSACTIONS_TOPIC => Some(Coordinating::Transactions(Box::new(Hosted::new(home())))),
            _ => None,
        }
    }

    /// Delivers mail to it. Returns mail for another kind.
    pub fn take(&mut self, at: &Moment, mail: LodgerMail, partition: &Partition) -> Option<LodgerMail> {
        match self {
            Coordinating::Groups(hosted) => hand(hosted, at, mail, partition),
            Coordinating::Transactions(hosted) => hand(hosted, at, mail, partition),
        }
    }

    /// Takes in that the world has changed and that these topics are gone.
    pub fn learn(&mut self, at: &Moment, deleted: &[Str]) {
        match self {
            Coordinating::Groups(hosted) => hosted.learn(at, deleted),
            Coordinating::Transactions(hosted) => hosted.learn(at, deleted),
        }
    }

    /// Carries out the coordinator's effects. Called after every turn.
    pub fn carry_out(&mut self) {
        match self {
            Coordinating::Groups(hosted) => hosted.carry_out(),
            Coordinating::Transactions(hosted) => hosted.carry_out(),
        }
    }

    fn lodger(&mut self) -> &mut dyn Lodger {
        match self {
            Coordinating::Groups(hosted) => hosted.lodger(),
            Coordinating::Transactions(hosted) => hosted.lodger(),
        }
    }
}

impl Lodger for Coordinating {
    fn next_batch(&mut self, turn: Turn) -> Option<LodgerAppend> {
        self.lodger().next_batch(turn)
    }

    fn appended(&mut self, generation: Generation, outcome: AppendOutcome) {
        self.lodger().appended(generation, outcome);
    }

    fn settle(&mut self, turn: Turn, uuids: &mut NewUuid<'_>, seen: &Seen<'_>) -> bool {
        self.lodger().settle(turn, uuids, seen)
    }

    fn tick(&mut self, at: &Moment) {
        self.lodger().tick(at);
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self {
            Coordinating::Groups(hosted) => hosted.as_lodger().next_deadline(),
            Coordinating::Transactions(hosted) => hosted.as_lodger().next_deadline(),
        }
    }

    fn resign(&mut self) {
        self.lodger().resign();
    }
}

/// A coordinator, and the waiters for its answers.
pub struct Hosted<K: CoordinatorKind> {
    host: Host<AtHome<K>>,
    home: Home,
    waiting: AnswerWaiters<K::Answer>,
    /// Its status when last looked at, and its entry in the gauge for that status.
    status: HostStatus,
    counted: Option<Counted>,
}

/// The host's access to this broker.
struct AtHome<K: CoordinatorKind> {
    home: Home,
    /// Set while the coordinator serves.
    metered: Option<Metered>,
    kind: PhantomData<fn() -> K>,
}

impl<K: CoordinatorKind> Hosted<K> {
    pub fn new(home: Home) -> Hosted<K> {
        let at_home = AtHome { home: home.clone(), metered: None, kind: PhantomData };
        let host = Host::new(at_home);
        Hosted { host, home, waiting: AnswerWaiters::default(), status: HostStatus::Away, counted: None }
    }

    pub fn lodger(&mut self) -> &mut dyn Lodger {
        &mut self.host
    }

    pub fn as_lodger(&self) -> &dyn Lodger {
        &self.host
    }

    pub fn take(&mut self, at: &Moment, letter: Letter<K>, partition: &Partition) {
        match letter {
            Letter::Ask(asked) => self.ask(at, *asked, partition),
            Letter::Act(act) => self.host.act(|core, out| act(core, at, out)),
            Letter::Look(look) => {
                if let Some(core) = self.host.core() {
                    look(core);
                }
            }
            Letter::Loaded(loaded) => self.host.loaded(*loaded, partition.log().log_end()),
        }
    }

    /// Takes in that the world has changed and that these topics are gone.
    pub fn learn(&mut self, at: &Moment, deleted: &[Str]) {
        self.host.learn(at, deleted);
    }

    /// Carries out the coordinator's effects. To be called after every turn, once the partition's own effects
    /// are published.
    pub fn carry_out(&mut self) {
        self.tally();
        let Hosted { host, home, waiting, .. } = self;
        for effect in host.take_effects() {
            match effect {
                HostEffect::Load(what) => {
                    home.desk.tasks.errand("load of a coordinator", load(home.clone(), what));
                }
                HostEffect::Serves { after } => count_load(&home.kit, after),
                HostEffect::LetGo => waiting.clear(),
                HostEffect::Say(outbound) => K::deliver(outbound, waiting, home),
            }
        }
    }

    fn ask(&mut self, at: &Moment, asked: PendingRequest<K>, partition: &Partition) {
        let claim = asked.proof.map_or(Ok(()), |proof| proof.check(partition));
        let ticket = self.waiting.add(asked.answer);
        match self.host.ask(at, ticket, asked.request, claim) {
            Ok(()) => {}
            // The dropped request reports it.
            Err(Unserved::Refused(Refusal::NotCoordinator)) => self.waiting.forget(ticket),
            Err(unserved) => self.waiting.refuse(ticket, unserved),
        }
    }

    /// Counts it in the gauge of its status.
    fn tally(&mut self) {
        let status = self.host.status();
        if status == self.status {
            return;
        }
        self.status = status;
        let kit = &self.home.kit;
        self.counted = match status {
            HostStatus::Away => None,
            HostStatus::Loading => Some(Counted::new(kit, |counts| &counts.loading)),
            HostStatus::Serving => Some(Counted::new(kit, |counts| &counts.active)),
        };
        if status != HostStatus::Serving {
            self.host.household_mut().metered = None;
        }
    }
}

fn count_load(kit: &Kit, took: Duration) {
    kit.counts.loads.fetch_add(1, Ordering::Relaxed);
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    kit.counts.load_micros.fetch_add(micros, Ordering::Relaxed);
}

impl<K: CoordinatorKind> Household for AtHome<K> {
    type Core = K;

    const NAME: &'static str = K::NAME;

    fn partition(&self) -> (&str, i32) {
        (&self.home.partition.topic, self.home.partition.index.0)
    }

    fn create(&self, epoch: LeaderEpoch) -> K {
        K::create(&self.home.kit.world(), epoch)
    }

    fn learn(&self, frame: &mut Frame<K>, at: &Moment, deleted: &[Str]) {
        K::learn(frame, at, &self.home.kit.world(), deleted);
    }

    fn meter(&mut self, core: &mut K) {
        let kit = &self.home.kit;
        K::meter(core, self.metered.get_or_insert_with(|| Metered::new(kit)));
    }

    fn codec(&self) -> Codec {
        K::codec(&self.home.kit.world())
    }
}

/// Delivers a letter if it is for this kind.
fn hand<K: CoordinatorKind>(
    hosted: &mut Hosted<K>,
    at: &Moment,
    mail: LodgerMail,
    partition: &Partition,
) -> Option<LodgerMail> {
    let letter = match mail.downcast::<Letter<K>>() {
        Ok(letter) => letter,
        Err(mail) => return Some(mail),
    };
    hosted.take(at, *letter, partition);
    None
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the thread that reads has failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Reads the log to its end and sends the result to the shard. Ends silently when this broker no longer leads
/// in that epoch. Tries again if the log cannot be read, because a coordinator that lacks records would
/// answer wrongly.
async fn load<K: CoordinatorKind>(home: Home, mut load: Load<K>) {
    while is_wanted(&home, &load) {
        match read_on(&home, &mut load).await {
            Ok((frame, end)) => {
                let loaded = Box::new(Loaded { generation: load.generation, frame, end });
                let mut letters = Letters::default();
                letters.add(&home.partition, Letter::<K>::Loaded(loaded));
                return letters.send().await;
            }
            Err(error) => {
                let (topic, index) = (&home.partition.topic, home.partition.index.0);
                tracing::error!(%topic, partition = index, %error, "a {} cannot be loaded; trying again", K::NAME);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn read_on<K: CoordinatorKind>(home: &Home, load: &mut Load<K>) -> Result<(Frame<K>, Offset), Failed> {
    let Home { partition, kit, .. } = home;
    // The semaphore is never closed.
    let _room = kit.loads.acquire().await;
    let new = || (Frame::loading(K::create(&kit.world(), load.epoch)), partition.reader.log_start());
    let (frame, from) = load.begun.take().unwrap_or_else(new);
    let (reader, bound) = (partition.reader.clone(), partition.view().log_end);
    let reading = tokio::task::spawn_blocking(move || read(&reader, bound, frame, from));
    let (frame, end, skipped) = reading.await??;
    tell_of::<K>(&skipped, partition);
    Ok((frame, end))
}

fn is_wanted<K: CoordinatorKind>(home: &Home, load: &Load<K>) -> bool {
    let view = home.partition.view();
    view.replica.role == ViewRole::Leader && view.replica.leader_epoch == load.epoch
}

/// Logs the number of records that could not be replayed, in one line.
fn tell_of<K: CoordinatorKind>(skipped: &Skipped, partition: &PartitionHandle) {
    if let Some((offset, error)) = &skipped.first {
        let (topic, index, count) = (&partition.topic, partition.index.0, skipped.count);
        tracing::warn!(%topic, partition = index, count, %offset, %error, "a {} skips records", K::NAME);
    }
}
