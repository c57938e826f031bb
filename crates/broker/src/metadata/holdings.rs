//! The partitions that this broker holds, and the pending work on them.
//!
//! Pure: no files, no tasks. Files are opened and removed by one job at a time. Work that arrives meanwhile
//! is combined into the next job. So there is at most one entry for each partition, however long a job takes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ottla_partition::Fate;
use ottla_wire::primitives::Str;
use ottla_wire::{PartitionIndex, TopicId};

/// A partition of one topic. A younger topic of the same name has different ones.
pub type PartitionId = (TopicId, PartitionIndex);

/// The partitions and their states. `H` is the handle of an open one.
pub struct Holdings<H> {
    /// By id, with the topic's name.
    held: BTreeMap<PartitionId, (Str, Held<H>)>,
    next: Job<H>,
    /// A next job is needed, even without any work on partitions.
    wanted: bool,
    running: bool,
}

enum Held<H> {
    /// In the current job or the next one.
    Opening,
    Here(H),
    /// It cannot be opened.
    Failed,
}

/// Work on files. Partitions are given up first, because one to open may have the same name.
#[derive(Debug, PartialEq, Eq)]
pub struct Job<H> {
    pub give_up: BTreeMap<PartitionId, Leaving<H>>,
    pub open: BTreeMap<PartitionId, Str>,
}

/// A partition to give up.
#[derive(Debug, PartialEq, Eq)]
pub struct Leaving<H> {
    pub topic: Str,
    pub fate: Fate,
    /// `None` if it could not be opened, or is not open yet.
    pub handle: Option<H>,
}

impl<H> Default for Job<H> {
    fn default() -> Job<H> {
        Job { give_up: BTreeMap::new(), open: BTreeMap::new() }
    }
}

impl<H> Default for Holdings<H> {
    fn default() -> Holdings<H> {
        Holdings { held: BTreeMap::new(), next: Job::default(), wanted: false, running: false }
    }
}

impl<H: Clone> Holdings<H> {
    /// The handle of an open partition.
    pub fn get(&self, id: PartitionId) -> Option<&H> {
        match &self.held.get(&id)?.1 {
            Held::Here(handle) => Some(handle),
            Held::Opening | Held::Failed => None,
        }
    }

    /// Every partition that was assigned and not given up.
    pub fn ids(&self) -> impl Iterator<Item = PartitionId> {
        self.held.keys().copied()
    }

    pub fn of_topic(&self, id: TopicId) -> impl Iterator<Item = PartitionId> {
        self.held.range((id, PartitionIndex(0))..=(id, PartitionIndex(i32::MAX))).map(|(id, _)| *id)
    }

    /// Assigns a partition to this broker. Opens it unless it is held already.
    pub fn assign(&mut self, id: PartitionId, topic: &Str) {
        if let Entry::Vacant(vacant) = self.held.entry(id) {
            vacant.insert((topic.clone(), Held::Opening));
            self.next.open.insert(id, topic.clone());
        }
    }

    /// Gives up this broker's replica, if it has one.
    pub fn give_up(&mut self, id: PartitionId, fate: Fate) {
        let Some((topic, held)) = self.held.remove(&id) else { return };
        if self.next.open.remove(&id).is_some() {
            return; // not begun
        }
        let handle = match held {
            Held::Here(handle) => Some(handle),
            Held::Opening | Held::Failed => None,
        };
        self.next.give_up.insert(id, Leaving { topic, fate, handle });
    }

    /// Takes in that the current job has opened a partition or failed to. True if the partition is to be
    /// published; false if it is no longer wanted.
    pub fn opened(&mut self, id: PartitionId, handle: Option<H>) -> bool {
        let begun = !self.next.open.contains_key(&id);
        match self.held.get_mut(&id) {
            Some((_, held)) if begun => {
                *held = handle.map_or(Held::Failed, Held::Here);
                true
            }
            Some(_) | None => {
                if let Some(leaving) = self.next.give_up.get_mut(&id) {
                    leaving.handle = handle;
                }
                false
            }
        }
    }

    /// The next job. `None` if there is nothing to do or a job is running.
    pub fn next_job(&mut self) -> Option<Job<H>> {
        let idle = self.next.give_up.is_empty() && self.next.open.is_empty() && !self.wanted;
        if self.running || idle {
            return None;
        }
        (self.running, self.wanted) = (true, false);
        Some(std::mem::take(&mut self.next))
    }

    /// Asks for a job without any work on partitions.
    pub fn want_job(&mut self) {
        self.wanted = true;
    }

    /// The current job is done.
    pub fn done(&mut self) {
        self.running = false;
    }

    pub fn is_busy(&self) -> bool {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::Uuid;

    use super::*;

    const A: PartitionId = (Uuid([1; 16]), PartitionIndex(0));

    fn topic() -> Str {
        Str::from_static("t")
    }

    fn leaving(handle: Option<u8>) -> Leaving<u8> {
        Leaving { topic: topic(), fate: Fate::Delete, handle }
    }

    /// What happens to the partition, and the resulting job: whether it gives up (with which handle) and
    /// opens.
    #[test]
    fn what_comes_up_while_a_job_runs_is_put_together() {
        type Step = fn(&mut Holdings<u8>);
        type Case<'a> = (&'a str, &'a [Step], Option<Leaving<u8>>, bool);
        let assign: Step = |all| all.assign(A, &topic());
        let give_up: Step = |all| all.give_up(A, Fate::Delete);
        let run: Step = |all| assert!(all.next_job().is_some());
        let opened: Step = |all| _ = all.opened(A, Some(7));
        let failed: Step = |all| _ = all.opened(A, None);
        let done: Step = Holdings::done;
        let cases: &[Case] = &[
            ("assigned", &[assign], None, true),
            ("assigned again", &[assign, assign], None, true),
            ("gone before anybody began", &[assign, give_up], None, false),
            ("back before anybody began", &[assign, give_up, assign], None, true),
            ("held", &[assign, run, opened, done, assign], None, false),
            ("gone", &[assign, run, opened, done, give_up], Some(leaving(Some(7))), false),
            ("gone and back", &[assign, run, opened, done, give_up, assign], Some(leaving(Some(7))), true),
            (
                "gone, back and gone",
                &[assign, run, opened, done, give_up, assign, give_up],
                Some(leaving(Some(7))),
                false,
            ),
            ("gone while it is opened", &[assign, run, give_up, opened, done], Some(leaving(Some(7))), false),
            ("gone as it is opened", &[assign, run, opened, give_up, done], Some(leaving(Some(7))), false),
            (
                "gone and back while it is opened",
                &[assign, run, give_up, assign, opened, done],
                Some(leaving(Some(7))),
                true,
            ),
            ("gone, and never was open", &[assign, run, failed, done, give_up], Some(leaving(None)), false),
            ("not known", &[give_up], None, false),
        ];
        for (case, steps, give_up, open) in cases {
            let mut all = Holdings::<u8>::default();
            steps.iter().for_each(|step| step(&mut all));
            let job = all.next_job().unwrap_or_default();
            assert_eq!(job.give_up.into_values().next(), *give_up, "{case}");
            assert_eq!(!job.open.is_empty(), *open, "{case}");
        }
    }

    #[test]
    fn one_job_runs_at_a_time() {
        let mut all = Holdings::<u8>::default();
        all.assign(A, &topic());
        assert!(all.next_job().is_some() && all.is_busy());
        all.assign((A.0, PartitionIndex(1)), &topic());
        assert_eq!(all.next_job(), None);
        all.done();
        assert!(all.next_job().is_some_and(|job| job.open.len() == 1));
    }

    #[test]
    fn a_partition_that_is_not_open_is_not_told_anything() {
        let mut all = Holdings::<u8>::default();
        all.assign(A, &topic());
        all.next_job();
        assert_eq!(all.get(A), None, "it is being opened");
        assert!(all.opened(A, None));
        assert_eq!(all.get(A), None, "it cannot be opened");
        assert_eq!(all.of_topic(A.0).collect::<Vec<_>>(), [A], "and is held all the same");
    }
}
