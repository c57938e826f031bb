//! What the host of a group coordinator knows of the simulated world.

use std::sync::Arc;

use ottla_coordinator::{Frame, Moment};
use ottla_group::{GroupConfig, GroupCoordinator};
use ottla_partition::Household;
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::{InternalTopic, LeaderEpoch};

use super::resident::{Bend, Bent};
use crate::group::topics::SimTopics;

/// The partition that groups are kept in.
pub const TOPIC: &str = InternalTopic::Offsets.topic();

#[derive(Clone)]
pub struct Groups<B> {
    pub config: GroupConfig,
    pub topics: SimTopics,
    pub bend: B,
}

impl<B: Bend<GroupCoordinator> + Clone> Household for Groups<B> {
    type Core = Bent<GroupCoordinator, B>;

    const NAME: &'static str = "group coordinator";

    fn partition(&self) -> (&str, i32) {
        (TOPIC, 0)
    }

    fn create(&self, _: LeaderEpoch) -> Self::Core {
        let core = GroupCoordinator::new(self.config.clone(), Arc::new(self.topics.clone()));
        Bent::new(core, self.bend.clone())
    }

    fn learn(&self, frame: &mut Frame<Self::Core>, at: &Moment, deleted: &[Str]) {
        let topics = Arc::new(self.topics.clone());
        frame.act(|core, out| core.inner.topics_changed(at, topics, deleted, out));
    }

    fn meter(&mut self, _: &mut Self::Core) {}

    fn codec(&self) -> Codec {
        Codec::None
    }
}
