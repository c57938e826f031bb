//! What a leading broker keeps for one lane of a follower: the other half of [`crate::lane`].
//!
//! The driver of a feed
//!
//! 1. takes a request ([`Feed::open`], [`Feed::resume`]) and tells each partition's leader how far the
//!    follower has come;
//! 2. looks at each partition that [`Feed::next_look`] names and says what it found ([`Feed::looked`]), until
//!    there is none or the answer is full ([`Feed::put_back`] for what did not fit);
//! 3. answers when something was found, when the next request has come, or when the request has waited long
//!    enough; [`Feed::news`] goes along;
//! 4. calls [`Feed::changed`] whenever a partition has changed: it says whether the answer is due now.
//!
//! A partition in which nothing happens costs nothing, however many there are.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::{LeaderEpoch, Offset};

use crate::id::PartitionId;

/// What a follower wants of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub epoch: LeaderEpoch,
    /// Everything before it is safe on the follower.
    pub offset: Offset,
    pub last_fetched_epoch: Option<LeaderEpoch>,
    pub log_start: Offset,
}

/// What a leader's partition is like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `None`: it is not led here.
    pub leads: Option<LeaderEpoch>,
    pub log_end: Offset,
    pub high_watermark: Offset,
    pub log_start: Offset,
}

/// What a look at a partition has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing for an answer.
    Nothing,
    /// The answer has records of it, an error, or where the logs part. It is not answered again before it is
    /// named again.
    Answered(Standing),
}

/// Why a request does not go on with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has session epoch {got}, and {expected} is due")]
pub struct WrongEpoch {
    pub got: i32,
    pub expected: i32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    wanted: Wanted,
    state: State,
    /// High watermark and log start as the follower was told them last.
    told: Option<(Offset, Offset)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing to look at until it changes.
    Waiting,
    /// In the queue, at this place.
    Ready {
        place: i64,
    },
    /// Being looked at; whether it has changed meanwhile.
    Looking {
        changed: bool,
    },
    Answered,
}

/// The session of one lane of a follower.
#[derive(Debug, Default)]
pub struct Feed {
    next_epoch: i32,
    entries: BTreeMap<PartitionId, Entry>,
    /// To be looked at. Who was answered comes last again, so that a full answer is fair.
    ready: BTreeMap<i64, PartitionId>,
    /// Whose high watermark or log start the follower does not know yet.
    news: BTreeSet<PartitionId>,
}

impl Feed {
    /// Of a follower that names all that it wants.
    pub fn open(wanted: impl IntoIterator<Item = (PartitionId, Wanted)>) -> Feed {
        let mut feed = Feed { next_epoch: 1, ..Feed::default() };
        feed.take(wanted);
        feed
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next request of the session. One with another epoch is not of this session, and changes nothing.
    pub fn resume(
        &mut self,
        epoch: i32,
        wanted: impl IntoIterator<Item = (PartitionId, Wanted)>,
        forgotten: &[PartitionId],
    ) -> Result<(), WrongEpoch> {
        if epoch != self.next_epoch {
            return Err(WrongEpoch { got: epoch, expected: self.next_epoch });
        }
        self.next_epoch = epoch.checked_add(1).unwrap_or(1);
        for partition in forgotten {
            self.forget(partition);
        }
        self.take(wanted);
        Ok(())
    }

    fn forget(&mut self, partition: &PartitionId) {
        self.news.remove(partition);
        if let Some(Entry { state: State::Ready { place }, .. }) = self.entries.remove(partition) {
            self.ready.remove(&place);
        }
    }

    fn take(&mut self, wanted: impl IntoIterator<Item = (PartitionId, Wanted)>) {
        for (partition, wanted) in wanted {
            let (told, place) = match self.entries.get(&partition) {
                Some(Entry { told, state: State::Ready { place }, .. }) => (*told, *place),
                Some(Entry { told, .. }) => (*told, self.last_place()),
                None => (None, self.last_place()),
            };
            self.ready.insert(place, partition);
            self.entries.insert(partition, Entry { wanted, state: State::Ready { place }, told });
        }
    }

    fn last_place(&self) -> i64 {
        self.ready.last_key_value().map_or(0, |(place, _)| place + 1)
    }

    fn first_place(&self) -> i64 {
        self.ready.first_key_value().map_or(0, |(place, _)| place - 1)
    }

    /// A partition of the feed has changed. Whether a request that waits is to be answered now.
    pub fn changed(&mut self, partition: PartitionId, now: Standing) -> bool {
        let place = self.last_place();
        let Some(entry) = self.entries.get_mut(&partition) else { return false };
        if entry.state != State::Answered && entry.told.is_some_and(|told| told != bounds(now)) {
            self.news.insert(partition);
        }
        let is_due = now.leads != Some(entry.wanted.epoch) || now.log_end > entry.wanted.offset;
        match entry.state {
            State::Waiting if is_due => {
                entry.state = State::Ready { place };
                self.ready.insert(place, partition);
                true
            }
            State::Looking { .. } => {
                entry.state = State::Looking { changed: true };
                false
            }
            State::Waiting | State::Ready { .. } | State::Answered => false,
        }
    }

    /// The next partition to be looked at.
    pub fn next_look(&mut self) -> Option<(PartitionId, Wanted)> {
        let (_, partition) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&partition)?;
        entry.state = State::Looking { changed: false };
        Some((partition, entry.wanted))
    }

    /// What came of the look at it.
    pub fn looked(&mut self, partition: PartitionId, look: Look) {
        let place = self.last_place();
        let Some(entry) = self.entries.get_mut(&partition) else { return };
        let State::Looking { changed } = entry.state else { return };
        match look {
            Look::Answered(standing) => {
                entry.state = State::Answered;
                entry.told = Some(bounds(standing));
                self.news.remove(&partition);
            }
            Look::Nothing if changed => {
                entry.state = State::Ready { place };
                self.ready.insert(place, partition);
            }
            Look::Nothing => {
                entry.state = State::Waiting;
                if entry.told.is_none() {
                    self.news.insert(partition);
                }
            }
        }
    }

    /// It was not looked at: the answer is full. It is the first one next time.
    pub fn put_back(&mut self, partition: PartitionId) {
        let place = self.first_place();
        if let Some(entry) = self.entries.get_mut(&partition)
            && let State::Looking { .. } = entry.state
        {
            entry.state = State::Ready { place };
            self.ready.insert(place, partition);
        }
    }

    /// Up to `most` partitions of which the follower is told bounds without records, as `standing` knows
    /// them. The rest keep for the next answer.
    pub fn news(
        &mut self,
        most: usize,
        mut standing: impl FnMut(PartitionId) -> Option<Standing>,
    ) -> Vec<(PartitionId, Standing)> {
        let mut told = Vec::new();
        while told.len() < most
            && let Some(partition) = self.news.pop_first()
        {
            let Some(entry) = self.entries.get_mut(&partition) else { continue };
            if let Some(now) = standing(partition)
                && entry.state == State::Waiting
                && now.leads == Some(entry.wanted.epoch)
                && entry.told.replace(bounds(now)) != Some(bounds(now))
            {
                told.push((partition, now));
            }
        }
        told
    }
}

/// What a follower is told besides records.
fn bounds(standing: Standing) -> (Offset, Offset) {
    (standing.high_watermark, standing.log_start)
}

#[cfg(test)]
mod tests {
    use ottla_wire::{PartitionIndex, Uuid};

    use super::*;

    fn id(index: i32) -> PartitionId {
        PartitionId { topic: Uuid([1; 16]), index: PartitionIndex(index) }
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted {
            epoch: LeaderEpoch(3),
            offset: Offset(offset),
            last_fetched_epoch: None,
            log_start: Offset(0),
        }
    }

    fn standing(log_end: i64, high_watermark: i64) -> Standing {
        Standing {
            leads: Some(LeaderEpoch(3)),
            log_end: Offset(log_end),
            high_watermark: Offset(high_watermark),
            log_start: Offset(0),
        }
    }

    /// All that are to be looked at now; none has anything.
    fn look_in_vain(feed: &mut Feed) -> Vec<i32> {
        let mut seen = Vec::new();
        while let Some((partition, _)) = feed.next_look() {
            seen.push(partition.index.0);
            feed.looked(partition, Look::Nothing);
        }
        seen
    }

    fn opened() -> Feed {
        let mut feed = Feed::open([0, 1, 2].map(|index| (id(index), wanted(5))));
        assert_eq!(look_in_vain(&mut feed), [0, 1, 2]);
        feed.news(9, |_| Some(standing(5, 0)));
        feed
    }

    #[test]
    fn only_who_changes_is_looked_at() {
        let mut feed = opened();
        assert!(!feed.changed(id(1), standing(5, 0)));
        assert!(!feed.changed(id(1), standing(5, 4)), "bounds alone are not worth an answer");
        assert!(feed.changed(id(2), standing(6, 4)));
        assert!(!feed.changed(id(2), standing(7, 4)), "known");
        assert!(!feed.changed(id(9), standing(7, 4)), "not of this feed");
        assert_eq!(look_in_vain(&mut feed), [2]);
        let lost = Standing { leads: None, ..standing(5, 0) };
        assert!(feed.changed(id(0), lost));
    }

    #[test]
    fn who_was_answered_waits_until_it_is_named_again() {
        let mut feed = opened();
        feed.changed(id(0), standing(6, 4));
        let (partition, _) = feed.next_look().unwrap();
        feed.looked(partition, Look::Answered(standing(6, 4)));
        assert!(!feed.changed(id(0), standing(8, 4)));
        feed.resume(1, [(id(0), wanted(6))], &[]).unwrap();
        assert_eq!(look_in_vain(&mut feed), [0]);
    }

    #[test]
    fn a_change_during_the_look_is_not_lost() {
        let mut feed = opened();
        feed.changed(id(0), standing(6, 4));
        let (partition, _) = feed.next_look().unwrap();
        feed.changed(partition, standing(7, 4));
        feed.looked(partition, Look::Nothing);
        assert_eq!(look_in_vain(&mut feed), [0]);
    }

    #[test]
    fn a_full_answer_goes_on_where_it_ended() {
        let mut feed = Feed::open([0, 1, 2].map(|index| (id(index), wanted(5))));
        let (first, _) = feed.next_look().unwrap();
        feed.looked(first, Look::Answered(standing(6, 4)));
        let (second, _) = feed.next_look().unwrap();
        feed.put_back(second);
        feed.resume(1, [(first, wanted(6))], &[]).unwrap();
        assert_eq!(look_in_vain(&mut feed), [1, 2, 0]);
    }

    #[test]
    fn news_are_told_once() {
        let mut feed = opened();
        for index in 0..3 {
            feed.changed(id(index), standing(5, 4));
        }
        let told = |news: Vec<(PartitionId, Standing)>| -> Vec<i32> {
            news.into_iter().map(|(partition, _)| partition.index.0).collect()
        };
        assert_eq!(told(feed.news(2, |_| Some(standing(5, 4)))), [0, 1]);
        feed.changed(id(0), standing(5, 4));
        assert_eq!(told(feed.news(2, |_| Some(standing(5, 4)))), [2]);
        assert!(feed.news(2, |_| Some(standing(5, 4))).is_empty());
    }

    #[test]
    fn forgotten_partitions_take_no_room() {
        let mut feed = opened();
        for epoch in 1..1_000 {
            feed.resume(epoch, [(id(0), wanted(5))], &[id(0)]).unwrap();
        }
        assert_eq!((feed.len(), feed.ready.len()), (3, 1));
        let epoch = WrongEpoch { got: 7, expected: 1_000 };
        assert_eq!(feed.resume(7, [], &[id(0), id(1), id(2)]), Err(epoch));
        feed.resume(1_000, [], &[id(0), id(1), id(2)]).unwrap();
        assert!(feed.is_empty() && look_in_vain(&mut feed).is_empty());
    }
}
