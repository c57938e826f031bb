//! What time brings: silent brokers are fenced, leaderships go back to preferred replicas, leaderless
//! partitions get an unclean leader where that is allowed.

use std::time::Duration;

use ottla_settings::key;

use super::change::{Change, Election};
use super::{Call, Controller, Outcome, broker_heartbeat, leadership};

impl Controller {
    /// How often [`Controller::tick`] is to be called.
    pub const TICK_INTERVAL: Duration = Duration::from_millis(500);

    /// Periodic work. At most one broker is fenced by a call, so that each decision is made on the image
    /// after the last; call again (on that image) while there are records.
    pub fn tick(&mut self, call: &mut Call<'_>) -> Outcome<()> {
        let timeout = call.settings.read(key::BROKER_SESSION_TIMEOUT_MS);
        if let Some(id) = self.sessions.expired(call.image, call.now, timeout).into_iter().next()
            && let Some(broker) = call.image.broker(id)
        {
            self.sessions.forget(id);
            return Outcome::new(broker_heartbeat::fence(call, broker), ());
        }
        let interval = call.settings.read(key::LEADER_IMBALANCE_CHECK_INTERVAL_SECONDS);
        if call.settings.read(key::AUTO_LEADER_REBALANCE_ENABLE)
            && call.now.since(self.sessions.balanced_at) >= interval
        {
            self.sessions.balanced_at = call.now;
            return Outcome::new(balance(call), ());
        }
        if call.now.since(self.sessions.elected_at)
            >= call.settings.read(key::UNCLEAN_LEADER_ELECTION_INTERVAL_MS)
        {
            self.sessions.elected_at = call.now;
            return Outcome::new(elect_leaderless(call), ());
        }
        Outcome::only(())
    }
}

fn balance(call: &Call<'_>) -> Vec<ottla_wire::messages::MetadataRecord> {
    let may_lead = |broker| call.image.is_active(broker);
    let misplaced = |partition: &crate::image::Partition| {
        let preferred = partition.preferred_leader();
        partition.leader != preferred
            && preferred.is_some_and(|one| partition.is_in_sync(one) && may_lead(one))
    };
    leadership::each(call, misplaced, |topic, index, partition, config| {
        Change::new(call.image, topic, index, partition, config, &may_lead)
            .election(Election::Preferred)
            .record()
    })
}

fn elect_leaderless(call: &Call<'_>) -> Vec<ottla_wire::messages::MetadataRecord> {
    let may_lead = |broker| call.image.is_active(broker);
    leadership::each(
        call,
        |partition| partition.leader.is_none(),
        |topic, index, partition, config| {
            Change::new(call.image, topic, index, partition, config, &may_lead).record()
        },
    )
}
