//! Reads what a group has committed, again where that may help.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::protocol::ErrorCode;
use tokio::sync::watch;

use super::committed::{GroupMetadata, OffsetAndMetadata};
use super::fetch::{OffsetsQuery, fetch};
use crate::cluster::{Lane, TopicPartition};
use crate::coordinator::Coordinator;
use crate::error::{ApiError, Error};
use crate::seam;

/// What a group has committed; none where it has not.
pub(crate) type Found = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

/// Reads what the group has committed.
pub(crate) struct Reader {
    coordinator: Arc<Coordinator>,
    identity: watch::Receiver<GroupMetadata>,
    names_itself: bool,
}

impl Reader {
    /// `names_itself`: a member of a group of the consumer protocol says who it is and in which epoch.
    pub(crate) fn new(
        coordinator: Arc<Coordinator>,
        identity: watch::Receiver<GroupMetadata>,
        names_itself: bool,
    ) -> Reader {
        Reader { coordinator, identity, names_itself }
    }

    /// Tries again for up to `default.api.timeout.ms`, also while open transactions may still change an
    /// offset. Every partition that is asked for is in the answer.
    pub(crate) async fn read(&self, partitions: BTreeSet<TopicPartition>) -> Result<Found, Error> {
        let cluster = self.coordinator.cluster();
        let deadline = seam::now() + cluster.config().default_api_timeout;
        let (mut left, mut found) = (partitions, Found::new());
        for failures in 1.. {
            let Err(error) = self.attempt(&mut left, &mut found).await else { return Ok(found) };
            let again = seam::now() + cluster.retry_delay(failures);
            // The member is being told of its new epoch, or that it is out, right now.
            let between_epochs = matches!(
                error.code(),
                Some(ErrorCode::StaleMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch)
            );
            if !(error.is_retriable() || between_epochs) || again >= deadline {
                return Err(error);
            }
            tokio::time::sleep_until(again).await;
        }
        unreachable!("the attempts have no end")
    }

    /// One request; what was found is taken out of `left`.
    async fn attempt(&self, left: &mut BTreeSet<TopicPartition>, found: &mut Found) -> Result<(), Error> {
        let group = self.coordinator.key().clone();
        let identity = self.identity.borrow().clone();
        let is_member = self.names_itself && identity.generation >= 0;
        let member = is_member.then_some((identity.member_id, identity.generation));
        let metadata = self.coordinator.cluster().metadata();
        let connection = self.coordinator.connection(Lane::SHARED).await?;
        let asked = OffsetsQuery { group: group.clone(), member, partitions: Some(left.clone()) };
        let mut answers = fetch(&connection, &metadata, &[asked], true).await;
        let committed = answers.remove(&group).unwrap_or_else(|| Ok(BTreeMap::new()));
        if let Err(error) = &committed {
            self.coordinator.learn_from(error);
        }
        let mut failed: Option<ApiError> = None;
        for (of, outcome) in committed? {
            match outcome {
                Ok(offset) if left.remove(&of) => drop(found.insert(of, offset)),
                Ok(_) => {}
                Err(error) => {
                    if failed.as_ref().is_none_or(|known| known.is_retriable() && !error.is_retriable()) {
                        failed =
                            Some(ApiError { message: Some(format!("reading the offset of {of}")), ..error });
                    }
                }
            }
        }
        match failed {
            Some(error) => Err(Error::Api(error)),
            None if left.is_empty() => Ok(()),
            None => {
                let message = Some("partitions are missing in the answer to OffsetFetch".to_owned());
                Err(Error::Api(ApiError { code: ErrorCode::UnknownServerError, message }))
            }
        }
    }
}
