//! Where the partitions of a share begin: where the group has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::protocol::ErrorCode;
use tokio::sync::watch;

use super::config::GroupProtocol;
use super::consumer::GroupConsumer;
use crate::cluster::{Lane, TopicPartition};
use crate::committed::{self, Asked, GroupMetadata, OffsetAndMetadata};
use crate::coordinator::Coordinator;
use crate::error::{ApiError, Error};
use crate::seam;

/// What a group has committed; none where it has not.
pub(super) type Found = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

/// What came of a search.
pub(super) struct Placed {
    asked: BTreeMap<TopicPartition, u64>,
    found: Result<Found, Error>,
}

impl GroupConsumer {
    /// Asks where the group has committed in partitions that have no position, unless that is under way.
    pub(super) fn start_placing(&mut self) {
        let unplaced = self.consumer.unplaced();
        let new = unplaced.filter(|(of, number)| self.placing.get(*of) != Some(number));
        let asked: BTreeMap<TopicPartition, u64> = new.map(|(of, number)| (of.clone(), number)).collect();
        if asked.is_empty() {
            return;
        }
        self.placing.extend(asked.clone());
        let reader = self.reader();
        self.placed.spawn(async move {
            let found = reader.read(asked.keys().cloned().collect()).await;
            Placed { asked, found }
        });
    }

    pub(super) fn place(&mut self, placed: Placed) {
        let Placed { asked, found } = placed;
        for (of, number) in &asked {
            if self.placing.get(of) == Some(number) {
                self.placing.remove(of);
            }
        }
        match found {
            Ok(found) => {
                for (of, committed) in found {
                    let Some(&number) = asked.get(&of) else { continue };
                    let committed = committed.map(|found| (found.offset, found.leader_epoch));
                    if let Err(error) = self.consumer.place(&of, number, committed) {
                        self.errors.push_back(error);
                    }
                }
            }
            // Asked again with the next poll.
            Err(error) if error.is_retriable() => {
                tracing::warn!(group = %self.coordinator.key(), %error, "committed offsets cannot be read yet");
            }
            Err(error) => self.errors.push_back(error),
        }
    }

    pub(super) fn reader(&self) -> Reader {
        Reader {
            coordinator: self.coordinator.clone(),
            identity: self.member.identity.clone(),
            protocol: self.config.group_protocol,
        }
    }
}

/// Reads what the group has committed.
pub(super) struct Reader {
    coordinator: Arc<Coordinator>,
    identity: watch::Receiver<GroupMetadata>,
    protocol: GroupProtocol,
}

impl Reader {
    /// Tries again for up to `default.api.timeout.ms`, also while open transactions may still change an offset. Every
    /// partition that is asked for is in the answer.
    pub(super) async fn read(&self, partitions: BTreeSet<TopicPartition>) -> Result<Found, Error> {
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
        let member = match self.protocol {
            GroupProtocol::Consumer if identity.generation >= 0 => {
                Some((identity.member_id, identity.generation))
            }
            GroupProtocol::Consumer | GroupProtocol::Classic => None,
        };
        let metadata = self.coordinator.cluster().metadata();
        let connection = self.coordinator.connection(Lane::SHARED).await?;
        let asked = Asked { group: group.clone(), member, partitions: Some(left.clone()) };
        let mut answers = committed::fetch(&connection, &metadata, &[asked], true).await;
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
