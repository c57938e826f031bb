//! A coordinator in its shard: its host (`ottla-partition`), who waits for its answers, and what is done for
//! it.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_coordinator::{Frame, Moment, Refusal};
use ottla_partition::{Host, HostEffect, HostStatus, Household, Lodger, Unserved};
use ottla_wire::LeaderEpoch;
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;

use super::kind::{Asked, Home, Kind, Letter, Waiting};
use super::kit::{Counted, Kit};
use super::load::load;
use super::metered::Metered;
use crate::shard::Partition;

/// A coordinator and what waits for it.
pub struct Hosted<K: Kind> {
    host: Host<AtHome<K>>,
    home: Home,
    waiting: Waiting<K::Answer>,
    /// How far it was when it was looked at last, and in which gauge it is for that.
    status: HostStatus,
    counted: Option<Counted>,
}

/// What the host of a coordinator knows of this broker.
struct AtHome<K: Kind> {
    home: Home,
    /// Set while it serves.
    metered: Option<Metered>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Hosted<K> {
    pub fn new(home: Home) -> Hosted<K> {
        let at_home = AtHome { home: home.clone(), metered: None, kind: PhantomData };
        let host = Host::new(at_home);
        Hosted { host, home, waiting: Waiting::default(), status: HostStatus::Away, counted: None }
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

    /// The world has changed, and these topics are gone.
    pub fn learn(&mut self, at: &Moment, deleted: &[Str]) {
        self.host.learn(at, deleted);
    }

    /// Carries out what the coordinator wants. To be called after every turn, when what came of the
    /// partition's turn is published.
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

    fn ask(&mut self, at: &Moment, asked: Asked<K>, partition: &Partition) {
        let claim = asked.proof.map_or(Ok(()), |proof| proof.check(partition));
        let ticket = self.waiting.add(asked.answer);
        match self.host.ask(at, ticket, asked.request, claim) {
            Ok(()) => {}
            // Dropping the request says it.
            Err(Unserved::Refused(Refusal::NotCoordinator)) => self.waiting.forget(ticket),
            Err(unserved) => self.waiting.refuse(ticket, unserved),
        }
    }

    /// Puts it into the gauge that it belongs to.
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

impl<K: Kind> Household for AtHome<K> {
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
