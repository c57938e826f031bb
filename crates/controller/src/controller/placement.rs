//! Where replicas of new partitions go: spread over racks, then brokers, round robin from a random start.

use ottla_wire::BrokerId;
use ottla_wire::primitives::Str;

use super::Failure;
use crate::image::Image;
use ottla_wire::protocol::ErrorCode;

/// Picks replicas for one partition after the other.
///
/// Brokers stand in a ring in which racks take turns. Partition `p` starts at place `start + p`; its further
/// replicas are the next brokers of racks that it does not have yet, then of brokers that it does not have
/// yet. Each turn of the ring shifts the followers by one, so that a broker's partitions are not all followed
/// by the same other.
#[derive(Debug)]
pub(super) struct Placer {
    ring: Vec<Candidate>,
    place: usize,
    replication_factor: usize,
}

#[derive(Clone, Debug)]
struct Candidate {
    id: BrokerId,
    rack: Option<Str>,
    active: bool,
}

impl Placer {
    /// Brokers that are fenced take replicas only if the others do not suffice; cordoned ones take none.
    pub(super) fn new(image: &Image, replication_factor: usize, random: u64) -> Result<Placer, Failure> {
        let usable = image.brokers.values().filter(|broker| !broker.is_cordoned());
        let all: Vec<Candidate> = usable
            .map(|broker| Candidate { id: broker.id, rack: broker.rack.clone(), active: broker.is_active() })
            .collect();
        let refuse = |why: String| Err(Failure::new(ErrorCode::InvalidReplicationFactor, why));
        if all.len() < replication_factor {
            return refuse(format!(
                "Unable to replicate the partition {replication_factor} time(s): The target replication factor of \
                 {replication_factor} cannot be reached because only {} broker(s) are registered.",
                all.len()
            ));
        }
        if !all.iter().any(|broker| broker.active) {
            return refuse(format!(
                "Unable to replicate the partition {replication_factor} time(s): All brokers are currently fenced."
            ));
        }
        let active: Vec<Candidate> = all.iter().filter(|broker| broker.active).cloned().collect();
        let ring = interleave(if active.len() >= replication_factor { active } else { all });
        let place = usize::try_from(random % ring.len() as u64).unwrap_or(0);
        Ok(Placer { ring, place, replication_factor })
    }

    /// Replicas of the next partition; the first is an active broker.
    pub(super) fn next(&mut self) -> Vec<BrokerId> {
        let count = self.ring.len();
        let shift = self.place / count;
        let first =
            (0..count).map(|step| (self.place + step) % count).find(|at| self.ring[*at].active).unwrap_or(0);
        self.place += 1;
        let mut chosen = vec![first];
        // First whoever is on a rack that is not chosen yet, then whoever is not chosen yet.
        for new_rack_only in [true, false] {
            for step in 0..count {
                if chosen.len() == self.replication_factor {
                    break;
                }
                let at = (first + 1 + (step + shift) % (count - 1).max(1)) % count;
                let candidate = &self.ring[at];
                let has_rack = candidate.rack.is_some()
                    && chosen.iter().any(|one| self.ring[*one].rack == candidate.rack);
                if !(chosen.contains(&at) || (new_rack_only && has_rack)) {
                    chosen.push(at);
                }
            }
        }
        chosen.into_iter().map(|at| self.ring[at].id).collect()
    }
}

/// One broker of each rack, then the second of each, and so on.
fn interleave(brokers: Vec<Candidate>) -> Vec<Candidate> {
    let mut racks: std::collections::BTreeMap<Option<Str>, Vec<Candidate>> = Default::default();
    for broker in brokers {
        racks.entry(broker.rack.clone()).or_default().push(broker);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| racks.values().filter_map(move |rack| rack.get(at).cloned())).collect()
}
