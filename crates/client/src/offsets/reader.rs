//! Reads what a group has committed, again where that may help.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ottla_link::{Connection, Office};
use ottla_wire::protocol::ErrorCode;
use tokio::sync::watch;

use super::committed::{Committed, GroupMetadata, OffsetAndMetadata};
use super::fetch::{OffsetsQuery, fetch};
use crate::cluster::TopicPartition;
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
        let patience = self.coordinator.cluster().config().default_api_timeout;
        let deadline = seam::now() + patience;
        let progress = Mutex::new(Progress { left: partitions, found: Found::new() });
        // The member is being told of its new epoch, or that it is out, right now.
        let is_between_epochs = |code: Option<ErrorCode>| {
            use ErrorCode::{FencedMemberEpoch, StaleMemberEpoch, UnknownMemberId};
            matches!(code, Some(StaleMemberEpoch | UnknownMemberId | FencedMemberEpoch))
        };
        let may_repeat = |error: &Error| error.is_retriable() || is_between_epochs(error.code());
        let attempt = |connection| async {
            let attempt = self.attempt(connection, &progress);
            let in_time = tokio::time::timeout_at(deadline, attempt).await;
            in_time.unwrap_or_else(|_| Err(self.coordinator.late(patience)))
        };
        self.coordinator.ask(deadline, may_repeat, attempt).await?;
        Ok(progress.into_inner().unwrap_or_else(PoisonError::into_inner).found)
    }

    /// One request for what is left.
    async fn attempt(&self, connection: Connection, progress: &Mutex<Progress>) -> Result<(), Error> {
        let group = self.coordinator.key().clone();
        let identity = self.identity.borrow().clone();
        let is_member = self.names_itself && identity.generation >= 0;
        let member = is_member.then_some((identity.member_id, identity.generation));
        let metadata = self.coordinator.cluster().metadata();
        let partitions = Some(progress.lock().unwrap_or_else(PoisonError::into_inner).left.clone());
        let asked = OffsetsQuery { group: group.clone(), member, partitions };
        let mut answers = fetch(&connection, &metadata, &[asked], true).await;
        let committed = answers.remove(&group).unwrap_or_else(|| Ok(BTreeMap::new()))?;
        progress.lock().unwrap_or_else(PoisonError::into_inner).take(committed)
    }
}

/// How far a read has come.
struct Progress {
    left: BTreeSet<TopicPartition>,
    found: Found,
}

impl Progress {
    /// Takes what was found out of what is left. The error is one for good before one that may pass.
    fn take(&mut self, committed: Committed) -> Result<(), Error> {
        let mut failed: Option<ApiError> = None;
        for (of, outcome) in committed {
            match outcome {
                Ok(offset) if self.left.remove(&of) => drop(self.found.insert(of, offset)),
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
            None if self.left.is_empty() => Ok(()),
            None => {
                let message = Some("partitions are missing in the answer to OffsetFetch".to_owned());
                Err(Error::Api(ApiError { code: ErrorCode::UnknownServerError, message }))
            }
        }
    }
}
