//! What groups have committed: read, alter, delete.

use std::collections::{BTreeMap, BTreeSet};

use ottla_link::Terms;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::super::coordinators::by_name;
use super::super::{Admin, Repeat};
use crate::cluster::TopicPartition;
use crate::coordinator::Coordinated;
use crate::error::{ApiError, Error};
use crate::offsets::{self, Committed, GroupMetadata, Offsets, OffsetsQuery};

impl Admin {
    /// What groups have committed, in these partitions or (none named) in all. With `require_stable` it waits
    /// while open transactions may still change an offset. A group that does not exist has committed nothing.
    pub async fn group_offsets(
        &self,
        groups: &BTreeMap<String, Option<BTreeSet<TopicPartition>>>,
        require_stable: bool,
    ) -> BTreeMap<String, Result<Committed, Error>> {
        let fetch = |_, connection, ids: Vec<Str>| async move {
            let asked: Vec<OffsetsQuery> = ids
                .into_iter()
                .map(|group| {
                    let partitions = groups.get(group.as_str()).cloned().flatten();
                    OffsetsQuery { group, member: None, partitions }
                })
                .collect();
            let metadata = self.cluster.metadata();
            let mut fetched = offsets::fetch(&connection, &metadata, &asked, require_stable).await;
            for outcome in fetched.values_mut() {
                wait_if_unstable(outcome);
            }
            fetched
        };
        by_name(
            self.ask_coordinators(Coordinated::Group, groups.keys().map(Str::from), Repeat::Harmless, fetch)
                .await,
        )
    }

    /// Sets what a group has committed. It MUST have no members (UNKNOWN_MEMBER_ID otherwise).
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        to: &Offsets,
    ) -> Result<BTreeMap<TopicPartition, Result<(), ApiError>>, Error> {
        let outside = &GroupMetadata::outside(group);
        self.ask_coordinator(Coordinated::Group, group, Repeat::Harmless, |connection| async move {
            let metadata = self.cluster.metadata();
            let altered = offsets::commit(&connection, &metadata, outside, to, Terms::default()).await?;
            // About the group as a whole, although every partition says it.
            let moved = |error: &ApiError| {
                matches!(
                    error.code,
                    ErrorCode::NotCoordinator
                        | ErrorCode::CoordinatorNotAvailable
                        | ErrorCode::CoordinatorLoadInProgress
                )
            };
            match altered.values().find_map(|outcome| outcome.as_ref().err().filter(|error| moved(error))) {
                Some(error) => Err(Error::Api(error.clone())),
                None => Ok(altered),
            }
        })
        .await
    }

    /// Deletes what a group has committed in these partitions. Those of topics that a member subscribes to
    /// cannot be (GROUP_SUBSCRIBED_TO_TOPIC).
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), ApiError>>, Error> {
        self.ask_coordinator(Coordinated::Group, group, Repeat::Harmless, |connection| async move {
            offsets::delete(&connection, group, partitions).await
        })
        .await
    }
}

/// Offsets that an open transaction may change are asked for again, with all of the group.
fn wait_if_unstable(outcome: &mut Result<Committed, Error>) {
    let Ok(committed) = outcome else { return };
    let unstable = |error: &&ApiError| error.code == ErrorCode::UnstableOffsetCommit;
    if let Some(error) = committed.values().filter_map(|of| of.as_ref().err()).find(unstable) {
        *outcome = Err(Error::Api(error.clone()));
    }
}
