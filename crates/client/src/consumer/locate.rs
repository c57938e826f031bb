//! Finds the offsets of the places that partitions are to go to: beginning, end, a time.

use crate::cluster::TopicPartition;
use crate::error::Error;
use crate::offsets::{self, ListedOffset, OffsetSpec};
use crate::seam::{self, Instant};

use super::fetch::LOOK_AGAIN;
use super::{Consumer, Event, Position, Seek};

/// What came of the search for one partition.
pub(super) struct Located {
    partition: TopicPartition,
    generation: u64,
    seek: Seek,
    outcome: Result<ListedOffset, Error>,
}

impl Consumer {
    /// Asks for the offsets that are wanted, unless that is under way. Gives the time to look again.
    pub(super) fn start_locating(&mut self) -> Instant {
        let now = seam::now();
        let mut look_again = now + LOOK_AGAIN;
        if self.locating {
            return look_again;
        }
        let mut wanted = Vec::new();
        for (partition, assigned) in &self.assigned {
            let Position::Wanted(seek) = assigned.position else { continue };
            match assigned.not_before {
                Some(not_before) if not_before > now => look_again = look_again.min(not_before),
                _ => wanted.push((partition.clone(), assigned.generation, seek)),
            }
        }
        if !wanted.is_empty() {
            self.locating = true;
            self.locate(wanted);
        }
        look_again
    }

    fn locate(&self, wanted: Vec<(TopicPartition, u64, Seek)>) {
        let (cluster, events) = (self.cluster.clone(), self.sender.clone());
        let isolation = self.config.isolation_level;
        tokio::spawn(async move {
            let asked = wanted.iter().map(|(partition, _, seek)| (partition.clone(), spec(*seek))).collect();
            let mut listed = offsets::ask_once(&cluster, isolation, &asked).await;
            let located = wanted.into_iter().filter_map(|(partition, generation, seek)| {
                let outcome = listed.remove(&partition)?;
                Some(Located { partition, generation, seek, outcome })
            });
            // Refused only when the consumer is gone.
            let _ = events.send(Event::Located(located.collect())).await;
        });
    }

    pub(super) fn located(&mut self, located: Vec<Located>) {
        self.locating = false;
        for Located { partition, generation, seek, outcome } in located {
            let Some(assigned) = self.assigned.get_mut(&partition) else { continue };
            // The answer to a position that has been left.
            if assigned.generation != generation {
                continue;
            }
            assigned.not_before = None;
            match (outcome.map(|found| found.offset), seek) {
                (Ok(Some(offset)), _) => assigned.position = Position::At { offset },
                // Nothing as late as that: go on with what comes.
                (Ok(None), Seek::Timestamp(_)) => assigned.position = Position::Wanted(Seek::End),
                (Ok(None), _) => assigned.not_before = Some(seam::now() + self.cluster.retry_delay(1)),
                (Err(error), _) => {
                    assigned.failures += 1;
                    assigned.not_before = Some(seam::now() + self.cluster.retry_delay(assigned.failures));
                    self.cluster.refresh_soon();
                    let comes_later = assigned.vouched && matches!(error, Error::NoSuchPartition { .. });
                    if !error.is_retriable() && !comes_later {
                        self.errors.push_back(error);
                    }
                }
            }
        }
    }
}

fn spec(seek: Seek) -> OffsetSpec {
    match seek {
        Seek::Beginning => OffsetSpec::Earliest,
        Seek::End => OffsetSpec::Latest,
        Seek::Timestamp(time) => OffsetSpec::At(time),
        Seek::Offset(_) => unreachable!("an offset needs no search"),
    }
}
