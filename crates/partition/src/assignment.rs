//! Translates the image's view of a partition for its replica.

use ottla_controller::image::LeaderRecovery;
use ottla_controller::{Image, Partition};
use ottla_replica::{PartitionState, RecoveryState, ReplicaBroker, Standing};
use ottla_wire::BrokerId;

/// The state of `partition`, with the facts about its replicas' brokers.
pub fn partition_state(image: &Image, partition: &Partition) -> PartitionState {
    PartitionState {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: partition.isr.clone(),
        elr: partition.elr.clone(),
        last_known_elr: partition.last_known_elr.clone(),
        replicas: partition.replicas.iter().map(|id| replica_broker(image, *id)).collect(),
        recovery: match partition.recovery {
            LeaderRecovery::Recovered => RecoveryState::Recovered,
            LeaderRecovery::Recovering => RecoveryState::Recovering,
        },
    }
}

fn replica_broker(image: &Image, broker: BrokerId) -> ReplicaBroker {
    let registration = image.broker(broker);
    let standing = match registration {
        Some(known) if known.fenced => Standing::Fenced,
        Some(known) if known.in_controlled_shutdown => Standing::ShuttingDown,
        Some(_) => Standing::Active,
        None => Standing::Fenced,
    };
    ReplicaBroker { broker, epoch: registration.map(|known| known.epoch), standing }
}
