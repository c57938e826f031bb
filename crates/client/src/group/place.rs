//! Where the partitions of a share begin: where the group has committed.

use std::collections::BTreeMap;

use super::config::GroupProtocol;
use super::consumer::GroupConsumer;
use crate::cluster::TopicPartition;
use crate::error::Error;
use crate::offsets::{Found, Reader};

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
        let names_itself = self.config.group_protocol == GroupProtocol::Consumer;
        Reader::new(self.coordinator.clone(), self.member.identity.clone(), names_itself)
    }
}
