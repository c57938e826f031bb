//! What time brings: silent brokers are fenced, leaderships go back to preferred replicas, leaderless
//! partitions get an unclean leader where that is allowed. A new controller begins by making its
//! predecessor's decisions whole.

use std::time::Duration;

use ottla_settings::key;
use ottla_wire::messages::MetadataRecord;

use super::change::{Change, Election};
use super::{Call, Controller, Outcome, broker_heartbeat, leadership};

/// Leaderships that move back at once. More would disturb clients for long without a need.
const BALANCED_MAX: usize = 1_000;

impl Controller {
    /// How often [`Controller::tick`] is to be called.
    pub const TICK_INTERVAL: Duration = Duration::from_millis(500);

    /// Periodic work, one piece of it in a call, so that each decision is made on the image after the last:
    /// call again (on that image) while there are records.
    pub fn tick(&mut self, call: &mut Call<'_>) -> Outcome<()> {
        Outcome::cut(self.due(call), ())
    }

    fn due(&mut self, call: &Call<'_>) -> Vec<MetadataRecord> {
        if std::mem::take(&mut self.repair_due) {
            let repairs = leadership::repairs(call.image, call.settings);
            if !repairs.is_empty() {
                return repairs;
            }
        }
        let timeout = call.settings.read(key::BROKER_SESSION_TIMEOUT_MS);
        if let Some(id) = self.sessions.expired(call.image, call.now, timeout).into_iter().next()
            && let Some(broker) = call.image.broker(id)
        {
            self.sessions.forget(id);
            return broker_heartbeat::fence(call.image, call.settings, broker);
        }
        let interval = call.settings.read(key::LEADER_IMBALANCE_CHECK_INTERVAL_SECONDS);
        if call.settings.read(key::AUTO_LEADER_REBALANCE_ENABLE)
            && call.now.since(self.sessions.balanced_at) >= interval
        {
            let balanced = balance(call);
            if balanced.len() < BALANCED_MAX {
                self.sessions.balanced_at = call.now;
            }
            if !balanced.is_empty() {
                return balanced;
            }
        }
        if call.now.since(self.sessions.elected_at)
            >= call.settings.read(key::UNCLEAN_LEADER_ELECTION_INTERVAL_MS)
        {
            self.sessions.elected_at = call.now;
            return elect_leaderless(call);
        }
        Vec::new()
    }
}

fn balance(call: &Call<'_>) -> Vec<MetadataRecord> {
    let image = call.image;
    let may_lead = |broker| image.is_active(broker);
    let misplaced = |partition: &crate::image::Partition| {
        let preferred = partition.preferred_leader();
        partition.leader != preferred
            && preferred.is_some_and(|one| partition.is_in_sync(one) && may_lead(one))
    };
    leadership::each(image, call.settings, BALANCED_MAX, misplaced, |topic, index, partition, config| {
        Change::new(image, topic, index, partition, config, &may_lead)
            .election(Election::Preferred)
            .record()
            .filter(super::elect_leaders::elects)
    })
}

fn elect_leaderless(call: &Call<'_>) -> Vec<MetadataRecord> {
    let image = call.image;
    let may_lead = |broker| image.is_active(broker);
    let leaderless = |partition: &crate::image::Partition| partition.leader.is_none();
    leadership::each(image, call.settings, usize::MAX, leaderless, |topic, index, partition, config| {
        Change::new(image, topic, index, partition, config, &may_lead).record()
    })
}
